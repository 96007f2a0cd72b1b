"""A request as the Terraform variables of the contract, the same for every provider but for `settings`."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.assets import state_dir

if TYPE_CHECKING:
    from koalesce.cluster import ClusterRequest, FixtureRequest, NodeRequest


def contract_variables(request: ClusterRequest, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The variables; the cluster's files go to its folder beside the ledger."""
    return {
        "name": request.name,
        "run_id": request.run_id,
        "kubernetes_version": request.kubernetes,
        "nodes": [_node(node) for node in request.nodes],
        "fixtures": [_fixture(fixture) for fixture in request.fixtures],
        "network": request.network,
        "kube_proxy": request.kube_proxy,
        "dns": request.dns,
        "pod_cidr": request.pod_cidr,
        "service_cidr": request.service_cidr,
        "ip_families": list(request.ip_families),
        "egress": request.egress,
        "etcd": dict(request.etcd),
        "control_plane": request.control_plane or "process",
        "feature_gates": dict(request.feature_gates),
        "runtime_config": dict(request.runtime_config),
        "component_args": plain(request.args),
        "audit_policy": request.audit_policy,
        "admission_configuration": request.admission_configuration,
        "addons": list(request.addons),
        "registries": [plain(registry) for registry in request.registries],
        "images": list(request.images),
        "preload": list(request.preload),
        "pki_dir": "",
        "state_dir": str(state_dir() / "clusters" / request.name),
        "koalesce_command": koalesce_command(),
        "settings": dict(settings),
    }


def koalesce_command() -> list[str]:
    """The argv that runs this very Koalesce, wherever it is run from (-P: never a package of the working folder)."""
    return [sys.executable, "-P", "-m", "koalesce"]


def plain(value: Any) -> Any:
    """JSON values of dataclasses, mappings, tuples and paths."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _node(node: NodeRequest) -> dict[str, Any]:
    """A node as the contract has it: Terraform's lists have items of one type, so what differs in form goes as text."""
    return {**plain(node), "kubelet": json.dumps(node.kubelet, sort_keys=True) if node.kubelet else ""}


def _fixture(fixture: FixtureRequest) -> dict[str, Any]:
    """A fixture as the contract has it, what it does as text."""
    does = {"router": plain(fixture.router), "resolver": plain(fixture.resolver)}
    return {
        **plain(fixture),
        **{key: json.dumps(value, sort_keys=True) if value else "" for key, value in does.items()},
    }
