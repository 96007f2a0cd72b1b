"""`run_spec`: run specs from a program."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from koalesce import engine
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.errors import UsageError
from koalesce.events import AnyEvent
from koalesce.library.pump import Pump
from koalesce.library.results import RunResult, folded
from koalesce.reporters.record import RunRecord
from koalesce.spec import discover

OnEvent = Callable[[AnyEvent], None]


def run_spec(
    *specs: str | os.PathLike[str],
    select: str | None = None,
    skip: str | None = None,
    labels: Sequence[str] = (),
    only: Mapping[str, Collection[str]] | None = None,
    cluster: str | None = None,
    provider: str | None = None,
    kubernetes: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
    images: Mapping[str, str | os.PathLike[str]] | None = None,
    parallel: int = 4,
    timeout: str | None = None,
    run_timeout: str | None = None,
    reruns: int = 0,
    failfast: bool = False,
    keep_on_failure: bool = False,
    trust: bool = False,
    on_event: OnEvent = lambda event: None,
    cancel: threading.Event | None = None,
) -> RunResult:
    """Run specs on temporary clusters, as `koalesce run` does, and return what became of them; tests that fail are results, not errors.

    `specs` are files, folders and globs. The options are those of the command line: `select` and `skip` are `--run` and `--skip`, `only` has
    names of tests by spec (a path as messages have it), `cluster` is one that is up, `timeout` is a time such as `2m`. Settings in files and
    the environment aren't read: what a program runs is what it says. Evidence goes below `.koalesce/runs` of the working folder.

    `on_event` is told every event, in the calling thread. Setting `cancel` ends the run early: its result comes once its clusters are gone.
    So does what is raised meanwhile in the calling thread, as KeyboardInterrupt is by ^C (no handler is installed for it): the clusters are
    destroyed, then it is raised on. Several threads may each have a run.

    UsageError (InvalidSpecs with every problem), before anything is started, for what can't be run; KoalesceError where the run itself breaks.
    """
    if not specs:
        raise UsageError("run_spec needs a spec, a folder, or a glob")
    paths = discover([os.fspath(spec) for spec in specs])
    if not paths:
        raise UsageError(f"no specs in {', '.join(os.fspath(spec) for spec in specs)}")
    options = RunOptions(
        paths=tuple(map(str, paths)),
        select=select,
        skip=skip,
        labels=tuple(labels),
        only=only,
        cluster=cluster,
        provider=provider,
        kubernetes=kubernetes,
        settings=settings or {},
        variables=variables or {},
        images=_archives(images or {}),
        parallel=parallel,
        timeout=duration("timeout", timeout),
        run_timeout=duration("run_timeout", run_timeout),
        reruns=reruns,
        failfast=failfast,
        keep_on_failure=keep_on_failure,
        trust=trust,
        cancel=cancel or threading.Event(),
    )
    return folded(consume(engine.run, options, on_event))


def consume(work: Callable[[RunOptions], Any], options: RunOptions, on_event: OnEvent) -> RunRecord:
    """Take a run's events in to their end; whatever is raised in this thread meanwhile ends the run, with its teardown, first."""
    record = RunRecord()
    events = work(options)
    pump: Pump | None = None
    try:
        pump = Pump(events)
        while not pump.is_over:
            if (event := pump.next()) is not None:
                record.apply(event)
                on_event(event)
    except BaseException as error:
        options.cancel.set()
        if pump is not None and not pump.is_over:
            _end(pump, record, error)
        raise
    return record


def duration(name: str, text: str | None) -> Duration | None:
    """A time as people write it; UsageError for anything else."""
    try:
        return None if text is None else Duration.parse(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error


def _end(pump: Pump, record: RunRecord, error: BaseException) -> None:
    """Wait for the teardown, and note on what ended the run if something is left over. A second interrupt doesn't wait."""
    try:
        while not pump.is_over:
            if (event := pump.next()) is not None:
                record.apply(event)
    except KeyboardInterrupt as again:
        again.add_note("left while clusters were being destroyed; what is left of them is removed by: koalesce sweep")
        raise
    except Exception as trouble:
        error.add_note(f"and while the run was ended: {trouble}")
    for command in folded(record).left:
        error.add_note(f"something is left over; remove it with: {command}")


def _archives(images: Mapping[str, str | os.PathLike[str]]) -> dict[str, Path]:
    found = {reference: Path(path) for reference, path in images.items()}
    for reference, path in found.items():
        if not path.exists():
            raise UsageError(f"the image {reference} is to come from {path}, which isn't there")
    return found
