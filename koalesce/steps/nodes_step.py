"""The step `nodes`: what administrators do to nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from koalesce.cluster import Node
from koalesce.kube import ApiError
from koalesce.steps.administration.changes import Change, Labelled, Tainted, Untainted, cordoning, put_back
from koalesce.steps.administration.draining import Drain
from koalesce.steps.administration.moving import Moved
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.faults.targets import NodesOfIt, listed
from koalesce.steps.inside.places import nodes_of
from koalesce.steps.objects.acting import refused
from koalesce.steps.objects.ownership import Place
from koalesce.steps.objects.reading import Reader

VERBS = ("cordon", "uncordon", "drain", "label", "taint", "untaint", "add", "remove")
_CONFLICT = 409
_BEFORE = "nodes as they were"


class Nodes(Assertion, key="nodes"):
    """Do to nodes what administrators do to them, exactly one thing: `cordon`, `uncordon`, `drain`, `label`, `taint`, `untaint`, `add` or `remove`.

    Only a test that says `disruptive: true` may do this. All but the pods that `drain` sends away is put back at the test's end. `drain` waits until
    the pods are gone, `add` until the nodes are Ready, up to the step's `timeout`; the others are done at once. `add` and `remove` take a provider
    that can (`requires: [chaos]` skips the test elsewhere).
    """

    writes: ClassVar[bool] = True

    cordon: NodesOfIt | None = None
    """Let no new pods onto nodes: `{node: worker-1}`, `{nodes: workers}`."""

    uncordon: NodesOfIt | None = None
    """Let new pods onto nodes again."""

    drain: Drain | None = None
    """Cordon nodes and evict their pods, as `kubectl drain` does, and wait until these are gone. Disruption budgets are honoured: where one lets a pod
    not go, it's asked again when that may have changed, and a failure names the pod and the budget. Pods of DaemonSets and static pods stay."""

    label: Labelled | None = None
    """Set and remove labels: `{node: worker-1, labels: {zone: a, old: null}}`."""

    taint: Tainted | None = None
    """Set taints: `{node: worker-1, taints: [{key: dedicated, value: db, effect: NoSchedule}]}`. One of the same key and effect is replaced."""

    untaint: Untainted | None = None
    """Remove taints: `{node: worker-1, taints: [{key: dedicated}]}`; that there is none is a failure, unless `mayNotExist`."""

    add: Moved | None = None
    """Have nodes join that the cluster keeps aside (`spare: true`), or that an earlier step of the test removed, and wait until they are Ready:
    `{node: worker-3}`."""

    remove: Moved | None = None
    """Have nodes leave: they are switched off at once, all that they know is lost, and their Node objects are deleted. Drain them before, if
    their pods are to go in order."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Nodes:
        if len([name for name in VERBS if getattr(self, name) is not None]) != 1:
            raise ValueError(f"say exactly one of {', '.join(VERBS)}")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A provider that can make and end nodes, where they join or leave."""
        return frozenset({"chaos"}) if {"add", "remove"} & written.keys() else frozenset()

    @property
    def _verb(self) -> tuple[str, NodesOfIt]:
        return next((name, given) for name in VERBS if (given := getattr(self, name)) is not None)

    def title(self) -> str:
        """What is done, and to which nodes."""
        verb, target = self._verb
        return f"{verb} {target.node or listed(target.nodes)}"

    def attempt(self, context: StepContext) -> Outcome:
        """Do what isn't done yet, and see whether it's done."""
        verb, target = self._verb
        if not context.disruptive:
            return Errored("only a test that says disruptive: true may do this", final=True)
        if verb in ("add", "remove") and isinstance(target, Moved):
            return target.move("add" if verb == "add" else "remove", context)
        nodes = nodes_of(target.names, context.cluster)
        if isinstance(nodes, Errored):
            return nodes
        changes = [_change(target) or cordoning(is_on=verb != "uncordon")] * len(nodes)
        for node, change in zip(nodes, changes, strict=True):
            problem = _changed(node, change, context)
            if problem is not None:
                return problem
        if self.drain is not None:
            return self.drain.attempt(nodes, context)
        names = ", ".join(node.name for node in nodes)
        return Passed(f"{verb}: {names} {changes[0].done}", {"nodes": [node.name for node in nodes]})


def _change(target: NodesOfIt) -> Change | None:
    return target.change() if isinstance(target, Labelled | Tainted | Untainted) else None


def _changed(node: Node, change: Change, context: StepContext) -> Failed | Errored | None:
    """Change a node, unless it's so already; None once it is so."""
    place = Place(context.cluster.kube, Reader.of(context).kind("nodes"), node.name, None)
    before = place.kube.get(place.resource, node.name, None)
    if before is None:
        return Failed(f"node/{node.name} does not exist", "there", "missing")
    known: set[str] = context.memory.setdefault(_BEFORE, set())
    if node.name not in known:
        if not context.may_not_exist and (missing := change.missing(before)):
            return Failed(f"node/{node.name} has no {missing}", missing, "missing", final=True)
        number = context.sightings.numbered()
        context.scope.defer(f"put node/{node.name} back{number}", put_back(place, change.reverse(before)))
        known.add(node.name)
    try:
        if body := change.body(before):
            place.kube.patch(place.resource, node.name, None, body)
    except ApiError as error:
        if error.status == _CONFLICT:
            return Failed(f"node/{node.name} was changed by somebody else at the same time")
        if error.transient or not 400 <= error.status < 500:
            raise
        return refused(error)
    return None
