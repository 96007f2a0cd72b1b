"""The `fixtures` section: machines outside of the cluster, and what a router among them does."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from koalesce.cluster_request import FixtureKind, FixtureRequest, NodeRequest
from koalesce.durations import Duration
from koalesce.spec.cluster import Cidr
from koalesce.spec.common import Flag, Model, Text
from koalesce.spec.resolvers import Resolver
from koalesce.steps.vantage import NodeNames

Asn = Annotated[int, Field(strict=True, ge=1, le=4294967295)]
Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
_KINDS: tuple[FixtureKind, ...] = ("router", "host", "resolver")
_OF_ROUTERS = ("asn", "router_id", "port", "hold_time", "graceful_restart", "peers")
_SIDES = ("node", "nodes", "fixture", "address")
_SHORTEST_HOLD, _LONGEST_HOLD, _LONGEST_RESTART = 3, 65535, 4095  # RFC 4271 4.2 and RFC 4724 3


def _plain(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    if settings:
        raise ValueError("a host has no settings: write host: {}")
    return settings


def _identifier(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError as error:
        raise ValueError(f'"{text}" is no router ID; write four numbers, such as 10.0.0.1') from error


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ValueError(f'"{text}" is no IP address') from error


def _hold_time(duration: Duration) -> Duration:
    if not _SHORTEST_HOLD <= duration.seconds <= _LONGEST_HOLD or duration.seconds % 1:
        raise ValueError(f"a hold time is whole seconds, {_SHORTEST_HOLD}s to {_LONGEST_HOLD}s")
    return duration


def _restart_time(duration: Duration) -> Duration:
    if not 1 <= duration.seconds <= _LONGEST_RESTART or duration.seconds % 1:
        raise ValueError(f"a restart time is whole seconds, 1s to {_LONGEST_RESTART}s")
    return duration


class Peer(Model):
    """Whom a router speaks BGP with: exactly one of `node`, `nodes`, `fixture` and `address`."""

    node: Text | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes, each a peer: `all`, `workers`, `controlPlane` or a list of names."""

    fixture: Text | None = None
    """Another fixture by its name."""

    address: Annotated[Text, AfterValidator(_address)] | None = None
    """Any other machine, by its address."""

    asn: Asn | None = None
    """The number of the peer's autonomous system. A router among the fixtures says its own."""

    password: Text | None = Field(default=None, max_length=80)
    """What both sign their packets with (TCP MD5, RFC 2385). Default: nothing."""

    port: Port = 179
    """Where the peer listens."""

    passive: Flag = False
    """Whether the peer has to connect, and the router only listens."""

    multihop: Annotated[int, Field(strict=True, ge=2, le=255)] | None = None
    """The TTL of packets to a peer that is further than one link away."""

    @model_validator(mode="after")
    def _one_side(self) -> Peer:
        given = [name for name in _SIDES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"say exactly one of {', '.join(_SIDES)}; found {' and '.join(given) or 'none'}")
        if self.asn is None and self.fixture is None:
            raise ValueError("asn is missing: the number of the peer's autonomous system")
        return self


class Fixture(Model):
    """A machine outside of the cluster, in its nodes' network: exactly one of `host`, `router` and `resolver`.

    It reaches the nodes and their ports; pods and Services only where it has routes to them, as any machine outside.
    """

    router: Literal["bird", "frr", "gobgpd"] | None = None
    """A router that speaks BGP, by the program that makes it one, which comes from its Debian package. `frr` and `bird` make kernel routes of what they learn, so
    that the machine reaches what its peers announce. `gobgpd` only knows them. All forward packets, and answer steps of the type `bgp`; what they
    announce is said by commands: `exec: {fixture: r1, command: [gobgp, global, rib, add, 203.0.113.0/24]}`. `bird` announces the static routes of
    `/etc/bird/ipv4*.conf` and `/etc/bird/ipv6*.conf`: `exec: {fixture: r1, command: [sh, -c, "echo 'route 203.0.113.0/24 blackhole;' >/etc/bird/ipv4.conf &&
    birdc configure"]}`."""

    asn: Asn | None = None
    """A router's number of its autonomous system."""

    router_id: Annotated[Text, AfterValidator(_identifier)] | None = Field(default=None, alias="routerID")
    """A router's BGP identifier. Default: its address."""

    port: Port | None = None
    """Where a router listens for BGP. Default: 179."""

    hold_time: Annotated[Duration, AfterValidator(_hold_time)] | None = None
    """After which silence a router takes a peer for dead; a third of it lies between its own words. Default: 90s, or what the peer says if that is less."""

    graceful_restart: Annotated[Duration, AfterValidator(_restart_time)] | None = None
    """How long a router may take to restart while its peers keep its routes (RFC 4724), and for as long as they say it keeps theirs. Default: it doesn't."""

    peers: tuple[Peer, ...] = ()
    """Whom a router speaks BGP with."""

    host: Annotated[Mapping[str, Any], AfterValidator(_plain), Field(json_schema_extra={"maxProperties": 0})] | None = (
        None
    )
    """A plain host, `{}`: a Linux machine of its own with the tools of this one, on which steps run what they need."""

    subnet: Cidr | None = None
    """The network that its address is from, as of nodes. Default: the one where all are that say none."""

    resolver: Resolver | None = None
    """A DNS server (CoreDNS) with zones of its own: `{zones: {example.org: [www A 203.0.113.7]}}`. Nodes and hosts ask it, as their
    `/etc/resolv.conf` says (the first three, if there are several), and so does the cluster's DNS for names that aren't the cluster's.
    Over the built-in network pods ask it by its address. What it was asked is in `/var/log/koalesce/coredns.log`."""

    @field_validator("peers")
    @classmethod
    def _each_peer_once(cls, peers: tuple[Peer, ...]) -> tuple[Peer, ...]:
        sides = [
            (name, getattr(peer, name)) for peer in peers for name in _SIDES if isinstance(getattr(peer, name), str)
        ]
        for name, value in sides:
            if sides.count((name, value)) > 1:
                raise ValueError(f"{name} {value} is there twice")
        return peers

    @model_validator(mode="after")
    def _one_kind(self) -> Fixture:
        if sum(getattr(self, kind) is not None for kind in _KINDS) != 1:
            raise ValueError("say exactly one of router, host and resolver")
        fields = type(self).model_fields
        for name in _OF_ROUTERS:
            if self.router is None and name in self.model_fields_set:
                raise ValueError(f"{fields[name].alias} belongs to a router")
        if self.router == "bird" and any('"' in (peer.password or "") for peer in self.peers):
            raise ValueError("bird takes no password with a quotation mark in it")
        if self.router is not None and self.asn is None:
            raise ValueError("asn is missing: the number of the router's autonomous system")
        return self


def fixture_requests(fixtures: Mapping[str, Fixture], nodes: Sequence[NodeRequest]) -> tuple[FixtureRequest, ...]:
    """What to ask a cluster provider for."""
    return tuple(
        FixtureRequest(
            name=name,
            kind=next(kind for kind in _KINDS if getattr(fixture, kind) is not None),
            subnet=fixture.subnet or "",
            router=_router(name, fixture, fixtures, nodes) if fixture.router else {},
            resolver=fixture.resolver.request() if fixture.resolver else {},
        )
        for name, fixture in fixtures.items()
    )


def _router(
    name: str, fixture: Fixture, fixtures: Mapping[str, Fixture], nodes: Sequence[NodeRequest]
) -> dict[str, Any]:
    """A router in the form that providers take; what it doesn't say is left to them."""
    said = {
        "program": fixture.router,
        "asn": fixture.asn,
        "router_id": fixture.router_id,
        "port": fixture.port,
        "hold_time": int(fixture.hold_time.seconds) if fixture.hold_time else None,
        "graceful_restart": int(fixture.graceful_restart.seconds) if fixture.graceful_restart else None,
        "peers": [one for peer in fixture.peers for one in _peers(peer, name, fixtures, nodes)],
    }
    return {key: value for key, value in said.items() if value is not None}


def _peers(
    peer: Peer, name: str, fixtures: Mapping[str, Fixture], nodes: Sequence[NodeRequest]
) -> Iterator[dict[str, Any]]:
    """The peers that one entry stands for."""
    other = fixtures.get(peer.fixture or "")
    asn = peer.asn or (other.asn if other else None)
    common = {
        "asn": asn,
        "password": peer.password,
        "port": peer.port,
        "passive": peer.passive,
        "multihop": peer.multihop,
    }
    kept = {key: value for key, value in common.items() if value}
    if peer.address is not None:
        yield {"address": peer.address, **kept}
        return
    for machine in [peer.fixture] if peer.fixture is not None else _nodes_of(peer, nodes):
        if machine != name:
            yield {"machine": machine, **kept}


def _nodes_of(peer: Peer, nodes: Sequence[NodeRequest]) -> list[str]:
    match peer.nodes:
        case None:
            return [peer.node or ""]
        case list(names):
            return list(names)
        case "all":
            return [node.name for node in nodes]
        case group:
            role = "worker" if group == "workers" else "control-plane"
            return [node.name for node in nodes if node.role == role]
