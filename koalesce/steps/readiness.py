"""Whether objects are ready: what components are waited for by default, and why one isn't there yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from koalesce.kube import View
from koalesce.process import Cancel
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.pods import has_ended, image_verdict, is_ready, why_not_ready
from koalesce.steps.reading import Reader, condition, explained, is_true, kind_and_name
from koalesce.steps.rollout import DECIDERS, rollout_status

Object = Mapping[str, Any]
Look = Callable[[Reader, Object], Passed | Failed | Errored]
_MOST_PODS = 5


def ready(
    view: View, objects: Sequence[Object], *, timeout: float = 30.0, cancel: Cancel | None = None, patient: bool = False
) -> Outcome:
    """One look at whether objects that were applied are ready.

    Deployments, DaemonSets and StatefulSets are rolled out, CustomResourceDefinitions Established, APIServices Available, Jobs
    complete, bare Pods Ready; other kinds need nothing. What can't become ready any more is final, unless `patient`.
    """
    reader = Reader(view, timeout, cancel)
    waited = [obj for obj in objects if obj["kind"] in _LOOKS]
    outcomes = [_look(reader, obj) for obj in waited]
    for outcome in outcomes:
        if not isinstance(outcome, Passed) and outcome.final and not patient:
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
    for pod in pods:
        if verdict := image_verdict(pod):
            return verdict
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
    if verdict := image_verdict(obj):
        return verdict
    return Failed(f"{name} {why_not_ready(obj)}", "Ready", "not Ready", final=has_ended(obj))


def job(reader: Reader, obj: Object) -> Passed | Failed | Errored:
    """Whether a Job is complete."""
    name = kind_and_name(obj)
    if is_true(obj, "Complete"):
        return Passed(f"{name} is complete")
    if is_true(obj, "Failed"):
        return Failed(f"{name} has failed: {explained(condition(obj, 'Failed'))}", "Complete", "Failed", final=True)
    pods = [found for found in _pods_of(reader, obj) if not is_ready(found)]
    for found in pods:
        if verdict := image_verdict(found):
            return verdict
    reasons = [f"{kind_and_name(found)} {why_not_ready(found)}" for found in pods]
    return Failed(
        f"{name} isn't complete" + (f"; {reasons[0]}" if reasons else ""),
        "Complete",
        "not complete",
        "\n".join(reasons),
    )


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
    selector = _selector((obj.get("spec") or {}).get("selector") or {})
    return reader.list(reader.kind("pods"), obj["metadata"].get("namespace"), selector) if selector else []


def _selector(selector: Mapping[str, Any]) -> str:
    """A LabelSelector as text."""
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
