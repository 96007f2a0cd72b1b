"""Ephemeral containers: something of ours beside the containers of a pod that is there, in its network, without a word to its image.

A container can be added, and neither changed nor removed: it stays in the pod's description when its process has ended.
https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from koalesce.errors import ClusterError, Interrupted
from koalesce.kube.resource import PODS
from koalesce.process import Cancel

if TYPE_CHECKING:
    from koalesce.kube.client import Kube

_PAUSE = 0.1
_HOPELESS = frozenset({
    "CreateContainerConfigError", "CreateContainerError", "ErrImageNeverPull", "ImageInspectError", "ImagePullBackOff", "InvalidImageName",
    "RunContainerError",
})  # fmt: skip
# What the pod security standard `restricted` asks of a container, so that namespaces which enforce it take it.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
_MODEST = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534,
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
Object = Mapping[str, Any]


class KeptOut(ClusterError):
    """Nothing is to be added to the pod."""

    is_final = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A container to have in a pod: it's called `prefix-NUMBER`, and one that runs the same image is as good."""

    prefix: str
    image: str
    command: Sequence[str]

    def named(self, number: int) -> dict[str, Any]:
        """As the API server takes it."""
        return {
            "name": f"{self.prefix}-{number}", "image": self.image, "imagePullPolicy": "IfNotPresent", "command": list(self.command),
            "terminationMessagePolicy": "FallbackToLogsOnError", "securityContext": _MODEST,
        }  # fmt: skip


def ensure(
    kube: Kube, pod: str, namespace: str, wanted: Wanted, *, keep_out: str, patience: float, cancel: Cancel | None
) -> str:
    """The name of such a container that runs in the pod: the one that is there, or one that is added.

    ApiError where the API server refuses it, KeptOut where nothing is to be added, and ClusterError where it doesn't come to run within `patience` (seconds), which says why. A
    `keep_out` that isn't empty says why nothing is to be added.
    """
    deadline = time.monotonic() + patience
    has_asked = False
    while True:
        found = kube.get(PODS, pod, namespace, cancel=cancel)
        if found is None:
            raise ClusterError(f"pod {namespace}/{pod} is gone")
        states = _states(found, wanted)
        for name, state in states.items():
            if "running" in state:
                return name
        living = {name: state for name, state in states.items() if "terminated" not in state}
        if problem := _hopeless(living, states, has_asked=has_asked):
            raise ClusterError(problem)
        if not living:
            if keep_out:
                raise KeptOut(keep_out)
            container = wanted.named(1 + _highest(found, wanted.prefix))
            body = {"spec": {"ephemeralContainers": [container]}}
            kube.patch(PODS, pod, namespace, body, type="strategic", subresource="ephemeralcontainers")
            has_asked = True
        if cancel is not None and cancel.is_set():
            raise Interrupted
        if time.monotonic() >= deadline:
            told: Object = next(iter(living.values()), {})
            raise ClusterError(
                f"it doesn't run after {patience:.0f} s: {_said(told) or 'its node has said nothing of it'}"
            )
        time.sleep(_PAUSE)


def _states(pod: Object, wanted: Wanted) -> dict[str, Object]:
    """The containers of ours that are in the pod, with what has become of each; empty for one that nobody has looked after yet."""
    names = [
        each["name"] for each in _added(pod) if _is_ours(each["name"], wanted.prefix) and each["image"] == wanted.image
    ]
    told = {
        each["name"]: each.get("state") or {}
        for each in (pod.get("status") or {}).get("ephemeralContainerStatuses") or ()
    }
    return {name: told.get(name, {}) for name in names}


def _hopeless(living: Mapping[str, Object], states: Mapping[str, Object], *, has_asked: bool) -> str:
    """Why none of them will run, and none more should be tried; empty if one may."""
    for state in living.values():
        if (state.get("waiting") or {}).get("reason") in _HOPELESS:
            return _said(state)
    if states and not living:
        last = list(states.values())[-1]
        if has_asked or (last.get("terminated") or {}).get("reason") in ("StartError", "ContainerCannotRun"):
            return f"it has ended: {_said(last)}"
    return ""


def _said(state: Object) -> str:
    told: Object = next(iter(state.values()), {})
    said = [str(told[field]).strip() for field in ("reason", "message") if told.get(field)]
    return ": ".join(said)


def _added(pod: Object) -> Sequence[Object]:
    return (pod.get("spec") or {}).get("ephemeralContainers") or ()


def _is_ours(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}-") and name.removeprefix(f"{prefix}-").isdigit()


def _highest(pod: Object, prefix: str) -> int:
    return max(
        (int(each["name"].rpartition("-")[2]) for each in _added(pod) if _is_ours(each["name"], prefix)), default=0
    )
