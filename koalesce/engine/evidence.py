"""What is kept of a failure: events, pod logs, component logs of each node, and the nodes' network state, as plain files."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from koalesce.cluster import Cluster, Node
from koalesce.engine.masking import Masks
from koalesce.errors import KoalesceError

_TAIL_LINES = 1000
_TIMEOUT = 10.0
_AT_ONCE = 4
_UNINTERESTING = ("default", "kube-node-lease", "kube-public")
_NETWORK = {
    "addresses": "ip -details address",
    "routes": "ip route show table all; ip -6 route show table all",
    "rules": "ip rule; ip -6 rule",
    "neighbours": "ip neighbour",
    "iptables": "iptables-save -c 2>&1; ip6tables-save -c 2>&1",
    "nftables": "nft list ruleset 2>&1",
    "ipset": "ipset list 2>&1",
    "listeners": "ss -lntup 2>&1",
    "conntrack": "conntrack -L 2>&1 | head -n 2000",
    "processes": "ps -eo pid,ppid,stat,etime,args 2>&1",
}


@dataclass(slots=True, kw_only=True)
class EvidenceWriter:
    """The one writer of artifacts below a folder; masks secrets. `problems` says what could not be had."""

    folder: Path
    masks: Masks
    problems: list[str] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        """Write one file; an empty text makes none."""
        if not text.strip():
            return
        path = self.folder.joinpath(*(_safe(part) for part in name.split("/")))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(self.masks.text(text), encoding="utf-8", errors="replace")

    def collect(self, name: str, look: Callable[[], str]) -> None:
        """Write what `look` finds; a failure to find it is noted, not raised."""
        try:
            self.write(name, look())
        except KoalesceError as error:
            self.problems.append(f"{name}: {error.message}")


def collect_evidence(writer: EvidenceWriter, cluster: Cluster, namespaces: tuple[str, ...]) -> None:
    """Collect all that a person asks for first. Never raises for what can't be had: `not-collected.txt` lists that."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
        jobs = [(f"namespaces/{name}", _namespace_jobs(cluster, name)) for name in namespaces]
        jobs += [(f"nodes/{node.name}", _node_jobs(node)) for node in cluster.nodes]
        jobs.append(("cluster", {"nodes.txt": partial(_table, cluster, "nodes", None)}))
        for folder, parts in jobs:
            for name, look in parts.items():
                pool.submit(writer.collect, f"{folder}/{name}", look)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
        for namespace in namespaces:
            for name, look in _log_jobs(writer, cluster, namespace).items():
                pool.submit(writer.collect, f"namespaces/{namespace}/{name}", look)
    writer.write("not-collected.txt", "\n".join(writer.problems))


def all_namespaces(cluster: Cluster) -> tuple[str, ...]:
    """Every namespace that may hold something of interest; kube-system alone, where the API doesn't tell."""
    try:
        found = cluster.kube.list(cluster.kube.resource("namespaces"))
    except KoalesceError:
        return ("kube-system",)
    return tuple(name for each in found if (name := each["metadata"]["name"]) not in _UNINTERESTING)


def _namespace_jobs(cluster: Cluster, namespace: str) -> dict[str, Callable[[], str]]:
    kinds = (
        "pods",
        "services",
        "endpointslices",
        "deployments",
        "daemonsets",
        "statefulsets",
        "jobs",
        "networkpolicies",
    )
    tables = {f"{kind}.txt": partial(_table, cluster, kind, namespace) for kind in kinds}
    return {**tables, "events.txt": partial(_events, cluster, namespace)}


def _node_jobs(node: Node) -> dict[str, Callable[[], str]]:
    logs = {f"{component}.log": partial(_run, node, command) for component, command in node.logs.items()}
    network = {f"network/{name}.txt": partial(_run, node, ("sh", "-c", command)) for name, command in _NETWORK.items()}
    return {**logs, **network}


def _log_jobs(writer: EvidenceWriter, cluster: Cluster, namespace: str) -> dict[str, Callable[[], str]]:
    try:
        pods = cluster.kube.list(cluster.kube.resource("pods"), namespace=namespace)
    except KoalesceError as error:
        writer.problems.append(f"pods of {namespace}: {error.message}")
        return {}
    jobs: dict[str, Callable[[], str]] = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        for container, restarts in _containers(pod):
            jobs[f"logs/{name}.{container}.log"] = _log(cluster, namespace, name, container, previous=False)
            if restarts:
                jobs[f"logs/{name}.{container}.previous.log"] = _log(cluster, namespace, name, container, previous=True)
    return jobs


def _containers(pod: dict[str, Any]) -> list[tuple[str, int]]:
    """Containers that have run, with their restarts."""
    status = pod.get("status", {})
    return [
        (entry["name"], entry.get("restartCount", 0))
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(key) or []
        if entry.get("containerID") or entry.get("restartCount")
    ]


def _log(cluster: Cluster, namespace: str, pod: str, container: str, *, previous: bool) -> Callable[[], str]:
    return lambda: cluster.kube.logs(
        pod, namespace=namespace, container=container, previous=previous, tail_lines=_TAIL_LINES
    )


def _table(cluster: Cluster, kind: str, namespace: str | None) -> str:
    return cluster.kube.table(cluster.kube.resource(kind), namespace)


def _events(cluster: Cluster, namespace: str) -> str:
    events = cluster.kube.list(cluster.kube.resource("events"), namespace=namespace)
    return "\n".join(_event_line(event) for event in sorted(events, key=_event_time))


def _event_time(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _event_line(event: dict[str, Any]) -> str:
    about = event.get("involvedObject", {})
    subject = f"{str(about.get('kind', '?')).lower()}/{about.get('name', '?')}"
    return f"{_event_time(event)}  {event.get('type', '')}  {event.get('reason', '')}  {subject}  {event.get('message', '')}"


def _run(node: Node, command: tuple[str, ...]) -> str:
    result = node.run(command, timeout=_TIMEOUT)
    return result.out + (f"\n[exit code {result.code}]\n{result.err}" if result.code else "")


def _safe(part: str) -> str:
    """A file name without surprises."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") or "unnamed"
