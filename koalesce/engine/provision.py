"""From a spec to a cluster that is ready for its tests: images, nodes, components; and what can be checked before."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from koalesce.cluster import Cluster, ClusterRequest
from koalesce.durations import Duration
from koalesce.engine.backgrounds import Backgrounds
from koalesce.engine.case import Stage
from koalesce.engine.components import Install, in_order, install, prepared
from koalesce.engine.images import Images, provide_images
from koalesce.engine.manifests import component_objects
from koalesce.engine.namespaces import Namespaces
from koalesce.engine.options import RunOptions
from koalesce.engine.phases import phase
from koalesce.engine.readiness import await_dns, await_nodes
from koalesce.engine.session import RunSession
from koalesce.engine.sites import Site
from koalesce.engine.stream import PartStream
from koalesce.errors import UsageError
from koalesce.providers import provider
from koalesce.providers.base import Foreseeing
from koalesce.providers.joining import DNS_NOTE, NETWORK_NOTE, JoinedCluster
from koalesce.providers.session import ClusterSession
from koalesce.spec import LoadedSpec
from koalesce.spec.components import Component
from koalesce.steps.objects.manifests import image_references
from koalesce.steps.objects.sources import Chart
from koalesce.toolchain import Toolchain
from koalesce.toolchain.reference import Reference

_T = TypeVar("_T")
AnySession = ClusterSession | JoinedCluster


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of a spec's clusters before it's there: `section` is its name in the spec ("" for the only one), `name` that of the cluster."""

    section: str
    name: str
    installs: tuple[Install, ...] = ()
    images: Images = field(default_factory=lambda: Images(given=(), needed=()))

    def within(self, session: RunSession) -> RunSession:
        """The run as this cluster tells of it."""
        return replace(session, stream=PartStream(session.stream, self.section)) if self.section else session


def provision(
    session: RunSession,
    loaded: LoadedSpec,
    options: RunOptions,
    *,
    name: Callable[[str], str],
    folder: Path,
    opened: Callable[[AnySession], None] = lambda _session: None,
) -> Stage:
    """Make a spec's clusters (or join one that is up) with their images and components, several at once.

    `name` gives the name of a cluster for that of its section; `opened` is told each cluster's session before it starts. Raises
    KoalesceError, or NotReady for a component; the caller ends the sessions.
    """
    making = _Making(session, loaded, options, folder, opened)
    parts = [Part(section=section, name=name(section)) for section in loaded.spec.cluster_specs]
    if options.cluster is None:
        with phase(
            session, loaded.shown, "machine"
        ):  # what it lacks is told before images are made, which may take minutes
            for part in parts:
                making.check(part)
    with phase(session, loaded.shown, "images") as progress:
        toolchain = Toolchain(cancel=session.cancel, progress=progress)
        parts = [making.with_images(part, toolchain, progress) for part in parts]
    clusters = at_once(session, [partial(making.bring_up, part) for part in parts])
    stages = [making.stage(part, parts, clusters) for part in parts]
    at_once(session, [partial(making.install, part, stage) for part, stage in zip(parts, stages, strict=True)])
    return stages[0]


@dataclass(frozen=True, slots=True)
class _Making:
    """The making of a spec's clusters."""

    session: RunSession
    loaded: LoadedSpec
    options: RunOptions
    folder: Path
    opened: Callable[[AnySession], None]

    def check(self, part: Part) -> None:
        """Raise what its making would raise before anything starts."""
        ClusterSession(self._request(part), spec=self.loaded.shown).check()

    def with_images(self, part: Part, toolchain: Toolchain, progress: Callable[[str], None]) -> Part:
        """The part with its components as they will be applied, every image of which is in the machine's store."""
        loaded, spec = self.loaded, self.loaded.spec.cluster_specs[part.section]
        default = next(iter(loaded.spec.cluster_specs))
        mine = [component for component in resolved(loaded) if component.is_for(part.section, default)]
        installs = tuple(
            prepared(component, _objects(component, loaded, self.options, self.session, part.section))
            for component in in_order(mine, spec.network)
        )
        images = provide_images(
            spec.images, overrides=self.options.images,
            needed=[ref for item in installs for ref in image_references(item.objects)], files=loaded.files,
            values=loaded.scope, toolchain=toolchain, progress=progress, cancel=self.session.cancel,
        )  # fmt: skip
        return replace(part, installs=installs, images=images)

    def bring_up(self, part: Part, session: RunSession) -> Cluster:
        """Have the cluster, without its components."""
        within, spec = part.within(session), self.loaded.spec.cluster_specs[part.section]
        if self.options.cluster is None:
            notes = {
                NETWORK_NOTE: spec.network, DNS_NOTE: spec.dns, "spec": self.loaded.shown, "owner": getpass.getuser(),
                "ttl": (self.options.ttl or spec.ttl or Duration(0)).seconds,
            }  # fmt: skip
            made = ClusterSession(self._request(part), spec=self.loaded.shown, cancel=session.cancel, notes=notes)
            self.opened(made)
            cluster = made.up(within.emit)
        else:
            joined = JoinedCluster(self.options.cluster, spec=self.loaded.shown)
            self.opened(joined)
            cluster = joined.up(within.emit)
            with phase(within, self.loaded.shown, "images on nodes"):
                joined.supply(part.images.given)
        session.masks.learn_kubeconfig(cluster.kubeconfig)
        cluster.kube.on_secret = session.masks.learn_from
        return cluster

    def stage(self, part: Part, parts: Sequence[Part], clusters: Sequence[Cluster]) -> Stage:
        """What the tests stand on, seen from one of the clusters."""
        by_name = {each.section: cluster for each, cluster in zip(parts, clusters, strict=True)}
        components = {item.component.name: _component_values(item) for each in parts for item in each.installs}
        values = {**self.loaded.scope, **cluster_values(by_name[part.section]), "components": components}
        if part.section:
            found = {name: cluster_values(cluster) for name, cluster in by_name.items()}
            values["clusters"] = {name: {**each["cluster"], "nodes": each["nodes"]} for name, each in found.items()}
        return Stage(
            session=self.session, loaded=self.loaded, spec=self.loaded.shown, cluster=by_name[part.section],
            files=self.loaded.files, folder=self.folder, values=values, reruns=self.options.reruns,
            sites={name: Site(cluster=cluster, values=cluster_values(cluster)) for name, cluster in by_name.items()},
            disposable=not self.options.keep and self.options.cluster is None
            and not any(cluster.is_borrowed for cluster in clusters),
        )  # fmt: skip

    def install(self, part: Part, stage: Stage, session: RunSession) -> None:
        """Install the components of a cluster that is up."""
        spec = self.loaded.spec.cluster_specs[part.section]
        _install(
            replace(stage, session=part.within(session)), part.installs, spec.network, spec.dns,
            has_workers=bool(self._request(part).nodes),
        )  # fmt: skip
        if self.options.cluster is not None:
            names = [item.component.name for item in part.installs]
            JoinedCluster(self.options.cluster, spec=self.loaded.shown).note(spec.network, names)

    def _request(self, part: Part) -> ClusterRequest:
        request = self.loaded.request(
            part.name, self.session.run_id, overrides(self.options), section=part.section,
            images=(*part.images.given, *part.images.needed), preload=part.images.given,
        )  # fmt: skip
        return replace(request, ttl=self.options.ttl.seconds) if self.options.ttl else request


def passed_on(stage: Stage, session: RunSession, loaded: LoadedSpec, folder: Path) -> Stage:
    """What an earlier spec's tests stood on, for those of a spec that needs the same."""
    mine = cluster_values(stage.cluster)
    return replace(
        stage, session=session, loaded=loaded, spec=loaded.shown, files=loaded.files, folder=folder,
        values={**loaded.scope, **mine, "components": stage.values["components"]},
        sites={name: Site(cluster=site.cluster, values=mine) for name, site in stage.sites.items()},
        namespaces=Namespaces(), noted={}, backgrounds=Backgrounds(),
    )  # fmt: skip


def at_once(session: RunSession, jobs: Sequence[Callable[[RunSession], _T]]) -> list[_T]:
    """Do all of it, several in threads of their own; what the first one raises ends the others, and is raised once they have ended."""
    if len(jobs) == 1:
        return [jobs[0](session)]
    interrupt = session.interrupt.child()
    errors: list[BaseException] = []

    def guarded(job: Callable[[RunSession], _T]) -> _T:
        try:
            return job(replace(session, interrupt=interrupt))
        except BaseException as error:
            errors.append(error)
            interrupt.set("another cluster of the spec could not be made")
            raise

    try:
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="cluster") as pool:
            futures = [pool.submit(guarded, job) for job in jobs]
        if errors:
            raise errors[0]
        return [future.result() for future in futures]
    finally:
        session.interrupt.close(interrupt)


def _install(stage: Stage, installs: Sequence[Install], network: str, dns: str, *, has_workers: bool) -> None:
    """The network first; then Ready and DNS are awaited, then the rest."""
    waits = has_workers and network != "none"
    own_dns = dns == "coredns" and not stage.cluster.is_borrowed
    names = [item.component.name for item in installs]
    until = names.index(network) + 1 if network in names else 0
    for item in installs[:until]:
        install(stage, item)
    if waits:
        with phase(stage.session, stage.spec, "nodes ready"):
            await_nodes(stage.session.waiter, stage.cluster)
    if waits and own_dns:
        with phase(stage.session, stage.spec, "dns"):
            await_dns(stage.session.waiter, stage.cluster)
    for item in installs[until:]:
        install(stage, item)


def overrides(options: RunOptions) -> dict[str, Any]:
    """What the command line says instead of a spec's `cluster` section."""
    said = {"provider": options.provider, "kubernetes": options.kubernetes, "providers": options.settings or None}
    return {field: value for field, value in said.items() if value is not None}


def check(loaded: LoadedSpec, options: RunOptions) -> None:
    """Find what can't be right before anything starts: UsageError for a request that its provider never serves.

    An image of the command line must have a name that is one. Patches and images of components are tried on their manifests,
    but for those from the web.
    """
    sections = loaded.spec.cluster_specs
    if options.cluster is not None and len(sections) > 1:
        raise UsageError(f"{loaded.shown} needs {len(sections)} clusters of its own; --cluster is one")
    for section in sections:
        request = loaded.request(loaded.spec.metadata.name, "check", overrides(options), section=section)
        if options.cluster is None:
            _check_settings(loaded, request, options)
        chosen = provider(request.provider)
        chosen.resolve(request)
        if options.cluster is None:
            chosen.confirm(request)
        if not chosen.makes_clusters:
            _check_takes(loaded, section, options)
    for reference in options.images:
        Reference.parse(reference)
    for component in resolved(loaded):
        if all(isinstance(source, str) for source in component.manifests):
            prepared(component, component_objects(component, loaded.files))


def absent(loaded: LoadedSpec, options: RunOptions) -> list[str]:
    """Which capabilities that all of a spec requires its clusters won't have, as far as their providers know before there is one."""
    wanted = loaded.spec.requires if options.cluster is None else []
    found: set[str] = set()
    for section in loaded.spec.cluster_specs if wanted else ():
        request = loaded.request(loaded.spec.metadata.name, "check", overrides(options), section=section)
        chosen = provider(request.provider)
        if isinstance(chosen, Foreseeing):
            found |= chosen.absent(wanted)
    return [name for name in wanted if name in found]


def _check_settings(loaded: LoadedSpec, request: ClusterRequest, options: RunOptions) -> None:
    """Refuse what is said of a provider that isn't asked: the user means another cluster than the spec would get."""
    if others := [name for name in options.settings if name != request.provider]:
        raise UsageError(
            f"{loaded.shown} gets its cluster from the provider {request.provider}; what is said is of {others[0]}",
            hint=f"add --provider {others[0]}",
        )


def _check_takes(loaded: LoadedSpec, section: str, options: RunOptions) -> None:
    """Refuse what would change a cluster that others made, and stay there."""
    parts = [f"the component {component.name}" for component in loaded.spec.components]
    if loaded.spec.cluster_specs[section].images or options.images:
        parts.append("images")
    if parts:
        raise UsageError(
            f"{loaded.shown} brings {', '.join(parts)}, for a cluster that others made",
            hint="run it with a provider that makes clusters, such as local; or install them there, and leave them out of the spec",
        )


def _objects(
    component: Component, loaded: LoadedSpec, options: RunOptions, session: RunSession, section: str
) -> list[dict[str, Any]]:
    """The objects of a component; charts are rendered for the version that the cluster will have."""
    version = ""
    if any(isinstance(source, Chart) for source in component.manifests):
        request = loaded.request(loaded.spec.metadata.name, "check", overrides(options), section=section)
        version = provider(request.provider).resolve(request).kubernetes
    return component_objects(component, loaded.files, kubernetes=version, cancel=session.cancel)


def resolved(loaded: LoadedSpec) -> list[Component]:
    """The components of a spec with their expressions filled in."""
    return [loaded.component(component, {}) for component in loaded.spec.components]


def cluster_values(cluster: Cluster) -> dict[str, Any]:
    """What expressions may name of a cluster that is up."""
    return {
        "cluster": {
            "name": cluster.name,
            "provider": cluster.provider,
            "kubernetes": cluster.kubernetes,
            "dnsIP": cluster.dns_ip,
            "podCIDR": cluster.pod_cidrs[0],
            "podCIDRs": list(cluster.pod_cidrs),
            "serviceCIDR": cluster.service_cidrs[0],
            "serviceCIDRs": list(cluster.service_cidrs),
            "kubeconfig": str(cluster.kubeconfig),
            "capabilities": sorted(cluster.capabilities),
        },
        "nodes": [
            {
                "name": node.name,
                "role": node.role,
                "address": node.address,
                "addresses": list(node.addresses),
                "podCIDR": node.pod_cidr,
                "podCIDRs": list(node.pod_cidrs),
            }
            for node in cluster.nodes
        ],
        "fixtures": {
            fixture.name: {
                "name": fixture.name,
                "kind": fixture.kind,
                "address": fixture.address,
                "addresses": list(fixture.addresses),
            }
            for fixture in cluster.fixtures
        },
    }


def _component_values(item: Install) -> dict[str, Any]:
    return {
        "name": item.component.name,
        "namespace": item.component.namespace,
        "namespaces": sorted({obj["metadata"].get("namespace") or item.component.namespace for obj in item.objects}),
        "images": image_references(item.objects),
    }
