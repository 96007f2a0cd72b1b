"""Fifty tests of ten operations each (apply, assert), in namespaces of their own: `koalesce run`, beside kubectl every second."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from koalesce.events import TestFinished, TestStarted
from koalesce.reporters.jsonl import read_events
from tests.benchmarks.cluster_start import environment

TESTS = 50
PAIRS = 5  # an apply and an assert each
POLLED = 3  # tests that kubectl does
PARALLEL = 4
CLUSTER = "benchmark-operations"


def main() -> None:
    """Print the seconds of both, and the milliseconds of an operation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = folder / "suite.yaml"
        spec.write_text(json.dumps(_suite()))
        _koalesce("up", str(spec), "--trust", "--name", CLUSTER)
        try:
            seconds = _run(spec, folder / "events.jsonl")
            _show(f"koalesce, {TESTS} tests at {PARALLEL} in parallel", seconds, TESTS)
            kubeconfig = _kubeconfig()
            polled = _polled(kubeconfig, folder)
            _show(f"kubectl every second, {POLLED} tests in series", polled, POLLED)
        finally:
            _koalesce("down", CLUSTER)


def _suite() -> dict[str, Any]:
    return {
        "apiVersion": "koalesce.dev/v1alpha1",
        "kind": "Spec",
        "metadata": {"name": "suite"},
        "cluster": {"nodes": 0},
        "tests": [{"name": f"test {number}", "steps": _steps()} for number in range(TESTS)],
    }


def _steps() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for number in range(PAIRS):
        steps.append({"apply": {"object": _object(number)}})
        steps.append({"assert": {"resource": f"configmap/c{number}", "match": {"data": {"value": str(number)}}}})
    return steps


def _object(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"c{number}"},
        "data": {"value": str(number)},
    }


def _run(spec: Path, file: Path) -> float:
    """Seconds from the first test's start to the last one's end."""
    _koalesce("run", str(spec), "--trust", "--cluster", CLUSTER, "--parallel", str(PARALLEL), "--events", str(file))
    events = list(read_events(file))
    started = [event.elapsed for event in events if isinstance(event, TestStarted)]
    finished = [event.elapsed for event in events if isinstance(event, TestFinished)]
    assert len(finished) == TESTS
    return max(finished) - min(started)


def _polled(kubeconfig: str, folder: Path) -> float:
    """The same work as a shell script does it: apply, then get until it is there, looking every second."""
    began = time.monotonic()
    for test in range(POLLED):
        namespace = f"polled-{test}"
        base = ["kubectl", f"--kubeconfig={kubeconfig}"]
        subprocess.run([*base, "create", "namespace", namespace], capture_output=True, check=True)
        for number in range(PAIRS):
            manifest = folder / "object.json"
            manifest.write_text(json.dumps(_object(number)))
            subprocess.run([*base, "-n", namespace, "apply", "-f", str(manifest)], capture_output=True, check=True)
            look = [*base, "-n", namespace, "get", "configmap", f"c{number}", "-o", "jsonpath={.data.value}"]
            while subprocess.run(look, capture_output=True, text=True, check=False).stdout != str(number):
                time.sleep(1)
        subprocess.run([*base, "delete", "namespace", namespace, "--wait=false"], capture_output=True, check=True)
    return time.monotonic() - began


def _kubeconfig() -> str:
    lines = _koalesce("clusters").splitlines()
    return next(words[-1] for line in lines if (words := line.split())[0] == CLUSTER)


def _koalesce(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "koalesce", *words], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def _show(what: str, seconds: float, tests: int) -> None:
    operation = seconds / (tests * PAIRS * 2) * 1000
    print(f"  {what:<42} {seconds:8.2f} s   {operation:8.1f} ms for each operation")


if __name__ == "__main__":
    main()
