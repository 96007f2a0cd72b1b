"""What came of questions that were asked again and again: latency and loss over time, and the faults meanwhile."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from koalesce.durations import format_seconds
from koalesce.events import Series, StepFinished
from koalesce.reporters.cases import BAD
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.spans import Anchors, Span, faults, timed
from koalesce.reporters.html.timeline import AXIS, Axis, ticks
from koalesce.reporters.html.words import folded, mark
from koalesce.reporters.narration import step_title
from koalesce.reporters.record import RunRecord

_ROW = 64  # pixels; the stylesheet's rows of plots are as high
_CURVE = 44  # of them for latency; below it stand lost and wrong tries
_MOST = 30  # steps
_OF_NAMESPACE = re.compile(r"(?<!\S)[a-z0-9-]+/(?=[a-z0-9])")
_LEGEND = (
    ("slowest", "slowest answer"),
    ("usual", "usual answer (median)"),
    ("lost", "lost"),
    ("wrong", "wrong"),
    ("shadow", "fault"),
)


def plots(record: RunRecord, anchors: Anchors) -> Markup | None:
    """A picture for each step that ended such questions; those that did not pass are unfolded."""
    found = [
        (path, name, step.finished)
        for path, spec in timed(record)
        for name, test in spec.tests.items()
        for step in test.steps
        if step.finished and step.finished.series
    ]
    if not found:
        return None
    legend = [
        tag("li", tag("svg", tag("rect", width="100%", height="100%", class_=look), class_="swatch"), f" {text}")
        for look, text in _LEGEND
    ]
    drawn = sorted(found, key=_is_good)[:_MOST]
    shown = [_step(record, *each, anchors, is_open=_is_open(each[2]) or each is drawn[0]) for each in drawn]
    more = tag("p", f"{len(found) - _MOST} more, which went well, aren't drawn.") if len(found) > _MOST else None
    return joined(tag("ul", legend, class_="legend"), shown, more)


def _is_good(found: tuple[str, str, StepFinished]) -> bool:
    return found[2].status not in BAD


def _is_open(end: StepFinished) -> bool:
    return end.status in BAD or len(end.series) <= 4


def _step(record: RunRecord, path: str, name: str, end: StepFinished, anchors: Anchors, *, is_open: bool) -> Markup:
    anchor = anchors.get((path, name))
    test = tag("a", name or "setup", href=f"#{anchor}") if anchor else name or "setup"
    head = [mark(end.status), " ", test, ": ", step_title(end), " ", tag("code", path, class_="where")]
    axis = Axis(max(0.0, end.elapsed - max(each.ago for each in end.series)), end.elapsed)
    meanwhile = [span for span in faults(record, record.spec(path)) if span.begin < axis.end and span.end > axis.begin]
    return folded(head, _picture(end, axis, meanwhile), is_open=is_open, class_="plot")


def _picture(end: StepFinished, axis: Axis, meanwhile: Sequence[Span]) -> Markup:
    names = _short([each.title for each in end.series])
    labels = [
        tag("div", tag("b", name, title=each.title), tag("span", _figures(each)), class_="row series")
        for name, each in zip(names, end.series, strict=True)
    ]
    height = AXIS + _ROW * len(end.series)
    shadows = [_shadow(span, axis, height - AXIS) for span in meanwhile]
    picture = tag(
        "svg",
        tag("title", f"Latency and loss: {step_title(end)}"),
        list(ticks(axis, height)),
        shadows,
        [_series(each, AXIS + _ROW * number, axis, end.elapsed) for number, each in enumerate(end.series)],
        width="100%", height=height, role="img",
    )  # fmt: skip
    return tag("div", tag("div", tag("div", class_="axis"), labels, class_="labels"), picture, class_="lane")


def _short(titles: Sequence[str]) -> list[str]:
    """The titles without the namespace, where all pods in them are of one: what tells them apart would be cut off otherwise."""
    namespaces = {found for title in titles for found in _OF_NAMESPACE.findall(title)}
    return [_OF_NAMESPACE.sub("", title) if len(namespaces) == 1 else title for title in titles]


def _figures(series: Series) -> str:
    """The figures of a series, in a line."""
    right, lost, wrong = sum(series.right), sum(series.lost), sum(series.wrong)
    slowest = max((each for each in series.slowest if each is not None), default=None)
    took = f", slowest {format_seconds(slowest)}" if slowest is not None else ""
    return f"{lost} lost, {wrong} wrong of {right + lost + wrong}{took}"


def _shadow(span: Span, axis: Axis, height: int) -> Markup:
    begin, end = max(span.begin, axis.begin), min(span.end, axis.end)
    title = f"{span.title}: from {format_seconds(span.begin)} to {format_seconds(span.end)}"
    width = max(100 * (end - begin) / axis.length, 0.2)
    name = tag("text", span.title, x=axis.at(begin), y=AXIS + 11, dx="3", class_="fault")
    bar = tag(
        "rect", tag("title", title), x=axis.at(begin), y=AXIS, width=f"{width:.3f}%", height=height, class_="shadow"
    )
    return joined(bar, name)


def _series(series: Series, top: int, axis: Axis, ended: float) -> Markup:
    began = ended - series.ago
    known = [each for each in (*series.usual, *series.slowest) if each]
    scale = _Scale(min(known), max(known)) if known else None
    base = tag("line", x1="0", x2="100%", y1=top + _CURVE, y2=top + _CURVE, class_="base")
    return joined(base, list(_spans(series, top, axis, began, scale)))


def _spans(series: Series, top: int, axis: Axis, began: float, scale: _Scale | None) -> Iterator[Markup]:
    width = f"{100 * series.width / axis.length:.3f}%"
    rows = zip(series.right, series.lost, series.wrong, series.usual, series.slowest, strict=True)
    for number, (right, lost, wrong, usual, slowest) in enumerate(rows):
        if not right + lost + wrong:
            continue
        begin = began + number * series.width
        title = tag("title", f"{format_seconds(max(0.0, begin))}: {_said(right, lost, wrong, usual, slowest)}")
        bars = []
        for look, seconds in (("slowest", slowest), ("usual", usual)):
            if seconds is not None and scale is not None:
                high = scale.of(seconds)
                bars.append(tag("rect", x=axis.at(begin), y=top + _CURVE - high, width=width, height=high, class_=look))
        for look, count, at in (("lost", lost, 2), ("wrong", wrong, 9)):
            if count:
                share = count / (right + lost + wrong)
                bars.append(
                    tag(
                        "rect",
                        x=axis.at(begin),
                        y=top + _CURVE + at,
                        width=width,
                        height=6,
                        fill_opacity=round(0.6 + 0.4 * share, 2),
                        class_=look,
                    )
                )
        yield tag("g", title, bars)


class _Scale:
    """Heights of times, in pixels: logarithmic, since answers take from a tenth of a millisecond to seconds."""

    def __init__(self, least: float, most: float) -> None:
        self._least = math.log(least) - 0.7
        self._length = max(math.log(most) - self._least, 0.7)

    def of(self, seconds: float) -> float:
        """The height of a time."""
        if seconds <= 0:
            return 1.0
        return round(max(1.0, (_CURVE - 6) * (math.log(seconds) - self._least) / self._length), 1)


def _said(right: int, lost: int, wrong: int, usual: float | None, slowest: float | None) -> str:
    took = (
        f" (usually {format_seconds(usual)}, slowest {format_seconds(slowest)})"
        if usual is not None and slowest is not None
        else ""
    )
    return f"{right} right{took}, {lost} lost, {wrong} wrong"
