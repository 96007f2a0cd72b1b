"""A three-node cluster from the command line's start to a running pod on each node, by phase, and its teardown."""

from __future__ import annotations

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from koalesce.events import PhaseFinished, PhaseProgress, TeardownFinished, TestFinished
from koalesce.reporters.jsonl import read_events

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: start}
cluster: {nodes: 3}
tests:
  - name: a pod on each node
    steps:
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


def main(runs: int = 3) -> None:
    """Run it some times and print medians with the least and the most."""
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        one_run(Path(folder))  # the first one fills caches
        for _ in range(runs):
            for name, seconds in one_run(Path(folder)).items():
                samples.setdefault(name, []).append(seconds)
    print(f"{runs} runs; seconds: median (least to most)")
    for name, values in samples.items():
        print(f"  {name:<42} {statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})")


def one_run(folder: Path) -> dict[str, float]:
    """The phases of one run, in order, and what it took as a whole."""
    spec, file = folder / "start.yaml", folder / "events.jsonl"
    spec.write_text(SPEC)
    command = [sys.executable, "-m", "koalesce", "run", str(spec), "--trust", "--events", str(file)]
    began, cpu = time.monotonic(), _cpu_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    whole = time.monotonic() - began
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    events = list(read_events(file))
    found: dict[str, float] = {}
    for event in events:
        match event:
            case PhaseProgress(phase="terraform apply", message=message):
                # what the supervisor says of itself: "1.50s api server"
                if said := re.fullmatch(r"\s*([\d.]+)s\s+(.+)", message):
                    found[f"  apply, until: {said[2]}"] = float(said[1])
            case PhaseFinished(phase=phase, seconds=seconds):
                found[phase] = seconds
            case TestFinished(seconds=seconds, elapsed=elapsed):
                found["pods running (the test)"] = seconds
                found["from the first event to running pods"] = elapsed
            case TeardownFinished(seconds=seconds):
                found["teardown"] = seconds
            case _:
                pass
    found["the whole command"] = whole
    found["CPU of the command itself"] = _cpu_seconds() - cpu
    return found


def environment() -> dict[str, str]:
    """As where Koalesce is installed: Python keeps what it compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"NO_COLOR": "1"}


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    main(parser.parse_args().runs)
