"""A look at a cluster that others made: whether it is the one that is meant, what it has, and what may be done there.

Nothing is changed: what is asked of the API server only reads.
"""

from __future__ import annotations

import ipaddress
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.capabilities import with_implied
from koalesce.clock import hint_of_time
from koalesce.errors import ClusterError, KoalesceError, ProvisionError, UsageError
from koalesce.kube import ApiError, Kube
from koalesce.kube.errors import TLS
from koalesce.providers import contexts, node_pods, pod_probes
from koalesce.providers.contexts import Context

OWN_LABEL = "koalesce.dev/test"  # of kube-system: the cluster is there to be tested on
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_RIGHTS = (
    ("list", "nodes"), ("list", "namespaces"), ("create", "namespaces"), ("delete", "namespaces"), ("create", "pods"),
)  # fmt: skip
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_PATIENCE = 15.0
Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an existing cluster is like; `nodes` are those of the contract's output, control planes first."""

    context: Context
    kubernetes: str
    nodes: tuple[Mapping[str, Any], ...]
    capabilities: frozenset[str]
    dns_ip: str
    pod_cidrs: tuple[str, ...]
    service_cidrs: tuple[str, ...]
    unprobed: str = ""  # why connections can't be tried from its pods; empty if they can

    @property
    def runs_on_nodes(self) -> bool:
        """Whether commands shall run on its nodes."""
        return "node-exec" in self.capabilities

    @property
    def size(self) -> str:
        """How many nodes it has, in words."""
        return f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'}"


def look(settings: Mapping[str, Any]) -> Found:
    """The cluster that the settings of the provider name; UsageError unless it's sure that tests may run there.

    ProvisionError where it can't be reached, or doesn't let us do what every test needs.
    """
    context = contexts.find(str(settings.get("context") or ""), str(settings.get("kubeconfig") or ""))
    if not context.server.startswith("https://"):
        raise UsageError(f"context {context.name} leads to {context.server}, which isn't https")
    with api(context) as kube, _told(context):
        version = kube.version()
        _check_ours(context, kube)
        _check_rights(context, kube)
        nodes = kube.list(kube.resource("nodes"), timeout=_PATIENCE)
        if settings.get("allow_node_exec"):
            node_pods.check_nodes(nodes)
        told = with_implied((*_capabilities(kube, nodes), *_allowed(settings)))
        unprobed = (
            ""
            if "pod-probe" in told
            else pod_probes.problem(settings, version, may=lambda verb, what: _may(kube, verb, what))
        )
        return Found(
            context=context, kubernetes=_plain(version), nodes=tuple(_nodes(nodes)), dns_ip=_dns_ip(kube),
            unprobed=unprobed, capabilities=told if unprobed else told | pod_probes.capabilities(settings, version, nodes),
            pod_cidrs=_pod_cidrs(nodes), service_cidrs=_service_cidrs(kube),
        )  # fmt: skip


@contextmanager
def api(context: Context) -> Iterator[Kube]:
    """The API that a context leads to, by a kubeconfig that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(context.alone(), encoding="utf-8")
        kube = Kube(path)
        try:
            yield kube
        finally:
            kube.close()


@contextmanager
def _told(context: Context) -> Iterator[None]:
    """Errors of the API say which context they are of, and what to do."""
    who = f"the API server of context {context.name} ({context.server})"
    try:
        yield
    except ApiError as error:
        raise _in_words(who, error) from error
    except ClusterError as error:
        raise ProvisionError(f"context {context.name} is of no use: {error.message}") from error


def _in_words(who: str, error: ApiError) -> KoalesceError:
    if error.reason == TLS:
        return ProvisionError(
            f"{who} isn't vouched for by the CA of the kubeconfig: {error.message}",
            hint=hint_of_time(error.message) or "is it another cluster by now? get its kubeconfig anew",
        )
    if error.status == 401:
        return ProvisionError(f"{who} doesn't take the credentials of the kubeconfig: {error.message}")
    if error.status == 403:
        return ProvisionError(f"{who} doesn't let us look at the cluster: {error.message}")
    if error.status:
        return ProvisionError(f"{who} doesn't answer as it should: {error.message}")
    return ProvisionError(
        f"{who} can't be reached: {error.message}", hint="is the cluster up, and the context current?"
    )


def _check_ours(context: Context, kube: Kube) -> None:
    """Raise UsageError unless the user has said that this very cluster is there to be tested on."""
    if contexts.is_confirmed(context):
        return
    try:
        system = kube.get(kube.resource("namespaces"), "kube-system", metadata_only=True, timeout=_PATIENCE)
    except ApiError as error:
        if error.status != 403:
            raise
        system = None
    if system is not None and (system["metadata"].get("labels") or {}).get(OWN_LABEL) == "true":
        return
    raise UsageError(
        f"nobody has said that tests may run in the cluster of context {context.name} ({context.server})",
        hint=f"say so once with --i-own {context.name}, or label it: "
        f"kubectl --context {context.name} label namespace kube-system {OWN_LABEL}=true",
    )


def _check_rights(context: Context, kube: Kube) -> None:
    """Raise ProvisionError with all that is needed and not allowed."""
    lacking = [f"{verb} {what}" for verb, what in _RIGHTS if not _may(kube, verb, what)]
    if lacking:
        raise ProvisionError(
            f"context {context.name} may not {', '.join(lacking)}, which every test needs",
            hint="take a context with these rights in all namespaces (cluster-admin has them)",
        )


def _may(kube: Kube, verb: str, what: str) -> bool:
    kind, _, part = what.partition("/")
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": verb, "group": "", "resource": kind, "subresource": part}},
    }  # fmt: skip
    answer = kube.request("POST", _REVIEWS, body=body, timeout=_PATIENCE)
    return bool((answer.get("status") or {}).get("allowed"))


def _plain(version: str) -> str:
    """The upstream version of a build: `1.34.2` of `1.34.2+k3s1`."""
    found = re.match(r"1\.\d+\.\d+", version)
    if found is None:
        raise ProvisionError(f"the API server says that its version is {version}, which is none that is known")
    return found.group()


def _nodes(nodes: Sequence[Object]) -> Iterator[dict[str, Any]]:
    for node in sorted(nodes, key=lambda node: (_role(node) != "control-plane", node["metadata"]["name"])):
        addresses = [each["address"] for each in _addresses(node) if each.get("type") == "InternalIP"]
        ranges = list(node["spec"].get("podCIDRs") or ())
        yield {
            "name": node["metadata"]["name"], "role": _role(node), "address": addresses[0] if addresses else "",
            "addresses": addresses, "pod_cidr": ranges[0] if ranges else "", "pod_cidrs": ranges, "exec": [], "logs": {},
        }  # fmt: skip


def _addresses(node: Object) -> Sequence[Mapping[str, str]]:
    return (node.get("status") or {}).get("addresses") or ()


def _role(node: Object) -> str:
    labels = node["metadata"].get("labels") or {}
    return "control-plane" if any(label in labels for label in _CONTROL_PLANE) else "worker"


def _allowed(settings: Mapping[str, Any]) -> Iterator[str]:
    """What it can do because its owner lets us; whether commands run on nodes is seen when it is taken."""
    if settings.get("allow_disruption"):
        yield "disruption"
    if settings.get("allow_node_exec"):
        yield from ("node-exec", "privileged")


def _capabilities(kube: Kube, nodes: Sequence[Object]) -> Iterator[str]:
    """What is known of it without trying."""
    families = {ipaddress.ip_network(each).version for node in nodes for each in node["spec"].get("podCIDRs") or ()}
    if 6 in families:
        yield "ipv6"
    if len(families) > 1:
        yield "dual-stack"
    if any(kind.group == "metrics.k8s.io" for kind in kube.resources()):
        yield "metrics-server"


def _dns_ip(kube: Kube) -> str:
    found = _or_nothing(lambda: kube.get(kube.resource("services"), "kube-dns", "kube-system", timeout=_PATIENCE))
    address = str((found or {}).get("spec", {}).get("clusterIP") or "")
    return address if address != "None" else ""


def _service_cidrs(kube: Kube) -> tuple[str, ...]:
    """Its ranges of Services, where it tells: servers from 1.33 on do."""
    if not any(kind.plural == "servicecidrs" for kind in kube.resources()):
        return ()
    found = _or_nothing(lambda: kube.get(kube.resource("servicecidrs"), "kubernetes", timeout=_PATIENCE))
    return tuple((found or {}).get("spec", {}).get("cidrs") or ())


def _or_nothing(ask: Any) -> Any:
    """What may be left unknown where it may not be read."""
    try:
        return ask()
    except ApiError as error:
        if error.status in (403, 404):
            return None
        raise


def _pod_cidrs(nodes: Sequence[Object]) -> tuple[str, ...]:
    """The smallest range of each family that holds those of all nodes; none where nodes have none."""
    by_place: dict[int, list[Any]] = {}
    for node in nodes:
        for each in node["spec"].get("podCIDRs") or ():
            network = ipaddress.ip_network(each)
            by_place.setdefault(network.version, []).append(network)
    return tuple(str(_around(networks)) for networks in by_place.values())


def _around(networks: Sequence[Any]) -> Any:
    found = networks[0]
    while not all(each.subnet_of(found) for each in networks):
        found = found.supernet()
    return found
