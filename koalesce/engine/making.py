"""Making the cluster of a spec for people to look around in: its images, its nodes, its components, and no test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from koalesce import __version__
from koalesce.clock import Clock, SystemClock
from koalesce.engine.components import NotReady
from koalesce.engine.ending import end_all, note_first_states
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import check, provision
from koalesce.engine.selection import check_trusted
from koalesce.engine.session import RunSession, follow, new_session
from koalesce.errors import Interrupted, KoalesceError, TeardownError, UsageError
from koalesce.events import (
    AnyEvent,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
)
from koalesce.providers.joining import JoinedCluster
from koalesce.providers.naming import check_name, cluster_name
from koalesce.providers.session import ClusterSession
from koalesce.spec import LoadedSpec, load_all
from koalesce.spec.axes import check_axes
from koalesce.spec.project import project_root
from koalesce.spec.values import check_settable


def up(options: RunOptions, *, name: str | None = None, clock: Clock | None = None) -> Iterator[AnyEvent]:
    """Make the cluster of the one spec in `options.paths` and keep it; yields events, the last of which is RunFinished.

    Where that fails or `options.cancel` is set, the cluster is destroyed again. UsageError comes before the first event.
    """
    paths = [Path(path) for path in options.paths]
    if len(paths) != 1:
        raise UsageError(f"one spec makes one cluster; these are {len(paths)}")
    if name is not None:
        check_name(name)
    if not options.trust:
        check_trusted(paths, options.root or project_root(Path.cwd()))
    loaded, *others = load_all(paths, variables=options.variables, env=dict(os.environ), matrix=options.matrix)
    check_axes([loaded, *others], options.matrix)
    if others:
        cells = "; ".join(str(each.cell) for each in (loaded, *others))
        raise UsageError(f"{paths[0]} has a matrix: {cells}", hint="say which of them with --matrix AXIS=VALUE")
    check_settable([loaded], options.variables)
    check(loaded, options)
    if name is not None and len(loaded.spec.cluster_specs) > 1:
        count = len(loaded.spec.cluster_specs)
        raise UsageError(f"--name names one cluster; {loaded.shown} makes {count}", hint="leave it out")
    session = new_session(Path.cwd(), clock or SystemClock(), options.cancel)
    return follow(session, _Making(session=session, loaded=loaded, options=options, name=name).run)


@dataclass(slots=True, kw_only=True)
class _Making:
    """A cluster in the making."""

    session: RunSession
    loaded: LoadedSpec
    options: RunOptions
    name: str | None
    clusters: list[ClusterSession | JoinedCluster] = field(default_factory=list)
    teardown_failed: bool = False

    def run(self) -> None:
        began = self.session.clock.monotonic()
        status: Status = "error"
        try:
            self._begin()
            status, message = self._provision()
            gone = end_all(self.session, self.loaded.shown, self.clusters, keep=status == "passed")
            self.teardown_failed = self.teardown_failed or not gone
            self.session.emit(
                SpecFinished(spec=self.loaded.shown, status=status, seconds=self._since(began), message=message)
            )
        finally:
            self.session.emit(
                RunFinished(
                    status=status, passed=0, failed=0, error=0, skipped=0, seconds=self._since(began),
                    interrupted=status != "passed" and self.session.cancel.is_set(), teardown_failed=self.teardown_failed,
                )
            )  # fmt: skip

    def _begin(self) -> None:
        folder = self.session.shown(self.session.folder)
        specs = (self.loaded.shown,)
        self.session.emit(RunStarted(run_id=self.session.run_id, version=__version__, specs=specs, folder=folder))
        self.session.emit(SpecStarted(spec=self.loaded.shown, name=self.loaded.spec.metadata.name, tests=()))

    def _provision(self) -> tuple[Status, str]:
        try:
            provision(
                self.session,
                self.loaded,
                self.options,
                name=self._name,
                folder=self.session.folder,
                opened=self.clusters.append,
            )
            note_first_states(self.clusters)
        except NotReady as verdict:
            return verdict.status, f"{verdict}\n{verdict.outcome.detail}".rstrip()
        except Interrupted:
            return "error", self.session.interrupt.reason
        except KoalesceError as error:
            self.teardown_failed = isinstance(error, TeardownError)
            return "error", str(error)
        return ("error", self.session.interrupt.reason) if self.session.cancel.is_set() else ("passed", "")

    def _name(self, section: str) -> str:
        return self.name or cluster_name(self.loaded.spec.metadata.name, self.session.run_id, section)

    def _since(self, began: float) -> float:
        return round(self.session.clock.monotonic() - began, 4)
