"""A program that speaks BGP: how it is asked for its sessions and its routes, and the form of the answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

from koalesce.errors import KoalesceError
from koalesce.records import dataclass
from koalesce.steps.state.view import Item

Family = Literal["IPv4", "IPv6"]
Side = Literal["table", "received", "sent"]
Ask = Callable[[Sequence[str]], str]  # runs a command where the program runs, and gives what it printed

ESTABLISHED = "Established"
STATES = ("Idle", "Connect", "Active", "OpenSent", "OpenConfirm", ESTABLISHED)
SESSION_FIELDS = frozenset(
    ["peer", "name", "state", "asn", "localASN", "routerID", "localAddress", "holdTime", "gracefulRestart", "accepted"]
)
ROUTE_FIELDS = frozenset(
    ["prefix", "family", "nextHops", "asPath", "communities", "peers", "origin", "med", "localPref", "stale", "paths"]
)
# Sets as lists: their order says nothing.
UNORDERED = frozenset({"nextHops", "communities", "peers"})
# RFC 1997, RFC 7999, RFC 8326 and the registry of well-known communities.
WELL_KNOWN: Mapping[int, str] = {
    0xFFFF0000: "graceful-shutdown",
    0xFFFF0006: "llgr-stale",
    0xFFFF0007: "no-llgr",
    0xFFFF029A: "blackhole",
    0xFFFFFF01: "no-export",
    0xFFFFFF02: "no-advertise",
    0xFFFFFF03: "local-AS",
    0xFFFFFF04: "no-peer",
}


class Unreadable(KoalesceError):
    """A program's answer can't be read."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A program; `sessions` are its sessions, `routes` its routes of a family: of its table, or received from or sent to a peer.

    `routes` is told which fields are asked for: some cost more commands.
    """

    command: str
    sessions: Callable[[Ask], list[Item]]
    routes: Callable[[Ask, Family, Side, str, Collection[str]], list[Item]]


def route(prefix: str, family: Family, paths: Sequence[Mapping[str, Any]]) -> Item:
    """A prefix with all its paths; what there is one of is the best path's, or the first's where none is best."""
    best = next((path for path in paths if path["best"]), paths[0])
    return {
        "prefix": prefix,
        "family": family,
        "nextHops": in_order(path["nextHop"] for path in paths if path["nextHop"]),
        "asPath": best["asPath"],
        "communities": in_order(best["communities"]),
        "peers": in_order(path["peer"] for path in paths if path["peer"]),
        "origin": best["origin"],
        "med": best["med"],
        "localPref": best["localPref"],
        "stale": any(path["stale"] for path in paths),
        "paths": list(paths),
    }


def in_order(values: Iterable[Any]) -> list[Any]:
    """Each value once: addresses and networks by number, others as text."""
    return sorted(dict.fromkeys(values), key=_rank)


def _rank(value: Any) -> tuple[int, int, int, str]:
    network = network_of(value)
    if network is None:
        return (9, 0, 0, str(value))
    return (network.version, int(network.network_address), network.prefixlen, "")


def network_of(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network of a text; an address is one of its own. None for what is neither."""
    try:
        return ipaddress.ip_network(text) if isinstance(text, str) else None
    except ValueError:
        return None


def as_path(words: Iterable[Any]) -> list[Any]:
    """An AS path: numbers, and texts for sets (`{64512,64513}`)."""
    return [int(word) if str(word).isdigit() else word for word in words]
