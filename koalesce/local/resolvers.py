"""Resolvers among the fixtures: what is written and run to make a machine one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from koalesce.local.netns import NetNamespace
from koalesce.local.node import RunningNode, Service
from koalesce.local.noderoot import File
from koalesce.records import dataclass

if TYPE_CHECKING:
    from koalesce.local.api import Deadline

PROGRAM = "/opt/koalesce/coredns"
NAME = "coredns"
MOST = 3  # that programs read of a resolv.conf (resolv.conf(5), MAXNS)
_FOLDER = "/etc/coredns"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverSpec:
    """What a resolver knows: the records of each zone, as lines of a zone file; `ttl` in seconds is for those that say none."""

    zones: Mapping[str, tuple[str, ...]]
    ttl: int


def read(data: Mapping[str, Any]) -> ResolverSpec:
    """A resolver from its JSON; KeyError, TypeError or ValueError for what is wrong with it."""
    zones = {str(name): tuple(map(str, records)) for name, records in data["zones"].items()}
    if not zones:
        raise ValueError("a resolver without zones")
    return ResolverSpec(zones=zones, ttl=int(data["ttl"]))


def files(resolver: ResolverSpec) -> list[File]:
    """Its configuration and its zones; what is asked is written to its log, and nobody else is asked."""
    lines = ["errors", "log", *(f"file {_FOLDER}/{zone}.zone {zone}" for zone in resolver.zones)]
    texts = {"Corefile": ". {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"}
    texts |= {f"{zone}.zone": _zone(zone, records, resolver.ttl) for zone, records in resolver.zones.items()}
    return [File(path=f"{_FOLDER}/{name}", mode=0o644, text=text) for name, text in texts.items()]


def _zone(zone: str, records: tuple[str, ...], ttl: int) -> str:
    """A zone file (RFC 1035 5, RFC 2308 4); the last number of the SOA is how long it is known that there is no such name."""
    head = [f"$ORIGIN {zone}.", f"$TTL {ttl}", f"@ SOA ns hostmaster 1 3600 600 86400 {ttl}", "@ NS ns"]
    return "".join(f"{line}\n" for line in (*head, *records))


def start(node: RunningNode) -> None:
    """Have a fixture run what makes it a resolver."""
    node.start(Service(name=NAME, argv=[PROGRAM, "-conf", f"{_FOLDER}/Corefile"]))


def await_answer(node: RunningNode, address: str, resolver: ResolverSpec, deadline: Deadline) -> None:
    """Wait until it answers for its zones; ClusterError shows what it said last."""
    from koalesce.local import addons  # which needs to know of requests, and they of resolvers

    inside = NetNamespace.of_process(node.pid)
    zone = next(iter(resolver.zones))
    try:
        deadline.until(
            f"the resolver {node.name} to answer",
            lambda: addons.answers(inside, address, zone),
            why=lambda: node.log_tail(NAME),
        )
    finally:
        inside.close()
