"""What did not pass: each with what was expected and seen, how that came about, and what was collected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from koalesce.events import StepAttempted, StepFinished
from koalesce.reporters.cases import BAD, Case
from koalesce.reporters.html.evidence import Evidence
from koalesce.reporters.html.grids import drawn
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.words import badge, definitions, folded, mark, status_of, told
from koalesce.reporters.narration import step_title
from koalesce.reporters.record import FIRST_SIGHTS, StepRecord
from koalesce.reporters.text import clean, location, shorten

_DETAIL = 20_000  # characters of a step's detail


def card(case: Case, spec: str, anchor: str, evidence: Evidence) -> Markup:
    """A case that did not pass, or passed only when it was run again."""
    status = status_of(case)
    head = tag(
        "header",
        tag("h3", badge(status), " ", tag("a", case.name or "setup", href=f"#{anchor}")),
        tag("p", tag("code", location(spec, case.line)), " ", told(case.seconds), class_="where"),
    )
    tries = [_earlier(number, each, evidence) for number, each in enumerate(case.tries, start=1)]
    return tag(
        "article", head, tries, _try(case, evidence) if case.status in BAD else None, class_=f"card {status}", id=anchor
    )


def _earlier(number: int, case: Case, evidence: Evidence) -> Markup:
    return folded([f"Try {number} failed: ", case.message.partition("\n")[0]], _try(case, evidence), class_="try")


def _try(case: Case, evidence: Evidence) -> Markup:
    bad = [step for step in case.steps if step.finished and step.finished.status in BAD]
    running = [step for step in case.steps if step.finished is None] if case.type == "interrupted" else []
    said = (
        None
        if _is_all(case, bad)
        else tag("pre", (case.message if bad else case.text or case.message).strip(), tabindex="0", class_="message")
    )
    steps = [_step(step, step.finished) for step in bad if step.finished]
    return joined(said, steps, map(_cut_off, running), _all_steps(case.steps), evidence.show(case.evidence))


def _is_all(case: Case, bad: Sequence[StepRecord]) -> bool:
    """Whether the steps that went wrong say all that the test says."""
    ends = [step.finished for step in bad if step.finished]
    return any(case.message in (end.message, f"{step_title(end)}: {end.message}") for end in ends)


def _step(step: StepRecord, end: StepFinished) -> Markup:
    place = [tag("code", end.type), " ", tag("code", location(end.spec, end.line)), " ", told(end.seconds)]
    tried = f" in {end.attempts} attempts" if end.attempts > 1 else ""
    return tag(
        "section",
        tag("h4", mark(end.status), " ", step_title(end)),
        tag("p", place, tried, class_="where"),
        tag("p", end.message, class_="message"),
        _compared(end),
        drawn(end.grids),
        _detail(end.detail),
        _history(step),
        class_="step",
    )


def _compared(end: StepFinished) -> Markup | None:
    """Expected and seen, beside each other."""
    sides = [("expected", "Expected", end.expected), ("actual", "Observed", end.actual)]
    shown = [
        tag("div", tag("h5", title), tag("pre", value, tabindex="0"), class_=side)
        for side, title, value in sides
        if value is not None
    ]
    return tag("div", shown, class_="compared") if shown else None


def _detail(text: str) -> Markup | None:
    lines = [_line(line) for line in clean(shorten(text.rstrip(), _DETAIL)).split("\n")] if text.strip() else []
    return tag("pre", lines, tabindex="0", class_="detail") if lines else None


def _line(line: str) -> Markup:
    """A line, and whether it is what a diff takes away or adds."""
    bare = line.lstrip()
    kind = {"-": "expected", "+": "actual"}.get(line[:1])
    if bare.startswith(("expected ", "expected:")):
        kind = "expected"
    elif bare.startswith(("actual ", "actual:")):
        kind = "actual"
    return joined(tag("span", line, class_=kind) if kind else line, "\n")


def _history(step: StepRecord) -> Markup | None:
    """What was seen over time, where that was more than one thing."""
    if len(step.history) < 2:
        return None
    began = step.started.elapsed if step.started else step.history[0].elapsed
    ends = [each.attempt - 1 for each in step.history[1:]]
    ends.append(step.finished.attempts if step.finished else step.attempt)
    rows = [_sight(each, end, began) for each, end in zip(step.history, ends, strict=True)]
    if step.left_out:
        rows.insert(FIRST_SIGHTS, tag("tr", tag("td", f"{step.left_out} other sights, left out", colspan="3")))
    table = tag("table", tag("tbody", rows), class_="history")
    return folded("What was seen over time", tag("div", table, class_="scroll", tabindex="0"), is_open=len(rows) <= 8)


def _sight(seen: StepAttempted, end: int, began: float) -> Markup:
    """What was seen, and by which attempts."""
    count = f"attempt {seen.attempt}" if end <= seen.attempt else f"attempts {seen.attempt} to {end}"
    time = tag("td", f"+{max(0.0, seen.elapsed - began):.2f}s", class_="time")
    return tag("tr", time, tag("td", mark(seen.outcome), " ", count), tag("td", seen.message))


def _cut_off(step: StepRecord) -> Markup | None:
    """A step that was running when the run ended."""
    if step.started is None:
        return None
    pairs = [("Step", step.started.title), ("Last seen", step.seen)]
    return tag("section", definitions(pairs), _history(step), class_="step")


def _all_steps(steps: Sequence[StepRecord]) -> Markup | None:
    ended = [step.finished for step in steps if step.finished]
    if len(ended) < 2:
        return None
    return folded(f"All {len(ended)} steps", step_list(ended))


def step_list(ends: Sequence[StepFinished]) -> Markup:
    """Steps that ended, a line each."""
    return tag("ol", [tag("li", list(_step_line(end))) for end in ends], class_="steps")


def _step_line(end: StepFinished) -> Iterator[Markup | str]:
    yield joined(mark(end.status), " ", tag("b", step_title(end)), " ", told(end.seconds))
    if end.message:
        yield tag("span", end.message.partition("\n")[0], class_="said")
    if end.status not in BAD and end.grids:
        yield folded("pairs", drawn(end.grids))
