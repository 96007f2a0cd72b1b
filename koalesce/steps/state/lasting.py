"""What of an item counts when a state is compared with an earlier one: no counters, timers and numbers that each making draws anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from koalesce.records import dataclass
from koalesce.steps.state import addressing, filtering, ipvs, running
from koalesce.steps.state.kept import SETTINGS
from koalesce.steps.state.view import Item, View


@dataclass(frozen=True, slots=True)
class Lasting:
    """How items of a kind are compared.

    `passing` are fields that don't count, `cleaned` takes away more; what it makes None isn't part of the state. Two different items that are equal in `identity`
    are one that has changed; those of nothing are only ever come or gone. The order of those that are equal in `sequence` counts. Items that name a link in
    `of_link` come and go with it.
    """

    view: View
    identity: tuple[str, ...] = ()
    passing: frozenset[str] = frozenset()
    cleaned: Callable[[Item], Item | None] = lambda item: item
    sequence: tuple[str, ...] = ()
    of_link: str = ""

    def of(self, items: Sequence[Item]) -> list[Item]:
        """What counts of them."""
        kept = [{key: value for key, value in item.items() if key not in self.passing} for item in items]
        return [item for each in kept if (item := self.cleaned(each)) is not None]


def _link(link: Item) -> Item:
    """Numbers of links are drawn anew, bridges take the least address of their ports and count down to what they do next."""
    info = link.get("linkinfo")
    return link if info is None else {**link, "linkinfo": _without_timers(info)}


def _without_timers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_timers(part) for key, part in value.items() if not _is_of_the_moment(key)}
    return value


def _is_of_the_moment(key: str) -> bool:
    return key.endswith(("_timer", "_timer_value")) or key in (
        "root_id",
        "bridge_id",
        "designated_root",
        "designated_bridge",
    )


def _neighbour(neighbour: Item) -> Item | None:
    """The kernel finds the others, and forgets them, by itself."""
    is_made = "PERMANENT" in neighbour.get("state", ()) or "proxy" in neighbour
    return neighbour if is_made else None


def _nftables(item: Item) -> Item:
    bare = {key: _without_counts(value) for key, value in item.items() if key != "handle"}
    if item.get("kind") in ("counter", "quota"):
        bare = {key: value for key, value in bare.items() if key not in ("packets", "bytes", "used")}
    if isinstance(bare.get("elem"), list):
        bare["elem"] = sorted(bare["elem"], key=str)
    return bare


def _without_counts(value: Any) -> Any:
    """An expression without what it has counted."""
    if isinstance(value, list):
        return [_without_counts(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: None if key in ("counter", "last") and isinstance(part, Mapping) else _without_counts(part)
        for key, part in value.items()
        if key not in ("expires", "used")
    }


def _ipset(item: Item) -> Item:
    """The table of hashes grows by itself, and has a seed of its own."""
    grown = ("memsize", "numentries", "hashsize", "initval", "bucketsize")
    return {**item, "header": {key: value for key, value in item["header"].items() if key not in grown}}


def _virtual_server(item: Item) -> Item:
    """How many connections a server has is of the moment, and so is the order of servers."""
    bare = [{key: value for key, value in one.items() if key not in ("active", "inactive")} for one in item["servers"]]
    return {**item, "servers": sorted(bare, key=lambda one: (one["address"], one["port"]))}


def _process(item: Item) -> Item | None:
    """What looks is no part of what is seen."""
    return None if running.is_the_look(item) else item


_CHAIN = ("family", "table", "chain")
LASTING: Mapping[str, Lasting] = {
    "routes": Lasting(
        addressing.VIEWS["routes"],
        ("family", "table", "type", "dst", "metric"),
        frozenset(("flags", "expires", "users", "age", "error")),
    ),
    "rules": Lasting(addressing.VIEWS["rules"], ("family", "priority")),
    "links": Lasting(
        addressing.VIEWS["links"],
        ("ifname",),
        frozenset(("ifindex", "link_index", "link_netnsid", "promiscuity", "allmulti", "stats", "stats64")),
        _link,
    ),
    "addresses": Lasting(
        addressing.VIEWS["addresses"],
        ("ifname", "cidr"),
        frozenset(("valid_life_time", "preferred_life_time", "tentative")),
    ),
    "neighbours": Lasting(
        addressing.VIEWS["neighbours"],
        ("dst", "dev"),
        frozenset(("used", "confirmed", "updated", "probes", "ref", "refcnt")),
        _neighbour,
    ),
    "iptables": Lasting(filtering.VIEWS["iptables"], sequence=_CHAIN),
    "chains": Lasting(filtering.VIEWS["chains"], _CHAIN),
    "nftables": Lasting(
        filtering.VIEWS["nftables"], ("kind", "family", "table", "name"), cleaned=_nftables, sequence=_CHAIN
    ),
    "ipsets": Lasting(filtering.VIEWS["ipsets"], ("name",), frozenset(("references", "timeouts")), _ipset),
    "ipvs": Lasting(ipvs.IF_ANY, ("protocol", "address", "port", "fwmark"), cleaned=_virtual_server),
    "listeners": Lasting(running.VIEWS["listeners"], ("protocol", "address", "port"), frozenset(("pid",))),
    "mounts": Lasting(running.VIEWS["mounts"], ("target",)),
    "processes": Lasting(running.VIEWS["processes"], (), frozenset(("pid",)), _process),
    "sysctls": Lasting(SETTINGS, ("name",), of_link="link"),
}
