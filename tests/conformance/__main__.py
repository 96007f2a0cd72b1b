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
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from koalesce.errors import KoalesceError
from koalesce.toolchain.toolchain import Toolchain
from tests.conformance import selection as selections
from tests.conformance import summary
from tests.conformance.suite import HERE, Result, Suite

_CLUSTER = "conformance"
_TOGETHER = 4  # tests for each start of the program, which takes seconds


def main() -> int:
    """0: all ended as the selection says; 1: not; 2: nothing was run."""
    args = _arguments()
    selection = selections.load()
    suite = Suite.build(Toolchain(progress=print))
    if problems := selection.problems(suite.offered()):
        print("\n".join(problems), file=sys.stderr)
        return 2
    results = _kept(args.results) if args.resume else {}
    wanted = [name for name in selection.run if re.search(args.run, name) and name not in results][: args.at_most]
    if not wanted:
        print("no test is left to run", file=sys.stderr)
        return 2
    with _cluster(args.cluster) as kubeconfig, _cancelled() as cancel:
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
        together = [name for name in names if not selections.is_alone(name)]
        alone = [name for name in names if selections.is_alone(name)]
        size = max(1, min(_TOGETHER, len(together) // processes))
        yield from self._parts([together[at : at + size] for at in range(0, len(together), size)], processes)
        yield from self._parts([alone[at : at + _TOGETHER] for at in range(0, len(alone), _TOGETHER)], 1)

    def _parts(self, parts: Sequence[Sequence[str]], processes: int) -> Iterator[Result]:
        with ThreadPoolExecutor(processes) as pool:
            futures: list[Future[list[Result]]] = [pool.submit(self._part, part) for part in parts]
            for future in as_completed(futures):
                yield from future.result()

    def _part(self, names: Sequence[str]) -> list[Result]:
        if self._cancel.is_set():
            return []
        folder = self._folder / re.sub(r"\W+", "-", names[0]).strip("-").lower()[:80]
        try:
            return self._suite.run(names, self._kubeconfig, folder, cancel=self._cancel)
        except KoalesceError as error:
            if self._cancel.is_set():
                return []
            return [Result(name=name, status="error", message=error.message) for name in names]


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
