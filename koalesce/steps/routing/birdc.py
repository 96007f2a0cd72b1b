"""BIRD, asked by `birdc` (2.0), which prints for people."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import field
from typing import Any

from koalesce.records import dataclass
from koalesce.steps.routing.speaker import WELL_KNOWN, Ask, Family, Side, Speaker, Unreadable, as_path, route
from koalesce.steps.state.view import Item

_STATES = {"Down": "Idle", "Passive": "Active", "Close": "Idle"}  # those that only BIRD has
_ORIGINS = {"IGP": "igp", "EGP": "egp", "Incomplete": "incomplete"}
_TABLES = {"IPv4": "master4", "IPv6": "master6"}
_OWN = frozenset({"prefix", "family"})  # what is told of routes that are sent
_BGP = re.compile(r"(?P<name>\S+)\s+BGP\s")
_SETTING = re.compile(r"\s+(?P<key>[A-Z][A-Za-z ]+?):\s+(?P<value>.+)")
_IMPORTED = re.compile(r"(\d+) imported")
_PATH = re.compile(
    r"(?P<prefix>\S*)\s+(?P<kind>[a-z]+) \[(?P<protocol>\S+) [^]]*\](?: [*!])?(?: \((?P<rank>[^)]*)\))?.*"
)
_ATTRIBUTE = re.compile(r"\t(?:(?P<key>Type|BGP\.[a-z_]+):|(?P<via>via)) (?P<value>.*)")
_COMMUNITY = re.compile(r"\((\d+),\s*(\d+)\)")
_SOURCES = ("BGP", "static")  # not what the kernel had before


def sessions(ask: Ask) -> list[Item]:
    """Its BGP protocols."""
    return [session for _, session in _protocols(ask)]


def _protocols(ask: Ask) -> list[tuple[str, Item]]:
    """Its BGP protocols by the names that they have in its configuration."""
    found: list[tuple[str, list[str]]] = []
    for block in ask(["birdc", "show", "protocols", "all"]).split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith(("BIRD ", "Name ", "Access "))]
        if lines and (head := _BGP.match(lines[0])):
            found.append((head["name"], lines[1:]))
    return [(name, _session(lines)) for name, lines in found]


def _session(lines: Sequence[str]) -> Item:
    values = {match["key"]: match["value"].strip() for match in map(_SETTING.fullmatch, lines) if match}
    state = values.get("BGP state", "")
    theirs = lines[lines.index("    Neighbor capabilities") :] if "    Neighbor capabilities" in lines else []
    imported = [_IMPORTED.search(line) for line in lines if line.startswith("    Routes:")]
    if not state or "Neighbor address" not in values:
        raise Unreadable(f"birdc tells a session in another form: {' | '.join(lines[:3])[:200]!r}")
    return {
        "peer": values["Neighbor address"].partition("%")[0],
        "state": _STATES.get(state, state),
        "asn": int(values.get("Neighbor AS", 0)),
        "localASN": int(values.get("Local AS", 0)),
        "routerID": values.get("Neighbor ID", ""),
        "localAddress": values.get("Source address", ""),
        "holdTime": int(values.get("Hold timer", "").rpartition("/")[2] or 0),
        "gracefulRestart": "      Graceful restart" in theirs,
        "accepted": sum(int(count[1]) for count in imported if count),
    }


def routes(ask: Ask, family: Family, side: Side, peer: str, fields: Collection[str]) -> list[Item]:
    """Its routes of a family: those of BGP, and what it is told to announce. Of those that it sends only the prefixes are told."""
    protocols = _protocols(ask)
    peers = {name: session["peer"] for name, session in protocols}
    place = ["table", _TABLES[family]]
    if side != "table":
        if side == "sent" and not _OWN.issuperset(fields):
            raise Unreadable("birdc tells only the prefixes of what is sent: look at the peer's routes")
        name = next(name for name, address in peers.items() if address == peer)
        place = [{"received": "import", "sent": "export"}[side], "table", f"{name}.{family.lower()}"]
    found: dict[str, list[dict[str, Any]]] = {}
    for path in _paths(ask(["birdc", "show", "route", "all", *place]).splitlines()):
        if path.values.get("Type", "").startswith(_SOURCES):
            before = found.setdefault(path.prefix, [])
            before.append(_as_item(path, peers.get(path.protocol, ""), is_best=not before))
    return [route(prefix, family, paths) for prefix, paths in found.items()]


@dataclass(slots=True)
class _Path:
    """A path as it is printed; the best of a prefix comes first."""

    prefix: str
    protocol: str
    rank: str
    values: dict[str, str] = field(default_factory=dict)


def _paths(lines: Sequence[str]) -> Iterator[_Path]:
    path: _Path | None = None
    for line in lines:
        if match := _PATH.fullmatch(line):
            if path is not None:
                yield path
            prefix = match["prefix"] or (path.prefix if path is not None else "")
            path = _Path(prefix, match["protocol"], match["rank"] or "")
        elif path is not None and (said := _ATTRIBUTE.fullmatch(line)):
            path.values.setdefault(said["key"] or said["via"], said["value"])
        elif line.strip() and not line.startswith(("BIRD ", "Table ", "Access ", "\t")):
            raise Unreadable(f"birdc printed what is no route: {line.strip()[:200]!r}")
    if path is not None:
        yield path


def _as_item(path: _Path, peer: str, *, is_best: bool) -> dict[str, Any]:
    hop = path.values.get("BGP.next_hop") or path.values.get("via", "")
    local = path.values.get("BGP.local_pref")
    return {
        "nextHop": hop.split()[0] if hop else "",
        "asPath": as_path(_hops(path.values.get("BGP.as_path", ""))),
        "communities": [_community(*pair) for pair in _COMMUNITY.findall(path.values.get("BGP.community", ""))],
        "peer": peer,
        "origin": _ORIGINS.get(path.values.get("BGP.origin", "IGP"), "incomplete"),
        "med": int(path.values.get("BGP.med", 0)),
        "localPref": int(local) if local else None,
        "best": is_best,
        "stale": path.rank.partition("/")[0].endswith("s"),
    }


def _hops(text: str) -> Iterator[str]:
    for hop in re.findall(r"\{[^}]*\}|\d+", text):
        yield "{" + ",".join(re.findall(r"\d+", hop)) + "}" if hop.startswith("{") else hop


def _community(high: str, low: str) -> str:
    return WELL_KNOWN.get(int(high) << 16 | int(low)) or f"{high}:{low}"


BIRDC = Speaker("birdc", sessions, routes)
