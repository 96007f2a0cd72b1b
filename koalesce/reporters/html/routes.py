"""BGP routes as drawings: for all prefixes that go the same way a small one, with an arrow from who announced them to whom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from koalesce.events import Route, RouteTable
from koalesce.reporters.html.markup import Markup, joined, tag
from koalesce.reporters.html.network import SMALL, Course, Ends, Network, arranged
from koalesce.reporters.html.words import folded

_MOST = 12  # drawings of a test
_MOST_PREFIXES = 6  # above a drawing
_MOST_ROWS = 500
_HEAD = 0.62  # of an arrow: where its head is, so that two of opposite ways are told apart
_TABLE = "table"
_LEGEND = (
    ("used", "announced, and the best path there"),
    ("unused", "announced, another path is better"),
    ("offered", "received or sent, as one end says"),
)
_WORDS = {"origin": "its own", "has": "has it", "without": "not there", "unknown": "not asked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a prefix goes: the look of each arrow, and of each machine what becomes of the prefix there."""

    arrows: Mapping[Ends, str]
    states: Mapping[str, str]

    @property
    def key(self) -> tuple[object, ...]:
        """The same for ways that are the same."""
        return (tuple(sorted(self.arrows.items())), tuple(sorted(self.states.items())))

    @property
    def lacks(self) -> int:
        """At how many machines that were asked it isn't there."""
        return sum(state == "without" for state in self.states.values())


def routes(tables: Sequence[RouteTable], sessions: Iterable[Ends], nodes: Sequence[str]) -> Markup | None:
    """What a test saw of routes: drawings, those first where a machine lacks a prefix, and a table."""
    if not tables:
        return None
    links = dict.fromkeys(tuple(sorted(ends)) for ends in (*sessions, *_announced(tables)))
    network = arranged(nodes, [(one, other) for one, other in links], SMALL)
    drawings = _drawings(tables, network, [(one, other) for one, other in links]) if network else []
    more = f"Others are in the table only: {len(drawings) - _MOST}." if len(drawings) > _MOST else ""
    parts = [
        tag("ul", list(_legend()), class_="legend"),
        tag("div", drawings[:_MOST], class_="ways"),
        tag("p", more) if more else None,
    ]
    return joined(tag("h4", "Routes"), parts if drawings else None, _table(tables))


def _announced(tables: Iterable[RouteTable]) -> Iterator[Ends]:
    """From whom to whom routes were announced."""
    for table in tables:
        peers = [route.peer for route in table.routes] if table.side == _TABLE else [table.peer]
        yield from ((peer, table.at) for peer in peers if peer)


def _drawings(tables: Sequence[RouteTable], network: Network, links: Sequence[Ends]) -> list[Markup]:
    ways: dict[tuple[object, ...], tuple[Way, list[str]]] = {}
    for prefix in sorted({route.prefix for table in tables for route in table.routes}, key=_rank):
        way = _way(prefix, tables, network.places)
        ways.setdefault(way.key, (way, []))[1].append(prefix)
    ordered = sorted(ways.values(), key=lambda each: -each[0].lacks)
    return [_drawing(way, prefixes, network, links) for way, prefixes in ordered]


def _rank(prefix: str) -> tuple[int, int, int, str]:
    try:
        network = ip_network(prefix)
    except ValueError:
        return (9, 0, 0, prefix)
    return (network.version, int(network.network_address), network.prefixlen, "")


def _way(prefix: str, tables: Iterable[RouteTable], machines: Iterable[str]) -> Way:
    arrows: dict[Ends, str] = {}
    states = dict.fromkeys(machines, "unknown")
    for table in sorted(tables, key=lambda one: one.side != _TABLE):  # what a table says is more than an offer
        mine = [route for route in table.routes if route.prefix == prefix]
        if table.side != _TABLE:
            ends = (table.peer, table.at) if table.side == "received" else (table.at, table.peer)
            if mine:
                arrows.setdefault(ends, "offered")
        elif table.family == _family(prefix):
            states[table.at] = _state(mine, table)
            arrows |= {(route.peer, table.at): "unused" for route in mine if route.peer}
            arrows |= {(route.peer, table.at): "used" for route in mine if route.peer and route.is_best}
    return Way(arrows=arrows, states=states)


def _family(prefix: str) -> str:
    return "IPv6" if ":" in prefix else "IPv4"


def _state(mine: Sequence[Route], table: RouteTable) -> str:
    if mine:
        return "has" if all(route.peer for route in mine) else "origin"
    return "unknown" if table.left_out else "without"


def _drawing(way: Way, prefixes: Sequence[str], network: Network, links: Sequence[Ends]) -> Markup:
    more = f" and {len(prefixes) - _MOST_PREFIXES} more" if len(prefixes) > _MOST_PREFIXES else ""
    caption = joined(
        [[", " if at else "", tag("code", each)] for at, each in enumerate(prefixes[:_MOST_PREFIXES])], more
    )
    still = [ends for ends in links if ends not in way.arrows and ends[::-1] not in way.arrows]
    picture = network.picture(
        f"How {prefixes[0]}{' and others go' if len(prefixes) > 1 else ' goes'}",
        [tag("path", d=str(network.course(ends)), class_="still") for ends in still],
        [_arrow(ends, look, network.course(ends)) for ends, look in way.arrows.items()],
        [
            network.box(name, _WORDS[state], told=f"{name}: {_WORDS[state]}", class_=state)
            for name, state in way.states.items()
        ],
    )
    return tag("figure", tag("figcaption", caption), tag("div", picture, class_="scroll", tabindex="0"))


def _arrow(ends: Ends, look: str, course: Course) -> Markup:
    (x, y), (before_x, before_y) = course.at(_HEAD), course.at(_HEAD - 0.05)
    turn = math.degrees(math.atan2(y - before_y, x - before_x))
    return tag(
        "g",
        tag("title", f"{ends[0]} → {ends[1]}: {dict(_LEGEND)[look]}"),
        tag("path", d=str(course), class_=look),
        tag("path", d="M -6 -5 L 6 0 L -6 5 Z", transform=f"translate({x:.0f} {y:.0f}) rotate({turn:.0f})", class_=f"head {look}"),
    )  # fmt: skip


def _legend() -> Iterator[Markup]:
    for look, text in _LEGEND:
        line = tag("line", x1="0", y1="50%", x2="100%", y2="50%", class_=look)
        yield tag("li", tag("svg", line, class_="swatch wide"), f" {text}")


def _table(tables: Sequence[RouteTable]) -> Markup:
    columns = ("At", "Prefix", "From", "Next hop", "AS path", "Best")
    head = tag("tr", [tag("th", text, scope="col") for text in columns])
    rows = [row for table in tables for row in _rows(table)]
    left_out = sum(table.left_out for table in tables)
    said = [
        f"{len(rows) - _MOST_ROWS} more paths aren't listed." if len(rows) > _MOST_ROWS else "",
        f"{left_out} more prefixes weren't kept." if left_out else "",
    ]
    table = tag("table", tag("thead", head), tag("tbody", rows[:_MOST_ROWS]), class_="list")
    notes = [tag("p", each) for each in said if each]
    return folded("Table of routes", tag("div", table, class_="scroll", tabindex="0"), notes)


def _rows(table: RouteTable) -> Iterator[Markup]:
    side = "" if table.side == _TABLE else f", {table.side} {'from' if table.side == 'received' else 'to'} {table.peer}"
    for route in table.routes:
        best = ("yes" if route.is_best else "no") if table.side == _TABLE else ""
        cells = (route.prefix, route.peer or "–", route.next_hop or "–", route.as_path or "–", best)  # noqa: RUF001  # drawn
        yield tag("tr", tag("th", table.at + side, scope="row"), [tag("td", cell) for cell in cells])
