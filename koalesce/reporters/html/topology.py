"""BGP as drawings: the machines that speak it with a line for each session, and the ways of routes between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from koalesce.events import RouteTable, Session, StepFinished
from koalesce.reporters.cases import BAD
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.network import LARGE, Course, Network, arranged
from koalesce.reporters.html.routes import routes
from koalesce.reporters.html.spans import Anchors
from koalesce.reporters.html.words import folded, mark
from koalesce.reporters.record import RunRecord, SpecRecord, TestRecord

_UP = "Established"
_MOST = 40  # tests
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


def _last_tables(test: TestRecord) -> list[RouteTable]:
    """Of each table of routes that was looked at, what the last look saw."""
    ends = (step.finished for step in test.steps if step.finished)
    found = {(table.at, table.side, table.peer, table.family): table for end in ends for table in end.routes}
    return list(found.values())


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
    ways = routes(_last_tables(test), [link.ends for link in links], nodes)
    return folded(head, _picture(links, sessions, nodes), _table(sessions), ways, is_open=is_open, class_="topology")


def _links(sessions: Sequence[Session]) -> list[Link]:
    found: dict[tuple[str, str], list[Session]] = {}
    for session in sessions:
        one, other = sorted((session.at, session.peer))
        found.setdefault((one, other), []).append(session)
    return [Link(ends=ends, sessions=both) for ends, both in found.items()]


def _picture(links: Sequence[Link], sessions: Sequence[Session], nodes: Sequence[str]) -> Markup | None:
    network = arranged(nodes, [link.ends for link in links], LARGE)
    if network is None:
        return None
    courses = [(link, network.course(link.ends)) for link in links]
    numbers = {session.at: session.local_asn for session in sessions} | {
        session.peer: session.asn for session in sessions
    }
    return network.picture(
        "BGP sessions",
        [_line(link, course) for link, course in courses],
        [list(_accepted(link, course)) for link, course in courses],
        [_box(name, network, numbers.get(name, 0)) for name in network.places],
    )


def _line(link: Link, course: Course) -> Markup:
    told = "; ".join(
        f"{each.at} has {each.peer} as {each.state}, {each.accepted} routes accepted" for each in link.sessions
    )
    return tag("path", tag("title", told), d=str(course), class_=link.look)


def _accepted(link: Link, course: Course) -> Iterator[Markup]:
    """How many routes an end has accepted, on the line beside it."""
    for each in link.sessions:
        if each.state == _UP:
            x, y = course.at(_BESIDE if each.at == link.ends[0] else 1 - _BESIDE)
            told = f"{each.at} has accepted {each.accepted} routes of {each.peer}"
            place = {"x": f"{x:.0f}", "y": f"{y + 4:.0f}", "text_anchor": "middle"}
            yield tag("text", tag("title", told), str(each.accepted), class_="routes", **place)


def _box(name: str, network: Network, asn: int) -> Markup:
    number = f"AS {asn}" if asn else "AS unknown"
    return network.box(name, number, told=f"{name}, {number}")


def _table(sessions: Sequence[Session]) -> Markup:
    head = tag("tr", [tag("th", text, scope="col") for text in ("At", "Peer", "AS", "State", "Routes accepted")])
    table = tag("table", tag("thead", head), tag("tbody", list(_rows(sessions))), class_="list")
    return folded("Sessions", tag("div", table, class_="scroll", tabindex="0"))


def _rows(sessions: Sequence[Session]) -> Iterator[Markup]:
    for each in sorted(sessions, key=lambda one: (one.state == _UP, one.at, one.peer)):
        state = [mark("passed" if each.state == _UP else "failed"), " ", each.state]
        cells = (each.peer, str(each.asn), state, str(each.accepted))
        yield tag("tr", tag("th", each.at, scope="row"), [tag("td", cell) for cell in cells])
