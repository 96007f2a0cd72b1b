"""What a spec asks of a cluster provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from koalesce.records import dataclass

Role = Literal["control-plane", "worker"]
FixtureKind = Literal["host", "resolver", "router"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRequest:
    """A file system of a node's own at `path`, which holds `size` bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRequest:
    """One node to make. `name` is its Kubernetes name; it has `cpu` processors and `memory` bytes (0: the provider's choice).

    `subnet` is the network that its address is from; empty: the provider's choice. `kubelet` are fields of its KubeletConfiguration, over
    the provider's. A `spare` one is kept aside: it isn't part of the cluster until it's added.
    """

    name: str
    role: Role
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    cpu: float = 0
    memory: int = 0
    subnet: str = ""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    disks: tuple[DiskRequest, ...] = ()
    spare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryRequest:
    """A registry whose images only this user may pull."""

    name: str
    username: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FixtureRequest:
    """One machine outside of the cluster to make; its name is none of a node's.

    `router` says what a router does, in the form of `koalesce.local.routers`, `resolver` what a resolver knows, in that of
    `koalesce.local.resolvers`; both are empty for others.
    """

    name: str
    kind: FixtureKind = "host"
    subnet: str = ""
    router: Mapping[str, Any] = field(default_factory=dict)
    resolver: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRequest:
    """What a cluster shall be, with every default filled in but for those of the provider. The same for every provider.

    How `control_plane` and `etcd` run is the provider's choice where they don't say a mode.

    `pod_cidr` and `service_cidr` are one range for each of the families, in their order, joined by commas as Kubernetes' flags take them.
    `audit_policy` and `admission_configuration` are texts of the API server's files; empty: it has none.
    `images` are references that the cluster must be able to run, all of which are in the machine's image store
    (`koalesce.toolchain.images`); `preload` are those of them that must be on every node before anything starts. `addons` are of
    `koalesce.addons.ADDONS`. `ttl` are seconds after which it may be removed where nobody answers for it any more; 0: nobody has said.
    """

    name: str
    run_id: str
    provider: str
    kubernetes: str
    nodes: tuple[NodeRequest, ...]
    fixtures: tuple[FixtureRequest, ...] = ()
    network: str = "bridge"
    kube_proxy: str = "iptables"
    dns: str = "coredns"
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    ip_families: tuple[str, ...] = ("IPv4",)
    egress: str = "none"
    etcd: Mapping[str, Any] = field(default_factory=dict)
    control_plane: str = ""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    runtime_config: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    audit_policy: str = ""
    admission_configuration: str = ""
    images: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    registries: tuple[RegistryRequest, ...] = ()
    addons: tuple[str, ...] = ()
    ttl: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
