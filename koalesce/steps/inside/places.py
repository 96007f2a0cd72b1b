"""The places that a vantage point stands for: running pods, nodes, fixtures, this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, Scope, StepContext
from koalesce.steps.objects.reading import Reader
from koalesce.steps.vantage import Machines, PodsAndNodes, PodSelection, Vantage
from koalesce.steps.workloads.pods import why_not_running
from koalesce.steps.workloads.pods_of import pods_of
from koalesce.steps.workloads.prospects import end_of_pod, patiently

if TYPE_CHECKING:
    from koalesce.cluster import Cluster, Fixture, Machine, Node

Object = Mapping[str, Any]
_LAST_LOOK = 2.0
_NOT_COUNTED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One place that a vantage point stands for. `name` is how people know it; the container's fields are of pods only."""

    kind: Literal["pod", "node", "fixture", "host"]
    name: str
    node: Node | None = None
    fixture: Fixture | None = None
    namespace: str = ""
    pod: str = ""
    container: str = ""
    container_id: str = ""
    addresses: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    uid: str = ""

    @property
    def machine(self) -> Machine | None:
        """The machine that it is or, of a pod, runs on; None where that can't be had, and for this machine."""
        return self.fixture or self.node


Selected = list[Source] | Failed | Errored


def select(where: PodsAndNodes, context: StepContext) -> Selected:
    """The places of a vantage point, or why they can't be had: a pod isn't there or doesn't run (yet), a node is unknown."""
    if where.node is not None:
        return select_nodes([where.node], context.cluster)
    if where.nodes is not None:
        return select_nodes(where.nodes, context.cluster)
    if isinstance(where, Machines) and (where.fixture is not None or where.fixtures is not None):
        return select_fixtures(where.fixtures or [where.fixture or ""], context.cluster)
    if isinstance(where, Vantage) and where.host:
        return [Source(kind="host", name="host")]
    found = select_pods(where.pod, where.pods, where.namespace, context)
    if isinstance(found, Failed):
        return unmet(found, context)
    sources = [_pod_source(pod, where.container, context) for pod in found]
    if problems := [source for source in sources if not isinstance(source, Source)]:
        # One of several pods may be on its way out: only a pod that the author names is waited for in vain.
        problem = patiently(problems[0]) if where.pod is None or context.patient else problems[0]
        return unmet(problem, context)
    return [source for source in sources if isinstance(source, Source)]


def unmet(outcome: Failed | Errored, context: StepContext) -> Failed | Errored:
    """What keeps a step from looking at all; under `never` that must not count as the absence that is hoped for."""
    if context.negated and isinstance(outcome, Failed):
        return Errored(f"nothing could be looked at: {outcome.message}")
    return outcome


def select_nodes(names: str | list[str], cluster: Cluster) -> list[Source] | Errored:
    """Nodes by name or group as sources; a name that the cluster doesn't have is an error for good."""
    found = nodes_of(names, cluster)
    if isinstance(found, Errored):
        return found
    return [Source(kind="node", name=node.name, node=node, addresses=node.addresses, uid=node.name) for node in found]


def select_fixtures(names: str | list[str], cluster: Cluster) -> list[Source] | Errored:
    """Fixtures by name, or all of them, as sources; a name that there isn't is an error for good."""
    found = fixtures_of(names, cluster)
    if isinstance(found, Errored):
        return found
    return [
        Source(kind="fixture", name=each.name, fixture=each, addresses=each.addresses, uid=each.name) for each in found
    ]


def fixtures_of(names: str | list[str], cluster: Cluster) -> list[Fixture] | Errored:
    """The fixtures of a list of names, or all that there are."""
    known = {fixture.name: fixture for fixture in cluster.fixtures}
    if isinstance(names, str):
        return list(known.values()) or Errored("there are no fixtures", final=True)
    if missing := [name for name in names if name not in known]:
        return Errored(f"there is no fixture {missing[0]}; there are: {', '.join(known) or 'none'}", final=True)
    return [known[name] for name in names]


def nodes_of(names: str | list[str], cluster: Cluster) -> list[Node] | Errored:
    """The cluster's nodes of a group or a list of names."""
    if isinstance(names, str):
        roles = {"all": ("worker", "control-plane"), "workers": ("worker",), "controlPlane": ("control-plane",)}[names]
        found = [node for node in cluster.present if node.role in roles]
        return found or Errored(f"the cluster has no nodes that are {names}", final=True)
    known = {node.name: node for node in cluster.nodes}
    if missing := [name for name in names if name not in known]:
        return Errored(f"there is no node {missing[0]}; the cluster has {', '.join(known) or 'none'}", final=True)
    if away := [name for name in names if known[name] not in cluster.present]:
        return Errored(f"node {away[0]} isn't part of the cluster now", final=True)
    return [known[name] for name in names]


def select_pods(
    name: str | None, pods: PodSelection | None, namespace: str | None, context: StepContext
) -> list[Object] | Failed:
    """The pods of a name or a selection, none that has ended or is being deleted; Failed if there is none."""
    kind = context.cluster.kube.resource("pods")
    where = (pods.namespace if pods else None) or namespace or context.namespace
    if name is not None:
        pod = context.view.get(kind, name, where, cancel=context.scope.cancel)
        return [pod] if pod is not None else Failed(f"pod {where}/{name} does not exist", actual="missing")
    listed = pods_of(pods or PodSelection(), namespace, context)
    if isinstance(listed, Failed):
        return listed
    found: list[Object] = [pod for pod in listed if _counts(pod)]
    ended = f"all pods {pods or 'of the namespace'} in namespace {where} have ended or are being deleted"
    return found or Failed(ended, expected="at least one pod", actual="none")


def seconds_left(scope: Scope) -> float:
    """Time for one look: what is left of the step, but enough for a last look on its deadline."""
    return max(scope.remaining(), _LAST_LOOK)


def pod_name(pod: Object, context: StepContext) -> str:
    """How a pod is called in messages: with its namespace where that isn't the test's own."""
    name, namespace = pod["metadata"]["name"], pod["metadata"].get("namespace", "")
    return str(name) if namespace in ("", context.namespace) else f"{namespace}/{name}"


def pod_addresses(pod: Object) -> tuple[str, ...]:
    """A pod's addresses, the primary one first."""
    status = pod.get("status", {})
    listed = [entry["ip"] for entry in status.get("podIPs", ()) if entry.get("ip")]
    return tuple(listed or ([status["podIP"]] if status.get("podIP") else []))


def _counts(pod: Object) -> bool:
    ended = pod.get("status", {}).get("phase") in _NOT_COUNTED
    return not ended and "deletionTimestamp" not in pod["metadata"]


def _pod_source(pod: Object, container: str | None, context: StepContext) -> Source | Failed | Errored:
    name = pod_name(pod, context)
    wanted = container or default_container(pod)
    status = _container_status(pod, container or wanted)
    if container and status is None and container not in container_names(pod):
        return Errored(f"pod {name} has no container {container}", final=True)
    if status is None or "running" not in status.get("state", {}):
        return end_of_pod(Reader.of(context), pod) or Failed(
            f"pod {name}: {why_not_running(pod, wanted)}", expected="running", actual=_phase(pod)
        )
    node_name = pod.get("spec", {}).get("nodeName", "")
    node = next((node for node in context.cluster.nodes if node.name == node_name), None)
    return Source(
        kind="pod", name=name, node=node, namespace=pod["metadata"].get("namespace", ""), pod=pod["metadata"]["name"],
        container=wanted, container_id=status.get("containerID", "").rpartition("/")[2], addresses=pod_addresses(pod),
        labels=pod["metadata"].get("labels") or {}, uid=pod["metadata"].get("uid", name),
    )  # fmt: skip


def container_names(pod: Object) -> list[str]:
    """A pod's containers, init and ephemeral ones included."""
    spec = pod.get("spec", {})
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container["name"] for kind in kinds for container in spec.get(kind, ())]


def default_container(pod: Object) -> str:
    """The container that is meant where none is named."""
    annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    names = container_names(pod)
    return str(annotated) if annotated in names else (names[0] if names else "")


def _container_status(pod: Object, name: str) -> Object | None:
    status = pod.get("status", {})
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    found = [each for kind in kinds for each in status.get(kind, ()) if each.get("name") == name]
    return found[0] if found else None


def _phase(pod: Object) -> str:
    return str(pod.get("status", {}).get("phase") or "Pending")
