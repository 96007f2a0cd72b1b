"""Sending the pods of nodes away by evictions, as disruption budgets allow it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field, StrictBool, StrictInt

from koalesce.cluster import Node
from koalesce.kube import ApiError
from koalesce.kube.selector import parse
from koalesce.matching.mismatch import and_more
from koalesce.steps.base import Failed, Outcome, Passed, StepContext
from koalesce.steps.faults.targets import NodesOfIt
from koalesce.steps.objects.acting import refused
from koalesce.steps.objects.reading import Reader
from koalesce.steps.workloads.readiness import selector_of

Object = Mapping[str, Any]
_MIRROR = "kubernetes.io/config.mirror"  # of static pods, which nobody but their kubelet ends
_TOO_MANY, _NOT_FOUND = 429, 404
_TERMINATING = "NamespaceTerminating"
_ASKED = "pods that were asked to go"


class Drain(NodesOfIt):
    """Nodes whose pods are to go."""

    grace_period: StrictInt | None = Field(default=None, ge=0)
    """Seconds that pods are given to end; default: what they say themselves."""

    force: StrictBool = False
    """Evict pods, too, that belong to no controller and that nobody makes again; without it they are a failure."""

    def attempt(self, nodes: Sequence[Node], context: StepContext) -> Outcome:
        """Ask those pods to go that haven't been asked yet, and say which are still there. The nodes are cordoned."""
        asked: set[str] = context.memory.setdefault(_ASKED, set())
        names, stays = {node.name for node in nodes}, []
        pods = [pod for pod in _pods(context) if pod["spec"].get("nodeName") in names]
        leaving = [pod for pod in pods if not _stays(pod)]
        if not self.force and (orphan := next((pod for pod in leaving if not _controller(pod)), None)) is not None:
            said = f"{_place(orphan)} belongs to no controller: nobody would make it again; say force: true if that is fine"
            return Failed(said, "pods of controllers", "none", final=True)
        for pod in leaving:
            is_ending = pod["metadata"]["uid"] in asked or pod["metadata"].get("deletionTimestamp")
            held = "" if is_ending else self._evict(pod, context)
            if isinstance(held, Failed):
                return held
            stays.append(held or f"{_place(pod)} is still ending")
            if not held and not is_ending:
                asked.add(pod["metadata"]["uid"])
        if stays:
            blocked = sorted(stays, key=lambda line: line.endswith("is still ending"))
            head = f"{blocked[0]}{and_more(len(blocked) - 1, 'pod')}"
            return Failed(head, "no pods left", f"{len(stays)} still there", "\n".join(blocked))
        value = {"nodes": sorted(names), "evicted": len(asked)}
        return Passed(f"drained {', '.join(sorted(names))}: {len(asked)} evicted", value)

    def _evict(self, pod: Object, context: StepContext) -> str | Failed:
        """Ask for a pod's eviction; why it can't go now, empty if it goes."""
        options = {} if self.grace_period is None else {"gracePeriodSeconds": self.grace_period}
        metadata = pod["metadata"]
        try:
            context.cluster.kube.evict(
                metadata["name"], metadata["namespace"], {**options, "preconditions": {"uid": metadata["uid"]}}
            )
        except ApiError as error:
            if error.status == _TOO_MANY:
                return f"{_place(pod)} can't go: {_budgets(pod, context) or error.said}"
            is_going = any(cause.reason == _TERMINATING for cause in error.causes)  # with its namespace
            if error.status == _NOT_FOUND or is_going:
                return ""
            if error.transient or not 400 <= error.status < 500:
                raise
            return refused(error.about(_place(pod)))
        return ""


def _pods(context: StepContext) -> list[dict[str, Any]]:
    reader = Reader.of(context)
    return reader.list(reader.kind("pods"), None)


def _stays(pod: Object) -> bool:
    return _MIRROR in (pod["metadata"].get("annotations") or {}) or _controller(pod) == "DaemonSet"


def _controller(pod: Object) -> str:
    """The kind of what makes the pod again; empty if nothing does."""
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner["kind"] for owner in owners if owner.get("controller")), "")


def _place(pod: Object) -> str:
    return f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _budgets(pod: Object, context: StepContext) -> str:
    """The disruption budgets that hold a pod, with what they say; a change of one of them wakes the step."""
    reader = Reader.of(context)
    found = reader.list(reader.kind("poddisruptionbudgets"), pod["metadata"]["namespace"])
    return ", ".join(_told(budget) for budget in _holding(pod, found))


def _holding(pod: Object, budgets: Sequence[Object]) -> Iterator[Object]:
    labels = pod["metadata"].get("labels") or {}
    for budget in budgets:
        is_spent = not (budget.get("status") or {}).get("disruptionsAllowed")
        if is_spent and budget["spec"].get("selector") is not None and parse(selector_of(budget))(labels):
            yield budget


def _told(budget: Object) -> str:
    status = budget.get("status") or {}
    healthy, needed = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return f"the disruption budget {budget['metadata']['name']} needs {needed} healthy pods and has {healthy}"
