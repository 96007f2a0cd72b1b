"""What a run of conformance tests came to, as text, and whether that is as expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.conformance.selection import Selection
from tests.conformance.suite import Result

_LINES = 6


def line(result: Result) -> str:
    """A test that ended, with the first lines of why."""
    said = [text for text in result.message.splitlines() if text.strip()][:_LINES]
    return "\n".join(
        [f"{result.status:<8}{result.seconds:6.1f} s  {result.name}", *(f"          {text}" for text in said)]
    )


def surprises(results: Iterable[Result], selection: Selection) -> list[str]:
    """What isn't as the selection has it: failures that it doesn't know, and tests that pass though it says they fail."""
    found = []
    for result in results:
        known = result.name in selection.known_failures
        if result.status == "passed" and known:
            found.append(f"passes, but is said to fail: {result.name}")
        elif result.status == "error" or (result.status != "passed" and not known):
            found.append(f"{result.status}: {result.name}")
    return found


def table(results: Sequence[Result], selection: Selection) -> str:
    """How many of each group ended how, and the reasons of known failures."""
    lines = [f"{'':<14}{'run':>5}{'passed':>8}{'failed':>8}{'skipped':>9}{'error':>7}{'left out':>10}"]
    for group in selection.groups:
        counted = Counter(result.status for result in results if result.name.startswith(group))
        left = sum(name.startswith(group) for name in selection.left_out)
        counts = (
            sum(counted.values()),
            *(counted[status] for status in ("passed", "failed", "skipped", "error")),
            left,
        )
        widths = (5, 8, 8, 9, 7, 10)
        lines.append(f"{group:<14}" + "".join(f"{count:>{width}}" for count, width in zip(counts, widths, strict=True)))
    for result in results:
        if result.status != "passed" and (reason := selection.known_failures.get(result.name)):
            lines.append(f"known: {result.name}\n       {reason}")
    return "\n".join(lines)
