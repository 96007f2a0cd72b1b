"""Routers among the fixtures: which peers they have, and what is written and run to make a machine one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from koalesce import process
from koalesce.local.node import RunningNode, Service, exec_prefix
from koalesce.local.noderoot import File
from koalesce.records import dataclass

if TYPE_CHECKING:
    from koalesce.local.api import Deadline

BGP_PORT = 179
_ANSWER = 10.0
_HOLD_TIME = 90
_RETRY = 1  # seconds until a session is tried again: who waits for one shall not wait for a timer
_FAMILIES = ("ipv4", "ipv6")
_FRR_GROUP = "frrvty"  # its programs end at once unless they are of this group, which installing the package would make


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSpec:
    """Whom a router speaks with, and as what the other is known; `multihop` is the TTL to one that is further than a link away."""

    address: str
    asn: int
    password: str = ""
    port: int = BGP_PORT
    passive: bool = False
    multihop: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSpec:
    """What a router is; times in seconds, `graceful_restart` 0 for none."""

    program: str
    asn: int
    router_id: str
    port: int = BGP_PORT
    hold_time: int = _HOLD_TIME
    graceful_restart: int = 0
    peers: tuple[PeerSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A program that makes a machine a router: its files, its processes, and the command that succeeds once it answers."""

    files: Callable[[RouterSpec], dict[str, str]]
    services: Callable[[RouterSpec], Sequence[Service]]
    answers: Sequence[str]
    folders: Sequence[str] = ()
    groups: Sequence[str] = field(default=())


def read(data: Mapping[str, Any], router_id: str, addresses: Mapping[str, str]) -> RouterSpec:
    """A router from its JSON; `router_id` is the one that it has unless it says another, `addresses` are those of machines by name.

    KeyError, TypeError or ValueError for what is wrong with it.
    """
    if data["program"] not in PROGRAMS:
        raise ValueError(f"{data['program']!r} makes no router: there are {', '.join(PROGRAMS)}")
    return RouterSpec(
        program=data["program"],
        asn=int(data["asn"]),
        router_id=data.get("router_id") or router_id,
        port=int(data.get("port") or BGP_PORT),
        hold_time=int(data.get("hold_time") or _HOLD_TIME),
        graceful_restart=int(data.get("graceful_restart") or 0),
        peers=tuple(_peer(peer, addresses) for peer in data.get("peers") or ()),
    )


def _peer(data: Mapping[str, Any], addresses: Mapping[str, str]) -> PeerSpec:
    machine = data.get("machine")
    if machine and machine not in addresses:
        raise ValueError(f"there is no machine {machine} to be a peer")
    return PeerSpec(
        address=addresses[machine] if machine else data["address"],
        asn=int(data["asn"]),
        password=data.get("password") or "",
        port=int(data.get("port") or BGP_PORT),
        passive=bool(data.get("passive")),
        multihop=int(data.get("multihop") or 0),
    )


def start(node: RunningNode, router: RouterSpec) -> None:
    """Have a fixture run what makes it a router."""
    for service in PROGRAMS[router.program].services(router):
        node.start(service)


def names(router: RouterSpec | None) -> list[str]:
    """The services of a fixture that is to be a router, or none."""
    return [service.name for service in PROGRAMS[router.program].services(router)] if router else []


def await_answer(node: RunningNode, router: RouterSpec, deadline: Deadline) -> None:
    """Wait until its program answers; ClusterError shows what it said last."""
    command = [*exec_prefix(f"/proc/{node.pid}"), *PROGRAMS[router.program].answers]
    deadline.until(
        f"the router {node.name} to answer",
        lambda: process.run(command, timeout=_ANSWER).code == 0,
        why=lambda: "\n".join(node.log_tail(name) for name in node.services()),
    )


def files(router: RouterSpec) -> list[File]:
    """The configuration of a router; passwords are in it."""
    return [File(path=path, mode=0o600, text=text) for path, text in PROGRAMS[router.program].files(router).items()]


def _gobgpd_files(router: RouterSpec) -> dict[str, str]:
    own = {"as": router.asn, "router-id": router.router_id, "port": router.port}
    tables = ["[global.config]", *_toml(own)]
    for peer in router.peers:
        tables += _gobgpd_neighbour(router, peer)
    return {"/etc/gobgpd.toml": "\n".join(tables) + "\n"}


def _gobgpd_neighbour(router: RouterSpec, peer: PeerSpec) -> Iterator[str]:
    """The tables of one neighbour (https://github.com/osrg/gobgp/blob/master/docs/sources/configuration.md)."""
    config: dict[str, Any] = {"neighbor-address": peer.address, "peer-as": peer.asn}
    if peer.password:
        config["auth-password"] = peer.password
    yield from ("[[neighbors]]", "[neighbors.config]", *_toml(config))
    timers = {"connect-retry": _RETRY, "hold-time": router.hold_time, "keepalive-interval": router.hold_time // 3}
    yield from ("[neighbors.timers.config]", *_toml({**timers, "idle-hold-time-after-reset": _RETRY}))
    yield from ("[neighbors.transport.config]", *_toml({"passive-mode": peer.passive, "remote-port": peer.port}))
    if peer.multihop:
        yield from ("[neighbors.ebgp-multihop.config]", *_toml({"enabled": True, "multihop-ttl": peer.multihop}))
    if router.graceful_restart:
        restart = {"enabled": True, "restart-time": router.graceful_restart}
        yield from ("[neighbors.graceful-restart.config]", *_toml(restart))
    for family in _FAMILIES:
        yield "[[neighbors.afi-safis]]"
        yield from ("[neighbors.afi-safis.config]", *_toml({"afi-safi-name": f"{family}-unicast"}))
        if router.graceful_restart:
            yield from ("[neighbors.afi-safis.mp-graceful-restart.config]", *_toml({"enabled": True}))


def _toml(values: Mapping[str, Any]) -> Iterator[str]:
    """Texts, numbers and booleans are written in TOML as in JSON."""
    return (f"{key} = {json.dumps(value)}" for key, value in values.items())


def _gobgpd_services(_router: RouterSpec) -> list[Service]:
    words = ["gobgpd", "-f", "/etc/gobgpd.toml", "--log-plain", "--api-hosts=127.0.0.1:50051", "--pprof-disable"]
    return [Service(name="gobgpd", argv=words)]


def _frr_files(router: RouterSpec) -> dict[str, str]:
    """The configuration of its bgpd (https://docs.frrouting.org/en/stable-8.4/bgp.html); root needs no password in its shell."""
    lines = [
        "log stdout informational",
        f"router bgp {router.asn}",
        f" bgp router-id {router.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp network import-check",
        " no bgp default ipv4-unicast",
        " bgp bestpath as-path multipath-relax",
        f" timers bgp {router.hold_time // 3} {router.hold_time}",
    ]
    if router.graceful_restart:
        lines += [" bgp graceful-restart", f" bgp graceful-restart restart-time {router.graceful_restart}"]
    for peer in router.peers:
        lines += _frr_neighbour(peer)
    for family in _FAMILIES:
        lines.append(f" address-family {family} unicast")
        for peer in router.peers:
            lines += [f"  neighbor {peer.address} {word}" for word in ("activate", "soft-reconfiguration inbound")]
        lines.append(" exit-address-family")
    return {
        "/etc/frr/bgpd.conf": "\n".join(lines) + "\n",
        "/etc/frr/vtysh.conf": "username root nopassword\n",
        "/etc/frr/zebra.conf": "log stdout informational\n",
    }


def _frr_neighbour(peer: PeerSpec) -> Iterator[str]:
    words = [f"remote-as {peer.asn}", f"timers connect {_RETRY}", f"port {peer.port}"]
    words += [f"password {peer.password}"] if peer.password else []
    words += ["passive"] if peer.passive else []
    words += [f"ebgp-multihop {peer.multihop}"] if peer.multihop else []
    return (f" neighbor {peer.address} {word}" for word in words)


def _frr_services(router: RouterSpec) -> list[Service]:
    """Zebra makes kernel routes of what bgpd learns."""
    common = ["-u", "root", "-g", "root", "-A", "127.0.0.1"]
    bgpd = ["/usr/lib/frr/bgpd", "-f", "/etc/frr/bgpd.conf", "-p", str(router.port), *common]
    return [
        Service(name="zebra", argv=["/usr/lib/frr/zebra", "-f", "/etc/frr/zebra.conf", *common]),
        Service(name="bgpd", argv=bgpd),
    ]


def _bird_files(router: RouterSpec) -> dict[str, str]:
    """The configuration of BIRD (https://bird.network.cz/?get_doc&v=20); `import table` and `export table` keep what was received and sent."""
    lines = [
        "log stderr all;",
        f"router id {router.router_id};",
        "protocol device {",
        "}",
        "protocol direct {",
        " ipv4;",
        " ipv6;",
        "}",
    ]
    for family in _FAMILIES:
        exports = f" {family} {{ import all; export where source = RTS_BGP; }};"
        lines += [f"protocol kernel kernel_{family} {{", " learn;", " merge paths on;", exports, "}"]
        lines += [f"protocol static static_{family} {{", f" {family};", f'include "/etc/bird/{family}*.conf";', "}"]
    for number, peer in enumerate(router.peers):
        lines += [f"protocol bgp peer{number} {{", *(f" {line};" for line in _bird_neighbour(router, peer)), "}"]
    return {"/etc/bird/bird.conf": "\n".join(lines) + "\n"}


def _bird_neighbour(router: RouterSpec, peer: PeerSpec) -> Iterator[str]:
    yield f"local port {router.port} as {router.asn}"
    yield f"neighbor {peer.address} port {peer.port} as {peer.asn}"
    yield f"multihop {peer.multihop}" if peer.multihop else "direct"
    if peer.password:
        yield f'password "{peer.password}"'
    if peer.passive:
        yield "passive on"
    yield from (f"hold time {router.hold_time}", f"keepalive time {router.hold_time // 3}")
    yield from (f"{timer} time {_RETRY}" for timer in ("connect delay", "connect retry"))
    yield f"error wait time {_RETRY}, {_RETRY}"
    yield f"graceful restart {'on' if router.graceful_restart else 'off'}"
    if router.graceful_restart:
        yield f"graceful restart time {router.graceful_restart}"
    for family in _FAMILIES:
        sources = "export where source ~ [RTS_BGP, RTS_STATIC]"
        yield f"{family} {{ import all; {sources}; import table on; export table on; }}"


def _bird_services(_router: RouterSpec) -> list[Service]:
    return [Service(name="bird", argv=["/usr/sbin/bird", "-f"])]


PROGRAMS: Mapping[str, Program] = {
    "bird": Program(_bird_files, _bird_services, ("birdc", "show", "status"), folders=("/run/bird",)),
    "frr": Program(
        _frr_files,
        _frr_services,
        ("sh", "-c", "vtysh -d bgpd -c 'show bgp summary json' | grep -q '^{'"),
        folders=("/run/frr",),
        groups=(_FRR_GROUP, "frr"),
    ),
    "gobgpd": Program(_gobgpd_files, _gobgpd_services, ("gobgp", "global")),
}
