"""What is started in the background and what ends it: each once, in one list of steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from koalesce.spec.entries import StepEntry
from koalesce.steps.base import Background
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from koalesce.steps.wire.flows import Probe

_INSIDE = ("timeout", "retry", "mayNotExist", "patient", "stableFor", "consistently", "never", "within")
_RUNS, _ENDS = "background", "stop"  # types by their keys: to load them is of use only where they are said
_CAN_NOT_GO_ON = (_RUNS, _ENDS, "sleep", "snapshot", "use")
_ASKING = ("connectivity", "curl", "dns", "tcp", "udp")  # what `every` is for
_BESIDE = ("if", "foreach", "requires", "continueOnFailure", "cluster")
_LIKE_A_LIST = "it would be started once for each item, under one id"


def pair_problems(entries: Mapping[Path, list[StepEntry]]) -> Iterator[Problem]:
    """What is started and never stopped, stopped twice or without a start, or has the id of another."""
    for test in {where[:2] if where[0] == "tests" else where[:1] for where in entries}:
        own = {where: listed for where, listed in entries.items() if where[: len(test)] == test}
        yield from _same_ids(own.values())
    for listed in entries.values():
        yield from unpaired(listed)


def form_problems(entry: StepEntry) -> Iterator[Problem]:
    """Fields of a `background` step that stand in the wrong place, and steps that can't go on in the background."""
    if entry.section == "ready" and (entry.key in (_RUNS, _ENDS) or issubclass(entry.type, Background)):
        yield entry.problem((entry.key,), "nothing can go on in the background of a component's readiness", key=True)
    if entry.key == _ENDS and "foreach" in entry.raw:
        yield entry.problem(("foreach",), "a stop is for one thing", key=True)
    if issubclass(entry.type, Background) and "foreach" in entry.raw and started_id(entry):
        yield entry.problem(("foreach",), _LIKE_A_LIST, key=True)
    if entry.key != _RUNS:
        return
    every = _is_asked_often(entry)
    for name in _INSIDE:
        if name in entry.raw and not (every and name == "timeout"):
            yield entry.problem((name,), "it stands in the step that is run", key=True, hint='put it under "run"')
    if "foreach" in entry.raw:
        yield entry.problem(("foreach",), _LIKE_A_LIST, key=True)
    if "outputs" in entry.raw:
        yield entry.problem(("outputs",), "they are known at the end only", key=True, hint="put them beside its stop")
    if entry.inner is not None and entry.inner.key:
        yield from _inner_problems(entry.inner)
        yield from _asking_problems(entry, entry.inner) if every else ()


def _is_asked_often(entry: StepEntry) -> bool:
    body = entry.raw.get(entry.key)
    return entry.key == _RUNS and isinstance(body, dict) and body.get("every") is not None


def _asking_problems(entry: StepEntry, inner: StepEntry) -> Iterator[Problem]:
    """What has no meaning where something is asked again and again."""
    if inner.key not in _ASKING:
        message = f"{inner.key} can't be asked again and again"
        yield entry.problem((entry.key, "every"), message, key=True, hint=f"these can: {', '.join(_ASKING)}")
        return
    for name in _INSIDE:
        if name in inner.raw:
            hint = 'put it beside "background"' if name == "timeout" else "the stop says how it must have gone"
            yield inner.problem((name,), 'has no meaning with "every"', key=True, hint=hint)
    step = cast("Probe | None", inner.draft.step if inner.draft is not None else None)
    if step is not None and (name := step.not_continuous()):
        yield inner.problem((inner.key, name), 'has no meaning with "every"', key=True)


def _stop_problems(stop: StepEntry, started: StepEntry) -> Iterator[Problem]:
    """Fields of a `stop` that aren't for what it ends."""
    from koalesce.steps.stop import OF_TRIES

    body = stop.raw[stop.key]
    every = _is_asked_often(started)
    for name in body if isinstance(body, dict) else ():
        if not every and name in OF_TRIES:
            hint = "give the background step an every" if started.key == _RUNS else None
            yield stop.problem((stop.key, name), "is for what is asked again and again", key=True, hint=hint)
        if every and name in ("wait", "status"):
            yield stop.problem((stop.key, name), "what is asked again and again has no end of its own", key=True)


def _inner_problems(inner: StepEntry) -> Iterator[Problem]:
    if issubclass(inner.type, Background):
        hint = "make it a step of the list; with an id, a stop ends it"
        yield inner.problem((inner.key,), "it goes on in the background by itself", key=True, hint=hint)
    elif inner.key in _CAN_NOT_GO_ON:
        yield inner.problem((inner.key,), "can't go on in the background", key=True)
    for name in _BESIDE:
        if name in inner.raw:
            yield inner.problem((name,), 'it stands beside "background"', key=True)
    if "outputs" in inner.raw:
        yield inner.problem(("outputs",), "they are known at the end only", key=True, hint="put them beside its stop")


def started_id(entry: StepEntry) -> str | None:
    """The id under which a step starts something."""
    if entry.key != _RUNS and not issubclass(entry.type, Background):
        return None
    return _text(entry.raw.get(entry.key), "id")


def stopped_id(entry: StepEntry) -> str | None:
    """The id of what a step ends."""
    if entry.key != _ENDS:
        return None
    written = entry.raw.get(entry.key)
    return written if isinstance(written, str) else _text(written, "id")


def _text(written: Any, name: str) -> str | None:
    found = written.get(name) if isinstance(written, dict) else None
    return found if isinstance(found, str) else None


def _same_ids(lists: Iterable[list[StepEntry]]) -> Iterator[Problem]:
    seen: dict[str, StepEntry] = {}
    for entry in (entry for listed in lists for entry in listed):
        name = started_id(entry)
        if name is None:
            continue
        if name in seen:
            first = seen[name]
            yield entry.problem((entry.key, "id"), f'"{name}" is started already, in {first.place}')
        else:
            seen[name] = entry


def unpaired(listed: Sequence[StepEntry]) -> Iterator[Problem]:
    """What one list of steps starts and never stops, or stops without a start."""
    started: dict[str, StepEntry] = {}
    stopped: dict[str, StepEntry] = {}
    for entry in listed:
        if (name := started_id(entry)) is not None:
            started.setdefault(name, entry)
        if (name := stopped_id(entry)) is None or "${{" in name:
            continue
        where: Path = (entry.key, "id") if isinstance(entry.raw[entry.key], dict) else (entry.key,)
        if name in stopped:
            yield entry.problem(where, f'"{name}" is stopped already, in {stopped[name].place}')
        elif name not in started:
            later = any(started_id(other) == name for other in listed)
            message = f'"{name}" is stopped before it is started' if later else f'no earlier step starts "{name}"'
            yield entry.problem(where, message, hint=did_you_mean(name, started))
        if name in started and name not in stopped:
            yield from _stop_problems(entry, started[name])
        stopped.setdefault(name, entry)
    for name, entry in started.items():
        if entry.key == _RUNS and name not in stopped:
            yield entry.problem(
                (entry.key, "id"), f'"{name}" is never stopped', hint=f"add {{stop: {name}}} to the same list"
            )
