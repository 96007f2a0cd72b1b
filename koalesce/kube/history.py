"""What changed from one state of an object to the next, in words for a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]


def transitions(old: Object | None, new: Object | None) -> list[str]:
    """Such as `created`, `Ready: False -> True`, `phase: Pending -> Running`, `container app: restarts 0 -> 1`."""
    if old is None:
        return ["created"]
    if new is None:
        return ["deleted"]
    return [*_life(old, new), *_status(old, new), *_conditions(old, new), *_containers(old, new)]


def _life(old: Object, new: Object) -> Iterator[str]:
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        yield "deletion began"
    if old["metadata"].get("uid") != new["metadata"].get("uid"):
        yield "replaced by a new object of this name"


def _status(old: Object, new: Object) -> Iterator[str]:
    """Plain fields of the status: phase, replica counts."""
    before, after = _map(old.get("status")), _map(new.get("status"))
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was != now and not isinstance(was, (dict, list)) and not isinstance(now, (dict, list)):
            yield f"{key}: {_word(was)} -> {_word(now)}"


def _conditions(old: Object, new: Object) -> Iterator[str]:
    before, after = _condition_words(old), _condition_words(new)
    for kind in sorted(before.keys() | after.keys()):
        was, now = before.get(kind, "missing"), after.get(kind, "missing")
        if was != now:
            yield f"{kind}: {was} -> {now}"


def _condition_words(obj: Object) -> dict[str, str]:
    """Type -> status, with the reason where it isn't True."""
    words = {}
    for condition in _maps(_map(obj.get("status")).get("conditions")):
        status, reason = str(condition.get("status")), condition.get("reason")
        words[str(condition.get("type"))] = f"{status} ({reason})" if reason and status != "True" else status
    return words


def _containers(old: Object, new: Object) -> Iterator[str]:
    before = {c.get("name"): c for c in _maps(_map(old.get("status")).get("containerStatuses"))}
    for container in _maps(_map(new.get("status")).get("containerStatuses")):
        name = container.get("name")
        previous = before.get(name, {})
        was, now = _container_state(previous), _container_state(container)
        if was != now:
            yield f"container {name}: {was} -> {now}"
        if container.get("restartCount", 0) != previous.get("restartCount", 0):
            yield f"container {name}: restarts {previous.get('restartCount', 0)} -> {container.get('restartCount', 0)}"


def _container_state(status: Object) -> str:
    for state, detail in _map(status.get("state")).items():
        reason = _map(detail).get("reason")
        return f"{state} ({reason})" if reason else str(state)
    return "missing"


def _map(value: Any) -> Object:
    return value if isinstance(value, dict) else {}


def _maps(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _word(value: Any) -> str:
    return "unset" if value is None else str(value)
