"""What steps take of a cluster by what they are: a test that can't do without is skipped rather than an error halfway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from koalesce.spec.entries import StepEntry, body_of


def needs_of(steps: Sequence[StepEntry]) -> list[str]:
    """The capabilities without which some of the steps can't be done, in their order; those that may be left out don't count."""
    return list(dict.fromkeys(name for step in steps for name in _needs(step)))


def _needs(step: StepEntry) -> Iterator[str]:
    if "if" in step.raw or "requires" in step.raw:
        return
    body, _ = body_of(step.type, step.raw.get(step.key))
    if isinstance(body, dict):
        yield from sorted(step.type.takes(body))
    for inner in (*((step.inner,) if step.inner is not None else ()), *step.children):
        yield from _needs(inner)
