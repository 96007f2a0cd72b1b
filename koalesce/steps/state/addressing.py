"""Routes, rules, links, addresses and neighbours, as iproute2 prints them (`ip -json`; field names are its own)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from koalesce.steps.state.view import Item, View

_FAMILIES = ("inet", "inet6")
_ROUTE = "type dst gateway via dev table protocol scope prefsrc metric flags nexthops nhid encap metrics pref src tos expires from family"
_RULE = (
    "priority not src srclen dst dstlen table fwmark fwmask iif iif_detached oif oif_detached action protocol ipproto "
    "sport sport_start sport_end dport dport_start dport_end goto suppress_prefixlen suppress_ifgroup uid_start uid_end tos l3mdev family"
)
_ADDRESS = "ifname family local prefixlen cidr peer broadcast scope label flags valid_life_time preferred_life_time"
_NEIGHBOUR = "dst dev lladdr state router proxy extern_learn offload family"


def _of_families(words: str) -> str:
    """The command for both families, a line of JSON each; none for IPv6 where the kernel has none."""
    return f"ip -j -d -4 {words}; echo; if [ -e /proc/net/if_inet6 ]; then ip -j -d -6 {words}; fi"


def _lines(text: str) -> Iterator[Item]:
    """The items of both lines, each with its family."""
    lines = [line for line in text.splitlines() if line.strip()]
    for family, line in zip(_FAMILIES, lines, strict=False):
        for item in json.loads(line):
            yield {**item, "family": family}


def _routes(text: str) -> list[Item]:
    """`ip` leaves out the table of those that are in `main`."""
    return [{"table": "main", **item} for item in _lines(text)]


def _links(text: str) -> list[Item]:
    found: list[Item] = json.loads(text)
    return found


def _addresses(text: str) -> list[Item]:
    """One item for each address, with the name of its link, and with address and length in one (`cidr`)."""
    return [
        {"ifname": link["ifname"], **address, "cidr": f"{address['local']}/{address['prefixlen']}"}
        for link in json.loads(text)
        for address in link.get("addr_info", ())
        if "local" in address
    ]


VIEWS = {
    "routes": View(
        _of_families("route show table all"), _routes, frozenset(_ROUTE.split()), "route", maps=frozenset(("via",))
    ),
    "rules": View(_of_families("rule show"), lambda text: list(_lines(text)), frozenset(_RULE.split()), "rule"),
    "links": View(
        "ip -j -d -s link show", _links, None, "link", maps=frozenset(("linkinfo", "stats", "stats64", "xdp"))
    ),
    "addresses": View("ip -j address show", _addresses, frozenset(_ADDRESS.split()), "address"),
    "neighbours": View(
        _of_families("neighbour show"), lambda text: list(_lines(text)), frozenset(_NEIGHBOUR.split()), "neighbour"
    ),
}
