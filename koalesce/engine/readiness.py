"""When a cluster's own parts are ready: its nodes, and its DNS."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.waiting import Waiter
from koalesce.errors import ProvisionError
from koalesce.kube import Kube, View
from koalesce.steps.base import Failed, Outcome, Passed
from koalesce.steps.workloads.readiness import ready

NODES_TIMEOUT = 120.0
DNS_TIMEOUT = 120.0
WHOLE_TIMEOUT = 60.0
# What the node life cycle controller puts on nodes that aren't Ready.
_CLOSED = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_NAMESPACE = "kube-system"
_DNS = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns", "namespace": _NAMESPACE}}
_DNS_PODS = "k8s-app=kube-dns"
_NO_NETWORK = "FailedCreatePodSandBox"
_TRIED = timedelta(seconds=1)
_RENEWALS = 8


def await_nodes(waiter: Waiter, cluster: Cluster) -> None:
    """Wait until every node is Ready; ProvisionError with the reasons that they give otherwise."""
    nodes = cluster.kube.resource("nodes")

    def look(view: View) -> Outcome:
        found = {node["metadata"]["name"]: node for node in view.list(nodes)}
        lacking = [_why(node.name, found.get(node.name)) for node in cluster.present]
        unready = [reason for reason in lacking if reason]
        return Failed("; ".join(unready)) if unready else Passed(f"{len(found)} nodes are Ready")

    _await(waiter, cluster, look, NODES_TIMEOUT, "not every node became Ready")


def await_whole(waiter: Waiter, cluster: Cluster) -> None:
    """Wait until a cluster that was disturbed is whole again: every node is Ready and takes pods; ProvisionError otherwise.

    Asks the API server itself: what is watched may be what was there before.
    """
    nodes = cluster.kube.resource("nodes")

    def look(_view: View) -> Outcome:
        found = {node["metadata"]["name"]: node for node in cluster.kube.list(nodes)}
        lacking = [_why(node.name, found.get(node.name)) or _closed(found[node.name]) for node in cluster.present]
        unready = [reason for reason in lacking if reason]
        return Failed("; ".join(unready)) if unready else Passed(f"{len(found)} nodes are Ready")

    _await(waiter, cluster, look, WHOLE_TIMEOUT, "the cluster that chaos has disturbed is not whole again")


def await_dns(waiter: Waiter, cluster: Cluster) -> None:
    """Wait until CoreDNS, which we have made, is rolled out; ProvisionError with the reason otherwise.

    A network that is just being set up may refuse its pod, and a kubelet tries again only 12 to 15 s later: a pod that was refused is made anew
    after a second, some times.
    """
    refused: set[str] = set()

    def look(view: View) -> Outcome:
        outcome = ready(view, [_DNS])
        if not isinstance(outcome, Passed) and len(refused) < _RENEWALS:
            refused.update(_renewed(cluster.kube, view, refused))
        return outcome

    _await(waiter, cluster, look, DNS_TIMEOUT, "cluster DNS did not come up")


def _renewed(kube: Kube, view: View, before: Collection[str]) -> list[str]:
    """Delete pods of CoreDNS that got no network, and return their UIDs."""
    pods, found = kube.resource("pods"), []
    events = view.list(kube.resource("events"), namespace=_NAMESPACE)
    without = {event["involvedObject"].get("uid") for event in events if event.get("reason") == _NO_NETWORK}
    for pod in view.list(pods, namespace=_NAMESPACE, selector=_DNS_PODS):
        about = pod["metadata"]
        if about["uid"] not in without or about["uid"] in before or pod.get("status", {}).get("podIP"):
            continue
        if view.now() - datetime.fromisoformat(about["creationTimestamp"]) >= _TRIED:
            kube.delete(pods, about["name"], _NAMESPACE, grace_seconds=0)
            found.append(about["uid"])
    return found


def _await(waiter: Waiter, cluster: Cluster, look: Any, timeout: float, what: str) -> None:
    looked = waiter.until(cluster.kube, look, timeout=timeout)
    if not isinstance(looked.outcome, Passed):
        raise ProvisionError(f"{what} within {timeout:.0f}s: {getattr(looked.outcome, 'message', '')}")


def _why(name: str, node: dict[str, Any] | None) -> str | None:
    """Why a node isn't Ready; None if it is."""
    if node is None:
        return f"{name} did not register"
    for condition in node.get("status", {}).get("conditions", []):
        if condition.get("type") == "Ready":
            return (
                None
                if condition.get("status") == "True"
                else f"{name}: {condition.get('message') or condition.get('reason')}"
            )
    return f"{name} has no Ready condition"


def _closed(node: dict[str, Any]) -> str | None:
    """What keeps pods off a node that is Ready; None if nothing does."""
    taints = [taint["key"] for taint in node["spec"].get("taints", ()) if taint["key"] in _CLOSED]
    return f"{node['metadata']['name']}: it still has the taint {', '.join(taints)}" if taints else None
