"""Cleanup steps: each of them runs, whatever became of the others."""

from __future__ import annotations

from collections.abc import Sequence

from koalesce.engine.stepping import Section, StepRunner
from koalesce.errors import Interrupted
from koalesce.spec.entries import StepEntry

CLEANUP_TIMEOUT = 60.0  # seconds of a step that says nothing


def clean_up(runner: StepRunner, section: Section, steps: Sequence[StepEntry]) -> list[str]:
    """Run cleanup steps in their order; returns a sentence for each that went wrong or was cut off."""
    problems: list[str] = []
    for index, entry in enumerate(steps):
        try:
            result = runner.run(section, index, entry)
        except Interrupted:
            left = ", ".join(each.title for each in steps[index:])
            return [*problems, f"cut off, {runner.interrupt.reason}: {left}"]
        if result.status in ("failed", "error"):
            problems.append(f"{result.title}: {result.message}")
    return problems
