"""A run beside an earlier one: what fails newly, what is fixed, and what takes longer than chance explains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from koalesce.durations import format_seconds
from koalesce.reporters.cases import BAD, Case, cases_of
from koalesce.reporters.narration import step_title
from koalesce.reporters.record import RunRecord
from koalesce.reporters.text import location, one_line

_RATIO = 1.5  # what takes less than this times as long isn't told
_SECONDS = 0.5  # nor is what takes less than this longer
_ENOUGH = 5  # tests that passed in both runs, before anything is said of how much times vary
_SPREADS = 3.0  # times the usual deviation is beyond chance
_LISTED = 20  # changes of a kind
_NORMAL = 1.4826  # from the median of deviations to a standard deviation, where they are normal


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A test that is not as it was; `before` is None where there was none, `after` where there is none. `step`: where its time goes."""

    spec: str
    name: str
    before: Case | None
    after: Case | None
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two runs. `only_now`, `only_before`: so many specs are in one of them alone. `pace`: how many times as long tests take on the whole, where enough of them can be compared."""

    run: str
    at: str
    broken: Sequence[Change] = ()
    fixed: Sequence[Change] = ()
    slower: Sequence[Change] = ()
    faster: Sequence[Change] = ()
    added: Sequence[Change] = ()
    gone: Sequence[Change] = ()
    still: Sequence[Change] = field(default=())
    only_now: int = 0
    only_before: int = 0
    has_common: bool = True
    pace: float | None = None


def compare(earlier: RunRecord, now: RunRecord) -> Comparison:
    """Compare two runs test by test; those of specs that are in one of them only are left out, and counted.

    Times are compared of tests that ran in both, and passed at their first try. Where there are enough of them, what is common to all (a busier machine)
    is taken out, and a test is slower only if it's further from the others than three times their usual deviation.
    """
    before, after = _cases(earlier), _cases(now)
    specs = set(earlier.specs) & set(now.specs)
    pairs = {key: (before.get(key), after.get(key)) for key in {**after, **before} if key[0] in specs}

    def those(is_wanted: Callable[[Case | None, Case | None], bool]) -> list[Change]:
        found = ((key, *pair) for key, pair in pairs.items() if is_wanted(*pair))
        return [Change(spec=spec, name=name, before=old, after=new) for (spec, name), old, new in found]

    cached = {path for run in (earlier, now) for path, spec in run.specs.items() if spec.is_cached}
    slower, faster, pace = _timed([each for each in those(_is_comparable) if each.spec not in cached])
    begun = earlier.started
    return Comparison(
        run=begun.run_id if begun else "", at=begun.at if begun else "",
        broken=those(lambda old, new: _is_bad(new) and not _is_bad(old)),
        fixed=those(lambda old, new: _is_bad(old) and new is not None and new.status == "passed"),
        still=those(lambda old, new: _is_bad(old) and _is_bad(new)),
        added=those(lambda old, new: old is None and new is not None and not _is_bad(new)),
        gone=those(lambda old, new: old is not None and new is None and old.is_test),
        slower=slower, faster=faster, pace=pace,
        only_now=len(set(now.specs) - specs), only_before=len(set(earlier.specs) - specs), has_common=bool(specs),
    )  # fmt: skip


def ratio(change: Change) -> float:
    """How many times as long it takes."""
    if change.before is None or change.after is None:
        return 1.0
    return max(change.after.seconds, 0.001) / max(change.before.seconds, 0.001)


def headline(found: Comparison) -> str:
    """The changes as counts, in one line."""
    counts = [
        (len(found.broken), "newly failing"), (len(found.still), "still failing"), (len(found.fixed), "fixed"),
        (len(found.slower), "slower"), (len(found.faster), "faster"), (len(found.added), "new"), (len(found.gone), "gone"),
    ]  # fmt: skip
    if not found.has_common:
        return "no spec is in both"
    changes = ", ".join(f"{count} {word}" for count, word in counts if count) or "nothing changed"
    alone = [
        f"{_specs(count)} only in {which}"
        for count, which in ((found.only_now, "this run"), (found.only_before, "that one"))
        if count
    ]
    return f"{changes}; not compared: {', '.join(alone)}" if alone else changes


def _specs(count: int) -> str:
    return f"{count} spec{'' if count == 1 else 's'}"


def told(found: Comparison) -> Iterator[str]:
    """What differs, a line for each test."""
    run = f"run {one_line(found.run)}" if found.run else "an earlier run"
    yield f"compared with {run}{f' of {one_line(found.at)}' if found.at else ''}: {headline(found)}{_pace(found)}"
    for word, changes in (("newly failing", found.broken), ("fixed", found.fixed)):
        yield from _listed(f"{word}: {_place(each)}{_why(each.after)}" for each in changes)
    for word, changes in (("slower", found.slower), ("faster", found.faster)):
        yield from _listed(f"{word}: {_place(each)}: {_times(each)}" for each in changes)


def _cases(record: RunRecord) -> dict[tuple[str, str], Case]:
    return {(path, case.name): case for path, spec in record.specs.items() for case in cases_of(record, spec)}


def _is_bad(case: Case | None) -> bool:
    return case is not None and case.status in BAD


def _is_comparable(old: Case | None, new: Case | None) -> bool:
    return all(case is not None and case.status == "passed" and not case.tries for case in (old, new))


def _timed(changes: Sequence[Change]) -> tuple[list[Change], list[Change], float | None]:
    """Those that are slower and those that are faster, the most first, and how the whole has changed."""
    logs = {id(change): math.log(ratio(change)) for change in changes}
    has_enough = len(changes) >= _ENOUGH
    middle = median(logs.values()) if has_enough else 0.0
    spread = _NORMAL * median(abs(value - middle) for value in logs.values()) if has_enough else 0.0
    limit = max(math.log(_RATIO), _SPREADS * spread)

    def beyond(change: Change, sign: int) -> bool:
        expected = math.exp(middle) * change.before.seconds if change.before else 0.0
        longer = sign * (change.after.seconds - expected) if change.after else 0.0
        return sign * (logs[id(change)] - middle) > limit and longer >= _SECONDS

    slower = sorted((each for each in changes if beyond(each, 1)), key=ratio, reverse=True)
    faster = sorted((each for each in changes if beyond(each, -1)), key=ratio)
    placed = [
        Change(spec=each.spec, name=each.name, before=each.before, after=each.after, step=_step(each))
        for each in slower
    ]
    return placed, faster, math.exp(middle) if has_enough else None


def _step(change: Change) -> str:
    """The step that takes the most of what is longer, where one takes most of it."""
    if change.before is None or change.after is None:
        return ""
    old, new = dict(_steps(change.before)), dict(_steps(change.after))
    grown = {title: seconds - old[title] for title, seconds in new.items() if title in old}
    most = max(grown, key=lambda title: grown[title], default="")
    total = change.after.seconds - change.before.seconds
    return most if most and grown[most] > total / 2 else ""


def _steps(case: Case) -> Iterator[tuple[str, float]]:
    for number, step in enumerate(case.steps):
        if step.finished:
            title = step_title(step.finished)
            yield (
                (title, step.finished.seconds)
                if step.index == number
                else (f"{title} ({number})", step.finished.seconds)
            )


def _times(change: Change) -> str:
    """How long a test takes, and took."""
    if change.before is None or change.after is None:
        return ""
    mostly = f", mostly in {one_line(change.step)}" if change.step else ""
    was = format_seconds(change.before.seconds)
    return f"{format_seconds(change.after.seconds)}, was {was} ({ratio(change):.1f} times{mostly})"


def _pace(found: Comparison) -> str:
    """How all tests together have changed, where that is worth a word."""
    is_told = found.pace is not None and not 1 / 1.2 < found.pace < 1.2
    return f"; tests take {found.pace:.1f} times as long on the whole" if is_told else ""


def _listed(lines: Iterator[str]) -> Iterator[str]:
    every = list(lines)
    yield from every[:_LISTED]
    if len(every) > _LISTED:
        yield f"… and {len(every) - _LISTED} more that are {every[0].partition(':')[0]}"


def _place(change: Change) -> str:
    line = change.after.line if change.after else 0
    return f"{location(change.spec, line)} {one_line(change.name) or 'setup'}"


def _why(case: Case | None) -> str:
    first = case.message.strip().partition("\n")[0] if case else ""
    return f": {one_line(first)}" if first else ""
