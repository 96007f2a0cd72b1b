"""What a cluster on machines tells Terraform when it is up: the values of the contract's outputs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from koalesce.local import control_plane, kubelet, static_pods
from koalesce.local.nodeinit import LOGS
from koalesce.local.request import NodeSpec
from koalesce.machines.request import MachinesRequest

CONTRACT = 1


def outputs(
    request: MachinesRequest, folder: Path, *, exec_of: Callable[[str], list[str]], capabilities: Collection[str]
) -> dict[str, Any]:
    """The outputs; `exec_of` gives the argv prefix that runs a command on a node, by its name."""
    cluster = request.cluster
    return {
        "contract": CONTRACT,
        "nodes": [_node(request, node, exec_of(node.name)) for node in cluster.nodes],
        "fixtures": [],
        "kubeconfig_path": str(folder / "kubeconfig"),
        "api_endpoint": request.api_url,
        "capabilities": sorted(capabilities),
        "dns_ip": cluster.dns_ip,
        "host_exec": [],
    }


def _node(request: MachinesRequest, node: NodeSpec, prefix: list[str]) -> dict[str, Any]:
    cluster = request.cluster
    audit = [control_plane.AUDIT] if cluster.audit_policy and node.is_control_plane else []
    static = [name for name in control_plane.names(cluster, node) if name in cluster.static]
    names = [*control_plane.names(cluster, node), *audit, *kubelet.services(cluster, node)]
    return {
        "name": node.name,
        "role": node.role,
        "address": node.address,
        "addresses": list(node.addresses),
        "pod_cidr": node.pod_cidrs[0],
        "pod_cidrs": list(node.pod_cidrs),
        "exec": prefix,
        "logs": {name: _log(name, node.name, is_static=name in static) for name in names},
        "follows": {name: static_pods.follow_command(name, node.name) for name in static},
    }


def _log(service: str, node: str, *, is_static: bool) -> list[str]:
    return static_pods.log_command(service, node) if is_static else ["cat", f"{LOGS}/{service}.log"]
