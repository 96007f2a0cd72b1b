"""BGP sessions as a drawing: the machines that speak it, those of the cluster below the others, and a line for each session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from koalesce.events import Session, StepFinished
from koalesce.reporters.cases import BAD
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.spans import Anchors
from koalesce.reporters.html.words import folded, mark
from koalesce.reporters.record import RunRecord, SpecRecord, TestRecord

_UP = "Established"
_MOST_IN_A_ROW = 12  # machines; of more there is the table only
_MOST = 40  # tests
_STEP, _MARGIN, _EDGE, _BETWEEN = 170, 90, 4, 150
_BOX = (130, 40)
_BESIDE = 0.27  # of a line: behind the box at its end, before others cross it
_LEGEND = (
    ("up", "established"),
    ("half", "established at one end only, as far as was looked"),
    ("down", "not established"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The sessions between two machines, as one end or both have them."""

    ends: tuple[str, str]
    sessions: Sequence[Session]

    @property
    def look(self) -> str:
        """How it is drawn."""
        up = [session.state == _UP for session in self.sessions]
        return "up" if all(up) else "half" if any(up) else "down"


def topologies(record: RunRecord, anchors: Anchors) -> Markup | None:
    """A drawing for each test that looked at sessions, as they were at its last looks; those of tests that did not pass are unfolded."""
    found = [
        (spec, test, sessions)
        for spec in record.specs.values()
        for test in spec.tests.values()
        if (sessions := _last(test))
    ]
    if not found:
        return None
    legend = [
        tag(
            "li",
            tag("svg", tag("line", x1="0", y1="50%", x2="100%", y2="50%", class_=look), class_="swatch"),
            f" {text}",
        )
        for look, text in _LEGEND
    ]
    legend.append(tag("li", tag("b", "n"), " routes accepted by the end beside it"))
    found.sort(key=lambda each: not _is_bad(each[1]))
    shown = [
        _test(spec, test, sessions, anchors, is_open=_is_bad(test) or number == 0)
        for number, (spec, test, sessions) in enumerate(found[:_MOST])
    ]
    more = tag("p", f"{len(found) - _MOST} more tests, which went well, aren't drawn.") if len(found) > _MOST else None
    return joined(tag("ul", legend, class_="legend"), shown, more)


def _is_bad(test: TestRecord) -> bool:
    return test.finished is not None and test.finished.status in BAD


def _last(test: TestRecord) -> list[Session]:
    """Of each machine that was looked at, the sessions of the last look at it."""
    found: dict[str, list[Session]] = {}
    for end in (step.finished for step in test.steps if step.finished):
        found |= _by_machine(end)
    return [session for sessions in found.values() for session in sessions]


def _by_machine(end: StepFinished) -> Mapping[str, list[Session]]:
    found: dict[str, list[Session]] = {}
    for session in end.sessions:
        found.setdefault(session.at, []).append(session)
    return found


def _test(
    spec: SpecRecord, test: TestRecord, sessions: Sequence[Session], anchors: Anchors, *, is_open: bool
) -> Markup:
    path = spec.started.spec
    anchor = anchors.get((path, test.name))
    name = tag("a", test.name or "setup", href=f"#{anchor}") if anchor else test.name or "setup"
    links = _links(sessions)
    up = sum(link.look == "up" for link in links)
    status = test.finished.status if test.finished else "running"
    head = [
        mark(status),
        " ",
        name,
        " ",
        tag("code", path, class_="where"),
        tag("span", f" {up} of {len(links)} up", class_="time"),
    ]
    nodes = [str(node.get("name", "")) for cluster in spec.clusters.values() for node in cluster.nodes]
    return folded(head, _picture(links, sessions, nodes), _table(sessions), is_open=is_open, class_="topology")


def _links(sessions: Sequence[Session]) -> list[Link]:
    found: dict[tuple[str, str], list[Session]] = {}
    for session in sessions:
        one, other = sorted((session.at, session.peer))
        found.setdefault((one, other), []).append(session)
    return [Link(ends=ends, sessions=both) for ends, both in found.items()]


def _picture(links: Sequence[Link], sessions: Sequence[Session], nodes: Sequence[str]) -> Markup | None:
    names = list(dict.fromkeys(name for link in links for name in link.ends))
    below = [name for name in nodes if name in names]
    above = sorted(name for name in names if name not in below)
    width = max(len(above), len(below))
    if width > _MOST_IN_A_ROW:
        return None
    whole = 2 * _MARGIN + _STEP * (width - 1)
    up, down = (_room(row, links) for row in (above, below))
    top = _EDGE + up if above else _EDGE + _BOX[1] // 2
    bottom = top + _BETWEEN if above else top
    places = {**_row(above, whole, top), **_row(below, whole, bottom)}
    height = (bottom + down if below else top + _BOX[1] // 2) + _EDGE
    courses = [
        (link, Course.between(*(places[end] for end in link.ends), is_above=link.ends[0] in above)) for link in links
    ]
    numbers = {session.at: session.local_asn for session in sessions} | {
        session.peer: session.asn for session in sessions
    }
    return tag(
        "svg",
        tag("title", "BGP sessions"),
        [_line(link, course) for link, course in courses],
        [list(_routes(link, course)) for link, course in courses],
        [_box(name, at, numbers.get(name, 0), is_node=name in below) for name, at in places.items()],
        viewBox=f"0 0 {whole} {height}", width=f"{whole}", role="img",
    )  # fmt: skip


def _room(row: Sequence[str], links: Sequence[Link]) -> int:
    """How far it is from the middle of a row to its outer side: to that of its boxes, or to the peak of the deepest bow."""
    spans = [abs(row.index(a) - row.index(b)) for a, b in (link.ends for link in links) if a in row and b in row]
    return max([_BOX[1] // 2, *(_bow(span) for span in spans)])


def _bow(span: int) -> int:
    """How deep a bow is to a machine so many places on."""
    return 26 * span + 22


def _row(names: Sequence[str], whole: int, y: int) -> dict[str, tuple[int, int]]:
    first = (whole - _STEP * (len(names) - 1)) // 2
    return {name: (first + _STEP * number, y) for number, name in enumerate(names)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The way of a line: a straight one between the rows, a bow within one, so that it passes by the machines between."""

    begin: tuple[int, int]
    control: tuple[float, float]
    end: tuple[int, int]

    @classmethod
    def between(cls, begin: tuple[int, int], end: tuple[int, int], *, is_above: bool) -> Course:
        """The way between two machines."""
        (x1, y1), (x2, y2) = begin, end
        depth = 2 * _bow(abs(x2 - x1) // _STEP) * (-1 if is_above else 1) if y1 == y2 else 0
        return cls(begin=begin, control=((x1 + x2) / 2, (y1 + y2) / 2 + depth), end=end)

    def __str__(self) -> str:
        (x1, y1), (x, y), (x2, y2) = self.begin, self.control, self.end
        return f"M {x1} {y1} Q {x:.0f} {y:.0f} {x2} {y2}"

    def at(self, part: float) -> tuple[float, float]:
        """The place where this part of it is over."""
        x, y = (
            (1 - part) ** 2 * a + 2 * part * (1 - part) * b + part**2 * c
            for a, b, c in zip(self.begin, self.control, self.end, strict=True)
        )
        return x, y


def _line(link: Link, course: Course) -> Markup:
    told = "; ".join(
        f"{each.at} has {each.peer} as {each.state}, {each.accepted} routes accepted" for each in link.sessions
    )
    return tag("path", tag("title", told), d=str(course), class_=link.look)


def _routes(link: Link, course: Course) -> Iterator[Markup]:
    """How many routes an end has accepted, on the line beside it."""
    for each in link.sessions:
        if each.state == _UP:
            x, y = course.at(_BESIDE if each.at == link.ends[0] else 1 - _BESIDE)
            told = f"{each.at} has accepted {each.accepted} routes of {each.peer}"
            place = {"x": f"{x:.0f}", "y": f"{y + 4:.0f}", "text_anchor": "middle"}
            yield tag("text", tag("title", told), str(each.accepted), class_="routes", **place)


def _box(name: str, at: tuple[int, int], asn: int, *, is_node: bool) -> Markup:
    wide, high = _BOX
    x, y = at[0] - wide // 2, at[1] - high // 2
    shown = name if len(name) <= 19 else f"{name[:18]}…"
    number = f"AS {asn}" if asn else "AS unknown"
    return tag(
        "g",
        tag("title", f"{name}, {number}"),
        tag("rect", x=x, y=y, width=wide, height=high, rx="6", class_="node" if is_node else "other"),
        tag("text", shown, x=at[0], y=at[1] - 3, text_anchor="middle", class_="name"),
        tag("text", number, x=at[0], y=at[1] + 13, text_anchor="middle"),
    )  # fmt: skip


def _table(sessions: Sequence[Session]) -> Markup:
    head = tag("tr", [tag("th", text, scope="col") for text in ("At", "Peer", "AS", "State", "Routes accepted")])
    table = tag("table", tag("thead", head), tag("tbody", list(_rows(sessions))), class_="list")
    return folded("Sessions", tag("div", table, class_="scroll", tabindex="0"))


def _rows(sessions: Sequence[Session]) -> Iterator[Markup]:
    for each in sorted(sessions, key=lambda one: (one.state == _UP, one.at, one.peer)):
        state = [mark("passed" if each.state == _UP else "failed"), " ", each.state]
        cells = (each.peer, str(each.asn), state, str(each.accepted))
        yield tag("tr", tag("th", each.at, scope="row"), [tag("td", cell) for cell in cells])
