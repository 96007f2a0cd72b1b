"""Steps that would take a component away from the other tests: said before anything starts, where it can be known by then."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from koalesce.errors import KoalesceError
from koalesce.expressions import has_expression
from koalesce.records import dataclass
from koalesce.spec.components import Component
from koalesce.spec.entries import StepEntry
from koalesce.spec.files import SpecFiles
from koalesce.spec.models import Spec, Test
from koalesce.yaml import Problem, load_manifests

if TYPE_CHECKING:  # a spec uses few step types
    from koalesce.steps.delete import Delete
    from koalesce.steps.rollout_step import Rollout
    from koalesce.steps.scale import Scale

_WORDS = {"delete": "delete", "rollout": "roll out", "scale": "scale"}  # by step type


@dataclass(frozen=True)
class Disturbances:
    """Finds them in a spec whose form is right."""

    spec: Spec
    files: SpecFiles

    def problems(self) -> Iterator[Problem]:
        """One for each step that a test has to be disruptive for."""
        for test in self.spec.tests:
            if not test.disruptive:
                for entry in _steps(test):
                    yield from self._of(entry)

    def _of(self, entry: StepEntry) -> Iterator[Problem]:
        if entry.key not in _WORDS or entry.draft is None:
            return
        from koalesce.steps.objects.manifests import is_named
        from koalesce.steps.objects.ownership import disruptive_only

        step = cast("Delete | Rollout | Scale", entry.draft.step)
        if step.resource is None or not step.resource.name:
            return
        for component, obj in self._objects:
            namespace = obj["metadata"].get("namespace") or component.namespace
            if step.namespace == namespace and is_named(obj, step.resource.kind, step.resource.name):
                said = f"{step.resource} in {namespace} belongs to the component {component.name}"
                yield entry.problem((entry.key,), f"{said}; {disruptive_only(_WORDS[entry.key])}", key=True)

    @cached_property
    def _objects(self) -> list[tuple[Component, dict[str, Any]]]:
        """What the components install, as far as it's in files; what is wrong with those is said elsewhere."""
        found: list[tuple[Component, dict[str, Any]]] = []
        for component in self.spec.components:
            for source in component.manifests:
                try:
                    named = isinstance(source, str) and not has_expression(source)
                    manifests = load_manifests(self.files.resolve(str(source))) if named else []
                except KoalesceError:
                    continue
                found += [(component, manifest.object) for manifest in manifests]
        return found


def _steps(test: Test) -> Iterator[StepEntry]:
    for entry in (*test.steps, *test.cleanup, *test.on_failure):
        yield from entry.family
