"""Upstream's conformance tests on a local cluster: builds them, packs their images, makes a cluster, runs them, says how they ended.

`python -m tests.conformance` runs the whole selection (selection.toml) on a cluster of its own, which it removes. For parts:

    koalesce up tests/conformance/cluster.yaml --name judged
    python -m tests.conformance --cluster judged --run 'sig-network.* DNS' --processes 2
    python -m tests.conformance --cluster judged --continue --at-most 20
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from koalesce.errors import KoalesceError
from koalesce.toolchain.toolchain import Toolchain
from tests.conformance import selection as selections
from tests.conformance import summary
from tests.conformance.suite import HERE, Result, Suite

_CLUSTER = "conformance"


def main() -> int:
    """0: all ended as the selection says; 1: not; 2: nothing was run."""
    args = _arguments()
    selection = selections.load()
    suite = Suite.build(Toolchain(progress=print))
    if problems := selection.problems(suite.offered()):
        print("\n".join(problems), file=sys.stderr)
        return 2
    results = _kept(args.results) if args.resume else {}
    left = [name for name in selection.in_order() if re.search(args.run, name) and name not in results]
    wanted = left[: args.at_most]
    if not wanted:
        print("no test is left to run", file=sys.stderr)
        return 2
    with _cancelled() as cancel, _cluster(args.cluster) as kubeconfig:
        run = _Run(suite, kubeconfig, args.results.parent, cancel)
        for result in run.all(wanted, args.processes):
            print(summary.line(result), flush=True)
            results[result.name] = result
            _keep(args.results, results)
    ended = [results[name] for name in selection.run if name in results]
    surprises = summary.surprises(ended, selection)
    print("\n".join(["", summary.table(ended, selection), *surprises]))
    return 1 if surprises or cancel.is_set() else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cluster", help="a cluster that is up, instead of a new one")
    parser.add_argument("--run", default="", metavar="PATTERN", help="only tests whose name matches")
    parser.add_argument("--processes", type=int, default=4, help="how many tests at once (default: 4)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="only tests without a result so far")
    parser.add_argument("--at-most", type=int, metavar="N", help="end after so many tests")
    parser.add_argument("--results", type=Path, default=Path(".koalesce/conformance/results.json"), metavar="FILE")
    return parser.parse_args()


class _Run:
    """Runs tests on a cluster, several at once, and those that want it to themselves at the end."""

    def __init__(self, suite: Suite, kubeconfig: str, folder: Path, cancel: threading.Event) -> None:
        self._suite = suite
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._cancel = cancel

    def all(self, names: Sequence[str], processes: int) -> Iterator[Result]:
        """The results, as they come."""
        yield from self._several([name for name in names if not selections.is_alone(name)], processes)
        yield from self._several([name for name in names if selections.is_alone(name)], 1)

    def _several(self, names: Sequence[str], processes: int) -> Iterator[Result]:
        with ThreadPoolExecutor(processes) as pool:
            for future in as_completed([pool.submit(self._one, name) for name in names]):
                if result := future.result():
                    yield result

    def _one(self, name: str) -> Result | None:
        """How a test ended; None where it was cancelled."""
        if self._cancel.is_set():
            return None
        folder = self._folder / re.sub(r"\W+", "-", name).strip("-").lower()[:200]
        try:
            return self._suite.run(name, self._kubeconfig, folder, cancel=self._cancel)
        except KoalesceError as error:
            return None if self._cancel.is_set() else Result(name=name, status="error", message=error.message)


@contextlib.contextmanager
def _cancelled() -> Iterator[threading.Event]:
    """Set by the first ^C or SIGTERM: what runs is ended then, and the cluster removed."""
    cancel = threading.Event()
    before = {number: signal.signal(number, lambda *_: cancel.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _cluster(name: str | None) -> Iterator[str]:
    """The kubeconfig of a cluster: of the named one, or of a new one that is removed afterwards."""
    if name is None:
        _koalesce("up", str(HERE / "cluster.yaml"), "--name", _CLUSTER)
    try:
        clusters = json.loads(_koalesce("clusters", "--json"))
        found = [cluster for cluster in clusters if cluster["name"] == (name or _CLUSTER)]
        if not found:
            raise SystemExit(f"there is no cluster {name}; koalesce clusters shows those that are up")
        yield found[0]["kubeconfig"]
    finally:
        if name is None:
            _koalesce("down", _CLUSTER)


def _koalesce(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "koalesce", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + f"koalesce {' '.join(words)}: exit code {done.returncode}")
    return done.stdout


def _kept(path: Path) -> dict[str, Result]:
    """The results of earlier runs."""
    if not path.is_file():
        return {}
    return {entry["name"]: Result(**entry) for entry in json.loads(path.read_bytes())}


def _keep(path: Path, results: dict[str, Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(result) for result in results.values()], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
