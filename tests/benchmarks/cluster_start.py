"""A cluster from the command line's start to a running pod on each node, by phase, and its teardown.

`python -m tests.benchmarks.cluster_start --nodes 0,1,3,10 --runs 10` prints medians with the least and the most; `--busy` does so beside
a process that takes all of a core.
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
from collections.abc import Iterator
from pathlib import Path

from koalesce.events import Event, PhaseFinished, PhaseProgress, TeardownFinished, TestFinished
from koalesce.reporters.jsonl import read_events

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
_TICKS = os.sysconf("SC_CLK_TCK")


def main(nodes: tuple[int, ...] = (3,), runs: int = 3) -> None:
    """Run each size some times and print medians with the least and the most."""
    with tempfile.TemporaryDirectory() as folder:
        for count in nodes:
            one_run(Path(folder), count)  # the first one fills caches
            samples: dict[str, list[float]] = {}
            for _ in range(runs):
                for name, value in one_run(Path(folder), count).items():
                    samples.setdefault(name, []).append(value)
            print(f"{count} nodes, {runs} runs; seconds where nothing else is said: median (least to most)")
            for name, values in samples.items():
                print(f"  {name:<46} {statistics.median(values):7.2f}  ({min(values):.2f} to {max(values):.2f})")


def one_run(folder: Path, nodes: int = 3) -> dict[str, float]:
    """The phases of one run, in order, and what it took as a whole."""
    spec, file = folder / "start.yaml", folder / "events.jsonl"
    spec.write_text(SPEC.format(nodes=nodes) + (PODS if nodes else API_ONLY))
    command = [sys.executable, "-m", "koalesce", "run", str(spec), "--trust", "--events", str(file)]
    began, clock, cpu = time.monotonic(), datetime.datetime.now(datetime.UTC), _cpu_seconds()
    with _memory() as taken:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    whole = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    found: dict[str, float] = {}
    for event in read_events(file):
        found.update(_figures(event, clock))
    found["the whole command"] = whole
    found["CPU of the machine, all of it"] = _cpu_seconds() - cpu
    found["memory taken at most, MiB"] = max(taken)
    return found


def _figures(event: Event, began: datetime.datetime) -> dict[str, float]:
    match event:
        case PhaseProgress(phase="terraform apply", message=message):
            # what the supervisor says of itself: "1.50s api server"
            said = re.fullmatch(r"\s*([\d.]+)s\s+(.+)", message)
            return {f"  apply, until: {said[2]}": float(said[1])} if said else {}
        case PhaseFinished(phase=phase, seconds=seconds):
            return {phase: seconds}
        case TestFinished(seconds=seconds, at=at, elapsed=elapsed):
            since = (datetime.datetime.fromisoformat(at) - began).total_seconds()
            return {
                "the test": seconds,
                "from the first event to the test's end": elapsed,
                "from the command's start to the test's end": since,
            }
        case TeardownFinished(seconds=seconds):
            return {"teardown": seconds}
        case _:
            return {}


def environment() -> dict[str, str]:
    """As where Koalesce is installed: Python keeps what it compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"NO_COLOR": "1"}


def _cpu_seconds() -> float:
    """What all processors of the machine have worked (proc_stat(5): user, nice, system)."""
    fields = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return sum(int(field) for field in fields) / _TICKS


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


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    """A process that takes all of a core; it ends with us, or after an hour."""
    code = "import time; end = time.monotonic() + 3600\nwhile time.monotonic() < end: pass"
    burning = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        burning.kill()
        burning.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", default="0,1,3,10", help="how many, one or several: 1,3 (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=10, help="of each (default: %(default)s)")
    parser.add_argument("--busy", action="store_true", help="keep one core busy beside them")
    given = parser.parse_args()
    with _busy_core() if given.busy else contextlib.nullcontext():
        main(tuple(int(count) for count in given.nodes.split(",")), given.runs)
