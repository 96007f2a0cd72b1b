"""What reports draw of sessions and routes: between machines, by their names where an address is one's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from koalesce.events import Route, RouteTable, Session
from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.routing.speaker import Family, Side
from koalesce.steps.state.view import Item

MOST = 200  # prefixes of a table: a router may have a million


def machine(address: str, context: StepContext) -> str:
    """The node or fixture that has an address; empty if none has."""
    machines = (*context.cluster.nodes, *context.cluster.fixtures)
    return next((machine.name for machine in machines if address in machine.addresses), "")


def sessions_of(source: Source, sessions: Sequence[Item], context: StepContext) -> Iterator[Session]:
    """The sessions of a program."""
    end = _end(source, context)
    for each in sessions:
        yield Session(
            at=end, peer=each["name"] or each["peer"], state=each["state"], local_asn=each["localASN"], asn=each["asn"],
            accepted=each["accepted"],
        )  # fmt: skip


def routes_of(
    source: Source, found: Sequence[Item], context: StepContext, *, side: Side, peer: str, family: Family
) -> RouteTable:
    """Routes of a program, the first of `found` if there are very many; `peer` is the address of whom they are received from or sent to."""
    routes = (_route(each["prefix"], path, context) for each in found[:MOST] for path in each["paths"])
    return RouteTable(
        at=_end(source, context), side=side, peer=_name(peer, context), family=family, routes=tuple(routes),
        left_out=max(0, len(found) - MOST),
    )  # fmt: skip


def _route(prefix: str, path: Item, context: StepContext) -> Route:
    return Route(
        prefix=prefix, peer=_name(path["peer"], context), next_hop=_name(path["nextHop"], context),
        as_path=" ".join(map(str, path["asPath"])), is_best=bool(path["best"]),
    )  # fmt: skip


def _name(address: str, context: StepContext) -> str:
    """The name of who has an address; nothing for that of nobody, which programs give their own routes."""
    return "" if address in ("0.0.0.0", "::") else machine(address, context) or address


def _end(source: Source, context: StepContext) -> str:
    """A pod in its node's network stands for the node, whose address peers know."""
    machines = (machine(address, context) for address in source.addresses)
    return next(filter(None, machines), source.name) if source.kind == "pod" else source.name
