"""The timeline: clusters, tests, steps, faults and probes on one axis, drawn as SVG that keeps its text at any width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from koalesce.durations import format_seconds
from koalesce.reporters.cases import BAD
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.spans import Anchors, Lane, Row, Span, lanes, overall
from koalesce.reporters.html.words import folded
from koalesce.reporters.record import RunRecord

_ROW = 22  # pixels; the stylesheet's rows are as high
AXIS = 24
_MOST_TICKS = 6
_OPEN_ROWS = 60
_LEGEND = (
    ("passed", "passed"), ("failed", "failed"), ("error", "error"), ("flaky", "flaky"), ("skipped", "skipped"),
    ("phase", "making the cluster"), ("teardown", "teardown"), ("fault", "fault"), ("probe", "goes on beside the steps"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Axis:
    """What a picture is wide: from `begin` to `end`, in seconds since the run began."""

    begin: float
    end: float

    @property
    def length(self) -> float:
        """Its seconds, never none."""
        return max(self.end - self.begin, 0.001)

    def at(self, seconds: float) -> str:
        """Where a time is on it."""
        return f"{100 * min(max(seconds - self.begin, 0.0), self.length) / self.length:.3f}%"

    def share(self, span: Span) -> float:
        """How much of it a span takes, in percent."""
        return 100 * max(span.end - span.begin, 0.0) / self.length


def timeline(record: RunRecord, anchors: Anchors) -> Markup | None:
    """All specs of the run; nothing where nothing has begun."""
    drawn = [lane for lane in lanes(record) if lane.rows]
    if not drawn or record.elapsed <= 0:
        return None
    looks = {word for lane in drawn for row in lane.rows for span in row.spans for word in span.look.split()}
    legend = [
        tag("li", tag("svg", tag("rect", width="100%", height="100%", class_=look), class_="swatch"), f" {text}")
        for look, text in _LEGEND
        if look in looks
    ]
    overview = _picture(overall(record), Axis(0.0, record.elapsed), {}) if len(drawn) > 1 else None
    return joined(tag("ul", legend, class_="legend"), overview, list(_lanes(drawn, anchors)))


def _lanes(drawn: Sequence[Lane], anchors: Anchors) -> Iterator[Markup]:
    """Each lane, unfolded where all of them aren't too much at once, or where something went wrong in it."""
    is_much = sum(len(lane.rows) for lane in drawn) > _OPEN_ROWS and len(drawn) > 1
    left = _OPEN_ROWS
    unfolded = set()
    for lane in drawn:
        if is_much and (_is_good(lane) or (left < _OPEN_ROWS and len(lane.rows) > left)):
            continue
        unfolded.add(lane.spec)
        left -= len(lane.rows)
    for lane in drawn:
        axis = Axis(*_extent(lane))
        more = tag("p", f"{lane.left_out} more tests, which went well and took less time, aren't drawn.")
        content = joined(_picture(lane, axis, anchors), more if lane.left_out > 0 else None)
        yield folded(tag("code", lane.spec), content, is_open=lane.spec in unfolded)


def _extent(lane: Lane) -> tuple[float, float]:
    """From its first begin to its last end."""
    spans = [span for row in lane.rows for span in row.spans]
    return min(span.begin for span in spans), max(span.end for span in spans)


def _is_good(lane: Lane) -> bool:
    looks = {word for row in lane.rows for span in row.spans for word in span.look.split()}
    return not looks & {*BAD, "bad", "running"}


def _picture(lane: Lane, axis: Axis, anchors: Anchors) -> Markup:
    """Names at the left, which stay readable, and bars at the right, which take what room there is."""
    labels = [tag("div", _label(lane, row, anchors), class_=f"row {row.kind}", title=row.label) for row in lane.rows]
    height = AXIS + _ROW * len(lane.rows)
    picture = tag(
        "svg",
        tag("title", f"Timeline of {lane.spec}"),
        list(ticks(axis, height)),
        list(_shadows(lane, axis)),
        [_row(row, AXIS + _ROW * number, axis) for number, row in enumerate(lane.rows)],
        width="100%",
        height=height,
        role="img",
    )
    return tag("div", tag("div", tag("div", class_="axis"), labels, class_="labels"), picture, class_="lane")


def _label(lane: Lane, row: Row, anchors: Anchors) -> Markup:
    anchor = anchors.get((lane.spec, row.name)) if row.kind == "test" else None
    mark = {"fault": "⚡ ", "probe": "↻ "}.get(row.kind, "")
    return tag("a", row.label, href=f"#{anchor}") if anchor else tag("span", mark, row.label)


def ticks(axis: Axis, height: int) -> Iterator[Markup]:
    """Lines and words for round times."""
    step = _step(axis.length)
    for number in range(math.ceil(axis.begin / step), math.floor(axis.end / step) + 1):
        seconds = number * step
        x = axis.at(seconds)
        place = (seconds - axis.begin) / axis.length
        yield tag("line", x1=x, x2=x, y1=AXIS - 4, y2=height, class_="tick")
        anchor = "start" if place < 0.02 else "end" if place > 0.96 else "middle"
        words = _at(seconds, step) if number else "0"
        yield tag("text", words, x=x, y=AXIS - 9, text_anchor=anchor, class_="odd" if number % 2 else None)


def _at(seconds: float, step: float) -> str:
    """A time, as exactly as tells it from those a step before and after."""
    if seconds < 1 or step >= 1 or (seconds < 60 and step >= 0.1):
        return format_seconds(seconds)
    decimals = 1 if step >= 0.1 else 2 if step >= 0.01 else 3
    minutes, rest = divmod(round(seconds, decimals), 60)
    minutes_shown = f"{minutes:.0f}m" if minutes else ""
    return f"{minutes_shown}{rest:0{(3 if minutes else 2) + decimals}.{decimals}f}s"


def _step(length: float) -> float:
    """A round length of time, so that there are a handful of ticks."""
    sizes = [size * 10.0**power for power in range(-3, 1) for size in (1, 2, 5)]
    sizes += [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200]
    return next((size for size in sizes if length / size <= _MOST_TICKS), 86400.0 * math.ceil(length / 86400 / 8))


def _shadows(lane: Lane, axis: Axis) -> Iterator[Markup]:
    """Faults, over all that happened meanwhile."""
    lasting = [span for row in lane.rows if row.kind == "fault" for span in row.spans]
    begun = {span.begin for span in lasting}
    steps = (span for row in lane.rows if row.kind == "test" for span in row.spans if span.look == "fault")
    for span in (*lasting, *(span for span in steps if span.begin not in begun)):
        yield _rect(span, axis, y=AXIS, height=_ROW * len(lane.rows), look="shadow")


def _row(row: Row, top: int, axis: Axis) -> Markup:
    if row.kind in ("fault", "probe"):
        return joined([_rect(span, axis, y=top + 7, height=_ROW - 14) for span in row.spans])
    whole = [span for span in row.spans if span.look.startswith("whole")]
    parts = [span for span in row.spans if not span.look.startswith("whole")]
    drawn = [_rect(span, axis, y=top + 3, height=_ROW - 6) for span in whole]
    inset = 3 if row.kind == "cluster" else 6
    drawn += [_rect(span, axis, y=top + inset, height=_ROW - 2 * inset) for span in parts]
    names = [_name(span, top, axis) for span in parts] if row.kind == "cluster" else []
    return joined(drawn, names)


def _rect(span: Span, axis: Axis, *, y: int, height: int, look: str = "") -> Markup:
    """A bar, wide enough to be seen and pointed at."""
    width = max(axis.share(span), 0.2)
    title = f"{span.title}: {format_seconds(max(0.0, span.end - span.begin))}, from {format_seconds(span.begin)} on"
    word = span.look.replace("whole ", "")
    told = "" if look or word in ("phase", "teardown", "fault", "probe") else f" ({word})"
    return tag(
        "rect", tag("title", title + told), x=axis.at(span.begin), y=y, width=f"{width:.3f}%", height=height,
        rx="2", class_=look or span.look,
    )  # fmt: skip


def _name(span: Span, top: int, axis: Axis) -> Markup | None:
    """A phase's name in its bar, where there is room; what is too long is cut by the inner picture's edge."""
    width = axis.share(span)
    if width < 6:
        return None
    text = tag(
        "text",
        span.title.partition(" of ")[0],
        x="5",
        y="15",
        class_="inside bad" if span.look == "error" else "inside",
    )
    return tag("svg", text, x=axis.at(span.begin), y=top, width=f"{width:.3f}%", height=_ROW)
