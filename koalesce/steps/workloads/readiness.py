"""Whether objects are ready: what components are waited for by default, and why one isn't there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.objects.reading import Reader, condition, explained, is_true, kind_and_name
from koalesce.steps.workloads.pods import has_ended, is_ready, why_not_ready
from koalesce.steps.workloads.prospects import end_of_pod, end_of_workload, is_end, is_observed, patiently
from koalesce.steps.workloads.rollout import DECIDERS, rollout_status

if TYPE_CHECKING:
    from koalesce.kube import View
    from koalesce.process import Cancel

Object = Mapping[str, Any]
Look = Callable[[Reader, Object], Passed | Failed | Errored]
_MOST_PODS = 5
_POD_CONDITIONS = frozenset(
    ("Pod", kind) for kind in ("ready", "containersready", "initialized", "podreadytostartcontainers", "podscheduled")
)
_OPPOSITES = {("Job", "complete"): "Failed", ("Job", "failed"): "Complete"}


def ready(
    view: View,
    objects: Sequence[Object],
    *,
    timeout: float = 30.0,
    cancel: Cancel | None = None,
    patient: bool = False,
    memory: dict[str, Any] | None = None,
    has_fixed_nodes: bool = False,
) -> Outcome:
    """One look at whether objects that were applied are ready.

    Deployments, DaemonSets and StatefulSets are rolled out, CustomResourceDefinitions Established, APIServices Available, Jobs
    complete, bare Pods Ready; other kinds need nothing. What can't become ready any more is final, unless `patient`. `memory` is kept
    from one look to the next; `has_fixed_nodes`: nothing adds nodes where pods lack room.
    """
    reader = Reader(view, timeout, cancel, {} if memory is None else memory, has_fixed_nodes)
    waited = [obj for obj in objects if obj["kind"] in _LOOKS]
    outcomes = [_look(reader, obj) for obj in waited]
    if patient:
        outcomes = [patiently(outcome) for outcome in outcomes]
    for outcome in outcomes:
        if not isinstance(outcome, Passed) and is_end(outcome):
            return outcome
    missing = [outcome for outcome in outcomes if not isinstance(outcome, Passed)]
    if missing:
        return _summary(missing, len(outcomes))
    names = [kind_and_name(obj) for obj in waited]
    return Passed(
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} ready"
        if names
        else "nothing to wait for"
    )


def workload(reader: Reader, obj: Object) -> Passed | Failed | Errored:
    """Whether a workload is rolled out; if not, with the reason that its pods give."""
    status = rollout_status(obj)
    if isinstance(status, Passed):
        return _on_some_node(reader, obj, status)
    pods = [pod for pod in _pods_of(reader, obj) if not is_ready(pod)]
    if is_observed(obj) and (end := end_of_workload(reader, obj, pods)):
        return _about(obj, end)
    reasons = [f"{kind_and_name(pod)} {why_not_ready(pod)}" for pod in pods] + _refusals(obj)
    if not reasons:
        return status
    detail = "\n".join(
        [*reasons[:_MOST_PODS], *([f"… and {len(reasons) - _MOST_PODS} more"] if len(reasons) > _MOST_PODS else [])]
    )
    return Failed(f"{status.message}; {reasons[0]}", status.expected, status.actual, detail, status.final)


def pod(reader: Reader, obj: Object) -> Passed | Failed | Errored:
    """Whether a pod is Ready (or has succeeded, if it is one that ends)."""
    name = kind_and_name(obj)
    if is_ready(obj):
        return Passed(f"{name} is Ready")
    if (obj.get("status") or {}).get("phase") == "Succeeded" and obj["spec"].get("restartPolicy") in (
        "Never",
        "OnFailure",
    ):
        return Passed(f"{name} has succeeded")
    return end_of_pod(reader, obj) or Failed(f"{name} {why_not_ready(obj)}", "Ready", "not Ready")


def job(reader: Reader, obj: Object) -> Passed | Failed | Errored:
    """Whether a Job is complete."""
    name = kind_and_name(obj)
    if is_true(obj, "Complete"):
        return Passed(f"{name} is complete")
    if is_true(obj, "Failed"):
        return Failed(f"{name} has failed: {explained(condition(obj, 'Failed'))}", "Complete", "Failed", final=True)
    pods = [found for found in _pods_of(reader, obj) if not is_ready(found)]
    if end := end_of_workload(reader, obj, pods):
        return _about(obj, end)
    reasons = [f"{kind_and_name(found)} {why_not_ready(found)}" for found in pods]
    return Failed(
        f"{name} isn't complete" + (f"; {reasons[0]}" if reasons else ""),
        "Complete",
        "not complete",
        "\n".join(reasons),
    )


def end_of_condition(reader: Reader, obj: Object, name: str, kind: str) -> Failed | Errored | None:
    """Why a condition of an object can't become True any more; None if it can, or nothing is known of such a condition."""
    wanted = (obj["kind"], kind.lower())
    if wanted in _POD_CONDITIONS:
        if has_ended(obj) and kind.lower() not in ("ready", "containersready"):
            return None
        end = end_of_pod(reader, obj)
        if isinstance(end, Failed):
            said = f"{end.message}, so it won't be {kind}" if end.final else end.message
            return replace(end, message=said, expected="True")
        return end
    if wanted in _OPPOSITES:
        other = _OPPOSITES[wanted]
        if is_true(obj, other):
            why = explained(condition(obj, other))
            return Failed(
                f"{name} is {other}{f': {why}' if why else ''}, so it won't be {kind}", kind, other, final=True
            )
        return _end_by_pods(reader, obj) if kind.lower() == "complete" else None
    if wanted == ("Deployment", "available"):
        return _end_by_pods(reader, obj)
    return None


def _end_by_pods(reader: Reader, obj: Object) -> Failed | Errored | None:
    """The end of a workload of which no pod at all is ready."""
    pods = _pods_of(reader, obj)
    if not is_observed(obj) or any(is_ready(found) for found in pods):
        return None
    end = end_of_workload(reader, obj, pods)
    return _about(obj, end) if end else None


def _about(obj: Object, end: Failed | Errored) -> Failed | Errored:
    """The end of a pod, told of the object that it's a part of."""
    return replace(end, message=f"{kind_and_name(obj)}: {end.message}")


def holds(kind: str) -> Look:
    """A look at a condition that has to be True."""

    def look(reader: Reader, obj: Object) -> Passed | Failed | Errored:
        name = kind_and_name(obj)
        if is_true(obj, kind):
            return Passed(f"{name} is {kind}")
        found = condition(obj, kind)
        why = explained(found)
        return Failed(
            f"{name} isn't {kind}" + (f": {why}" if why else ""), "True", str(found["status"]) if found else "missing"
        )

    return look


def _look(reader: Reader, obj: Object) -> Passed | Failed | Errored:
    found = reader.get(reader.kind_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace"))
    if found is None:
        return Failed(f"{kind_and_name(obj)} does not exist")
    return _LOOKS[obj["kind"]](reader, found)


def _summary(missing: Sequence[Failed | Errored], total: int) -> Failed | Errored:
    first = missing[0]
    if len(missing) == 1:
        return first
    message = f"{len(missing)} of {total} objects aren't ready; {first.message}"
    lines = "\n".join(
        line
        for outcome in missing
        for line in (outcome.message, *(f"  {part}" for part in outcome.detail.splitlines()))
    )
    return (
        Errored(message, lines) if isinstance(first, Errored) else Failed(message, first.expected, first.actual, lines)
    )


def _on_some_node(reader: Reader, obj: Object, status: Passed) -> Passed | Failed:
    """A DaemonSet that is to run on no node is rolled out only if there is no node for it."""
    if obj["kind"] != "DaemonSet" or (obj.get("status") or {}).get("desiredNumberScheduled"):
        return status
    wanted = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    nodes = reader.list(reader.kind("nodes"), None, selector)
    if not nodes and wanted:
        return Passed(f"{status.message}: no node has {selector}")
    name = kind_and_name(obj)
    return Failed(
        f"{name} is to run on none of {len(nodes)} nodes: its taints, affinity or node selector leave none",
        "1 or more nodes",
        "0 nodes",
    )


def _pods_of(reader: Reader, obj: Object) -> list[dict[str, Any]]:
    selector = selector_of(obj)
    return reader.list(reader.kind("pods"), obj["metadata"].get("namespace"), selector) if selector else []


def selector_of(obj: Object) -> str:
    """What selects the pods of a workload or a Service, as text; empty if nothing does."""
    selector = (obj.get("spec") or {}).get("selector") or {}
    if obj["kind"] == "Service":
        return ",".join(f"{key}={value}" for key, value in selector.items())
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for term in selector.get("matchExpressions") or ():
        key, values = term["key"], ",".join(term.get("values") or ())
        words = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        terms.append(words[term["operator"]])
    return ",".join(terms)


def _refusals(obj: Object) -> list[str]:
    """What keeps pods from even being made (quota, admission), as a Deployment tells it."""
    found = condition(obj, "ReplicaFailure")
    return [f"no pod could be made: {explained(found)}"] if found is not None and found.get("status") == "True" else []


_LOOKS: Mapping[str, Look] = {
    **dict.fromkeys(DECIDERS, workload),
    "APIService": holds("Available"),
    "CustomResourceDefinition": holds("Established"),
    "Job": job,
    "Pod": pod,
}
