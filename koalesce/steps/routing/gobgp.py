"""gobgpd, and what embeds it, asked by `gobgp -j` (versions 3 and 4 print the same where we look)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from koalesce.steps.routing.speaker import WELL_KNOWN, Ask, Family, Side, Speaker, Unreadable, as_path, route
from koalesce.steps.state.view import Item

_STATES = ("Unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")
_ORIGINS = ("igp", "egp", "incomplete")
_SIDES = {"received": "adj-in", "sent": "adj-out"}
_AS_SET = 1
# Types of path attributes (RFC 4271 5, RFC 1997, RFC 4760).
_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF, _COMMUNITIES, _MP_REACH = 1, 2, 3, 4, 5, 8, 14


def sessions(ask: Ask) -> list[Item]:
    """Its neighbours; passwords, which it tells as well, are left out."""
    return [_session(peer) for peer in _read(ask(["gobgp", "-j", "neighbor"]))]


def _session(peer: Mapping[str, Any]) -> Item:
    conf, state, timers = peer.get("conf", {}), peer.get("state", {}), peer.get("timers", {}).get("state", {})
    families = peer.get("afi_safis") or []
    return {
        "peer": state.get("neighbor_address") or conf.get("neighbor_address", ""),
        "state": _STATES[int(state.get("session_state", 0))],
        "asn": state.get("peer_asn") or conf.get("peer_asn", 0),
        "localASN": conf.get("local_asn", 0),
        "routerID": _known(state.get("router_id")),
        "localAddress": _known(peer.get("transport", {}).get("local_address")),
        "holdTime": int(timers.get("negotiated_hold_time", 0)),
        "gracefulRestart": any(
            family.get("mp_graceful_restart", {}).get("state", {}).get("received", False) for family in families
        ),
        "accepted": sum(family.get("state", {}).get("accepted", 0) for family in families),
    }


def routes(ask: Ask, family: Family, side: Side, peer: str, _fields: Collection[str]) -> list[Item]:
    """Its routes of a family."""
    place = ["global", "rib"] if side == "table" else ["neighbor", peer, _SIDES[side]]
    found = _read(ask(["gobgp", "-j", *place, "-a", family.lower()]))
    return [route(prefix, family, [_path(path) for path in paths]) for prefix, paths in found.items() if paths]


def _path(path: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {attribute["type"]: attribute for attribute in path["attrs"]}
    reach = attributes.get(_NEXT_HOP) or attributes.get(_MP_REACH) or {}
    return {
        "nextHop": reach.get("nexthop", ""),
        "asPath": as_path(_segments(attributes.get(_AS_PATH, {}).get("as_paths") or [])),
        "communities": [_community(value) for value in attributes.get(_COMMUNITIES, {}).get("communities") or []],
        "peer": _known(path.get("peer-address") or path.get("neighbor-ip")),
        "origin": _ORIGINS[attributes.get(_ORIGIN, {}).get("value", 0)],
        "med": attributes.get(_MED, {}).get("metric", 0),
        "localPref": attributes.get(_LOCAL_PREF, {}).get("value"),
        "best": path.get("best", False),
        "stale": path.get("stale", False),
    }


def _segments(segments: list[Mapping[str, Any]]) -> Iterator[Any]:
    for segment in segments:
        if segment["segment_type"] == _AS_SET:
            yield "{" + ",".join(map(str, segment["asns"])) + "}"
        else:
            yield from segment["asns"]


def _community(value: int) -> str:
    return WELL_KNOWN.get(value) or f"{value >> 16}:{value & 0xFFFF}"


def _known(address: Any) -> str:
    """An address; empty where it is none (`<nil>`, `invalid IP`) or of nobody."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    return "" if found.is_unspecified else str(found)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unreadable(f"gobgp printed what is no JSON: {text.strip()[:200]!r}") from error


GOBGP = Speaker("gobgp", sessions, routes)
