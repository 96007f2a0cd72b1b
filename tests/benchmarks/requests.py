"""What waiting asks of an API server, counted by the server: watching, beside polling every second with kubectl.

The waits are the engine's own, as for nodes and components: they look as often as a step, and sooner for the second time.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from koalesce.clock import SystemClock
from koalesce.engine.attempts import Interrupt
from koalesce.engine.waiting import Waiter
from koalesce.errors import Interrupted
from koalesce.kube import Kube, View
from koalesce.steps.base import Failed, Outcome, Passed
from tests.unit.kube.api_server import FakeApi, serve

WAITS = 500
PENDING = 200
LONG = 30.0  # seconds of the waits that fail
QUIET = 5.0  # seconds in which the CPU time of pending waits is measured
POLLED = 6.0  # seconds in which kubectl polls; its requests are told for 30 s


def main() -> None:
    """Print the counts of both; takes a minute and a half."""
    _show(f"{WAITS} waits, one kind and namespace", f"{_shared()} watch requests")
    _show(f"a wait that fails after {LONG:.0f} s", f"{_failing(FakeApi())} requests")
    _show(f"the same, from a server that answers 500 for {LONG:.0f} s", f"{_failing(_broken())} requests")
    _show(f"{PENDING} waits pending, in {QUIET:.0f} s", _pending())
    try:
        _show("kubectl every second, one wait", f"{_polling(FakeApi())} requests in {LONG:.0f} s")
        _show("the same, from a server that answers 500", f"{_polling(_broken())} requests in {LONG:.0f} s")
    except FileNotFoundError:
        print("  kubectl is left out: it is not on the PATH")


def _show(what: str, figure: str) -> None:
    print(f"  {what:<55} {figure}")


def _broken() -> FakeApi:
    api = FakeApi()
    api.failing["/"] = (500, "internal error")
    return api


def _shared() -> int:
    """Watch requests that many waits make, from their begin until all of them have passed."""
    api = FakeApi()
    with _client(api) as kube, _waiting(kube, WAITS, lambda number: f"made-{number % 10}"):
        for number in range(10):
            api.put(f"made-{number}")
    return len(api.watches())


def _failing(api: FakeApi) -> int:
    with _client(api) as kube:
        _wait(kube, "never", LONG, Interrupt(threading.Event()))
    return len(api.requests)


def _pending() -> str:
    """Per cent of a CPU, and requests, while many waits for something that isn't there have begun and don't end."""
    api = FakeApi()
    stop = threading.Event()
    with _client(api) as kube, _waiting(kube, PENDING, lambda _number: "never", stop):
        time.sleep(2)  # they have begun
        began, cpu, asked = time.monotonic(), _cpu_seconds(), len(api.requests)
        time.sleep(QUIET)
        share = (_cpu_seconds() - cpu) / (time.monotonic() - began) * 100
        asked = len(api.requests) - asked
        stop.set()
    return f"{share:.1f} % of a CPU, {asked} requests"


def _polling(api: FakeApi) -> int:
    """Requests that a loop of kubectl would make in 30 s, from those of a few seconds."""
    with tempfile.TemporaryDirectory() as name, serve(api, Path(name)) as kubeconfig:
        command = ["kubectl", f"--kubeconfig={kubeconfig}", f"--cache-dir={name}/cache", "get", "configmap", "never"]
        began = time.monotonic()
        while time.monotonic() - began < POLLED:
            subprocess.run(command, capture_output=True, check=False)
            time.sleep(1)
        return round(len(api.requests) / (time.monotonic() - began) * LONG)


@contextlib.contextmanager
def _client(api: FakeApi) -> Iterator[Kube]:
    with tempfile.TemporaryDirectory() as name, serve(api, Path(name)) as kubeconfig:
        kube = Kube(kubeconfig)
        try:
            yield kube
        finally:
            kube.close()


@contextlib.contextmanager
def _waiting(
    kube: Kube, count: int, name_of: Callable[[int], str], stop: threading.Event | None = None
) -> Iterator[None]:
    """So many waits at once, in threads; the block ends with the last of them."""
    interrupt = Interrupt(stop or threading.Event())
    threads = [threading.Thread(target=_wait, args=(kube, name_of(number), 120, interrupt)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def _wait(kube: Kube, name: str, timeout: float, interrupt: Interrupt) -> None:
    end = time.monotonic() + timeout

    def look(view: View) -> Outcome:
        found = view.get(view.kube.resource("configmaps"), name, "default", timeout=end - time.monotonic())
        return Passed("there") if found else Failed(f"configmap/{name} does not exist")

    with contextlib.suppress(Interrupted):
        Waiter(clock=SystemClock(), interrupt=interrupt).until(kube, look, timeout=timeout)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
