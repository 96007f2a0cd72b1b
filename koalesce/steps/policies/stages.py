"""The stages of the step `network-policy`: the grid is made, and then one change after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from koalesce.durations import Duration
from koalesce.netpol.cases import Change
from koalesce.netpol.grid import Place
from koalesce.records import dataclass
from koalesce.steps.apply import Apply
from koalesce.steps.base import Errored, Outcome, Passed, Stage, StepContext
from koalesce.steps.create import Create
from koalesce.steps.inside.places import Source, select
from koalesce.steps.label import Label
from koalesce.steps.objects.acting import Approach
from koalesce.steps.objects.ownership import Place as ObjectPlace
from koalesce.steps.objects.reference import ResourceRef
from koalesce.steps.policies.ground import Ground
from koalesce.steps.policies.looking import Look
from koalesce.steps.vantage import PodsAndNodes

_POLICIES = "networkpolicies"


@dataclass
class MakeGrid(Stage):
    """Namespaces and pods come, what an earlier step of the test has left goes, and everything reaches everything."""

    ground: Ground
    look_at: Look
    title: str = "the grid without policies"
    timeout: Duration | None = None
    measured: ClassVar[bool] = False

    def act(self, context: StepContext) -> Outcome:
        """Make what of the grid isn't there, and remove policies that are."""
        made = Apply(objects=tuple(self.ground.namespace_objects())).act(replace(context, memory={}))
        if not isinstance(made, Passed):
            return made
        kube = context.cluster.kube
        names, pods = self.ground.names, kube.resource("pods")
        missing = [
            self.ground.pod_object(place)
            for place in self.ground.grid.places()
            if kube.get(pods, place.pod, names[place.namespace], metadata_only=True) is None
        ]
        if missing:
            made = Create(objects=tuple(missing)).act(replace(context, memory={}))
            if not isinstance(made, Passed):
                return made
        for namespace in self.ground.names.values():
            for found in kube.list(kube.resource(_POLICIES), namespace=namespace):
                if problem := _remove(context, namespace, found["metadata"]["name"]):
                    return problem
        return made

    def look(self, context: StepContext) -> Outcome:
        """Look for the pods, note their addresses, and probe."""
        sources = running(self.ground, context)
        if not isinstance(sources, Mapping):
            return sources
        self.ground.addresses |= {str(place): source.addresses for place, source in sources.items()}
        return self.look_at(sources, context)


@dataclass
class MakeChange(Stage):
    """Policies and labels change, and the wire is as the policies say."""

    ground: Ground
    change: Change
    look_at: Look
    title: str

    def act(self, context: StepContext) -> Outcome:
        """Send what changes; what was sent by an attempt before is sent again, which changes nothing."""
        try:
            coming = self.ground.in_cluster(self.change.apply)
            self.ground.make(self.change)
        except ValueError as error:
            return Errored(str(error), final=True)
        steps: list[Callable[[StepContext], Outcome]] = []
        if coming:
            steps.append(Apply(objects=tuple(coming)).act)
        for place, labels in self._labels():
            steps.append(Label(resource=place[0], namespace=place[1] or None, labels=labels, overwrite=True).act)
        for step in steps:
            outcome = step(replace(context, memory={}))
            if not isinstance(outcome, Passed):
                return outcome
        for policy in self.change.delete:
            namespace, _, name = policy.partition("/")
            if problem := _remove(context, self.ground.names[namespace], name):
                return problem
        return Passed(self.title)

    def look(self, context: StepContext) -> Outcome:
        """Probe the whole grid."""
        sources = running(self.ground, context)
        return self.look_at(sources, context) if isinstance(sources, Mapping) else sources

    def _labels(self) -> Sequence[tuple[tuple[ResourceRef, str], Mapping[str, str | None]]]:
        names = self.ground.names
        namespaces = [
            ((ResourceRef("namespace", names[each]), ""), labels) for each, labels in self.change.namespaces.items()
        ]
        pods = [
            ((ResourceRef("pod", pod.rpartition("/")[2]), names[pod.partition("/")[0]]), labels)
            for pod, labels in self.change.pods.items()
        ]
        return [*namespaces, *pods]


def running(ground: Ground, context: StepContext) -> Mapping[Place, Source] | Outcome:
    """The pods of the grid, called as in the grid; or why they can't be had (yet)."""
    found: dict[Place, Source] = {}
    for place in ground.grid.places():
        selected = select(PodsAndNodes(pod=place.pod, namespace=ground.names[place.namespace]), context)
        if not isinstance(selected, list):
            return selected
        found[place] = replace(selected[0], name=str(place))
    return found


def _remove(context: StepContext, namespace: str, name: str) -> Errored | None:
    kube = context.cluster.kube
    place = ObjectPlace(kube, kube.resource(_POLICIES), name, namespace)
    approach = Approach.begin(replace(context, memory={}), place, verb="delete")
    if isinstance(approach, Errored):
        return approach
    if approach.before is not None:
        kube.delete(place.resource, name, namespace)
    return None
