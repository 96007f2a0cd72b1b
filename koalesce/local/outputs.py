"""What a cluster tells Terraform when it is up: the values of the contract's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from koalesce.local import control_plane, etcd, kubelet, routers, static_pods
from koalesce.local.node import exec_prefix
from koalesce.local.nodeinit import LOGS
from koalesce.local.request import FixtureSpec, LocalRequest, NodeSpec

CONTRACT = 1
_INIT = {"init": ["cat", "/var/init.log"]}


def outputs(request: LocalRequest, folder: Path, *, port: int, pid: int, capabilities: Sequence[str]) -> dict[str, Any]:
    """The outputs; `pid` is a process in the cluster's network namespace, `folder` the cluster's own."""
    return {
        "contract": CONTRACT,
        "nodes": [_node(request, node, folder) for node in request.nodes] if request.schedulable else [],
        "fixtures": [_fixture(request, fixture, folder) for fixture in request.fixtures],
        "kubeconfig_path": str(folder / "kubeconfig"),
        "api_endpoint": f"https://127.0.0.1:{port}",
        "capabilities": sorted(capabilities),
        "dns_ip": request.dns_ip,
        "host_exec": ["nsenter", f"--net=/proc/{pid}/ns/net", "--"],
    }


def control_machines(request: LocalRequest, folder: Path) -> list[dict[str, Any]]:
    """What runs a control plane and is no node, in the form of nodes: it's for those who look after the cluster, not for tests."""
    return [] if request.schedulable else [_node(request, node, folder) for node in request.nodes]


def _node(request: LocalRequest, node: NodeSpec, folder: Path) -> dict[str, Any]:
    audit = [control_plane.AUDIT] if request.audit_policy and node.is_control_plane else []
    names = [
        *control_plane.names(request, node),
        *audit,
        *(kubelet.services(request, node) if request.schedulable else ()),
    ]
    logs = {name: static_pods.log_command(name, node.name) if name in request.static else _log(name) for name in names}
    follows = {name: static_pods.follow_command(name, node.name) for name in names if name in request.static}
    return {
        "name": node.name,
        "role": node.role,
        "address": node.address,
        "addresses": list(node.addresses),
        "pod_cidr": node.pod_cidrs[0],
        "pod_cidrs": list(node.pod_cidrs),
        "exec": exec_prefix(folder / "nodes" / node.name / "process"),
        "logs": {**logs, **_INIT},
        "follows": follows,
        "spare": node.spare,
    }


def _fixture(request: LocalRequest, fixture: FixtureSpec, folder: Path) -> dict[str, Any]:
    names = [*([etcd.NAME] if fixture in request.members else ()), *routers.names(fixture.router)]
    return {
        "name": fixture.name,
        "kind": fixture.kind,
        "program": fixture.router.program if fixture.router else "",
        "address": fixture.address,
        "addresses": list(fixture.addresses),
        "exec": exec_prefix(folder / "fixtures" / fixture.name / "process"),
        "logs": {**{name: _log(name) for name in names}, **(_INIT if names else {})},
    }


def _log(service: str) -> list[str]:
    return ["cat", f"{LOGS}/{service}.log"]
