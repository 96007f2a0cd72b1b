"""Snapshots, and what compares with them: each id once in a test, and noted before it is used: in the test, in an earlier one, or in `setup`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from koalesce.spec.entries import StepEntry
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

_ORDER = ("steps", "onFailure", "cleanup")
_BEYOND = "others change nodes meanwhile: what was noted elsewhere is compared in a test that says serial: true or disruptive: true"
_Noted = dict[str, list[StepEntry]]


def snapshot_problems(entries: Mapping[Path, list[StepEntry]], alone: Collection[int]) -> Iterator[Problem]:
    """Snapshots of the same id, and what is compared with none that an earlier step notes; `alone` are the numbers of tests beside which no other runs."""
    earlier: _Noted = {}
    for test, steps in _in_order(entries):
        own: dict[str, StepEntry] = {}
        is_alone = test[0] != "tests" or test[1] in alone
        yield from _of_test(steps, own, earlier if test[0] in ("tests", "cleanup") else {}, is_alone=is_alone)
        for name, entry in own.items():
            if "onFailure" not in entry.where:
                earlier.setdefault(name, []).append(entry)


def _in_order(entries: Mapping[Path, list[StepEntry]]) -> Iterator[tuple[Path, list[StepEntry]]]:
    """The steps that know of one another, by test: `setup` first, the spec's clean-up last."""
    tests = dict.fromkeys(where[:2] if where[0] == "tests" else where[:1] for where in entries)
    for test in sorted(tests, key=lambda each: (each[0] != "setup", each[0] == "cleanup")):
        lists = [(where, listed) for where, listed in entries.items() if where[: len(test)] == test]
        lists.sort(key=lambda each: _ORDER.index(str(each[0][-1])) if each[0][-1] in _ORDER else 0)
        yield test, [step for _, listed in lists for entry in listed for step in entry.family]


def _of_test(
    steps: Sequence[StepEntry], noted: dict[str, StepEntry], earlier: _Noted, *, is_alone: bool
) -> Iterator[Problem]:
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
                yield from _elsewhere(entry, name, noted, earlier, is_alone=is_alone)


def _elsewhere(
    entry: StepEntry, name: str, noted: Collection[str], earlier: _Noted, *, is_alone: bool
) -> Iterator[Problem]:
    """What is wrong with comparing with what this test hasn't noted."""
    where = (entry.key, "unchanged")
    found = earlier.get(name, ())
    if not found:
        said = f'no earlier step of the test, of an earlier one or of setup notes a snapshot "{name}"'
        yield entry.problem(where, said, hint=did_you_mean(name, [*noted, *earlier]))
    elif len(found) > 1:
        places = " and in ".join(each.place for each in found)
        yield entry.problem(
            where, f'"{name}" is noted by several tests, in {places}', hint="give them ids of their own"
        )
    elif not is_alone:
        yield entry.problem(where, _BEYOND)


def _place(entry: StepEntry, field: str) -> Path:
    return (entry.key, field) if isinstance(entry.raw[entry.key], dict) else (entry.key,)


def _text(written: Any, field: str) -> str:
    found = written.get(field) if isinstance(written, Mapping) else written if field == "id" else None
    return found if isinstance(found, str) else ""
