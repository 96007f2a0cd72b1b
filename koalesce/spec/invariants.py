"""What is wrong with invariants: they are looked at after every test, and must change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from koalesce.spec.entries import StepEntry
from koalesce.steps.base import Assertion
from koalesce.yaml.problems import Problem

SECTION = "invariants"


def invariant_problems(entry: StepEntry) -> Iterator[Problem]:
    """Steps among the invariants that do more than look."""
    if entry.section != SECTION:
        return
    for each in entry.family:
        if each.key not in ("", "use") and (not issubclass(each.type, Assertion) or each.type.writes):
            yield each.problem((each.key,), "an invariant only observes", key=True, hint="make it a step of tests")
    if "outputs" in entry.raw:
        yield entry.problem(("outputs",), "nothing comes after an invariant that could take them", key=True)
