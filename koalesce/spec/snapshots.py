"""Snapshots, and what compares with them: each id once in a test, and before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from koalesce.spec.entries import StepEntry
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

_ORDER = ("steps", "onFailure", "cleanup")


def snapshot_problems(entries: Mapping[Path, list[StepEntry]]) -> Iterator[Problem]:
    """Snapshots of the same id, and what is compared with none that an earlier step of the test notes."""
    for test in dict.fromkeys(where[:2] if where[0] == "tests" else where for where in entries):
        lists = [(where, listed) for where, listed in entries.items() if where[: len(test)] == test]
        lists.sort(key=lambda each: _ORDER.index(str(each[0][-1])) if each[0][-1] in _ORDER else 0)
        yield from _of_test([step for _, listed in lists for entry in listed for step in entry.family])


def _of_test(steps: Sequence[StepEntry]) -> Iterator[Problem]:
    noted: dict[str, StepEntry] = {}
    for entry in steps:
        if entry.key == "snapshot":
            name = _text(entry.raw[entry.key], "id")
            if "foreach" in entry.raw:
                yield entry.problem(("foreach",), "each item would be noted under the same id", key=True)
            if name in noted:
                message = f'"{name}" is noted already, in {noted[name].place}'
                yield entry.problem(_place(entry, "id"), message)
            noted.setdefault(name, entry)
        elif entry.key == "node-state":
            name = _text(entry.raw[entry.key], "unchanged")
            if name and name not in noted and not any("${{" in each for each in (name, *noted)):
                message = f'no earlier step of the test notes a snapshot "{name}"'
                yield entry.problem((entry.key, "unchanged"), message, hint=did_you_mean(name, noted))


def _place(entry: StepEntry, field: str) -> Path:
    return (entry.key, field) if isinstance(entry.raw[entry.key], dict) else (entry.key,)


def _text(written: Any, field: str) -> str:
    found = written.get(field) if isinstance(written, Mapping) else written if field == "id" else None
    return found if isinstance(found, str) else ""
