"""From a change in the API server to the step that passes: watching, beside polling every second with kubectl."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from koalesce.clock import SystemClock
from koalesce.engine.attempts import Interrupt
from koalesce.engine.waiting import Waiter
from koalesce.kube import View
from koalesce.steps.base import Failed, Outcome, Passed
from tests.contract.api_server import ApiServer, find_binaries

CHANGES = 40
POLLED = 5


def main() -> None:
    """Print both, in milliseconds: median (least to most)."""
    binaries = find_binaries()
    if isinstance(binaries, str):
        print(f"  left out: {binaries}")
        return
    with tempfile.TemporaryDirectory() as folder:
        server = ApiServer(binaries, Path(folder))
        try:
            server.start()
            _show(f"watching, {CHANGES} changes", [_watched(server, number) for number in range(CHANGES)])
            _show(f"kubectl every second, {POLLED} changes", [_polled(server, number) for number in range(POLLED)])
        finally:
            server.stop()


def _show(what: str, seconds: list[float]) -> None:
    median, least, most = (value * 1000 for value in (statistics.median(seconds), min(seconds), max(seconds)))
    print(f"  {what:<42} {median:8.1f} ms  ({least:.1f} to {most:.1f})")


def _watched(server: ApiServer, number: int) -> float:
    """Seconds from the change to the outcome, through the engine's own waiting."""
    name = f"watched-{number}"
    maps = server.kube.resource("configmaps")
    waiter = Waiter(clock=SystemClock(), interrupt=Interrupt(threading.Event()))

    def look(view: View) -> Outcome:
        found = view.get(maps, name, "default")
        return Passed("there") if found else Failed(f"configmap/{name} does not exist")

    def wait() -> None:
        waiter.until(server.kube, look, timeout=30)

    return _after_change(server, name, wait)


def _polled(server: ApiServer, number: int) -> float:
    name = f"polled-{number}"
    command = ["kubectl", f"--kubeconfig={server.kubeconfig}", "get", "configmap", name]

    def wait() -> None:
        while subprocess.run(command, capture_output=True, check=False).returncode:
            time.sleep(1)

    return _after_change(server, name, wait)


def _after_change(server: ApiServer, name: str, wait: Callable[[], None]) -> float:
    """Start waiting, make the change a little later, and tell how long after it the wait ended."""
    ended: list[float] = []

    def run() -> None:
        wait()
        ended.append(time.monotonic())

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.15)
    server.kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}, namespace="default")
    changed = time.monotonic()
    thread.join()
    return ended[0] - changed


if __name__ == "__main__":
    main()
