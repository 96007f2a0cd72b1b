"""What a local cluster shall be: the JSON that Terraform hands to `koalesce local up`, read and checked."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce.errors import UsageError

FABRIC = ipaddress.IPv4Network("198.18.0.0/15")
GATEWAY = "198.18.0.1"
PREFIX = 16
API_PORT = 6443
MIRROR_PORT = 5000
_FIRST_NODE = 10
_MOST_NODES = 200
_FIRST_FIXTURE = 266  # 198.18.1.10: told from the nodes' at a glance
_MOST_FIXTURES = 100
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_PROXIES = ("iptables", "nftables", "ipvs", "none")
_EGRESS = ("none", "host")
_FIXTURES = ("host",)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A node to make; `address` is in the fabric, `pod_cidr` its share of the pods' addresses."""

    name: str
    role: str
    address: str
    pod_cidr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()

    @property
    def is_control_plane(self) -> bool:
        """Whether the control plane runs here."""
        return self.role == "control-plane"


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureSpec:
    """A machine outside of the cluster to make; `address` is in the fabric, as the nodes' are."""

    name: str
    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequest:
    """A local cluster, with every default filled in.

    `schedulable` is false for `nodes: []`: then the one machine runs the control plane and no kubelet. `state_dir` is the
    cluster's folder. `tools` are LocalTools as JSON; without them the toolchain finds them. `port` on 127.0.0.1 leads to the API
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
    pod_cidr: str
    service_cidr: str
    egress: str
    feature_gates: Mapping[str, bool]
    runtime_config: Mapping[str, str]
    args: Mapping[str, Mapping[str, str]]
    preload: tuple[str, ...]
    pki_dir: Path | None
    state_dir: Path
    tools: Mapping[str, Any]
    image_store: Path | None
    port: int
    timeout: float

    @property
    def control(self) -> NodeSpec:
        """The node that the control plane runs on."""
        return self.nodes[0]

    @property
    def dns_ip(self) -> str:
        """The address of the cluster's DNS Service: the tenth of the Services', as kubeadm has it."""
        return str(ipaddress.ip_network(self.service_cidr)[10])

    @property
    def api_service_ip(self) -> str:
        """The address of the Service `kubernetes`: the first of the Services'."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def api_url(self) -> str:
        """The API server as the cluster's nodes reach it."""
        return f"https://{self.control.address}:{API_PORT}"

    @property
    def api_names(self) -> list[str]:
        """What the API server's certificate is for."""
        service = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
        return ["localhost", "127.0.0.1", self.control.address, self.control.name, self.api_service_ip, *service]


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
    pods, services = _network(data, "pod_cidr", "10.244.0.0/16"), _network(data, "service_cidr", "10.96.0.0/16")
    nodes = _nodes(data.get("nodes") or [], pods)
    machines = nodes or _nodes([{"name": "control-plane", "role": "control-plane"}], pods)
    settings = data.get("settings") or {}
    request = LocalRequest(
        name=_name(data["name"]),
        run_id=str(data.get("run_id", "")),
        kubernetes=str(data["kubernetes_version"]),
        nodes=machines,
        fixtures=_fixtures(data.get("fixtures") or [], {node.name for node in machines}),
        schedulable=bool(nodes),
        network=str(data.get("network", "bridge")),
        kube_proxy=_one_of(data, "kube_proxy", _PROXIES),
        dns=str(data.get("dns", "coredns")),
        pod_cidr=str(pods),
        service_cidr=str(services),
        egress=_one_of(data, "egress", _EGRESS),
        feature_gates=dict(data.get("feature_gates") or {}),
        runtime_config=dict(data.get("runtime_config") or {}),
        args={component: dict(values) for component, values in (data.get("component_args") or {}).items()},
        preload=tuple(data.get("preload") or ()),
        pki_dir=Path(data["pki_dir"]) if data.get("pki_dir") else None,
        state_dir=Path(data["state_dir"]),
        tools=dict(settings.get("tools") or {}),
        image_store=Path(settings["image_store"]) if settings.get("image_store") else None,
        port=int(settings.get("port", 0)),
        timeout=float(settings.get("timeout", 180)),
    )
    for one, other in ((pods, services), (pods, FABRIC), (services, FABRIC)):
        if one.overlaps(other):
            raise ValueError(f"the address ranges {one} and {other} overlap")
    return request


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is no name: lower-case letters, digits and dashes, at most 40")
    return text


def _network(data: Mapping[str, Any], key: str, default: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(data.get(key) or default)


def _one_of(data: Mapping[str, Any], key: str, allowed: Sequence[str]) -> str:
    value = data.get(key) or allowed[0]
    if value not in allowed:
        raise ValueError(f"{key} {value!r} is none of {', '.join(allowed)}")
    return str(value)


def _nodes(items: Sequence[Mapping[str, Any]], pods: ipaddress.IPv4Network) -> tuple[NodeSpec, ...]:
    ordered = sorted(items, key=lambda item: item.get("role") != "control-plane")
    names = [item["name"] for item in ordered]
    roles = [item.get("role", "worker") for item in ordered]
    if len(names) > _MOST_NODES:
        raise ValueError(f"{len(names)} nodes are more than the {_MOST_NODES} that a local cluster can have")
    if len(set(names)) < len(names):
        raise ValueError("two nodes have the same name")
    if items and roles.count("control-plane") != 1:
        raise ValueError("a local cluster has exactly one node of role control-plane")
    if pods.prefixlen > 24 or 2 ** (24 - pods.prefixlen) < len(names):
        raise ValueError(f"the pod CIDR {pods} has no /24 for each of {len(names)} nodes")
    shares = pods.subnets(new_prefix=24)
    return tuple(
        NodeSpec(
            name=_name(item["name"]),
            role=role,
            address=str(FABRIC[_FIRST_NODE + number]),
            pod_cidr=str(share),
            labels=dict(item.get("labels") or {}),
            taints=tuple(dict(taint) for taint in item.get("taints") or ()),
        )
        for number, (item, role, share) in enumerate(zip(ordered, roles, shares, strict=False))
    )


def _fixtures(items: Sequence[Mapping[str, Any]], taken: Collection[str]) -> tuple[FixtureSpec, ...]:
    names = [item["name"] for item in items]
    if len(names) > _MOST_FIXTURES:
        raise ValueError(f"{len(names)} fixtures are more than the {_MOST_FIXTURES} that a local cluster can have")
    if len({*names, *taken}) < len(names) + len(taken):
        raise ValueError("two fixtures, or a fixture and a node, have the same name")
    return tuple(
        FixtureSpec(
            name=_name(item["name"]),
            kind=_one_of({"fixture": item["kind"]}, "fixture", _FIXTURES),
            address=str(FABRIC[_FIRST_FIXTURE + number]),
        )
        for number, item in enumerate(items)
    )
