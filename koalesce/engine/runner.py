"""A whole run: load everything, then one spec after the other, as one stream of events."""

from __future__ import annotations

import os
import platform
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from koalesce import __version__
from koalesce.clock import Clock, SystemClock
from koalesce.durations import Duration
from koalesce.engine.joining import check_fits
from koalesce.engine.needs import Plan, plan
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import check
from koalesce.engine.selection import Selected, check_trusted, select
from koalesce.engine.session import RunSession, follow, new_session
from koalesce.engine.spec_run import SpecResult
from koalesce.engine.statuses import overall
from koalesce.engine.succession import Succession
from koalesce.events import AnyEvent, RunFinished, RunStarted
from koalesce.spec import discover, load_all
from koalesce.spec.axes import check_axes
from koalesce.spec.project import project_root
from koalesce.spec.repeating import on_versions
from koalesce.spec.values import check_settable

if TYPE_CHECKING:
    from koalesce.engine.cached.keeping import Keeper


def run(options: RunOptions, *, clock: Clock | None = None) -> Iterator[AnyEvent]:
    """Run specs; yields events, the last of which is RunFinished.

    Raises UsageError (InvalidSpecs with every problem) before the first event, while nothing is started. Setting
    `options.cancel` ends the run early, with its clusters destroyed; the events go on until they are.
    """
    selected = prepare(options)
    keepers = _keepers(selected, options)
    plans = [
        Plan() if each.is_all_skipped or _is_found(keeper) else plan(each.loaded, options)
        for each, keeper in zip(selected, keepers, strict=True)
    ]
    session = new_session(Path.cwd(), clock or SystemClock(), options.cancel)
    session = replace(session, interrupt=session.interrupt.child())  # ends by itself when its time is over
    return follow(session, lambda: _run_all(session, selected, options, plans, keepers))


def prepare(options: RunOptions) -> list[Selected]:
    """What a run would run, once everything has been checked that can be without starting anything. Errors as for `run`."""
    paths = discover(options.paths)
    root = options.root or project_root(Path.cwd())
    if not options.trust:
        check_trusted(paths, root)
    loaded = load_all(paths, variables=options.variables, env=dict(os.environ), matrix=options.matrix)
    check_settable(loaded, options.variables)
    check_axes(loaded, options.matrix)
    if options.versions:
        loaded = on_versions(loaded, options.versions)
    selected = select(loaded, options)
    for each in selected:
        check(each.loaded, options)
    if options.cluster is not None:
        check_fits(options.cluster, [each.loaded for each in selected])
    return selected


def _keepers(selected: list[Selected], options: RunOptions) -> list[Keeper | None]:
    """The results of specs, where they are kept: of those that may pass."""
    if not options.cached:
        return [None] * len(selected)
    from koalesce.engine.cached.keeping import Keeping  # imported here: not every run needs it

    keeping = Keeping(options)
    return [None if each.is_all_skipped else keeping.of(each) for each in selected]


def _is_found(keeper: Keeper | None) -> bool:
    return keeper is not None and keeper.found is not None


def _run_all(
    session: RunSession,
    selected: list[Selected],
    options: RunOptions,
    plans: list[Plan],
    keepers: Sequence[Keeper | None],
) -> None:
    began = session.clock.monotonic()
    results: list[SpecResult] = []
    crashed = False
    timer = _timer(session, options.run_timeout)
    specs = Succession(session, selected, options, plans, keepers)
    try:
        session.emit(
            RunStarted(
                run_id=session.run_id, version=__version__, specs=tuple(each.loaded.shown for each in selected),
                folder=session.shown(session.folder), machine=_machine(),
            )
        )  # fmt: skip
        if options.run_timeout:
            timer.start()
        results.extend(specs.run())
    except BaseException:
        crashed = True
        raise
    finally:
        timer.cancel()
        gone = False
        try:
            gone = specs.end()
        finally:
            seconds, interrupted = session.clock.monotonic() - began, options.cancel.is_set()
            session.emit(_finished(results, seconds, crashed=crashed, interrupted=interrupted, gone=gone))


def _timer(session: RunSession, limit: Duration | None) -> threading.Timer:
    """Ends the run when its time is over; specs that haven't begun then are told as not run."""
    seconds = limit.seconds if limit else threading.TIMEOUT_MAX
    timer = threading.Timer(seconds, session.interrupt.set, (f"the time of the run ({limit}) is over",))
    timer.daemon = True
    return timer


def _finished(
    results: list[SpecResult], seconds: float, *, crashed: bool, interrupted: bool, gone: bool
) -> RunFinished:
    counts = Counter(test.status for result in results for test in result.tests)
    return RunFinished(
        status="error" if crashed else overall(result.status for result in results),
        passed=counts["passed"], failed=counts["failed"], error=counts["error"], skipped=counts["skipped"],
        seconds=round(seconds, 4), interrupted=interrupted,
        teardown_failed=not gone or any(result.teardown_failed for result in results),
        flaky=sum(test.flaky for result in results for test in result.tests),
    )  # fmt: skip


def _machine() -> dict[str, object]:
    return {"kernel": platform.release(), "cpus": os.cpu_count(), "python": platform.python_version()}
