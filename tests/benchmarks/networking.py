"""On kube-router with three nodes: matrices of pods by size, one probe beside an exec, and how soon policies are in effect."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from koalesce.events import StepFinished
from koalesce.reporters.jsonl import read_events
from tests.benchmarks.cluster_start import environment

SPEC = Path(__file__).with_suffix(".yaml")


def main() -> None:
    """Print medians in milliseconds, with the least and the most, and what the policies' step says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder, "events.jsonl")
        command = [sys.executable, "-m", "koalesce", "run", str(SPEC), "--trust", "--events", str(events)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        steps = [event for event in read_events(events) if isinstance(event, StepFinished) and event.test != "setup"]
    measured: dict[str, list[float]] = {}
    for step in steps:
        if step.type == "network-policy":
            print(f"  {step.title}: {step.message}")
        else:
            name = step.title.rpartition(" [")[0] or step.title  # a step of a `foreach` has the item behind it
            measured.setdefault(name, []).append(step.seconds * 1000)
    for title, values in measured.items():
        print(f"  {title:<50} {statistics.median(values):8.1f} ms  ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
