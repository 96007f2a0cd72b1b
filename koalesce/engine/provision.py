"""From a spec to a cluster that is ready for its tests: images, nodes, components; and what can be checked before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.case import Stage
from koalesce.engine.components import Install, in_order, install, prepared
from koalesce.engine.images import provide_images
from koalesce.engine.manifests import component_objects
from koalesce.engine.options import RunOptions
from koalesce.engine.phases import phase
from koalesce.engine.readiness import await_dns, await_nodes
from koalesce.engine.session import RunSession
from koalesce.providers import provider
from koalesce.providers.joining import DNS_NOTE, NETWORK_NOTE, JoinedCluster
from koalesce.providers.session import ClusterSession
from koalesce.spec import LoadedSpec
from koalesce.spec.components import Component
from koalesce.steps.manifests import image_references
from koalesce.steps.sources import Chart
from koalesce.toolchain import Toolchain
from koalesce.toolchain.reference import Reference


def provision(
    session: RunSession,
    loaded: LoadedSpec,
    options: RunOptions,
    *,
    name: str,
    folder: Path,
    opened: Callable[[ClusterSession | JoinedCluster], None] = lambda _session: None,
) -> Stage:
    """Make a spec's cluster (or join one that is up) with its images and components; `opened` is told its session before it starts.

    Raises KoalesceError, or NotReady for a component; the caller ends the session.
    """
    spec, path = loaded.spec, loaded.shown
    if options.cluster is None:
        with phase(session, path, "machine"):  # what it lacks is told before images are made, which may take minutes
            ClusterSession(loaded.request(name, session.run_id, overrides(options)), spec=path).check()
    with phase(session, path, "images") as progress:
        toolchain = Toolchain(cancel=session.cancel, progress=progress)
        installs = [
            prepared(component, _objects(component, loaded, options, session))
            for component in in_order(_resolved(loaded), spec.cluster.network)
        ]
        images = provide_images(
            spec.cluster.images, overrides=options.images,
            needed=[ref for item in installs for ref in image_references(item.objects)], files=loaded.files,
            values=loaded.scope, toolchain=toolchain, progress=progress, cancel=session.cancel,
        )  # fmt: skip
    request = loaded.request(
        name, session.run_id, overrides(options),
        images=(*images.given, *images.needed), preload=images.given,
    )  # fmt: skip
    if options.cluster is None:
        notes = {NETWORK_NOTE: spec.cluster.network, DNS_NOTE: spec.cluster.dns}
        cluster_session = ClusterSession(request, spec=path, cancel=session.cancel, notes=notes)
        opened(cluster_session)
        cluster = cluster_session.up(session.emit)
    else:
        joined = JoinedCluster(options.cluster, spec=path)
        opened(joined)
        cluster = joined.up(session.emit)
        with phase(session, path, "images on nodes"):
            joined.supply(images.given)
    session.masks.learn_kubeconfig(cluster.kubeconfig)
    cluster.kube.on_secret = session.masks.learn_from
    stage = Stage(
        session=session, loaded=loaded, spec=path, cluster=cluster, files=loaded.files, folder=folder,
        values={**loaded.scope, **cluster_values(cluster), "components": {i.component.name: _component_values(i) for i in installs}},
        disposable=not options.keep and options.cluster is None,
    )  # fmt: skip
    _install(stage, installs, spec.cluster.network, spec.cluster.dns, has_workers=bool(request.nodes))
    if options.cluster is not None:
        joined.note(spec.cluster.network, [item.component.name for item in installs])
    return stage


def _install(stage: Stage, installs: Sequence[Install], network: str, dns: str, *, has_workers: bool) -> None:
    """The network first; then Ready and DNS are awaited, then the rest."""
    waits = has_workers and network != "none"
    names = [item.component.name for item in installs]
    until = names.index(network) + 1 if network in names else 0
    for item in installs[:until]:
        install(stage, item)
    if waits:
        with phase(stage.session, stage.spec, "nodes ready"):
            await_nodes(stage.session.waiter, stage.cluster)
    if waits and dns == "coredns":
        with phase(stage.session, stage.spec, "dns"):
            await_dns(stage.session.waiter, stage.cluster)
    for item in installs[until:]:
        install(stage, item)


def overrides(options: RunOptions) -> dict[str, Any]:
    """What the command line says instead of a spec's `cluster` section."""
    said = {"provider": options.provider, "kubernetes": options.kubernetes}
    return {field: value for field, value in said.items() if value is not None}


def check(loaded: LoadedSpec, options: RunOptions) -> None:
    """Find what can't be right before anything starts: UsageError for a request that its provider never serves.

    An image of the command line must have a name that is one. Patches and images of components are tried on their manifests,
    but for those from the web.
    """
    request = loaded.request(loaded.spec.metadata.name, "check", overrides(options))
    provider(request.provider).resolve(request)
    for reference in options.images:
        Reference.parse(reference)
    for component in _resolved(loaded):
        if all(isinstance(source, str) for source in component.manifests):
            prepared(component, component_objects(component, loaded.files))


def _objects(
    component: Component, loaded: LoadedSpec, options: RunOptions, session: RunSession
) -> list[dict[str, Any]]:
    """The objects of a component; charts are rendered for the version that the cluster will have."""
    version = ""
    if any(isinstance(source, Chart) for source in component.manifests):
        request = loaded.request(loaded.spec.metadata.name, "check", overrides(options))
        version = provider(request.provider).resolve(request).kubernetes
    return component_objects(component, loaded.files, kubernetes=version, cancel=session.cancel)


def _resolved(loaded: LoadedSpec) -> list[Component]:
    return [loaded.component(component, {}) for component in loaded.spec.components]


def cluster_values(cluster: Cluster) -> dict[str, Any]:
    """What expressions may name of a cluster that is up."""
    return {
        "cluster": {
            "name": cluster.name,
            "provider": cluster.provider,
            "kubernetes": cluster.kubernetes,
            "dnsIP": cluster.dns_ip,
            "podCIDR": cluster.pod_cidr,
            "serviceCIDR": cluster.service_cidr,
            "kubeconfig": str(cluster.kubeconfig),
            "capabilities": sorted(cluster.capabilities),
        },
        "nodes": [
            {"name": node.name, "role": node.role, "address": node.address, "podCIDR": node.pod_cidr}
            for node in cluster.nodes
        ],
    }


def _component_values(item: Install) -> dict[str, Any]:
    return {
        "name": item.component.name,
        "namespace": item.component.namespace,
        "namespaces": sorted({obj["metadata"].get("namespace") or item.component.namespace for obj in item.objects}),
        "images": image_references(item.objects),
    }
