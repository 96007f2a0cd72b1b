"""The step `delete`: objects go, and are gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt, model_validator

from koalesce.kube import Resource
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.reading import Reader
from koalesce.steps.reference import EVERYWHERE, ResourceRef, check_selector
from koalesce.steps.sources import FileSources
from koalesce.steps.vantage import Selector

_MOST_NAMES = 4


class Delete(FileSources, Assertion, key="delete"):
    """Delete objects, and wait until they are gone.

    An object that isn't there from the start is a failure, unless `mayNotExist`. One that is there again with another identity (a
    controller made a new one) counts as gone.
    """

    short_field: ClassVar[str | None] = "resource"
    writes: ClassVar[bool] = True

    resource: ResourceRef | None = None
    """`KIND/NAME`, or `KIND` with a selector."""
    namespace: str | None = None
    """Where, if not in the test's namespace."""
    selector: Selector | None = None
    """Objects with these labels; `""` takes all of the kind."""
    propagation: Literal["Background", "Foreground", "Orphan"] = "Background"
    """What happens to the objects that belong to it."""
    grace_period: StrictInt | None = Field(default=None, ge=0)
    """Seconds that pods are given to end; 0 kills at once."""
    wait: StrictBool = True
    """Whether to wait until the objects are gone."""

    @model_validator(mode="after")
    def _check_target(self) -> Delete:
        if (self.resource is None) == (not self.paths):
            raise ValueError("delete needs exactly one of resource, and file or files")
        if self.resource is None and self.selector is not None:
            raise ValueError("a selector needs a resource, such as pods")
        if self.resource is not None and bool(self.resource.name) == (self.selector is not None):
            raise ValueError(f"delete {self.resource}: write either KIND/NAME, or KIND and a selector")
        if self.selector is not None:
            check_selector(self.selector)
        return self

    def title(self) -> str:
        """What is deleted."""
        with_labels = f" with {self.selector}" if self.selector else ""
        return f"delete {self.resource or ', '.join(self.paths)}{with_labels}"

    def static_problems(self, files: Files) -> list[str]:
        """Files that aren't there, or are no manifests."""
        return self.path_problems(files)

    def attempt(self, context: StepContext) -> Outcome:
        """Ask for the deletion of what was there at the first attempt, and say what of it still is."""
        if "targets" not in context.memory:
            targets = list(self._find(context))
            if problem := self._problem(context, targets):
                return problem
            context.memory["targets"] = targets
        return self._delete(context, context.memory["targets"])

    def _find(self, context: StepContext) -> Iterator[_Target]:
        reader = Reader.of(context)
        if self.resource is None:
            for obj in self.read_files(context):
                resource = reader.kind_of(obj)
                namespace = obj["metadata"].get("namespace") or context.namespace
                yield _target(reader, resource, namespace, obj["metadata"]["name"])
            return
        resource = reader.kind(self.resource.kind)
        where = self.namespace or context.namespace
        if self.resource.name:
            yield _target(reader, resource, where, self.resource.name)
            return
        for found in reader.list(resource, None if where == EVERYWHERE else where, self.selector or ""):
            yield _Target(resource, found["metadata"].get("namespace"), found["metadata"]["name"], found)

    def _problem(self, context: StepContext, targets: list[_Target]) -> Failed | Errored | None:
        """Why nothing may be deleted: what should go isn't there, or belongs to another test."""
        missing = [str(target) for target in targets if target.found is None]
        if not targets:
            missing = [f"{self.resource} with {self.selector}" if self.selector else f"any {self.resource or 'object'}"]
        if missing and not context.may_not_exist:
            said = f"{', '.join(missing)}: there is nothing to delete; say mayNotExist if that is fine"
            return Failed(said, "there, then gone", "missing", final=True)
        for target in targets:
            labels = ((target.found or {}).get("metadata") or {}).get("labels") or {}
            foreign = [
                f"{key}={labels[key]}" for key, value in context.labels.items() if labels.get(key, value) != value
            ]
            if foreign:
                return Errored(f"{target} belongs to another test ({', '.join(foreign)})", final=True)
            if target.found is not None:
                context.sightings.note(target.resource, [target.found])
        return None

    def _delete(self, context: StepContext, targets: list[_Target]) -> Outcome:
        kube = context.cluster.kube
        for target in targets:
            if target.found is not None and not target.is_asked:
                kube.delete(
                    target.resource, target.name, target.namespace,
                    propagation=self.propagation, grace_seconds=self.grace_period,
                )  # fmt: skip
                target.is_asked = True
        there = [target for target in targets if target.found is not None]
        left = [said for target in there if (said := target.left(Reader.of(context)))] if self.wait else []
        if left:
            more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
            return Failed(f"{left[0]}{more}", "gone", f"{len(left)} still there", "\n".join(left))
        names = ", ".join(str(target) for target in there) if len(there) <= _MOST_NAMES else f"{len(there)} objects"
        if not there:
            return Passed("there was nothing to delete, as it may be")
        return Passed(f"{names} {'gone' if self.wait else 'will go'}")


@dataclass(slots=True)
class _Target:
    """One object to delete, as it was found (None: it wasn't there)."""

    resource: Resource
    namespace: str | None
    name: str
    found: Mapping[str, Any] | None
    is_asked: bool = False

    def __str__(self) -> str:
        return f"{self.resource.kind.lower()}/{self.name}"

    def left(self, reader: Reader) -> str:
        """What keeps it there; empty once it's gone, or another is in its place."""
        now = reader.get(self.resource, self.name, self.namespace)
        if now is None or self.found is None or now["metadata"].get("uid") != self.found["metadata"].get("uid"):
            return ""
        finalizers = now["metadata"].get("finalizers")
        return f"{self} still there" + (f", finalizers: {', '.join(finalizers)}" if finalizers else "")


def _target(reader: Reader, resource: Resource, namespace: str, name: str) -> _Target:
    return _Target(resource, namespace if resource.namespaced else None, name, reader.get(resource, name, namespace))
