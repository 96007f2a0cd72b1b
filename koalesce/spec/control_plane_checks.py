"""What is wrong with the control planes of a cluster and with its etcd, as written: what needs more of them, or other nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from koalesce.spec.checks import items
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem


def control_plane_problems(section: Mapping[str, Any], where: Path, source: Source) -> Iterator[Problem]:
    """Every such problem of the section of a cluster."""
    etcd = section["etcd"] if isinstance(section.get("etcd"), dict) else {}
    count = _control_planes(section)
    members = etcd.get("members")
    if isinstance(members, int) and members > count:
        message = f"{members} members are on as many control planes, and there {'is' if count == 1 else 'are'} {count}"
        yield source.problem_at((*where, "etcd", "members"), message, hint=f"nodes: {{controlPlane: {members}}}")
    if section.get("failover") is True and count == 1:
        message = "there is one control plane, and no other that its address could lead to"
        yield source.problem_at((*where, "failover"), message, key=True, hint="nodes: {controlPlane: 3}")
    modes: Mapping[Path, Any] = {("controlPlane",): section.get("controlPlane"), ("etcd", "mode"): etcd.get("mode")}
    if static := [field for field, mode in modes.items() if mode == "static"]:
        yield from _static(section, where, static, source)


def _static(section: Mapping[str, Any], where: Path, fields: Sequence[Path], source: Source) -> Iterator[Problem]:
    """Static pods need kubelets, with as much as kubeadm has them ask for."""
    for field in fields if section.get("nodes") == 0 else ():
        message = "a cluster without nodes has no kubelet, which runs static pods"
        yield source.problem_at((*where, *field), message, hint="say nodes: 1")
    for index, node in items(section, "nodes"):
        cpu = node.get("cpu")
        if node.get("role") == "control-plane" and isinstance(cpu, int | float) and cpu < 1:
            message = f"{cpu:g} is too little for static pods of a control plane, which ask for 0.65 processors"
            yield source.problem_at((*where, "nodes", index, "cpu"), message, hint="say cpu: 1")


def _control_planes(section: Mapping[str, Any]) -> int:
    match section.get("nodes"):
        case dict(counts):
            return as_count(counts.get("controlPlane", 1))
        case list(nodes):
            return counted([node for node in nodes if isinstance(node, dict) and node.get("role") == "control-plane"])
    return 1


def counted(nodes: Sequence[Any]) -> int:
    """How many nodes a list is about."""
    return sum(as_count(node.get("count", 1)) for node in nodes if isinstance(node, dict))


def as_count(value: Any) -> int:
    """A number as written; 1 for what is no number, which is said elsewhere."""
    return value if isinstance(value, int) else 1
