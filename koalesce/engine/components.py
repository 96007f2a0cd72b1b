"""Installing the components of a spec, in the order of their needs, and waiting until each is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.engine.case import Stage
from koalesce.engine.phases import Verdict, phase
from koalesce.engine.scopes import TestScope
from koalesce.engine.stepping import Section, StepRunner
from koalesce.events import Status
from koalesce.expressions import resolve
from koalesce.kube import ApiError, Kube, View
from koalesce.kube.marks import COMPONENT_LABEL, RUN_LABEL, slug
from koalesce.spec.components import Component
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.objects.manifests import apply_order, patch_objects, rewrite_images, with_namespace
from koalesce.steps.workloads.readiness import ready

READY_TIMEOUT = 120.0
APPLY_TIMEOUT = 30.0
APPLY_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """A component with its objects as they will be applied."""

    component: Component
    objects: tuple[dict[str, Any], ...]


class NotReady(Verdict):
    """A component didn't become what it should; `outcome` is a Failed or Errored."""

    def __init__(self, component: str, outcome: Failed | Errored) -> None:
        super().__init__(f"component {component}: {outcome.message}")
        self.outcome = outcome
        self.status: Status = "failed" if isinstance(outcome, Failed) else "error"


def prepared(component: Component, objects: Sequence[Mapping[str, Any]]) -> Install:
    """The component (its own expressions filled in) with its images and patches, in the order to apply its objects.

    Patches that wait for the cluster are left for `install`. UsageError for a patch or a rewritten image that fits no object.
    """
    found = rewrite_images(objects, component.images)
    for patch in component.patches:
        if not patch.waits_for_cluster:
            found = patch_objects(found, patch.resource, patch.change, namespace=patch.namespace)
    return Install(component=component, objects=tuple(apply_order(found)))


def in_order(components: Sequence[Component], first: str) -> list[Component]:
    """Components with what they need before them; `first` (the network) and its needs come before all others."""
    by_name = {component.name: component for component in components}
    ordered: dict[str, Component] = {}

    def add(name: str) -> None:
        if name in ordered or name not in by_name:
            return
        for need in by_name[name].needs:
            add(need)
        ordered[name] = by_name[name]

    for name in (first, *by_name):
        add(name)
    return list(ordered.values())


def install(stage: Stage, item: Install) -> None:
    """Apply a component and wait until it is ready; raises NotReady with the reason otherwise."""
    component, cluster = item.component, stage.cluster
    with phase(stage.session, stage.spec, f"component {component.name}"):
        marks = {RUN_LABEL: slug(stage.session.run_id, 63), COMPONENT_LABEL: component.name}
        objects = resolve(list(item.objects), stage.values) if component.expressions else list(item.objects)
        for patch in component.patches:
            if patch.waits_for_cluster:
                change = resolve(patch.change, stage.values)
                objects = patch_objects(objects, patch.resource, change, namespace=patch.namespace)
        applied = [_apply(stage, cluster.kube, obj, component, marks) for obj in objects]
        _await_ready(stage, component, applied)


def _apply(
    stage: Stage, kube: Kube, obj: Mapping[str, Any], component: Component, marks: Mapping[str, str]
) -> dict[str, Any]:
    """Apply one object, as soon as the server is ready for it (its kind known, its webhooks up)."""
    applied: list[dict[str, Any]] = []

    def act(_view: View) -> Outcome:
        target = with_namespace(obj, component.namespace if kube.resource_of(obj).namespaced else None, marks)
        stage.session.masks.learn_from(target)
        try:
            kube.apply(target)
        except ApiError as error:
            if error.transient:
                raise
            return Failed(f"{obj['kind']}/{obj['metadata'].get('name')} was refused: {error.message}", final=True)
        applied.append(target)
        return Passed("applied")

    looked = stage.session.waiter.until(kube, act, timeout=APPLY_TIMEOUT)
    if isinstance(looked.outcome, Failed | Errored):
        raise NotReady(component.name, looked.outcome)
    return applied[0]


def _await_ready(stage: Stage, component: Component, objects: list[dict[str, Any]]) -> None:
    timeout = component.timeout.seconds if component.timeout else READY_TIMEOUT
    if component.ready is not None:
        _run_ready_steps(stage, component, timeout)
        return

    memory: dict[str, Any] = {}

    def look(view: View) -> Outcome:
        return ready(view, objects, memory=memory, has_fixed_nodes=stage.cluster.has_fixed_nodes)

    looked = stage.session.waiter.until(stage.cluster.kube, look, timeout=timeout)
    if isinstance(looked.outcome, Failed | Errored):
        raise NotReady(component.name, looked.outcome)


def _run_ready_steps(stage: Stage, component: Component, timeout: float) -> None:
    runner = StepRunner(
        cluster=stage.cluster, namespace=component.namespace, scope=TestScope(cancel=stage.session.cancel),
        clock=stage.session.clock, interrupt=stage.session.interrupt, files=stage.files, emit=stage.session.emit,
        values={**stage.values, "namespace": component.namespace, "outputs": {}},
    )  # fmt: skip
    section = Section(spec=stage.spec, test=f"component {component.name}", name="ready", timeout=timeout)
    for index, entry in enumerate(component.ready or ()):
        result = runner.run(section, index, entry)
        if result.status == "failed":
            raise NotReady(
                component.name,
                Failed(f"{result.title}: {result.message}", result.expected, result.actual, result.detail),
            )
        if result.status == "error":
            raise NotReady(component.name, Errored(f"{result.title}: {result.message}", result.detail))
