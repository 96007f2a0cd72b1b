"""What changed from one state of an object to the next, and such changes in a row, in words for a report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
_LONGEST = 6  # states of one thing that are told
# What changes with everything else, and says nothing.
_DULL = frozenset(
    {"observedGeneration", "startTime", "hostIP", "qosClass", "collisionCount", "fullyLabeledReplicas", "updateRevision",
     "currentRevision", "terminatingReplicas"}
)  # fmt: skip


# What an object begins with is no change.
_NOTHING = ("unset", "missing")
_BEGINNINGS = ("False", "Pending", "0", "waiting (ContainerCreating)", "waiting (PodInitializing)")
_GRANTED = ("Initialized", "PodScheduled", "Progressing")


@dataclass(frozen=True, slots=True)
class Move:
    """A thing of an object went from one state to another; without a thing, the object itself did."""

    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: {self.was} -> {self.now}" if self.what else self.now


def transitions(old: Object | None, new: Object | None) -> list[Move]:
    """Such as `created`, `Ready: False -> True`, `phase: Pending -> Running`, `container app restarts: 0 -> 1`."""
    if old is None:
        return [Move("", "", "created")]
    if new is None:
        return [Move("", "", "deleted")]
    moves = [*_life(old, new), *_status(old, new), *_conditions(old, new), *_containers(old, new)]
    return [move for move in moves if not (move.was in _NOTHING and _is_beginning(move))]


def _is_beginning(move: Move) -> bool:
    return move.now.startswith(_BEGINNINGS) or (move.now == "True" and move.what in _GRANTED)


def chains(moves: Iterable[tuple[float, str, Move]]) -> list[str]:
    """What happened to each thing of each object, on one line: `pod/web Ready: False → True +1.2s → False +3.4s`.

    Moves are (seconds, object, move) in the order of time; lines come in the order of their first move. Of many states the first
    and the last are told.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for seconds, name, move in moves:
        row = rows.setdefault((name, move.what), [])
        if not row and move.what:
            row.append(move.was)
        row.append(f"{move.now} +{seconds:.1f}s")
    return [
        f"{name} {what}: {_joined(row)}" if what else f"{name}: {_joined(row)}" for (name, what), row in rows.items()
    ]


def _joined(states: list[str]) -> str:
    if len(states) <= _LONGEST:
        return " → ".join(states)
    left_out = len(states) - _LONGEST + 1
    return " → ".join([*states[:2], f"… {left_out} more …", *states[left_out + 2 :]])


def _life(old: Object, new: Object) -> Iterator[Move]:
    if new["metadata"].get("deletionTimestamp") and not old["metadata"].get("deletionTimestamp"):
        yield Move("", "", "deletion began")
    if old["metadata"].get("uid") != new["metadata"].get("uid"):
        yield Move("", "", "replaced by a new object of this name")
    was, now = old["metadata"].get("generation"), new["metadata"].get("generation")
    if was != now and isinstance(now, int) and not new["metadata"].get("deletionTimestamp"):
        yield Move("spec generation", _word(was), _word(now))


def _status(old: Object, new: Object) -> Iterator[Move]:
    """Plain fields of the status: phase, replica counts."""
    before, after = _map(old.get("status")), _map(new.get("status"))
    for key in sorted((before.keys() | after.keys()) - _DULL):
        was, now = before.get(key), after.get(key)
        if was != now and not isinstance(was, (dict, list)) and not isinstance(now, (dict, list)):
            yield Move(key, _word(was), _word(now))


def _conditions(old: Object, new: Object) -> Iterator[Move]:
    before, after = _condition_words(old), _condition_words(new)
    for kind in sorted(before.keys() | after.keys()):
        was, now = before.get(kind, "missing"), after.get(kind, "missing")
        if was != now:
            yield Move(kind, was, now)


def _condition_words(obj: Object) -> dict[str, str]:
    """Type -> status, with the reason where it isn't True."""
    words = {}
    for condition in _maps(_map(obj.get("status")).get("conditions")):
        status, reason = str(condition.get("status")), condition.get("reason")
        words[str(condition.get("type"))] = f"{status} ({reason})" if reason and status != "True" else status
    return words


def _containers(old: Object, new: Object) -> Iterator[Move]:
    for field, word in (("initContainerStatuses", "init container"), ("containerStatuses", "container")):
        before = {c.get("name"): c for c in _maps(_map(old.get("status")).get(field))}
        for container in _maps(_map(new.get("status")).get(field)):
            name, previous = f"{word} {container.get('name')}", before.get(container.get("name"), {})
            was, now = _container_state(previous), _container_state(container)
            if was != now:
                yield Move(name, was, now)
            if container.get("restartCount", 0) != previous.get("restartCount", 0):
                restarts = previous.get("restartCount", 0), container.get("restartCount", 0)
                yield Move(f"{name} restarts", *map(str, restarts))


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
