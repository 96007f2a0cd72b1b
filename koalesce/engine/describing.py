"""Short descriptions of pods, workloads and nodes for the evidence: what `kubectl describe` says, as far as it explains something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from koalesce.engine.explaining import event_time
from koalesce.steps.objects.reading import kind_and_name, shortened
from koalesce.steps.workloads.pods import is_ready, why_not_ready
from koalesce.steps.workloads.rollout import DECIDERS, rollout_status

Object = Mapping[str, Any]
_MOST_EVENTS = 20
_WAYS = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


def describe(objects: Iterable[Object], events: Sequence[Object]) -> str:
    """Pods, workloads and nodes, each in a few lines, with their events."""
    return "\n\n".join("\n".join(_lines(obj, events)) for obj in objects)


def unready(pods: Iterable[Object]) -> list[str]:
    """The pods that aren't ready, each with the reason."""
    waiting = [pod for pod in pods if not is_ready(pod) and (pod.get("status") or {}).get("phase") != "Succeeded"]
    return [f"{kind_and_name(pod)} in {pod['metadata'].get('namespace', '')} {why_not_ready(pod)}" for pod in waiting]


def event_lines(events: Iterable[Object]) -> list[str]:
    """Events in the order of time: when, type, reason, object, how often, message."""
    return [_event(event, with_object=True) for event in sorted(events, key=event_time)]


def _lines(obj: Object, events: Sequence[Object]) -> Iterator[str]:
    kind = obj["kind"]
    yield kind_and_name(obj) + _summary(obj)
    if kind == "Pod":
        yield from _containers(obj)
    if kind == "Node":
        yield from _capacity(obj)
    if conditions := [_condition(found) for found in (obj.get("status") or {}).get("conditions") or ()]:
        yield f"  conditions: {', '.join(conditions)}"
    about = [event for event in events if (event.get("involvedObject") or {}).get("uid") == obj["metadata"].get("uid")]
    for event in sorted(about, key=event_time)[-_MOST_EVENTS:]:
        yield f"  {_event(event, with_object=False)}"


def _summary(obj: Object) -> str:
    status, spec = obj.get("status") or {}, obj.get("spec") or {}
    if obj["kind"] == "Pod":
        where = f"on {spec.get('nodeName') or 'no node'}, {status.get('phase', 'Pending')}, {status.get('podIP') or 'no address'}"
        why = why_not_ready(obj)
        return f": {where}" + (f"; {why}" if why else "; Ready")
    if obj["kind"] in DECIDERS:
        return f": {rollout_status(obj).message.partition(' ')[2]}"
    if obj["kind"] == "Job":
        return f": {status.get('succeeded', 0)} succeeded, {status.get('failed', 0)} failed, {status.get('active', 0)} active"
    return ""


def _containers(pod: Object) -> Iterator[str]:
    for field in _WAYS:
        for found in (pod.get("status") or {}).get(field) or ():
            word = "init container" if field.startswith("init") else "container"
            states = [_state(found.get("state")), f"restarts {found.get('restartCount', 0)}"]
            if found.get("lastState"):
                states.append(f"before: {_state(found['lastState'])}")
            yield f"  {word} {found['name']}, image {found.get('image')}: {', '.join(states)}"


def _state(state: Object | None) -> str:
    for name, detail in (state or {}).items():
        told = [f"code {detail['exitCode']}"] if "exitCode" in detail else []
        told += [str(detail[key]) for key in ("reason", "finishedAt", "startedAt", "message") if detail.get(key)]
        return f"{name} ({', '.join(shortened(text, 300) for text in told)})" if told else str(name)
    return "no state"


def _capacity(node: Object) -> Iterator[str]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    taints = [f"{taint['key']}={taint.get('value', '')}:{taint['effect']}" for taint in spec.get("taints") or ()]
    allocatable = status.get("allocatable") or {}
    yield f"  taints: {', '.join(taints) or 'none'}" + ("; unschedulable" if spec.get("unschedulable") else "")
    yield "  allocatable: " + ", ".join(f"{name} {allocatable[name]}" for name in sorted(allocatable))


def _condition(found: Object) -> str:
    why = found.get("reason") if found.get("status") != "True" else ""
    return f"{found.get('type')}={found.get('status')}" + (f" ({why})" if why else "")


def _event(event: Object, *, with_object: bool) -> str:
    about = event.get("involvedObject") or {}
    subject = f"  {str(about.get('kind', '?')).lower()}/{about.get('name', '?')}" if with_object else ""
    count = int(event.get("count") or (event.get("series") or {}).get("count") or 1)
    times = f" ({count} times)" if count > 1 else ""
    said = " ".join(str(event.get("message", "")).split())
    return f"{event_time(event)}  {event.get('type', '')}  {event.get('reason', '')}{times}{subject}  {said}"
