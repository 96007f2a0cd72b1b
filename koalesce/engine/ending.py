"""The end of a cluster, told as events: kept where it is to stay, otherwise destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from koalesce.engine.session import RunSession
from koalesce.errors import TeardownError
from koalesce.events import TeardownFinished, TeardownStarted
from koalesce.providers.joining import JoinedCluster
from koalesce.providers.session import ClusterSession


def note_first_states(sessions: Sequence[ClusterSession | JoinedCluster], *, wait: bool = False) -> None:
    """Of clusters that are to be used again: that they are now as they were wanted, before anybody uses them."""
    for session in sessions:
        if isinstance(session, ClusterSession):
            session.note_first_state(wait=wait)


def end_all(run: RunSession, spec: str, sessions: Sequence[ClusterSession | JoinedCluster], *, keep: bool) -> bool:
    """Keep or destroy the clusters of several sessions, at once; whether nothing is left that shouldn't be."""
    if not sessions:
        return True
    with ThreadPoolExecutor(len(sessions), thread_name_prefix="teardown") as pool:
        return all(list(pool.map(lambda session: end(run, spec, session, keep=keep), sessions)))


def end(run: RunSession, spec: str, session: ClusterSession | JoinedCluster | None, *, keep: bool) -> bool:
    """Keep or destroy the cluster of a session, if it has one; whether nothing is left that shouldn't be.

    An `up` that didn't succeed has undone itself: there is nothing to end then. A cluster that was up before is let go of.
    """
    if isinstance(session, JoinedCluster):
        if session.cluster is not None:
            session.cluster.kube.close()
        session.leave()
        return True
    if session is None or session.cluster is None:
        return True
    name = session.request.name
    by_hand = f"koalesce down {name}"
    session.cluster.kube.close()
    if keep:
        session.keep()
        run.emit(TeardownFinished(spec=spec, cluster=name, seconds=0.0, kept=True, command=by_hand))
        return True
    began = run.clock.monotonic()
    run.emit(TeardownStarted(spec=spec, cluster=name))
    problem, command = "", ""
    try:
        session.down()
    except TeardownError as error:
        problem, command = error.message, error.command
    seconds = round(run.clock.monotonic() - began, 4)
    run.emit(TeardownFinished(spec=spec, cluster=name, seconds=seconds, message=problem, command=command))
    return not problem
