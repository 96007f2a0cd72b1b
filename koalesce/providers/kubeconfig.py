"""Clusters that exist: the one that a context of a kubeconfig leads to. It is taken as it is, and stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from koalesce.assets import asset
from koalesce.errors import ProvisionError, UsageError
from koalesce.providers.unattended import Unattended

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, Node
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel
    from koalesce.providers.existing import Found

_SETTINGS: Mapping[str, type] = {
    "allow_disruption": bool, "allow_node_exec": bool, "context": str, "kubeconfig": str, "node_exec_image": str,
    "pod_probes": str, "probe_image": str,
}  # fmt: skip
_POD_PROBES = ("program", "agnhost", "none")
# What only who makes a cluster decides: fields of a request, and what specs call them.
_MADE = {
    "fixtures": "fixtures",
    "network": "cluster.network",
    "kube_proxy": "cluster.kubeProxy",
    "dns": "cluster.dns",
    "egress": "cluster.egress",
    "etcd": "cluster.etcd",
    "control_plane": "cluster.controlPlane",
    "feature_gates": "cluster.featureGates",
    "runtime_config": "cluster.runtimeConfig",
    "args": "cluster.args",
    "audit_policy": "cluster.auditPolicy",
    "admission_configuration": "cluster.admissionConfiguration",
    "preload": "cluster.images",
    "registries": "cluster.registries",
    "addons": "cluster.addons",
}
_OF_NODES = ("labels", "taints", "cpu", "memory", "subnet", "kubelet", "disks", "spare")


class KubeconfigProvider(Unattended):
    """Takes a cluster that others made."""

    name = "kubeconfig"
    makes_clusters = False
    terraform_root = asset("terraform", name)
    place = "is a cluster that others made"
    instead = "koalesce down {name} removes what runs have left there"

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request as it is; UsageError for what only who makes a cluster can serve."""
        _check_settings(request.settings)
        if wishes := list(_wishes(request)):
            raise UsageError(
                f"the provider kubeconfig takes a cluster as it is, and can't serve {', '.join(wishes)}",
                hint="run the spec with a provider that makes clusters, such as local",
            )
        return request

    def confirm(self, request: ClusterRequest) -> None:
        """See that a context is named, and there is."""
        from koalesce.providers import contexts

        contexts.find(str(request.settings.get("context") or ""), str(request.settings.get("kubeconfig") or ""))

    def check(self, request: ClusterRequest) -> list[str]:
        """Only Terraform can be lacking."""
        from koalesce.terraform.binary import find_problem

        problem = find_problem()
        return [problem] if problem else []

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Look whether it's the cluster that is meant, and has what is asked for; the request then says what it is like."""
        from koalesce.providers import contexts
        from koalesce.providers.existing import look

        found = look(request.settings)
        _check_fits(request, found)
        given = str(request.settings.get("kubeconfig") or "")
        self._settings = {
            "context": found.context.name,
            "kubeconfig": str(contexts.files(given)[0]) if given else "",
            "allow_disruption": bool(request.settings.get("allow_disruption")),
            "allow_node_exec": bool(request.settings.get("allow_node_exec")),
            "node_exec_image": str(request.settings.get("node_exec_image") or ""),
            "pod_probes": str(request.settings.get("pod_probes") or ""),
            "probe_image": str(request.settings.get("probe_image") or ""),
        }
        if found.runs_on_nodes:
            from koalesce.toolchain import Toolchain

            Toolchain(progress=progress, cancel=cancel).tool("koalesce-probe")  # before Terraform waits for it
        progress(f"{found.context.name}: Kubernetes {found.kubernetes}, {found.size}")
        if found.unprobed:
            progress(f"connections aren't tried from pods: {found.unprobed}")
        return _as_found(request, found)

    def supply(self, node: Node, images: Sequence[str]) -> str:
        """Refuse: nodes pull from where their cluster has them pull."""
        return f"{images[0]} can't be given to a cluster that others made; it has to pull it" if images else ""

    def remains(self, entry: Entry) -> list[str]:
        """What the run has left there, by its label, and our own files."""
        from koalesce.providers import taking

        return taking.remains(entry)

    def remove(self, name: str) -> None:
        """Remove that; the cluster stays."""
        from koalesce.providers import taking

        taking.leave(name)

    def abandon(self, entry: Entry) -> str:
        """Remove our own files, whatever a run has left there; what removes that, should the cluster come back."""
        from koalesce.providers import taking

        return taking.abandon(entry)


def _check_settings(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name not in _SETTINGS:
            from koalesce.suggestions import closest

            meant = closest(name, _SETTINGS)
            told = f'; did you mean "{meant}"?' if meant else ""
            raise UsageError(
                f'the kubeconfig provider has no setting "{name}"{told}', hint=f"it has {', '.join(_SETTINGS)}"
            )
        if not isinstance(value, _SETTINGS[name]):
            wanted = "true or false" if _SETTINGS[name] is bool else "a text"
            raise UsageError(f"providers.kubeconfig.{name} must be {wanted}, not {value!r}")
    if (chosen := settings.get("pod_probes")) and chosen not in _POD_PROBES:
        raise UsageError(f"providers.kubeconfig.pod_probes is one of {', '.join(_POD_PROBES)}, not {chosen!r}")


def _wishes(request: ClusterRequest) -> Iterator[str]:
    """What the request asks of who makes the cluster, by the names that specs use."""
    defaults = type(request)(name="", run_id="", provider="", kubernetes="", nodes=())
    for field, shown in _MADE.items():
        if getattr(request, field) != getattr(defaults, field):
            yield shown
    plain = type(request.nodes[0])(name="", role="worker") if request.nodes else None
    for field in _OF_NODES:
        if any(getattr(node, field) != getattr(plain, field) for node in request.nodes):
            yield f"cluster.nodes[].{field}"


def _check_fits(request: ClusterRequest, found: Found) -> None:
    """Raise ProvisionError with all that is asked for and isn't there."""
    wanted, has = request.kubernetes, found.kubernetes
    problems = []
    if wanted and has != wanted and not has.startswith(f"{wanted}."):
        problems.append(f"its Kubernetes is {has}, not {wanted}")
    if len(found.nodes) < len(request.nodes):
        problems.append(f"it has {found.size}, not {len(request.nodes)}")
    if lacking := [family for family in request.ip_families if family == "IPv6" and "ipv6" not in found.capabilities]:
        problems.append(f"its pods have no addresses of {lacking[0]}")
    if problems:
        raise ProvisionError(
            f"the cluster of context {found.context.name} isn't what the spec asks for: {'; '.join(problems)}",
            hint="take another cluster, or a provider that makes them",
        )


def _as_found(request: ClusterRequest, found: Found) -> ClusterRequest:
    from koalesce.cluster import NodeRequest  # who only asks for names of providers doesn't need it

    return dataclasses.replace(
        request,
        kubernetes=found.kubernetes,
        nodes=tuple(NodeRequest(name=node["name"], role=node["role"]) for node in found.nodes),
        pod_cidr=",".join(found.pod_cidrs) or request.pod_cidr,
        service_cidr=",".join(found.service_cidrs) or request.service_cidr,
    )
