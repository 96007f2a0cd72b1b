"""What is kept of a failure: objects, events, descriptions, logs, and the nodes' own logs and network state, as plain files.

Collected at once, before anything is cleaned up, by several threads; bounded in time and size. What can't be had is listed, never raised.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.describing import describe, event_lines, unready
from koalesce.engine.evidence_index import Failure, index
from koalesce.engine.evidence_sharing import EvidenceSharing, Found
from koalesce.engine.evidence_writer import EvidenceWriter, Look
from koalesce.engine.masking import MASK
from koalesce.engine.node_evidence import node_jobs
from koalesce.errors import KoalesceError
from koalesce.kube import Resource
from koalesce.yaml.writing import dump

TIME = 15.0  # seconds for everything
_TAIL_LINES = 1000
_TIMEOUT = 5.0  # of one look
_LOOKED_AT = 50  # objects
_AT_ONCE = 8
_UNINTERESTING = ("default", "kube-node-lease", "kube-public")
_DESCRIBED = ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "pods")
_TABLES = ("services", "endpointslices", "networkpolicies")
_NOT_KEPT = (*_DESCRIBED, "events", "events.events.k8s.io", "pods.metrics.k8s.io")  # events, described: kept elsewhere
Jobs = dict[str, Look]  # by file
Object = Mapping[str, Any]


def collect_evidence(
    writer: EvidenceWriter,
    cluster: Cluster,
    namespaces: tuple[str, ...],
    sharing: EvidenceSharing,
    *,
    failure: Failure | None = None,
    own: tuple[str, ...] = (),
) -> None:
    """Collect all that a person asks for first; of the namespaces in `own` also every object as YAML. Never raises.

    Nodes and the namespaces that aren't the failure's own are looked at once for all failures that ask for them at a time.
    """
    writer.deadline = time.monotonic() + TIME
    failure = failure or Failure()
    others = tuple(namespace for namespace in namespaces if namespace not in own)
    with ThreadPoolExecutor(1, thread_name_prefix="evidence") as beside:
        common = beside.submit(
            sharing.have, writer, (cluster.kubeconfig, *others), partial(_look_at_cluster, cluster, others)
        )
        found = _look_at_own(writer, cluster, own, failure.looked_at)
        found.add(common.result())
    writer.write("not-collected.txt", "\n".join(writer.problems))
    writer.write(
        "README.md",
        index(writer.folder, failure, unready(found.pods), event_lines(found.warnings)),
    )


def _look_at_own(writer: EvidenceWriter, cluster: Cluster, own: tuple[str, ...], looked_at: Sequence[Object]) -> Found:
    _learn_secrets(writer, cluster, own)
    if len(looked_at) > _LOOKED_AT:
        writer.problems.append(f"looked-at: {len(looked_at) - _LOOKED_AT} more objects were looked at")
    for number, obj in enumerate(looked_at[:_LOOKED_AT]):
        metadata = obj["metadata"]
        parts = [obj.get("kind", "object"), metadata.get("namespace", ""), metadata.get("name", str(number))]
        name = "-".join(part for part in parts if part).lower()
        writer.collect(f"looked-at/{name}.yaml", partial(dump, tidy(obj)))
    objects: Jobs = {}
    for namespace in own:
        objects |= _under(f"namespaces/{namespace}/objects", _object_jobs(writer, cluster, namespace))
    return _look_at_namespaces(writer, cluster, own, objects, with_objects=True)


def _look_at_cluster(cluster: Cluster, namespaces: tuple[str, ...], writer: EvidenceWriter) -> Found:
    writer.deadline = time.monotonic() + TIME
    _learn_secrets(writer, cluster, namespaces)
    nodes: Jobs = {}
    for node in cluster.present:
        nodes |= _under(f"nodes/{node.name}", node_jobs(node))
    for fixture in cluster.fixtures:
        nodes |= _under(f"fixtures/{fixture.name}", node_jobs(fixture))
    nodes["cluster/nodes.txt"] = partial(_table, cluster, "nodes", None)
    nodes["cluster/describe.txt"] = partial(_describe_nodes, cluster)
    return _look_at_namespaces(writer, cluster, namespaces, nodes)


def _look_at_namespaces(
    writer: EvidenceWriter, cluster: Cluster, namespaces: tuple[str, ...], more: Jobs, *, with_objects: bool = False
) -> Found:
    found = Found()
    jobs: Jobs = {}
    for namespace in namespaces:
        jobs |= _namespace_jobs(writer, cluster, namespace, found, with_objects=with_objects)
    jobs |= more
    _do(writer, jobs)
    _do(writer, _log_jobs(cluster, found.pods))
    return found


def all_namespaces(cluster: Cluster) -> tuple[str, ...]:
    """Every namespace that may hold something of interest; kube-system alone, where the API doesn't tell."""
    try:
        found = cluster.kube.list(cluster.kube.resource("namespaces"))
    except KoalesceError:
        return ("kube-system",)
    return tuple(name for each in found if (name := each["metadata"]["name"]) not in _UNINTERESTING)


def tidy(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what nobody reads: managed fields, and the values of Secrets."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    tidied = {**obj, "metadata": metadata}
    if obj.get("kind") == "Secret":
        for key in ("data", "stringData"):
            if obj.get(key):
                tidied[key] = dict.fromkeys(obj[key], MASK)
        metadata.get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return tidied


def _learn_secrets(writer: EvidenceWriter, cluster: Cluster, namespaces: tuple[str, ...]) -> None:
    """What the namespaces hold of Secrets is in no file, be it that a container has printed it."""

    def learn(namespace: str) -> str:
        kube = cluster.kube
        for secret in kube.list(kube.resource("secrets"), namespace=namespace, timeout=_TIMEOUT):
            writer.masks.learn_from(secret)
        return ""

    for namespace in namespaces:
        writer.collect(f"secrets of {namespace}, to mask them", partial(learn, namespace))


def _under(folder: str, jobs: Jobs) -> Jobs:
    return {f"{folder}/{name}": look for name, look in jobs.items()}


def _do(writer: EvidenceWriter, jobs: Jobs) -> None:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="evidence") as pool:
        for name, look in jobs.items():
            pool.submit(writer.collect, name, look)


def _namespace_jobs(
    writer: EvidenceWriter, cluster: Cluster, namespace: str, found: Found, *, with_objects: bool
) -> Jobs:
    folder = f"namespaces/{namespace}"

    def events_and_descriptions() -> str:
        events = _listed(cluster, "events", namespace)
        found.warnings += [event for event in events if event.get("type") == "Warning"]
        objects: list[dict[str, Any]] = []
        for kind in _DESCRIBED:
            if not (listed := _listed(cluster, kind, namespace)):
                continue
            objects += listed
            found.pods += listed if kind == "pods" else []
            writer.collect(f"{folder}/{kind.partition('.')[0]}.txt", partial(_table, cluster, kind, namespace))
            if with_objects:
                writer.write(f"{folder}/objects/{kind}.yaml", _as_yaml(listed))
        writer.write(f"{folder}/describe.txt", describe(objects, events))
        return "\n".join(event_lines(events))

    tables = {f"{kind}.txt": partial(_table, cluster, kind, namespace) for kind in _TABLES}
    return _under(folder, {"events.txt": events_and_descriptions, **tables})


def _object_jobs(writer: EvidenceWriter, cluster: Cluster, namespace: str) -> Jobs:
    """All objects of a namespace, by kind; each kind once, in the version that the server prefers."""
    try:
        kinds = cluster.kube.resources()
    except KoalesceError as error:
        writer.problems.append(f"objects of {namespace}: {error.message}")
        return {}
    listed = {
        kind.name: kind
        for kind in reversed(kinds)
        if kind.namespaced and "list" in kind.verbs and kind.name not in _NOT_KEPT
    }
    return {f"{name}.yaml": partial(_objects, cluster, kind, namespace) for name, kind in listed.items()}


def _objects(cluster: Cluster, kind: Resource, namespace: str) -> str:
    return _as_yaml(cluster.kube.list(kind, namespace=namespace, from_cache=True, timeout=_TIMEOUT))


def _as_yaml(objects: Iterable[Object]) -> str:
    return "---\n".join(dump(tidy(obj)) for obj in objects)


def _listed(cluster: Cluster, kind: str, namespace: str | None = None) -> list[dict[str, Any]]:
    return cluster.kube.list(cluster.kube.resource(kind), namespace=namespace, from_cache=True, timeout=_TIMEOUT)


def _describe_nodes(cluster: Cluster) -> str:
    return describe(_listed(cluster, "nodes"), _listed(cluster, "events", "default"))


def _log_jobs(cluster: Cluster, pods: Sequence[Object]) -> Jobs:
    jobs: Jobs = {}
    for pod in pods:
        name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace", "")
        for container, restarts in _containers(pod):
            at = f"namespaces/{namespace}/logs/{name}.{container}"
            jobs[f"{at}.log"] = _log(cluster, namespace, name, container, previous=False)
            if restarts:
                jobs[f"{at}.previous.log"] = _log(cluster, namespace, name, container, previous=True)
    return jobs


def _containers(pod: Object) -> list[tuple[str, int]]:
    """Containers that have run, with their restarts."""
    status = pod.get("status", {})
    return [
        (entry["name"], entry.get("restartCount", 0))
        for key in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(key) or []
        if entry.get("containerID") or entry.get("restartCount")
    ]


def _log(cluster: Cluster, namespace: str, pod: str, container: str, *, previous: bool) -> Look:
    return lambda: cluster.kube.logs(
        pod, namespace=namespace, container=container, previous=previous, tail_lines=_TAIL_LINES, timeout=_TIMEOUT
    )


def _table(cluster: Cluster, kind: str, namespace: str | None) -> str:
    text = cluster.kube.table(cluster.kube.resource(kind), namespace, wide=True, from_cache=True, timeout=_TIMEOUT)
    return "" if text.startswith("No resources found") else text
