"""The `cluster` section: which cluster a spec needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)

from koalesce.addons import Addon
from koalesce.addresses import PODS, SERVICES, Family, family_of, ranges
from koalesce.cluster_request import NodeRequest, Role
from koalesce.matching.quantity import quantity
from koalesce.merging import merged
from koalesce.patterns import pattern
from koalesce.spec import failover
from koalesce.spec.common import Flag, Model, ObjectName, PositiveDuration, Text
from koalesce.spec.disks import Disk, each_once, with_those_of
from koalesce.spec.kubelet_fields import known_field
from koalesce.spec.registries import RegistryName, RegistryUser

ARGUMENT_TARGETS = Literal[
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet"
]
_LEAST_MEMORY: Mapping[Role, str] = {"control-plane": "1Gi", "worker": "256Mi"}
_VERSION = pattern(r"v?\d+\.\d+(\.\d+)?")
_ENDPOINT = pattern(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError(f'"{text}" is no version of Kubernetes; write a minor ("1.37") or an exact one ("1.37.2")')
    return text.removeprefix("v")


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text):
        raise ValueError(f'"{text}" is no endpoint of etcd; write one such as https://192.0.2.20:2379')
    return text


def _cidr(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ValueError(f'"{text}" is no CIDR; write a network such as 10.244.0.0/16') from error
    if "/" not in text:
        raise ValueError(f'"{text}" has no prefix length; write a network such as 10.244.0.0/16')
    if ipaddress.ip_interface(text).ip != network.network_address:
        raise ValueError(f'"{text}" is an address inside of the network {network}; write the network')
    return str(network)


def _as_text(value: Any) -> Any:
    """Flags of programs are texts; numbers and booleans are written as the programs take them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Cidr = Annotated[Text, AfterValidator(_cidr), Field(examples=["10.244.0.0/16"])]
Endpoint = Annotated[Text, AfterValidator(_endpoint)]
KubeletFields = Mapping[Annotated[str, AfterValidator(known_field)], Any]
Cidrs = Annotated[tuple[Cidr, ...], BeforeValidator(_as_list, json_schema_input_type=Cidr | list[Cidr])]
FlagText = Annotated[str, BeforeValidator(_as_text)]


class Taint(Model):
    """A taint of a node."""

    key: Text
    """Its key."""

    value: str = ""
    """Its value."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    """What it does to pods that don't tolerate it."""


class NodeSpec(Model):
    """One node, or several alike."""

    name: ObjectName | None = None
    """Its Kubernetes name; with `count`, what the names begin with. Default: control-plane, worker-1, worker-2 …"""

    role: Role = "worker"
    """What runs on it."""

    count: Annotated[int, Field(strict=True, ge=1, le=200)] = 1
    """How many there are of it."""

    labels: Mapping[str, FlagText] = Field(default_factory=dict)
    """Labels that it has from the start."""

    taints: tuple[Taint, ...] = ()
    """Taints that it has from the start; none unless given, on control planes too."""

    zone: Text | None = None
    """Its zone, also as the label topology.kubernetes.io/zone."""

    cpu: Annotated[float, Field(ge=0.1)] | None = None
    """Its processors, such as 2 or 0.5. Default: all that the machine has. Whole processors are the node's alone to run on; a fraction is what the
    scheduler counts, and with cgroup v2 a quota as well."""

    memory: Text | None = Field(default=None, examples=["2Gi"])
    """Its memory, such as 2Gi: what the scheduler counts, and what all that runs on the node may use together. Default: all that the machine has."""

    disks: Annotated[tuple[Disk, ...], AfterValidator(each_once)] = Field(
        default=(), examples=[[{"path": "/mnt/data", "size": "100Mi"}]]
    )
    """Disks that it has besides: `[{path: /mnt/data, size: 100Mi}]`."""

    subnet: Cidr | None = None
    """The network that its address is from, for a link of its own with others of it: `198.19.1.0/24`. A router joins the subnets of a cluster. Those of local
    clusters are of IPv4, out of 198.19.0.0/18. Default: the one where all are that say none."""

    spare: Flag = False
    """Kept aside: it isn't part of the cluster until a test has it join by `nodes: {add: {node: …}}`, and leaves it at that test's end. A worker only. Steps
    about `all` nodes leave it out as long; `${{ nodes }}` has it, as its addresses are known."""

    kubelet: KubeletFields = Field(default_factory=dict, examples=[{"maxPods": 20}])
    """Fields of its kubelet's KubeletConfiguration, over those of `cluster.kubelet`: `{maxPods: 20}`."""

    @field_validator("memory")
    @classmethod
    def _is_enough_memory(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None:
            return text
        least = _LEAST_MEMORY[info.data.get("role", "worker")]
        size = quantity(text)
        if size is None:
            raise ValueError(f'"{text}" is no amount of memory; write one such as 2Gi')
        if size < _bytes(least):
            raise ValueError(
                f"{text} is less than the {least} that a node of role {info.data.get('role', 'worker')} needs for itself"
            )
        return text

    @field_validator("spare")
    @classmethod
    def _is_a_worker(cls, spare: bool, info: ValidationInfo) -> bool:
        if spare and info.data.get("role", "worker") != "worker":
            raise ValueError("a control plane is there from the start; only workers can be kept aside")
        return spare


class NodeCounts(Model):
    """How many nodes of each kind."""

    control_plane: Annotated[int, Field(strict=True, ge=1, le=9)] = 1
    """Nodes with a control plane."""

    workers: Annotated[int, Field(strict=True, ge=0, le=200)] = 0
    """Nodes without one."""


class EtcdSpec(Model):
    """The datastore."""

    mode: Literal["process", "static", "external"] | None = None
    """A process of each control plane, a static pod of each, or external: on machines that are no nodes of the cluster. Default: a process in local
    clusters, a static pod on machines (`ssh`)."""

    members: Annotated[int, Field(strict=True, ge=1, le=9)] | None = None
    """How many members it has, each on a control plane of its own. Default: as many as there are control planes."""

    fixtures: tuple[ObjectName, ...] = ()
    """The fixtures that have a member each, of an external one that the cluster is made with: `{mode: external, fixtures: [e1, e2, e3]}`. They are
    machines beside the cluster's nodes, which API servers reach with a client certificate."""

    endpoints: tuple[Endpoint, ...] = Field(default=(), examples=[["https://192.0.2.20:2379"]])
    """Where an external one is reached from the control plane that is there already, for clusters on machines (`ssh`): `{mode: external,
    endpoints: ["https://192.0.2.20:2379"], ca: etcd/ca.crt, cert: etcd/client.crt, key: etcd/client.key}`. All keys of the cluster begin with /koalesce/ and
    its name there, and are removed with it."""

    ca: Text | None = None
    """The file of the CA of an external one whose endpoints are https."""

    cert: Text | None = None
    """The file of the client certificate for it."""

    key: Text | None = None
    """The file of the key of that certificate."""

    @model_validator(mode="after")
    def _external_says_where(self) -> EtcdSpec:
        if (self.mode == "external") != bool(self.endpoints or self.fixtures):
            raise ValueError("mode: external goes together with fixtures, or with endpoints")
        if self.endpoints and self.fixtures:
            raise ValueError("say fixtures or endpoints, not both")
        files = (self.ca, self.cert, self.key)
        if not self.endpoints and any(files):
            raise ValueError("ca, cert and key are of endpoints")
        if len({endpoint.partition(":")[0] for endpoint in self.endpoints}) > 1:
            raise ValueError("endpoints are all https, or all http")
        if self.endpoints and all(files) != self.endpoints[0].startswith("https"):
            raise ValueError("endpoints of https go together with ca, cert and key")
        if self.fixtures and self.members is not None:
            raise ValueError("each of the fixtures has a member: leave out members")
        if len(set(self.fixtures)) < len(self.fixtures):
            raise ValueError("a fixture is there twice")
        return self


class ImageSource(Model):
    """Where an image comes from that the cluster can't, or shan't, pull."""

    ref: Text | None = Field(default=None, examples=["docker.io/cloudnativelabs/kube-router:v2.10.0"])
    """Its reference; may be left out for archives that say it themselves."""

    archive: Text | None = None
    """A file made by `docker save`, or an OCI archive."""

    folder: Text | None = None
    """A folder in the OCI layout."""

    build: Text | None = None
    """An image definition, to build it from."""

    pull: Literal[True] | None = None
    """Pull it from its registry, before the cluster starts."""

    @model_validator(mode="after")
    def _one_source(self) -> ImageSource:
        if sum(source is not None for source in (self.archive, self.folder, self.build, self.pull)) != 1:
            raise ValueError("say exactly one of archive, folder, build and pull: true")
        if self.pull and self.ref is None:
            raise ValueError("pull: true needs ref")
        return self


class PoolSpec(Model):
    """Clusters that are made before their specs have their turn."""

    size: Annotated[int, Field(strict=True, ge=1, le=16)]
    """How many at most are made, or wait, besides the one in use."""


class ClusterSpec(Model):
    """The cluster that a spec needs."""

    provider: Text = "local"
    """Who makes it."""

    providers: Mapping[Text, Mapping[str, Any]] = Field(default_factory=dict)
    """Settings by provider; only those of the chosen one are read."""

    kubernetes: Annotated[Text, AfterValidator(_version)] | None = Field(default=None, examples=["1.37"])
    """A minor or an exact version of Kubernetes. Default: the newest that is supported."""

    nodes: Annotated[int, Field(strict=True, ge=0, le=200)] | NodeCounts | tuple[NodeSpec, ...] = 3
    """How many, the first of which is the control plane too (0: a control plane that runs no pods); or what each is like. Several control planes
    are reached by one address, behind which the API servers that work take turns."""

    network: Text = "bridge"
    """Pod network: bridge (built in), none, or the name of a component, which is installed first."""

    kube_proxy: Literal["iptables", "nftables", "ipvs", "none"] = "iptables"
    """The mode of kube-proxy, or none of it."""

    dns: Text = "coredns"
    """Cluster DNS: coredns (built in), none, or the name of a component."""

    ip_families: tuple[Family, ...] = Field(default=("IPv4",), min_length=1, max_length=2)
    """Families of addresses that nodes, pods and Services have, the first of which is the default of Services: `[IPv4, IPv6]`, `[IPv6, IPv4]`
    and `[IPv6]` besides `[IPv4]`. The nodes of local clusters have addresses of 198.18.0.0/15 and fd4b:6f61:6c65::/48."""

    pod_cidr: Cidrs = Field(default=(), alias="podCIDR", examples=["10.244.0.0/16", ["10.1.0.0/16", "fd00:1::/56"]])
    """Addresses of pods: a network, or one of each family. Default: 10.244.0.0/16, and fd00:10:244::/56 where there is IPv6."""

    service_cidr: Cidrs = Field(default=(), alias="serviceCIDR", examples=["10.96.0.0/16"])
    """Addresses of Services: a network, or one of each family. Default: 10.96.0.0/16, and fd00:10:96::/112 where there is IPv6."""

    egress: Literal["none", "host"] = "none"
    """Whether pods and nodes reach the outside through this machine."""

    etcd: EtcdSpec = Field(default_factory=EtcdSpec)
    """The datastore."""

    control_plane: Literal["process", "static"] | None = None
    """Whether the control plane runs as plain processes or as static pods. Default: processes in local clusters, static pods on machines (`ssh`)."""

    feature_gates: Mapping[str, StrictBool] = Field(default_factory=dict)
    """Feature gates of all Kubernetes programs."""

    runtime_config: Mapping[str, FlagText] = Field(default_factory=dict)
    """API groups and versions to turn on or off: `{resource.k8s.io/v1beta1: true}`."""

    args: Mapping[ARGUMENT_TARGETS, Mapping[str, FlagText]] = Field(default_factory=dict)
    """More flags by program, without the dashes: `{kube-apiserver: {v: 4}}`."""

    kubelet: KubeletFields = Field(default_factory=dict, examples=[{"evictionHard": {"memory.available": "100Mi"}}])
    """Fields of all kubelets' KubeletConfiguration, over the provider's: `{maxPods: 20, evictionHard: {memory.available: 100Mi}}`. Maps are merged."""

    audit_policy: Text | None = None
    """A file with the API server's audit policy (`kind: Policy` of audit.k8s.io). What it logs is the component `audit` of the control plane's node."""

    admission_configuration: Text | None = None
    """A file with the configuration of the API server's admission plugins (`kind: AdmissionConfiguration` of apiserver.config.k8s.io), each inline."""

    images: tuple[ImageSource, ...] = ()
    """Images to have at hand; they satisfy any imagePullPolicy."""

    registries: Mapping[RegistryName, RegistryUser] = Field(
        default_factory=dict, examples=[{"registry.example.com": {"username": "ci", "password": "made-up"}}]
    )
    """Registries that ask who pulls: `{registry.example.com: {username: ci, password: made-up}}`. The cluster serves their images, which `images` supply, only to pods
    that have an imagePullSecret with that user; they are on no node before a pod has pulled them."""

    addons: tuple[Addon, ...] = ()
    """What the cluster has besides. `local-path`: the default StorageClass `local-path`, whose volumes are folders of /var/local-path-provisioner on the node of
    their first pod, a disk of 1Gi unless the node's `disks` say another. `load-balancer`: Services of type LoadBalancer get an address of
    198.19.128.0/17 (fd4b:6f61:6c65:1::/64), which nodes, pods, fixtures and `host` reach. `metrics-server`: the resource metrics API, for
    `kubectl top` and HorizontalPodAutoscalers. Each is a capability of the cluster, too."""

    failover: Flag | Literal["fast"] = False
    """Whether the API's address has to lead to any control plane that works. In local clusters of several it always does. `fast` says something else: that
    the loss of a node is a matter of seconds. Kubelets tell that they live every second, a node is lost after 6 s, and its pods are given up 2 s later;
    `args` and `kubelet` have the last word."""

    ttl: PositiveDuration | None = None
    """After which time a cluster that is kept (`up`, `run --keep`) is removed by itself, once no run uses it."""

    pool: PoolSpec | None = Field(default=None, examples=[{"size": 2}])
    """Make it while tests of earlier specs of the same run (cells of a matrix are specs) still use theirs: `{size: 2}`."""

    shared: Flag = False
    """Whether specs of one run use the same cluster, one after the other: those that say so and need equal clusters, components included.
    Whatever a spec has left in it outside of its own namespaces, or on its nodes, fails the spec; the next one then gets a cluster of its own."""

    @field_validator("ip_families")
    @classmethod
    def _each_family_once(cls, families: tuple[Family, ...]) -> tuple[Family, ...]:
        if len(set(families)) < len(families):
            raise ValueError(f"{families[0]} is there twice")
        return families

    @field_validator("pod_cidr", "service_cidr")
    @classmethod
    def _one_of_each_family(cls, networks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        found = [family_of(network) for network in networks]
        if len(set(found)) < len(found):
            raise ValueError(f"there are two networks of {found[0]}; say one of each family")
        families = info.data.get("ip_families", found)
        for network, family in zip(networks, found, strict=True):
            if family not in families:
                raise ValueError(f"{network} is {family}, which is not among the ipFamilies ({', '.join(families)})")
        return networks

    @field_validator("addons")
    @classmethod
    def _each_addon_once(cls, addons: tuple[Addon, ...]) -> tuple[Addon, ...]:
        if twice := next((addon for addon in addons if addons.count(addon) > 1), None):
            raise ValueError(f"{twice} is there twice")
        return addons

    @property
    def pod_ranges(self) -> tuple[str, ...]:
        """The networks of pods, in the order of the families."""
        return ranges(self.ip_families, self.pod_cidr, PODS)

    @property
    def service_ranges(self) -> tuple[str, ...]:
        """The networks of Services, in the order of the families."""
        return ranges(self.ip_families, self.service_cidr, SERVICES)

    @property
    def etcd_members(self) -> tuple[str, ...]:
        """The nodes with a member of etcd each, or the fixtures; none for a control plane alone."""
        if self.etcd.mode == "external":
            return self.etcd.fixtures
        controls = [node.name for node in self._nodes() if node.role == "control-plane"]
        return tuple(controls[: self.etcd.members])

    def node_requests(self) -> tuple[NodeRequest, ...]:
        """Each node by name: control planes first where they are only counted; none for a control plane alone."""
        ours = merged(failover.KUBELET, self.kubelet) if self.failover == "fast" else self.kubelet
        return tuple(
            replace(node, kubelet=merged(ours, node.kubelet), disks=with_those_of(self.addons, node.disks))
            for node in self._nodes()
        )

    def flags(self) -> dict[str, dict[str, str]]:
        """The flags of programs: those of `args`, over those of a profile."""
        return merged(
            failover.FLAGS if self.failover == "fast" else {}, {key: dict(own) for key, own in self.args.items()}
        )

    def _nodes(self) -> tuple[NodeRequest, ...]:
        match self.nodes:
            case 0:
                return ()
            case int():
                return _counted(NodeCounts(control_plane=1, workers=self.nodes - 1))
            case NodeCounts():
                return _counted(self.nodes)
            case _:
                return _listed(self.nodes)


def _counted(counts: NodeCounts) -> tuple[NodeRequest, ...]:
    many = counts.control_plane > 1
    planes = [f"control-plane-{number}" if many else "control-plane" for number in range(1, counts.control_plane + 1)]
    workers = [f"worker-{number}" for number in range(1, counts.workers + 1)]
    return tuple(
        [NodeRequest(name=name, role="control-plane") for name in planes]
        + [NodeRequest(name=name, role="worker") for name in workers]
    )


def _listed(nodes: tuple[NodeSpec, ...]) -> tuple[NodeRequest, ...]:
    """Names that aren't given are the role's, with a number where there are several of the role, or always for workers."""
    totals = {role: sum(node.count for node in nodes if node.role == role) for role in ("control-plane", "worker")}
    numbers = dict.fromkeys(totals, 0)
    requests: list[NodeRequest] = []
    for node in nodes:
        for index in range(1, node.count + 1):
            numbers[node.role] += 1
            requests.append(_request(node, index, numbers[node.role], totals[node.role]))
    return tuple(requests)


def _request(node: NodeSpec, index: int, number: int, total: int) -> NodeRequest:
    if node.name is not None:
        name = node.name if node.count == 1 else f"{node.name}-{index}"
    else:
        name = "control-plane" if node.role == "control-plane" and total == 1 else f"{node.role}-{number}"
    zone = {"topology.kubernetes.io/zone": node.zone} if node.zone else {}
    return NodeRequest(
        name=name,
        role=node.role,
        labels={**zone, **node.labels},
        taints=tuple(taint.model_dump(exclude_defaults=True) for taint in node.taints),
        cpu=node.cpu or 0,
        memory=_bytes(node.memory) if node.memory else 0,
        subnet=node.subnet or "",
        kubelet=node.kubelet,
        disks=tuple(disk.request for disk in node.disks),
        spare=node.spare,
    )


def _bytes(text: str) -> int:
    return int(quantity(text) or 0)
