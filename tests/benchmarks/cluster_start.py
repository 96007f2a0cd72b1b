"""A cluster from the command's start to a running pod on each node, by phase, with what processors worked, and its teardown.

`python -m tests.benchmarks.cluster_start` makes ten clusters of each of 0, 1, 3 and 10 nodes after one that fills caches, and prints a table of
each size: the median, the worst, and the median of the work. `--busy` does so beside a process that takes all of a core, `--nodes 1,3 --runs 5`
a part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.events import Event, PhaseFinished, TeardownFinished, TestFinished
from koalesce.reporters.jsonl import read_events
from tests.benchmarks.work import Work, busy_core, machine_seconds

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: start}}
cluster: {{nodes: {nodes}}}
tests:
  - name: it works
    steps:
"""
API_ONLY = """\
      - apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: data}, data: {key: value}}}
      - wait-for: {resource: serviceaccount/default, exists: true}
"""
PODS = """\
      - apply:
          object:
            apiVersion: apps/v1
            kind: DaemonSet
            metadata: {name: web}
            spec:
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec:
                  terminationGracePeriodSeconds: 0
                  containers: [{name: web, image: "koalesce.dev/pause:1"}]
      - wait-for: {resource: daemonset/web, rollout: true}
        timeout: 60s
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a row of a table tells of one start: how long something took, and what processors worked for it (None: it isn't known)."""

    seconds: float | None = None
    work: float | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """One start, by the names of a table's rows, and the memory that it took at most, in MiB."""

    figures: Mapping[str, Figure]
    memory: float


def main(nodes: Sequence[int] = (3,), runs: int = 3) -> None:
    """Make clusters of each size, and print a table for each."""
    with tempfile.TemporaryDirectory() as folder:
        for count in nodes:
            one_run(Path(folder), count)  # the first one fills caches
            starts = [one_run(Path(folder), count) for _ in range(runs)]
            memory = statistics.median(start.memory for start in starts)
            print(f"\n{count} nodes, {runs} starts, {memory:.0f} MiB of memory\n\n{table(starts)}", flush=True)


def table(starts: Sequence[Start]) -> str:
    """Equal starts as a table in Markdown."""
    names = list(dict.fromkeys(name for start in starts for name in start.figures))
    rows = [("", "median, s", "worst, s", "CPU, s (median)"), ("---", "--:", "--:", "--:")]
    for name in names:
        figures = [start.figures[name] for start in starts if name in start.figures]
        seconds = [figure.seconds for figure in figures if figure.seconds is not None]
        work = [figure.work for figure in figures if figure.work is not None]
        rows.append((name, _median(seconds), f"{max(seconds):.2f}" if seconds else "", _median(work)))
    return "\n".join(f"| {name:<58} | {median:>9} | {worst:>8} | {work:>15} |" for name, median, worst, work in rows)


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else ""


def one_run(folder: Path, nodes: int = 3) -> Start:
    """Make a cluster, run a test on it, and remove it."""
    spec, file = folder / "start.yaml", folder / "events.jsonl"
    file.unlink(missing_ok=True)
    spec.write_text(SPEC.format(nodes=nodes) + (PODS if nodes else API_ONLY))
    command = [sys.executable, "-m", "koalesce", "run", str(spec), "--trust", "--events", str(file)]
    began, clock, before = time.monotonic(), datetime.datetime.now(datetime.UTC), machine_seconds()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment())
    work = Work(running.pid, file)
    with _memory() as taken, work.followed():
        said, _ = running.communicate()
    whole = Figure(time.monotonic() - began, machine_seconds() - before)
    if running.returncode:
        raise SystemExit(said)
    found = _figures(list(read_events(file)), clock, work)
    return Start({**found, "the whole command (work of the whole machine)": whole}, max(taken))


def _figures(events: Sequence[Event], began: datetime.datetime, work: Work) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for event in events:
        match event:
            case PhaseFinished(phase=phase, seconds=seconds):
                found[phase] = Figure(seconds)
                if phase == "terraform apply":
                    found |= {f"- {entry['name']}": _phase(entry) for entry in work.phases if "cpu" in entry}
            case TestFinished(seconds=seconds, at=at, elapsed=elapsed):
                since = (datetime.datetime.fromisoformat(at) - began).total_seconds()
                found["the test"] = Figure(seconds)
                found["**until pods run, from the first event**"] = Figure(elapsed)
                found["**until pods run, from the command's start**"] = Figure(since, sum(work.seconds.values()))
                found |= {f"- {whose}": Figure(None, seconds) for whose, seconds in work.seconds.items()}
            case TeardownFinished(seconds=seconds):
                found["teardown"] = Figure(seconds)
            case _:
                pass
    return found


def _phase(entry: Mapping[str, object]) -> Figure:
    """What the supervisor noted of one of its phases."""
    seconds, cpu = entry["seconds"], entry["cpu"]
    assert isinstance(seconds, float | int)
    assert isinstance(cpu, dict)
    return Figure(float(seconds), float(sum(cpu.values())))


def environment() -> dict[str, str]:
    """As where Koalesce is installed: Python keeps what it compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"NO_COLOR": "1"}


@contextlib.contextmanager
def _memory() -> Iterator[list[float]]:
    """How much less memory is available than at the start, in MiB, looked at ten times a second."""
    before, taken, ended = _available(), [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            taken.append(before - _available())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield taken
    finally:
        ended.set()
        looking.join()


def _available() -> float:
    found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="0,1,3,10", help="how many, one or several: 1,3 (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=10, help="starts of each size that count (default: %(default)s)")
    parser.add_argument("--busy", action="store_true", help="keep one core busy beside them")
    given = parser.parse_args()
    with busy_core() if given.busy else contextlib.nullcontext():
        main(tuple(int(count) for count in given.nodes.split(",")), given.runs)
