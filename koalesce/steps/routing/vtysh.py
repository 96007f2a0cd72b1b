"""FRR's bgpd, asked by `vtysh` (8.4 and later)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from koalesce.steps.routing.speaker import Ask, Family, Side, Speaker, Unreadable, as_path, route
from koalesce.steps.state.view import Item

_SIDES = {"received": ("received-routes", "receivedRoutes"), "sent": ("advertised-routes", "advertisedRoutes")}
_ORIGINS = {"IGP": "igp", "EGP": "egp", "i": "igp", "e": "egp", "?": "incomplete"}


def sessions(ask: Ask) -> list[Item]:
    """Its neighbours."""
    found = _read(ask(["vtysh", "-c", "show bgp neighbors json"]))
    return [_session(address, peer) for address, peer in found.items() if "bgpState" in peer]


def _session(address: str, peer: Mapping[str, Any]) -> Item:
    restart = str(peer.get("neighborCapabilities", {}).get("gracefulRestart", ""))
    families = peer.get("addressFamilyInfo", {}).values()
    identifier = peer.get("remoteRouterId", "")
    return {
        "peer": address,
        "state": peer["bgpState"],
        "asn": peer.get("remoteAs", 0),
        "localASN": peer.get("localAs", 0),
        "routerID": "" if identifier == "0.0.0.0" else identifier,
        "localAddress": peer.get("hostLocal", ""),
        "holdTime": peer.get("bgpTimerHoldTimeMsecs", 0) // 1000,
        "gracefulRestart": "eceived" in restart,
        "accepted": sum(family.get("acceptedPrefixCounter", 0) for family in families),
    }


def routes(ask: Ask, family: Family, side: Side, peer: str, fields: Collection[str]) -> list[Item]:
    """Its routes of a family. Its lists don't tell communities, for which each prefix of its table is asked for by itself."""
    show = f"show bgp {family.lower()} unicast"
    if side != "table":
        if "communities" in fields:
            raise Unreadable("vtysh tells no communities of what was received or sent: look at the table")
        words, key = _SIDES[side]
        found = _read(ask(["vtysh", "-c", f"{show} neighbors {peer} {words} json"]))
        if "warning" in found:
            raise Unreadable(f"vtysh: {found['warning']}")
        return [route(prefix, family, [_sent(path)]) for prefix, path in found.get(key, {}).items()]
    listed = _read(ask(["vtysh", "-c", f"{show} json"])).get("routes", {})
    known = _communities(ask, show, list(listed)) if "communities" in fields and listed else {}
    return [
        route(prefix, family, [_path(path, known.get(prefix, {})) for path in paths])
        for prefix, paths in listed.items()
        if paths
    ]


def _communities(ask: Ask, show: str, prefixes: list[str]) -> dict[str, dict[str, list[str]]]:
    """For each prefix the communities of its paths, by the peers that they are from."""
    words = [word for prefix in prefixes for word in ("-c", f"{show} {prefix} json")]
    return {
        prefix: {
            path.get("peer", {}).get("peerId", ""): path.get("community", {}).get("string", "").split()
            for path in found.get("paths", ())
        }
        for prefix, found in zip(prefixes, _documents(ask(["vtysh", *words])), strict=False)
    }


def _path(path: Mapping[str, Any], communities: Mapping[str, list[str]]) -> dict[str, Any]:
    hops = [hop["ip"] for hop in path.get("nexthops", ()) if hop.get("used", True)]
    peer = path.get("peerId", "")
    return {
        "nextHop": hops[0] if hops else "",
        "asPath": as_path(path.get("path", "").split()),
        "communities": communities.get(peer, []),
        "peer": "" if peer == "(unspec)" else peer,
        "origin": _ORIGINS.get(path.get("origin", ""), "incomplete"),
        "med": path.get("metric", 0),
        "localPref": path.get("locPrf"),
        "best": path.get("bestpath", False),
        "stale": path.get("stale", False),
    }


def _sent(path: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "nextHop": path.get("nextHop") or path.get("nextHopGlobal", ""),
        "asPath": as_path(path.get("path", "").split()),
        "communities": [],
        "peer": "",
        "origin": _ORIGINS.get(path.get("bgpOriginCode", ""), "incomplete"),
        "med": path.get("metric", 0),
        "localPref": path.get("locPrf"),
        "best": False,
        "stale": False,
    }


def _read(text: str) -> dict[str, Any]:
    return next(_documents(text), {})


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """The JSON documents that stand one after the other."""
    decoder, place = json.JSONDecoder(), 0
    while (place := _next(text, place)) < len(text):
        try:
            found, place = decoder.raw_decode(text, place)
        except ValueError as error:
            raise Unreadable(f"vtysh printed what is no JSON: {text[place:].strip()[:200]!r}") from error
        yield found


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


VTYSH = Speaker("vtysh", sessions, routes)
