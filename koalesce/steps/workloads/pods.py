"""Why a pod isn't ready, in one line; and whether one of its images can't be had at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.patterns import pattern
from koalesce.steps.base import Errored
from koalesce.steps.objects.reading import condition, explained, is_true, kind_and_name, shortened

# Waiting reasons of the kubelet's image manager: https://pkg.go.dev/k8s.io/kubernetes/pkg/kubelet/images
UNAVAILABLE_IMAGE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
# A pull that fails like this may well succeed at the next try.
_MAY_PASS = pattern(
    r"timed? ?out|connection re(fused|set)|\bEOF\b|TLS handshake|temporar|too many requests|try again|: (429|5\d\d) ",
    re.IGNORECASE,
)
# A pull that fails like this was refused by a registry that had been reached, or could never have been asked for.
_REFUSED = pattern(
    r"not ?found|(manifest|name)[ _]unknown|denied|unauthorized|forbidden|authorization failed|insufficient_scope|no match for platform|does not exist"
    r"|invalid reference|could ?n[o']t parse|x509",
    re.IGNORECASE,
)
# These need no registry to be certain.
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed")
_ENDED = ("Succeeded", "Failed")
_RPC = pattern(r"rpc error: code = \w+ desc = ")
_WAYS = "supply it in the spec (cluster.images), on the command line (--image REF=PATH), or from a registry that can be reached"


def image_verdict(pod: Mapping[str, Any]) -> Errored | None:
    """An error if an image of the pod can't be had, naming the image and the ways to supply it; else None.

    It's final where the kubelet says that a further try would be of no use.
    """
    for status in _container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, said = waiting.get("reason"), str(waiting.get("message", ""))
        if reason not in UNAVAILABLE_IMAGE:
            continue
        image = _image_of(pod, status)
        return Errored(
            f'{kind_and_name(pod)}: the image "{image}" of container {status["name"]} can\'t be had ({reason}); {_WAYS}',
            detail=shortened(_RPC.sub("", said), 1000),
            final=reason in _HOPELESS or _is_refused(said),
        )
    return None


def _is_refused(said: str) -> bool:
    """Whether the kubelet says that a registry won't give the image, and not only that it has failed so far."""
    return bool(_REFUSED.search(said)) and not _MAY_PASS.search(said)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether the pod is Ready."""
    return is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]


def has_ended(pod: Mapping[str, Any]) -> bool:
    """Whether all its containers have ended for good."""
    return (pod.get("status") or {}).get("phase") in _ENDED


def why_not_ready(pod: Mapping[str, Any]) -> str:
    """Why a pod isn't ready, in one clause; empty if it is."""
    if "deletionTimestamp" in pod["metadata"]:
        return "is being deleted"
    if has_ended(pod):
        return _why_ended(pod)
    if is_ready(pod):
        return ""
    scheduled = condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("status") == "False":
        return f"is not scheduled: {explained(scheduled)}"
    if not (pod.get("spec") or {}).get("nodeName"):
        return "is not scheduled yet"
    for why in _container_reasons(pod):
        return why
    gate = next((gate for gate in _gates(pod) if not is_true(pod, gate)), None)
    if gate:
        return f"its readiness gate {gate} isn't True"
    text = explained(condition(pod, "Ready"))
    return f"isn't Ready: {text}" if text else "isn't Ready yet"


def why_not_running(pod: Mapping[str, Any], container: str) -> str:
    """Why a container of a pod doesn't run, in one clause."""
    found = next((status for status in _container_statuses(pod) if status["name"] == container), None)
    if found is not None and (found.get("state") or {}).keys() & {"waiting", "terminated"}:
        return _state(found, f"container {container}", pod)
    if not (pod.get("status") or {}).get("containerStatuses") and (why := why_not_ready(pod)):
        return why
    return f"container {container} hasn't been started yet"


def _container_reasons(pod: Mapping[str, Any]) -> Iterator[str]:
    """What keeps containers from being ready; init containers first, as they run."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    for found in status.get("initContainerStatuses") or ():
        if not found.get("ready") and not found.get("started"):
            name = f"init container {found['name']}"
            is_running = "running" in (found.get("state") or {})
            yield f"{name} hasn't ended yet" if is_running else _state(found, name, pod)
            break
    for found in status.get("containerStatuses") or ():
        if not found.get("ready"):
            yield _state(found, f"container {found['name']}", pod)
    if not status.get("containerStatuses"):
        yield f"on {spec.get('nodeName')}: the kubelet hasn't started its containers yet"


def _state(found: Mapping[str, Any], name: str, pod: Mapping[str, Any]) -> str:
    state = found.get("state") or {}
    if waiting := state.get("waiting"):
        if waiting.get("reason") in UNAVAILABLE_IMAGE:
            said = shortened(_RPC.sub("", str(waiting.get("message", ""))))
            return f'{name}: {waiting["reason"]} for the image "{_image_of(pod, found)}": {said}'
        if waiting.get("reason") == "CrashLoopBackOff":
            return f"{name} crashes ({_times(found)}): {_exit((found.get('lastState') or {}).get('terminated'))}"
        return f"{name} waits: {explained(waiting) or 'no reason given'}{_no_network(pod, waiting)}"
    if terminated := state.get("terminated"):
        return f"{name} {_exit(terminated)}"
    if "running" not in state:
        return f"{name} has no state yet"
    probe = "its readiness probe hasn't passed" if _has_probe(pod, str(found["name"])) else "it isn't ready"
    last = (found.get("lastState") or {}).get("terminated")
    return f"{name} runs, but {probe}" + (f" ({_times(found)}; before, it {_exit(last)})" if last else "")


def _no_network(pod: Mapping[str, Any], waiting: Mapping[str, Any]) -> str:
    """A pod whose sandbox has no network shows nothing else in its containers."""
    sandbox = condition(pod, "PodReadyToStartContainers")
    if waiting.get("reason") == "ContainerCreating" and sandbox and sandbox.get("status") == "False":
        return " (its sandbox and network aren't set up yet)"
    return ""


def _times(found: Mapping[str, Any]) -> str:
    count = found.get("restartCount", 0)
    return "1 restart" if count == 1 else f"{count} restarts"


def _exit(terminated: Mapping[str, Any] | None) -> str:
    if not terminated:
        return "ended"
    how = f"signal {terminated['signal']}" if terminated.get("signal") else f"code {terminated.get('exitCode')}"
    text = explained(terminated)
    return f"ended with {how}" + (f" ({text})" if text else "")


def _why_ended(pod: Mapping[str, Any]) -> str:
    status = pod["status"]
    exits = [
        f"container {found['name']} {_exit(found['state']['terminated'])}"
        for found in status.get("containerStatuses") or ()
        if (found.get("state") or {}).get("terminated")
    ]
    text = explained(status) or "; ".join(exits)
    return f"has ended ({status['phase']})" + (f": {text}" if text else "")


def _container_statuses(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        yield from status.get(field) or ()


def _image_of(pod: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """The image as the spec writes it: the status may have it resolved or empty."""
    spec = pod.get("spec") or {}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            if container.get("name") == status["name"]:
                return str(container.get("image", ""))
    return str(status.get("image", ""))


def _has_probe(pod: Mapping[str, Any], name: str) -> bool:
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(container.get("name") == name and "readinessProbe" in container for container in containers)


def _gates(pod: Mapping[str, Any]) -> list[str]:
    return [str(gate.get("conditionType")) for gate in (pod.get("spec") or {}).get("readinessGates") or ()]
