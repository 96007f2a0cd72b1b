"""What a local cluster shall be: the JSON that Terraform hands to `koalesce local up`, read and checked."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from koalesce.addons import ADDONS
from koalesce.addresses import FABRIC, PODS, SERVICES, Family, Network, family_of
from koalesce.errors import UsageError
from koalesce.local import resolvers, routers
from koalesce.local.ranges import (
    addresses_of,
    check_ranges,
    check_subnets,
    in_subnet,
    node_shares,
    read_families,
    read_ranges,
)
from koalesce.local.resolvers import ResolverSpec
from koalesce.local.routers import RouterSpec
from koalesce.records import dataclass

GATEWAY: Mapping[Family, str] = {family: str(network[1]) for family, network in FABRIC.items()}
_VIRTUAL: Mapping[Family, str] = {family: str(network[2]) for family, network in FABRIC.items()}
PREFIX: Mapping[Family, int] = {"IPv4": 16, "IPv6": 64}
API_PORT = 6443
MIRROR_PORT = 5000
# 198.18.0.10 and fd4b:6f61:6c65::10; fixtures are told from nodes at a glance, by 198.18.1.10 and fd4b:6f61:6c65::1:10.
_FIRST_NODE: Mapping[Family, int] = {"IPv4": 10, "IPv6": 0x10}
_FIRST_FIXTURE: Mapping[Family, int] = {"IPv4": 256 + 10, "IPv6": 0x1_0010}
_MOST_NODES = 200
_MOST_FIXTURES = 100
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_PROXIES = ("iptables", "nftables", "ipvs", "none")
_EGRESS = ("none", "host")
_CONTROL_PLANES: Mapping[str, tuple[str, ...]] = {  # with what runs as static pods
    "process": (),
    "static": ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
}
_ETCDS: Mapping[str, tuple[str, ...]] = {"process": (), "static": ("etcd",), "external": ()}
_FIXTURES = ("host", "router", "resolver")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpec:
    """A file system of a node's own, at `path`, that holds `size` bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node to make; `addresses` are in the fabric, `pod_cidrs` its shares of the pods' addresses: one for each family.

    `cpu` counts processors, `memory` bytes; 0: all that the machine has. `kubelet` are fields of its configuration, over ours. A `spare` one
    isn't made with the cluster, but when it's added.
    """

    name: str
    role: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    cpu: float = 0
    memory: int = 0
    subnet: str = ""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    disks: tuple[DiskSpec, ...] = ()
    spare: bool = False

    @property
    def is_control_plane(self) -> bool:
        """Whether the control plane runs here."""
        return self.role == "control-plane"

    @property
    def address(self) -> str:
        """The primary one of its addresses."""
        return self.addresses[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureSpec:
    """A machine outside of the cluster to make; `addresses` are in the fabric, as the nodes' are.

    `router` says what a router does, `resolver` what a resolver knows.
    """

    name: str
    kind: str
    addresses: tuple[str, ...]
    subnet: str = ""
    router: RouterSpec | None = None
    resolver: ResolverSpec | None = None

    @property
    def address(self) -> str:
        """The primary one of its addresses."""
        return self.addresses[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalEtcd:
    """An etcd that is there already. `prefix` is what keys of the cluster begin with; `ca`, `cert` and `key` are texts, empty for one without TLS."""

    endpoints: tuple[str, ...]
    prefix: str
    ca: str
    cert: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequest:
    """A local cluster, with every default filled in.

    `members` are the machines that have a member of etcd each: the first of the control planes, all of them, or fixtures; none where there is
    a `datastore` already. `is_public`: etcd is for others than the cluster, too, at its machine's address.
    `static` are the components of control planes that run as static pods.
    `families` are those of all addresses, the primary one first; `pod_cidrs` and `service_cidrs` have a range for each, in their order.
    `schedulable` is false for `nodes: []`: then the one machine runs the control plane and no kubelet. `state_dir` is the
    cluster's folder. `registries` are those that ask who pulls, with the name and the password of the one user. `tools` are LocalTools as JSON; without them the toolchain finds them. `port` on 127.0.0.1 leads to the API
    server (0: any free one). `timeout` in seconds is for the start as a whole.
    """

    name: str
    run_id: str
    kubernetes: str
    nodes: tuple[NodeSpec, ...]
    fixtures: tuple[FixtureSpec, ...]
    schedulable: bool
    network: str
    kube_proxy: str
    dns: str
    families: tuple[Family, ...]
    pod_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]
    egress: str
    members: tuple[NodeSpec | FixtureSpec, ...]
    static: tuple[str, ...]
    feature_gates: Mapping[str, bool]
    runtime_config: Mapping[str, str]
    args: Mapping[str, Mapping[str, str]]
    audit_policy: str
    admission_configuration: str
    preload: tuple[str, ...]
    registries: Mapping[str, tuple[str, str]]
    addons: frozenset[str]
    pki_dir: Path | None
    state_dir: Path
    tools: Mapping[str, Any]
    image_store: Path | None
    port: int
    timeout: float
    datastore: ExternalEtcd | None = None
    is_public: bool = False

    @property
    def control(self) -> NodeSpec:
        """The node that the control plane runs on, or the first of them."""
        return self.nodes[0]

    @property
    def first_nodes(self) -> tuple[NodeSpec, ...]:
        """The nodes that it's made with."""
        return tuple(node for node in self.nodes if not node.spare)

    @property
    def subnets(self) -> tuple[str, ...]:
        """The subnets of machines that aren't where all others are."""
        found = [*(node.subnet for node in self.nodes), *(fixture.subnet for fixture in self.fixtures)]
        return tuple(dict.fromkeys(subnet for subnet in found if subnet))

    @property
    def routers(self) -> frozenset[str]:
        """The programs that make its fixtures routers."""
        return frozenset(fixture.router.program for fixture in self.fixtures if fixture.router)

    @property
    def resolvers(self) -> tuple[str, ...]:
        """The addresses of its fixtures that are resolvers, as far as programs ask them."""
        return tuple(fixture.address for fixture in self.fixtures if fixture.resolver)[: resolvers.MOST]

    @property
    def controls(self) -> tuple[NodeSpec, ...]:
        """The nodes that a control plane runs on."""
        return tuple(node for node in self.nodes if node.is_control_plane)

    @property
    def has_failover(self) -> bool:
        """Whether the API's address is none of a node's own, and leads to any control plane that works."""
        return len(self.controls) > 1

    @property
    def api_address(self) -> str:
        """Where the API is reached in the cluster's network: the virtual address, where there are several control planes."""
        return _VIRTUAL[self.families[0]] if self.has_failover else self.control.address

    @property
    def etcd_address(self) -> str:
        """Where etcd is reached from the first control plane."""
        return "127.0.0.1" if self.control in self.members else self.members[0].address

    @property
    def dns_ip(self) -> str:
        """The address of the cluster's DNS Service: the tenth of the Services', as kubeadm has it."""
        return str(ipaddress.ip_network(self.service_cidrs[0])[10])

    @property
    def api_service_ip(self) -> str:
        """The address of the Service `kubernetes`: the first of the Services'."""
        return str(ipaddress.ip_network(self.service_cidrs[0])[1])

    @property
    def gateway(self) -> str:
        """The cluster's end of the fabric: where the mirror is, and the resolver if there is a way out."""
        return GATEWAY[self.families[0]]

    @property
    def mirror_url(self) -> str:
        """The registry of the cluster, as nodes reach it."""
        return f"http://{url_host(self.gateway)}:{MIRROR_PORT}"

    @property
    def api_url(self) -> str:
        """The API server as the cluster's nodes reach it."""
        return api_url(self.api_address)

    @property
    def api_names(self) -> list[str]:
        """What the API servers' certificate is for."""
        service = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        own = [name for node in self.controls for name in (*node.addresses, node.name)]
        own += [*([self.api_address] if self.has_failover else ()), self.api_service_ip]
        return ["localhost", "127.0.0.1", *(["::1"] if "IPv6" in self.families else ()), *own, *service]

    @property
    def etcd_names(self) -> list[str]:
        """What the certificate of etcd's members is for."""
        own = [name for node in self.members for name in (*node.addresses, node.name)]
        return ["localhost", "127.0.0.1", *own]


def api_url(address: str) -> str:
    """An API server by its address in the cluster's network."""
    return f"https://{url_host(address)}:{API_PORT}"


def url_host(address: str) -> str:
    """An address as URLs have it."""
    return f"[{address}]" if ":" in address else address


def static_components(control_plane: str, etcd: str) -> tuple[str, ...]:
    """The components of control planes that run as static pods, by the modes of control plane and etcd."""
    return (*_ETCDS.get(etcd, ()), *_CONTROL_PLANES.get(control_plane, ()))


def parse(text: str) -> LocalRequest:
    """Read a request; UsageError says what is wrong with it."""
    try:
        data = json.loads(text)
        return from_mapping(data)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the request for a local cluster isn't valid: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)


def from_mapping(data: Mapping[str, Any]) -> LocalRequest:
    """Read a request from its JSON value; KeyError, TypeError or ValueError for what is wrong with it."""
    families = read_families(data)
    pods, services = (
        read_ranges(data, "pod_cidr", families, PODS),
        read_ranges(data, "service_cidr", families, SERVICES),
    )
    check_ranges(pods, services)
    nodes = _nodes(data.get("nodes") or [], pods)
    machines = nodes or _nodes([{"name": "control-plane", "role": "control-plane"}], pods)
    fixtures = _fixtures(data.get("fixtures") or [], families, machines)
    settings = data.get("settings") or {}
    check_subnets(
        [item.get("subnet") or "" for item in (*(data.get("nodes") or ()), *(data.get("fixtures") or ()))], families
    )
    return LocalRequest(
        name=_name(data["name"]),
        run_id=str(data.get("run_id", "")),
        kubernetes=str(data["kubernetes_version"]),
        nodes=machines,
        fixtures=fixtures,
        schedulable=bool(nodes),
        network=str(data.get("network", "bridge")),
        kube_proxy=_one_of(data, "kube_proxy", _PROXIES),
        dns=str(data.get("dns", "coredns")),
        families=families,
        pod_cidrs=tuple(map(str, pods)),
        service_cidrs=tuple(map(str, services)),
        egress=_one_of(data, "egress", _EGRESS),
        members=_members(data.get("etcd") or {}, machines, fixtures),
        static=_static(data, is_schedulable=bool(nodes)),
        feature_gates=dict(data.get("feature_gates") or {}),
        runtime_config=dict(data.get("runtime_config") or {}),
        args={component: dict(values) for component, values in (data.get("component_args") or {}).items()},
        audit_policy=str(data.get("audit_policy") or ""),
        admission_configuration=str(data.get("admission_configuration") or ""),
        preload=tuple(data.get("preload") or ()),
        registries={item["name"]: (item["username"], item["password"]) for item in data.get("registries") or ()},
        addons=frozenset(_one_of({"addon": name}, "addon", ADDONS) for name in data.get("addons") or ()),
        pki_dir=Path(data["pki_dir"]) if data.get("pki_dir") else None,
        state_dir=Path(data["state_dir"]),
        tools=dict(settings.get("tools") or {}),
        image_store=Path(settings["image_store"]) if settings.get("image_store") else None,
        port=int(settings.get("port", 0)),
        timeout=float(settings.get("timeout", 180)),
    )


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits and dashes, at most 40")
    return text


def _one_of(data: Mapping[str, Any], key: str, allowed: Sequence[str]) -> str:
    value = data.get(key) or allowed[0]
    if value not in allowed:
        raise ValueError(f"{key} {value!r} is none of {', '.join(allowed)}")
    return str(value)


def _nodes(items: Sequence[Mapping[str, Any]], pods: Sequence[Network]) -> tuple[NodeSpec, ...]:
    ordered = sorted(items, key=lambda item: item.get("role") != "control-plane")
    names = [item["name"] for item in ordered]
    roles = [item.get("role", "worker") for item in ordered]
    if len(names) > _MOST_NODES:
        raise ValueError(f"{len(names)} nodes are more than the {_MOST_NODES} that a local cluster can have")
    if len(set(names)) < len(names):
        raise ValueError("two nodes have the same name")
    if any(item.get("spare") and item.get("role") == "control-plane" for item in items):
        raise ValueError("a control plane can't be kept aside")
    if items and "control-plane" not in roles:
        raise ValueError("no node is of role control-plane")
    shares = zip(*(node_shares(network, len(names)) for network in pods), strict=True)
    return tuple(
        NodeSpec(
            name=_name(item["name"]),
            role=role,
            addresses=in_subnet(item["subnet"], [each.get("subnet") for each in ordered[:number]])
            if item.get("subnet")
            else addresses_of([family_of(str(network)) for network in pods], _FIRST_NODE, number),
            subnet=str(item.get("subnet") or ""),
            pod_cidrs=share,
            labels=dict(item.get("labels") or {}),
            taints=tuple(dict(taint) for taint in item.get("taints") or ()),
            cpu=float(item.get("cpu") or 0),
            memory=int(item.get("memory") or 0),
            kubelet=dict(json.loads(item.get("kubelet") or "{}")),
            disks=tuple(DiskSpec(path=disk["path"], size=int(disk["size"])) for disk in item.get("disks") or ()),
            spare=bool(item.get("spare")),
        )
        for number, (item, role, share) in enumerate(zip(ordered, roles, shares, strict=False))
    )


def _members(
    etcd: Mapping[str, Any], machines: Sequence[NodeSpec], fixtures: Sequence[FixtureSpec]
) -> tuple[NodeSpec | FixtureSpec, ...]:
    """The machines with a member of etcd: fixtures, or as many of the control planes as are asked for, else all."""
    if etcd.get("mode") == "external":
        found = {fixture.name: fixture for fixture in fixtures}
        names = etcd.get("fixtures") or ()
        if not names or any(name not in found for name in names):
            raise ValueError(f"an external etcd is on fixtures, of which there are: {', '.join(found) or 'none'}")
        return tuple(found[name] for name in names)
    controls = tuple(node for node in machines if node.is_control_plane)
    count = int(etcd.get("members") or len(controls))
    if count > len(controls):
        raise ValueError(f"etcd has {count} members, and there are {len(controls)} control planes for them")
    return controls[:count]


def _static(data: Mapping[str, Any], *, is_schedulable: bool) -> tuple[str, ...]:
    """The components that run as static pods, for which there have to be kubelets."""
    mode = _one_of(data, "control_plane", tuple(_CONTROL_PLANES))
    found = static_components(mode, _one_of(data.get("etcd") or {}, "mode", tuple(_ETCDS)))
    if found and not is_schedulable:
        raise ValueError(f"{found[0]} can't be a static pod of a cluster without nodes")
    return found


def _fixtures(
    items: Sequence[Mapping[str, Any]], families: Sequence[Family], nodes: Sequence[NodeSpec]
) -> tuple[FixtureSpec, ...]:
    names, taken = [item["name"] for item in items], {node.name for node in nodes}
    if len(names) > _MOST_FIXTURES:
        raise ValueError(f"{len(names)} fixtures are more than the {_MOST_FIXTURES} that a local cluster can have")
    if len({*names, *taken}) < len(names) + len(taken):
        raise ValueError("two fixtures, or a fixture and a node, have the same name")
    found = [
        FixtureSpec(
            name=_name(item["name"]),
            kind=_one_of({"fixture": item["kind"]}, "fixture", _FIXTURES),
            addresses=in_subnet(
                item["subnet"], [*(node.subnet for node in nodes), *(each.get("subnet") for each in items[:number])]
            )
            if item.get("subnet")
            else addresses_of(families, _FIRST_FIXTURE, number),
            subnet=str(item.get("subnet") or ""),
        )
        for number, item in enumerate(items)
    ]
    addresses = {**{node.name: node.address for node in nodes}, **{each.name: each.address for each in found}}
    return tuple(
        replace(
            fixture,
            router=_router(item, number, addresses) if fixture.kind == "router" else None,
            resolver=resolvers.read(json.loads(item.get("resolver") or "{}")) if fixture.kind == "resolver" else None,
        )
        for number, (item, fixture) in enumerate(zip(items, found, strict=True))
    )


def _router(item: Mapping[str, Any], number: int, addresses: Mapping[str, str]) -> RouterSpec:
    """What a router does; unless it says another, its ID is the address of IPv4 that it has or would have."""
    identifier = str(FABRIC["IPv4"][_FIRST_FIXTURE["IPv4"] + number])
    return routers.read(json.loads(item.get("router") or "{}"), identifier, addresses)
