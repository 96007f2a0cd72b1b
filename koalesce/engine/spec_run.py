"""Running one spec: its images, its cluster, its components, its tests, and the end of its cluster whatever happens."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.cluster import Cluster, ClusterRequest
from koalesce.engine.case import Stage, run_setup, run_test, skip_test
from koalesce.engine.components import Install, NotReady, in_order, install, prepared
from koalesce.engine.evidence import EvidenceWriter, collect_evidence
from koalesce.engine.images import provide_images
from koalesce.engine.manifests import component_objects
from koalesce.engine.options import RunOptions
from koalesce.engine.phases import phase
from koalesce.engine.readiness import await_dns, await_nodes
from koalesce.engine.schedule import run_all
from koalesce.engine.scopes import TestScope
from koalesce.engine.selection import Selected
from koalesce.engine.session import RunSession
from koalesce.engine.stepping import Section, StepRunner
from koalesce.errors import Interrupted, KoalesceError, TeardownError
from koalesce.events import SpecFinished, SpecStarted, Status, TeardownFinished, TeardownStarted, TestFinished
from koalesce.providers import provider
from koalesce.providers.naming import cluster_name
from koalesce.providers.session import ClusterSession
from koalesce.spec import LoadedSpec
from koalesce.spec.components import Component
from koalesce.spec.models import Test
from koalesce.steps.manifests import image_references
from koalesce.toolchain import Toolchain
from koalesce.toolchain.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecResult:
    """How a spec ended: its own status, and those of its tests."""

    status: Status
    tests: tuple[TestFinished, ...]
    teardown_failed: bool = False


class SpecRun:
    """One spec in one run."""

    def __init__(self, session: RunSession, selected: Selected, options: RunOptions) -> None:
        self._run_interrupt = session.interrupt
        self._session = dataclasses.replace(session, interrupt=session.interrupt.child())
        self._selected = selected
        self._loaded: LoadedSpec = selected.loaded
        self._options = options
        self._path = selected.loaded.shown
        self._folder = session.folder / (selected.loaded.spec.metadata.name)
        self._tests: list[TestFinished] = []
        self._cluster_session: ClusterSession | None = None
        self._evidence = ""
        self._teardown_failed = False

    def run(self) -> SpecResult:
        """Everything; says what went wrong in the last event, raises nothing that concerns the user."""
        began = self._session.clock.monotonic()
        timer = self._timer()
        names = tuple(test.name for test, _ in self._selected.tests)
        self._session.emit(SpecStarted(spec=self._path, name=self._loaded.spec.metadata.name, tests=names))
        try:
            status, message = self._guarded()
        finally:
            timer.cancel()
            self._teardown()
            self._run_interrupt.close(self._session.interrupt)
        seconds = round(self._session.clock.monotonic() - began, 4)
        self._session.emit(
            SpecFinished(spec=self._path, status=status, seconds=seconds, message=message, evidence=self._evidence)
        )
        return SpecResult(status=status, tests=tuple(self._tests), teardown_failed=self._teardown_failed)

    def _timer(self) -> threading.Timer:
        """Ends the spec when its time is over."""
        limit = self._options.timeout or self._loaded.spec.timeout
        reason = f"the time of the spec ({limit}) is over"
        timer = threading.Timer(
            limit.seconds if limit else threading.TIMEOUT_MAX, self._session.interrupt.set, (reason,)
        )
        timer.daemon = True
        if limit:
            timer.start()
        return timer

    def _guarded(self) -> tuple[Status, str]:
        try:
            return self._run()
        except NotReady as verdict:
            message = f"{verdict}\n{verdict.outcome.detail}".rstrip()
            return verdict.status, self._abandon(message)
        except Interrupted:
            return "error", self._abandon(self._session.interrupt.reason)
        except KoalesceError as error:
            self._teardown_failed = isinstance(error, TeardownError)
            return "error", self._abandon(str(error))
        except OSError as error:  # a full disk, a file that vanished
            return "error", self._abandon(str(error))

    def _run(self) -> tuple[Status, str]:
        stage, request = provision(
            self._session, self._loaded, self._options, folder=self._folder, opened=self._opened,
            name=cluster_name(self._loaded.spec.metadata.name, self._session.run_id),
        )  # fmt: skip
        del request
        if missing := [name for name in self._loaded.spec.requires if name not in stage.cluster.capabilities]:
            reason = f"the cluster lacks {', '.join(missing)}"
            self._skip_rest(reason)
            return "skipped", reason
        setup = self._loaded.spec.setup
        if setup.steps:
            finished, given = run_setup(stage, setup)
            if finished.status != "passed":
                self._evidence = finished.evidence
                self._skip_rest("the spec's setup did not pass")
                return ("failed" if finished.status == "failed" else "error"), f"setup: {finished.message}"
            stage = _with_values(stage, {"setup": given})
        self._run_tests(stage)
        status, problem = _overall(self._tests), self._clean_up(stage)
        return ("error" if problem and status in ("passed", "skipped") else status), problem

    def _opened(self, cluster_session: ClusterSession) -> None:
        self._cluster_session = cluster_session

    def _run_tests(self, stage: Stage) -> None:
        tests = [_Case(test, line) for test, line in self._selected.tests]

        def run(case: _Case) -> TestFinished:
            if self._session.cancel.is_set():
                return skip_test(self._session, self._path, case.test, case.line, "interrupted before it began")
            return run_test(stage, case.test, case.line)

        self._tests += run_all(tests, run, parallel=self._options.parallel)

    def _clean_up(self, stage: Stage) -> str:
        """The spec's own cleanup steps; what went wrong in them."""
        if not self._loaded.spec.cleanup or self._session.cancel.is_set():
            return ""
        runner = StepRunner(
            cluster=stage.cluster, namespace="default", scope=TestScope(cancel=self._session.cancel), clock=self._session.clock,
            interrupt=self._session.interrupt, files=stage.files, emit=self._session.emit, values=dict(stage.values),
        )  # fmt: skip
        section = Section(spec=self._path, test="cleanup", name="cleanup", timeout=stage.timeout)
        results = [runner.run(section, index, entry) for index, entry in enumerate(self._loaded.spec.cleanup)]
        return "; ".join(f"cleanup: {r.title}: {r.message}" for r in results if r.status in ("failed", "error"))

    def _abandon(self, message: str) -> str:
        """Evidence of what kept the tests from running, and a word for each of them."""
        session = self._cluster_session
        if session is not None and session.cluster is not None and not self._session.cancel.is_set():
            writer = EvidenceWriter(folder=self._folder / "cluster", masks=self._session.masks)
            namespaces = {component.namespace for component in self._loaded.spec.components} | {"kube-system"}
            collect_evidence(writer, session.cluster, tuple(sorted(namespaces)))
            self._evidence = self._session.shown(writer.folder)
        self._skip_rest(message.splitlines()[0] if message else "")
        return message

    def _skip_rest(self, reason: str) -> None:
        done = {test.test for test in self._tests}
        for test, line in self._selected.tests:
            if test.name not in done:
                self._tests.append(skip_test(self._session, self._path, test, line, f"not run: {reason}"))

    def _teardown(self) -> None:
        """Destroy the cluster, or leave it where it's to be kept."""
        session = self._cluster_session
        if session is None or session.cluster is None:  # an `up` that didn't succeed has undone itself
            return
        name = session.request.name
        if self._options.keep:
            session.keep()
            self._session.emit(
                TeardownFinished(spec=self._path, cluster=name, seconds=0.0, kept=True, command=f"koalesce down {name}")
            )
            return
        session.cluster.kube.close()
        began = self._session.clock.monotonic()
        self._session.emit(TeardownStarted(spec=self._path, cluster=name))
        problem, command = "", ""
        try:
            session.down()
        except TeardownError as error:
            self._teardown_failed, problem, command = True, error.message, error.command
        seconds = round(self._session.clock.monotonic() - began, 4)
        self._session.emit(
            TeardownFinished(spec=self._path, cluster=name, seconds=seconds, message=problem, command=command)
        )


@dataclass(frozen=True, slots=True)
class _Case:
    test: Test
    line: int

    @property
    def is_alone(self) -> bool:
        return self.test.is_alone


def provision(
    session: RunSession,
    loaded: LoadedSpec,
    options: RunOptions,
    *,
    name: str,
    folder: Any,
    opened: Any = lambda _session: None,
) -> tuple[Stage, ClusterRequest]:
    """Make a spec's cluster with its images and components; `opened` is told the cluster's session before it starts.

    Raises KoalesceError, or NotReady for a component; the caller ends the session.
    """
    spec, path = loaded.spec, loaded.shown
    ClusterSession(
        loaded.request(name, session.run_id, overrides(options)), spec=path
    ).check()  # images may take minutes
    with phase(session, path, "images") as progress:
        toolchain = Toolchain(cancel=session.cancel, progress=progress)
        installs = [
            prepared(component, component_objects(component, loaded.files, cancel=session.cancel))
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
    cluster_session = ClusterSession(request, spec=path, cancel=session.cancel)
    opened(cluster_session)
    cluster = cluster_session.up(session.emit)
    stage = Stage(
        session=session, loaded=loaded, spec=path, cluster=cluster, files=loaded.files, folder=folder,
        values={**loaded.scope, **cluster_values(cluster), "components": {i.component.name: _component_values(i) for i in installs}},
        disposable=not options.keep,
    )  # fmt: skip
    _install(stage, installs, spec.cluster.network, spec.cluster.dns, has_workers=bool(request.nodes))
    return stage, request


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
        "images": image_references(item.objects),
    }


def _with_values(stage: Stage, more: Mapping[str, Any]) -> Stage:
    return dataclasses.replace(stage, values={**stage.values, **more})


def _overall(tests: Sequence[TestFinished]) -> Status:
    """Failed before error before passed; nothing but skips is skipped."""
    statuses = {test.status for test in tests}
    for status in ("failed", "error", "passed"):
        if status in statuses:
            return status
    return "skipped"
