"""Whether a workload is rolled out, decided as `kubectl rollout status` does.

https://github.com/kubernetes/kubectl/blob/master/pkg/polymorphichelpers/rollout_status.go
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from koalesce.kube import builtin
from koalesce.steps.base import Failed, Passed
from koalesce.steps.objects.reading import condition, kind_and_name

Status = Passed | Failed


def rollout_status(obj: Mapping[str, Any]) -> Status:
    """Whether a Deployment, DaemonSet or StatefulSet has all its replicas updated and available; KeyError for other kinds."""
    decide = DECIDERS[obj["kind"]]
    name = kind_and_name(obj)
    metadata, status = obj["metadata"], obj.get("status") or {}
    if metadata.get("generation", 0) > status.get("observedGeneration", 0):
        return Failed(f"{name}: its controller hasn't seen the latest spec yet")
    return decide(name, obj.get("spec") or {}, status)


def _deployment(name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Status:
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    progressing = condition({"status": status}, "Progressing")
    if progressing is not None and progressing.get("reason") == "ProgressDeadlineExceeded":
        text = f"{name} exceeded its progress deadline: {progressing.get('message', '')}"
        return Failed(text, f"{wanted} available", f"{status.get('availableReplicas', 0)} available", final=True)
    if updated < wanted:
        return _short(name, "updated", updated, wanted)
    if status.get("replicas", 0) > updated:
        old = status["replicas"] - updated
        return Failed(f"{name}: {old} old replicas are still to end", "0 old replicas", f"{old} old replicas")
    if status.get("availableReplicas", 0) < updated:
        return _short(name, "available", status.get("availableReplicas", 0), updated)
    return _done(name, wanted)


def _daemon_set(name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Status:
    if not _rolls(spec):
        return _unfit(name)
    wanted = status.get("desiredNumberScheduled", 0)
    for word, field in (("updated", "updatedNumberScheduled"), ("available", "numberAvailable")):
        if status.get(field, 0) < wanted:
            return _short(name, word, status.get(field, 0), wanted)
    return _done(name, wanted)


def _stateful_set(name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> Status:
    if not _rolls(spec):
        return _unfit(name)
    wanted, ready, updated = spec.get("replicas", 1), status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if not status.get("observedGeneration"):
        return Failed(f"{name}: its controller hasn't seen the latest spec yet")
    if ready < wanted:
        return _short(name, "ready", ready, wanted)
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition")
    if partition:
        due = max(0, wanted - partition)
        return _short(name, "updated", updated, due) if updated < due else _done(name, wanted)
    if status.get("updateRevision") != status.get("currentRevision"):
        return _short(name, "updated", updated, wanted)
    return _done(name, wanted)


def _rolls(spec: Mapping[str, Any]) -> bool:
    return bool((spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def _unfit(name: str) -> Failed:
    return Failed(f"{name}: only the update strategy RollingUpdate has a rollout to wait for", final=True)


def _short(name: str, word: str, actual: int, wanted: int) -> Failed:
    return Failed(f"{name}: {actual} of {wanted} replicas are {word}", f"{wanted} {word}", f"{actual} {word}")


def _done(name: str, replicas: int) -> Passed:
    return Passed(f"{name} is rolled out ({'1 replica' if replicas == 1 else f'{replicas} replicas'})")


DECIDERS: Mapping[str, Callable[[str, Mapping[str, Any], Mapping[str, Any]], Status]] = {
    "DaemonSet": _daemon_set,
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
}


def no_rollout(kind: str) -> str:
    """Why objects of a kind are never rolled out, as far as that is known without a cluster; empty if they may be."""
    found = builtin.find(kind)
    return f"{found.plural} have no rollout; {', '.join(DECIDERS)} have" if found and found.kind not in DECIDERS else ""
