"""Whether what is waited for can still come: what ends a wait before its time.

Deliberately slow to give up, because a wait that ends wrongly is worse than one that lasts: an image counts as not to be had only when
a registry said so, an unschedulable pod only when the scheduler says that no end of other pods would help and the nodes stay as they
are, a crash loop only after several restarts that were waited through. A missing ConfigMap or Secret never ends a wait: whatever the test
looks at may be about to make it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from koalesce.patterns import pattern
from koalesce.steps.base import Errored, Failed, Outcome, StepContext
from koalesce.steps.objects.reading import Reader, condition, is_true, kind_and_name
from koalesce.steps.workloads.pods import has_ended, image_verdict, why_not_ready

Object = Mapping[str, Any]
End = Failed | Errored
_O = TypeVar("_O", bound=Outcome)
CRASHES = 5  # restarts that were waited through
UNCHANGED = 10.0  # seconds in which the reason of something hopeless hasn't changed
_RESTARTS = "restarts of "
_KNOWN = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job")
# The scheduler's own word on whether the end of other pods could help: `preemption: 0/3 nodes are available: 3 Preemption is not
# helpful for scheduling.` https://github.com/kubernetes/kubernetes/blob/master/pkg/scheduler/framework/preemption/preemption.go
_NO_HELP = pattern(r"preemption: 0/(\d+) nodes are available: \1 Preemption is not helpful for scheduling")
# What passes by itself: nodes that come up or wait for their agents (taints), or are cordoned for a while; volumes that are about to
# be made. Newer schedulers don't say which taint it is.
_PASSES = pattern(r"taint|node\.kubernetes\.io/|were unschedulable|volume|not found", re.IGNORECASE)


def end_of_pod(reader: Reader, pod: Object) -> End | None:
    """Why a pod can't become Ready any more; None if it can, for all that is known.

    It ends nothing if the pod is about to be replaced by its controller.
    """
    end = _end(reader, pod)
    if end is None or not is_end(end) or _stays(reader, pod):
        return end
    return patiently(end)


def _end(reader: Reader, pod: Object) -> End | None:
    if "deletionTimestamp" in pod["metadata"]:
        return None
    if has_ended(pod):
        return Failed(f"{kind_and_name(pod)} {why_not_ready(pod)}", "Ready", "ended", final=True)
    return image_verdict(pod) or _unschedulable(reader, pod) or _crash_loop(reader, pod)


def end_of_workload(reader: Reader, obj: Object, pods: Sequence[Object]) -> End | None:
    """Why a workload can't have all its pods ready: one of its latest revision can't; None if all can."""
    ends = [(pod, end) for pod in pods if not has_ended(pod) and (end := _end(reader, pod)) is not None]
    if not ends:
        return None
    is_latest = _revision(reader, obj)
    return next((end for pod, end in ends if is_latest(pod)), None)


def end_of_object(context: StepContext, described: str, found: Object | None) -> Failed | None:
    """Why an object of this name won't comply any more: it was there during this step, and is gone; None as long as it's there."""
    if found is not None:
        owned = any(owner.get("controller") for owner in found["metadata"].get("ownerReferences") or ())
        is_leaving = "deletionTimestamp" in found["metadata"]
        if "waited for" not in context.memory:
            context.memory["waited for"] = not owned and not is_leaving
        return None
    if not context.memory.get("waited for") or context.patient or context.negated:
        return None
    return Failed(f"{described} was deleted while it was waited for", "there", "deleted", final_after=UNCHANGED)


def is_end(outcome: Outcome) -> bool:
    """Whether an outcome says that waiting on is of no use, now or if nothing changes for a time."""
    return isinstance(outcome, Errored | Failed) and (
        outcome.final or (isinstance(outcome, Failed) and outcome.final_after is not None)
    )


def patiently(outcome: _O) -> _O:
    """The outcome, which ends no wait before its time."""
    if isinstance(outcome, Errored):
        return replace(outcome, final=False)
    return replace(outcome, final=False, final_after=None) if isinstance(outcome, Failed) else outcome


def _stays(reader: Reader, pod: Object) -> bool:
    """Whether a pod is of the latest revision of what controls it, as far as one can know."""
    namespace = pod["metadata"].get("namespace")
    owner = _controller(reader, pod, namespace)
    if owner is None:
        return _controlled_by(pod) is None
    if owner["kind"] == "ReplicaSet" and _controlled_by(owner) is not None:
        owner = _controller(reader, owner, namespace)
    if owner is None or "deletionTimestamp" in owner["metadata"]:
        return False
    return owner["kind"] in _KNOWN and is_observed(owner) and _revision(reader, owner)(pod)


def is_observed(obj: Object) -> bool:
    """Whether the controller of an object has seen its latest spec: what it says before is of an older one."""
    status = obj.get("status") or {}
    return bool(obj["kind"] == "Job" or obj["metadata"].get("generation", 0) <= status.get("observedGeneration", 0))


def _controlled_by(obj: Object) -> Object | None:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _controller(reader: Reader, obj: Object, namespace: str | None) -> Object | None:
    """What controls an object; None if nothing does, it isn't there any more, or is of a kind that isn't known here."""
    reference = _controlled_by(obj)
    if reference is None or reference["kind"] not in _KNOWN:
        return None
    return reader.get(reader.kind(reference["kind"]), reference["name"], namespace)


def _unschedulable(reader: Reader, pod: Object) -> Failed | None:
    """A pod for which no node is fit, where nodes don't come by themselves."""
    scheduled = condition(pod, "PodScheduled")
    if not reader.has_fixed_nodes or scheduled is None or scheduled.get("reason") != "Unschedulable":
        return None
    said = str(scheduled.get("message", ""))
    if not _NO_HELP.search(said) or _PASSES.search(said):
        return None
    return Failed(
        f"{kind_and_name(pod)} {why_not_ready(pod)}", "scheduled", "unschedulable", final_after=UNCHANGED,
        detail="No node is fit for it, and no end of other pods would change that; `patient: true` waits on.",
    )  # fmt: skip


def _crash_loop(reader: Reader, pod: Object) -> Failed | None:
    """A container that was restarted so often during the wait that one more time won't help."""
    restarts = _restarts(pod)
    before = reader.memory.setdefault(f"{_RESTARTS}{pod['metadata'].get('uid')}", restarts)
    if is_true(pod, "Ready"):
        return None
    for name, waits in _crashing(pod):
        seen = restarts.get(name, 0) - before.get(name, 0)
        if waits and seen >= CRASHES:
            said = f"{kind_and_name(pod)} {why_not_ready(pod)}"
            return Failed(f"{said}, after {seen} restarts during the wait", "Ready", "crash loop", final=True)
    return None


def _restarts(pod: Object) -> dict[str, int]:
    return {str(found["name"]): int(found.get("restartCount", 0)) for found in _statuses(pod)}


def _crashing(pod: Object) -> list[tuple[str, bool]]:
    return [
        (
            str(found["name"]),
            ((found.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff",
        )
        for found in _statuses(pod)
    ]


def _statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _revision(reader: Reader, obj: Object) -> Callable[[Object], bool]:
    """Tells the pods of a workload's latest revision from those that are on their way out."""
    kind, metadata = obj["kind"], obj["metadata"]
    if kind == "Deployment":
        latest = _latest_template(reader, obj)
        return lambda pod: _label(pod, "pod-template-hash") == latest and bool(latest)
    if kind == "StatefulSet":
        update = (obj.get("status") or {}).get("updateRevision")
        return lambda pod: _label(pod, "controller-revision-hash") == update and bool(update)
    if kind == "DaemonSet":
        generation = (metadata.get("annotations") or {}).get("deprecated.daemonset.template.generation")
        return lambda pod: _label(pod, "pod-template-generation") == generation and bool(generation)
    return lambda _pod: True  # Jobs and ReplicaSets have one template


def _latest_template(reader: Reader, deployment: Object) -> str:
    """The pod-template-hash of the ReplicaSet that a Deployment rolls out now; empty if it isn't there yet."""
    metadata = deployment["metadata"]
    revision = (metadata.get("annotations") or {}).get("deployment.kubernetes.io/revision")
    for found in reader.list(reader.kind("replicasets"), metadata.get("namespace")):
        owners = found["metadata"].get("ownerReferences") or ()
        annotations = found["metadata"].get("annotations") or {}
        is_its = any(owner.get("uid") == metadata.get("uid") for owner in owners)
        if is_its and revision and annotations.get("deployment.kubernetes.io/revision") == revision:
            return _label(found, "pod-template-hash")
    return ""


def _label(obj: Object, key: str) -> str:
    return str((obj["metadata"].get("labels") or {}).get(key, ""))
