"""The top of the report: how the run went, in words, in numbers, and spec by spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from koalesce.durations import format_seconds
from koalesce.reporters.cases import BAD, Case
from koalesce.reporters.html.markup import Content, Markup, joined, tag
from koalesce.reporters.html.words import ORDER, badge, definitions, mark, status_of, told
from koalesce.reporters.record import RunRecord, SpecRecord

_VERDICTS = {"passed": "Passed", "failed": "Failed", "error": "Error", "skipped": "No tests ran"}


def verdict(record: RunRecord, cases: Sequence[Case]) -> tuple[str, str]:
    """How the run went: a word, and the status that it looks like."""
    end = record.finished
    if end is None:
        return "Did not end", "error"
    if end.interrupted:
        return "Interrupted", "error"
    if end.status in BAD:
        return _VERDICTS[end.status], end.status
    if end.teardown_failed:
        return "Teardown failed", "error"
    return (_VERDICTS["passed"], "passed") if end.passed else (_VERDICTS["skipped"], "skipped")


def header(record: RunRecord, cases: Sequence[Case]) -> Markup:
    """The verdict, the counts and what there is to know of the run."""
    word, look = verdict(record, cases)
    counts = Counter(status_of(case) for case in cases if case.is_test)
    begun, end = record.started, record.finished
    seconds = end.seconds if end else record.elapsed
    shown = [tag("li", tag("b", str(counts[status])), " ", badge(status)) for status in ORDER if counts[status]]
    facts: list[tuple[str, Content]] = [("Duration", format_seconds(seconds))]
    if begun is not None:
        facts += [
            ("Began", tag("time", _readable(begun.at), datetime=begun.at)), ("Run", tag("code", begun.run_id)),
            ("Artifacts", tag("code", begun.folder) if begun.folder else None),
        ]  # fmt: skip
    return tag(
        "header",
        tag("p", "Koalesce", class_="brand"),
        tag("h1", tag("span", word, class_=f"verdict {look}"), " ", tag("span", _what(record), class_="what")),
        tag("ul", shown, class_="counts"),
        _bar(counts),
        definitions(facts),
        _warning(record),
        class_=f"top {look}",
    )


def specs_table(record: RunRecord, cases: Mapping[str, Sequence[Case]]) -> Markup:
    """A line for each spec."""
    rows = [_spec(record, spec, cases.get(path, ())) for path, spec in record.specs.items()]
    head = tag("tr", [tag("th", text, scope="col") for text in ("Spec", "Kubernetes", "Tests", "Time")])
    return tag(
        "div", tag("table", tag("thead", head), tag("tbody", rows), class_="list"), class_="scroll", tabindex="0"
    )


def _what(record: RunRecord) -> str:
    names = record.names
    return f"{len(record.specs)} specs" if len(names) > 3 else ", ".join(names) or "nothing"


def _readable(at: str) -> str:
    date, _, time = at.partition("T")
    return f"{date} {time[:8]} UTC" if at.endswith("Z") and time else at


def _bar(counts: Mapping[str, int]) -> Markup | None:
    """The counts as parts of a bar."""
    total = sum(counts.values())
    if not total:
        return None
    parts, x = [], 0.0
    for status in ORDER:
        width = 100 * counts.get(status, 0) / total
        if width:
            parts.append(tag("rect", x=f"{x:.3f}%", y=0, width=f"{width:.3f}%", height="100%", class_=status))
        x += width
    label = ", ".join(f"{counts[status]} {status}" for status in ORDER if counts.get(status))
    return tag("svg", parts, class_="bar", role="img", aria_label=label, width="100%", height=10)


def _warning(record: RunRecord) -> Markup | None:
    """What keeps the report from being whole, or the machine from being clean."""
    lines: list[Content] = []
    if record.finished is None:
        lines.append(tag("p", "The run did not end: this is what was known until then."))
    for spec in record.specs.values():
        for name, end in spec.teardowns.items():
            if end.message:
                command = [" Remove it with: ", tag("code", end.command)] if end.command else None
                lines.append(tag("p", f"Cluster {name} is left over: {end.message}.", command))
    return tag("div", lines, class_="warning", role="note") if lines else None


def _spec(record: RunRecord, spec: SpecRecord, cases: Sequence[Case]) -> Markup:
    counts = Counter(status_of(case) for case in cases if case.is_test)
    status = spec.finished.status if spec.finished else "error"
    numbers = ", ".join(f"{counts[each]} {each}" for each in ORDER if counts[each]) or "none"
    seconds = spec.finished.seconds if spec.finished else max(0.0, record.elapsed - spec.started.elapsed)
    versions = dict.fromkeys(cluster.kubernetes for cluster in spec.clusters.values())
    why = spec.finished.message if spec.finished and spec.finished.message else ""
    return tag(
        "tr",
        tag(
            "th",
            mark("flaky" if status == "passed" and counts["flaky"] else status),
            " ",
            tag("code", spec.started.spec),
            _note(why),
            scope="row",
        ),
        tag("td", ", ".join(versions) or "none"),
        tag("td", numbers),
        tag("td", _cached(spec.started.cached) if spec.is_cached else told(seconds)),
    )


def _cached(at: str) -> Markup:
    return tag(
        "span", "(cached)", class_="time", title=f"not run: it passed at {_readable(at)}, and nothing has changed since"
    )


def _note(text: str) -> Markup | None:
    return joined(tag("span", text.partition("\n")[0], class_="said")) if text else None
