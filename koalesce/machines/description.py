"""A machine that is to become a node, described once: files, links, programs, services and settings. Pure data, whoever puts it there."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.addresses import Family
from koalesce.local import control_plane, etcd, kubelet, network, nodeplan, static_pods
from koalesce.local.node import ENVIRONMENT, Service
from koalesce.local.nodeinit import LOGS
from koalesce.local.noderoot import File
from koalesce.local.request import NodeSpec
from koalesce.machines import datastore, layout
from koalesce.machines.request import MachinesRequest
from koalesce.pki import Pki
from koalesce.toolchain import LocalTools

_NETWORK_SCRIPT = f"{layout.TOOLS}/network.sh"
TUNNEL, TUNNEL_PORT = "koalesce", 4789  # RFC 7348
_TUNNEL_ID = 5737
_ADDRESS_PATIENCE = 300  # seconds that a machine which boots may take until its link has its address
_TUNNEL_MTU = 1400  # 50 bytes less than the least that clouds' private networks carry
_QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is put on a machine.

    `programs` are files and folders of this machine by their places there, `services` in the order of their start: each has a unit among
    the `files`.
    """

    files: tuple[File, ...]
    links: Mapping[str, str]
    programs: Mapping[str, Path]
    services: tuple[str, ...]


def describe(
    request: MachinesRequest, node: NodeSpec, tools: LocalTools, pki: Pki, *, cgroup_version: int, resolver: str
) -> Description:
    """What makes a machine this node. `resolver` is the file that its pods' resolvers come from."""
    cluster = request.cluster
    # What a spec says of kubelets wins over what the machine is like.
    placed = dataclasses.replace(node, kubelet={"resolvConf": resolver, **node.kubelet})
    services = _services(request, node)
    sandbox = tools.images["pause"]
    files = [
        *kubelet.files(cluster, placed, pki, sandbox=sandbox, cgroup_version=cgroup_version, reserved={}),
        *network.cni_files(cluster, node, mtu=_TUNNEL_MTU if request.overlay else 0),
        *(_control_files(request, node, tools, pki) if node.is_control_plane else ()),
        File(path=_NETWORK_SCRIPT, mode=0o755, text=_network_script(request, node)),
        *(_unit_file(cluster.name, service) for service in services),
    ]
    return Description(
        files=tuple(files),
        links=_links(request, node, tools),
        programs=_programs(request, node, tools),
        services=tuple(service.name for service in services),
    )


def _services(request: MachinesRequest, node: NodeSpec) -> list[Service]:
    network_service = Service(name=layout.NETWORK, argv=["/bin/sh", _NETWORK_SCRIPT], environment={}, restart=False)
    components = control_plane.services(request.cluster, node)
    return [
        network_service,
        *(service for name, service in components.items() if name not in request.cluster.static),
        *kubelet.services(request.cluster, node).values(),
    ]


def release(component: str) -> str:
    """The command that has a machine's kubelet run a static pod: it passes over its manifest until then."""
    place = f"{static_pods.FOLDER}/{component}.yaml"
    return f"mv {_withdrawn(component)} {place}"


def _withdrawn(component: str) -> str:
    return f"{static_pods.FOLDER}/{static_pods.WITHDRAWN}{component}.yaml"


def _control_files(request: MachinesRequest, node: NodeSpec, tools: LocalTools, pki: Pki) -> Iterator[File]:
    """What the control plane reads, and what its static pods are made of."""
    cluster = request.cluster
    yield from control_plane.files(cluster, node, pki)
    for name, service in control_plane.services(cluster, node).items():
        if name in cluster.static:
            pod = static_pods.manifest(cluster, node, service.argv, tools.images[name], slowness=request.slowness)
            yield File(path=_withdrawn(name), mode=0o600, text=json.dumps(pod, indent=2))
    if cluster.datastore:
        yield datastore.removal_file(cluster.datastore)


def _runs_etcd(request: MachinesRequest, node: NodeSpec) -> bool:
    """Whether its binaries have to be there: an image has its own."""
    return node in request.cluster.members and etcd.NAME not in request.cluster.static


def _links(request: MachinesRequest, node: NodeSpec, tools: LocalTools) -> dict[str, str]:
    links = nodeplan.tool_links(tools)
    if _runs_etcd(request, node):
        return links
    return {path: target for path, target in links.items() if not target.startswith("../etcd/")}


def _programs(request: MachinesRequest, node: NodeSpec, tools: LocalTools) -> dict[str, Path]:
    places = {**nodeplan.tool_places(tools), layout.CNI: tools.cni}
    return {place: path for place, path in places.items() if _runs_etcd(request, node) or Path(place).name != "etcd"}


def _network_script(request: MachinesRequest, node: NodeSpec) -> str:
    """Sets what is gone after a boot: modules, settings, routes to the pods of other machines, rules."""
    cluster = request.cluster
    lines = [_address_wait(node), *(f"modprobe {module} 2>/dev/null || true" for module in layout.MODULES)]
    settings = {**layout.KERNEL_SETTINGS, **network.NODE_SYSCTLS}
    lines += [_setting(path, value) for path, value in settings.items()]
    if cluster.network == "bridge":
        others = [other for other in cluster.nodes if other.name != node.name]
        lines += _tunnel(node, others) if request.overlay else _routes(others)
        # What is between machines that need a tunnel may know no pods: to machines, pods show the address of their own.
        near = () if request.overlay else tuple(each.address for each in cluster.nodes)
        machines: Mapping[Family, Sequence[str]] = {"IPv4": near}
        for command, rules in network.masquerading(cluster, machines):
            chain = "iptables -t nat -n -L KOALESCE-MASQUERADE >/dev/null 2>&1"
            lines.append(f"{chain} || {shlex.join(command)} <<'END'\n{rules}END")
    return "set -e\n" + "\n".join(lines) + "\n"


def _address_wait(node: NodeSpec) -> str:
    """Waits for the node's address, without which there is no way to the others: what makes the network's target on a machine may not wait for it."""
    there = f"ip -o addr show up | grep -qF ' {node.address}/'"
    return f"for _ in $(seq {_ADDRESS_PATIENCE}); do {there} && break; sleep 1; done"


def _routes(others: Sequence[NodeSpec]) -> list[str]:
    """Routes to the pods of other machines, which are at layer 2."""
    return [
        f"ip route replace {share} via {address}"
        for other in others
        for share, address in zip(other.pod_cidrs, other.addresses, strict=True)
    ]


def _tunnel(node: NodeSpec, others: Sequence[NodeSpec]) -> list[str]:
    """Routes to them through a tunnel (VXLAN) that reaches machines wherever they are.

    A machine answers for its address there as well, but has another one in it, the first of its pods' range, which no pod has: what it sends
    to pods of others bears that one, so that the answer comes back by the tunnel.
    """
    own, link = ipaddress.ip_network(node.pod_cidrs[0])[0], f"dev {TUNNEL}"
    lines = [
        f"ip link show {TUNNEL} >/dev/null 2>&1 || ip link add {TUNNEL} type vxlan id {_TUNNEL_ID} local {node.address} dstport {TUNNEL_PORT}",
        f"ip link set {link} mtu {_TUNNEL_MTU} up",
        f"ip addr replace {own}/32 {link}",
    ]
    for other in others:
        lines += [
            f"bridge fdb show {link} | grep -q ' dst {other.address} ' || bridge fdb append 00:00:00:00:00:00 {link} dst {other.address}",
            f"ip route replace {other.pod_cidrs[0]} via {other.address} {link} onlink",
        ]
    return lines


def _setting(path: str, value: str) -> str:
    """What sets a setting that the kernel has and that is another; what can't be set is seen where it matters."""
    file = f"/proc/sys/{path}"
    return f'[ ! -e {file} ] || [ "$(cat {file})" = "{value}" ] || echo {shlex.quote(value)} > {file} || true'


def _unit_file(cluster: str, service: Service) -> File:
    return File(path=f"{layout.UNITS}/{layout.unit(service.name)}", mode=0o644, text=unit(cluster, service))


def unit(cluster: str, service: Service) -> str:
    """The unit of a service (systemd.service(5)), whose log is where nodes have theirs."""
    log = f"append:{LOGS}/{service.name}.log"
    variables = {**ENVIRONMENT, "PATH": f"{ENVIRONMENT['PATH']}:/usr/local/bin", **service.environment}
    lasting = (
        ("Type=simple", "Restart=always", "RestartSec=1")
        if service.restart
        else ("Type=oneshot", "RemainAfterExit=yes")
    )
    after = "network-online.target" if service.name == layout.NETWORK else layout.unit(layout.NETWORK)
    # Containers live on when what has started them is started again, as they do where containerd is a package's.
    grouping = ("Delegate=yes", "KillMode=process") if service.name in ("containerd", "kubelet") else ()
    return "\n".join(
        (
            "[Unit]",
            f"Description={service.name} of the cluster {cluster}",
            f"After={after}",
            f"Wants={after}",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            f"ExecStart={_command_line(service.argv)}",
            *(f"Environment={_quoted(f'{name}={value}')}" for name, value in variables.items()),
            *lasting,
            *grouping,
            "LimitNOFILE=1048576",
            "LimitNPROC=infinity",
            "TasksMax=infinity",
            f"StandardOutput={log}",
            f"StandardError={log}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        )
    )


def _command_line(argv: Sequence[str]) -> str:
    return " ".join(map(_quoted, argv))


def _quoted(word: str) -> str:
    """A word as systemd reads it (systemd.syntax(7)), with nothing that it would replace."""
    return f'"{word.translate(_QUOTED)}"'
