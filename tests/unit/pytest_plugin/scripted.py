"""An engine for pytest's own runs in tests: it ends each test as the test's label `ends` says, and notes each run in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import koalesce.engine
from koalesce.engine import RunOptions
from koalesce.errors import ProvisionError
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseStarted,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
    StepFinished,
    TeardownFinished,
    TestFinished,
    TestStarted,
)
from koalesce.spec import LoadedSpec, load_all

CALLS = "calls.txt"
_REAL = koalesce.engine.run


def install() -> None:
    koalesce.engine.run = run


def restore() -> None:
    koalesce.engine.run = _REAL


def run(options: RunOptions) -> Iterator[AnyEvent]:
    specs = load_all(options.paths)
    only = {spec: sorted(tests) for spec, tests in (options.only or {}).items()}
    with Path(CALLS).open("a") as file:
        file.write(json.dumps({"only": only, "cluster": options.cluster}) + "\n")
    chosen = [
        (spec, [test.name for test in spec.spec.tests if test.name in only.get(spec.shown, ())]) for spec in specs
    ]
    yield RunStarted(run_id="r", version="1", specs=options.paths, folder=".koalesce/runs/r")
    for loaded, names in chosen:
        if names:
            yield from _spec(loaded, names)
    yield RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=1)


def _spec(loaded: LoadedSpec, names: list[str]) -> Iterator[AnyEvent]:
    key, trouble = loaded.shown, loaded.spec.metadata.labels.get("trouble", "")
    yield SpecStarted(spec=key, name=loaded.spec.metadata.name, tests=tuple(names))
    if trouble == "raises":
        raise ProvisionError("the engine is broken")
    if trouble in ("cluster", "component"):
        status: Status = "error" if trouble == "cluster" else "failed"
        yield PhaseStarted(spec=key, phase=trouble)
        yield PhaseFinished(spec=key, phase=trouble, status=status, seconds=1, message=f"no {trouble} today")
        yield SpecFinished(spec=key, status=status, seconds=1, message=f"no {trouble} today")
        return
    yield ClusterReady(
        spec=key, cluster="a-1", provider="local", kubernetes="1", nodes=({"name": "n"},), capabilities=(), kubeconfig="k", seconds=1
    )  # fmt: skip
    for test in loaded.spec.tests:
        if test.name in names:
            yield from _test(key, test.name, test.labels.get("ends", "passed"))
    if trouble == "teardown":
        yield TeardownFinished(spec=key, cluster="a-1", seconds=1, message="it stays", command="koalesce down a-1")
    yield SpecFinished(spec=key, status="passed", seconds=1)


def _test(key: str, name: str, status: Status) -> Iterator[AnyEvent]:
    yield TestStarted(spec=key, test=name, namespace="n", line=7)
    if status != "skipped":
        yield StepFinished(
            spec=key, test=name, section="steps", index=0, type="curl", title="curl web", line=9, status=status, attempts=3,
            seconds=1.5, message=f"the answer is {status}", expected="200", actual="503",
        )  # fmt: skip
    message = {"passed": "", "skipped": "no ipvs here"}.get(status, f"curl web: the answer is {status}")
    evidence = "" if status == "passed" else ".koalesce/runs/r/e"
    yield TestFinished(spec=key, test=name, status=status, seconds=1.5, message=message, line=7, evidence=evidence)
