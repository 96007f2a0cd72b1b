"""`koalesce up`: make the cluster of a spec, and keep it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from koalesce.cli import exit_codes
from koalesce.cli.arguments import add_existing, add_values, duration, settings_of, variables_of
from koalesce.cli.run_arguments import axis

if TYPE_CHECKING:
    from koalesce.cli.profile import Profile
    from koalesce.cli.stopping import Stop
    from koalesce.engine import RunOptions
    from koalesce.events import AnyEvent, ClusterReady, RunFinished
    from koalesce.reporters import View

NAME = "up"
HELP = "make the cluster of a spec and keep it"
_EXAMPLES = """\
examples:
  koalesce up specs/kube-router.yaml --name dev
  koalesce run specs/kube-router.yaml --cluster dev    run on it, as often as you like; koalesce down dev ends it
  koalesce up specs/kube-proxy.yaml --matrix proxy=nftables
  koalesce up specs/a.yaml --ttl 2h                    it ends by itself after that time, once no run uses it
  koalesce up specs/a.yaml --provider kubeconfig --i-own kind-dev
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which cluster, and where."""
    parser.epilog = _EXAMPLES
    parser.add_argument("spec", metavar="SPEC", help="the spec whose cluster, images and components are wanted")
    parser.add_argument("--name", help="name of the cluster (default: made from the spec's)")
    add_values(parser)
    parser.add_argument(
        "--matrix", metavar="AXIS=VALUE", type=axis, action="append", default=[],
        help="of a spec with a matrix, the cell that the cluster is of: proxy=nftables",
    )  # fmt: skip
    parser.add_argument("--provider", metavar="NAME", help="make it with this provider instead of the spec's")
    parser.add_argument("--kubernetes", metavar="VERSION", help="with this version of Kubernetes instead of the spec's")
    parser.add_argument(
        "--ttl",
        type=duration,
        metavar="TIME",
        help="remove it after this time, once no run uses it: 2h (instead of the spec's)",
    )
    add_existing(parser.add_argument_group("a cluster that exists"))
    parser.add_argument("--trust", action="store_true", help="take a spec from outside the project too: it is code")
    parser.add_argument("-v", "--verbose", action="store_true", help="show all that is done")
    parser.add_argument(
        "--profile", action="store_true", help="show where the time went: the phases, each with its CPU seconds"
    )


def run(args: argparse.Namespace) -> int:
    """Make it, and tell how to use it."""
    from koalesce import engine
    from koalesce.cli.follow import Abandoned, Reports, follow
    from koalesce.cli.stopping import Stop
    from koalesce.clock import SystemClock
    from koalesce.reporters.terminal import open_view

    profile = _profile() if args.profile else None
    stop = Stop()
    options = _options(args, stop)
    view = _UpView(profile, open_view(sys.stdout, os.environ, verbose=args.verbose, live=not args.debug))
    with stop.on_signals():
        try:
            try:
                end = follow(engine.up(options, name=args.name), view, Reports({}), stop, SystemClock())
            finally:
                view.close()
        except Abandoned as abandoned:  # threads may hang in what was to be interrupted
            print(abandoned, file=sys.stderr, flush=True)
            os._exit(exit_codes.of_error(abandoned))
    if profile is not None:
        import shutil

        print("\n".join(profile.lines(shutil.get_terminal_size((120, 24)).columns)))
    if end.status == "passed":
        print("\n".join(usage(ready) for ready in view.ready))
    return code_of(end)


def _profile() -> Profile:
    from koalesce.cli.profile import Profile, command_age

    return Profile(age=command_age())


def usage(ready: ClusterReady) -> str:
    """How to look around in a cluster, as lines to paste."""
    is_reached = "node-exec" in ready.capabilities
    is_borrowed = ready.provider == "kubeconfig"  # others made it, and it stays
    node = str(ready.nodes[0]["name"]) if ready.nodes else None
    nodes = f"{len(ready.nodes)} node{'' if len(ready.nodes) == 1 else 's'}"
    lines = [
        f"cluster {ready.cluster} is up: Kubernetes {ready.kubernetes}, {nodes}",
        f"  export KUBECONFIG={shlex.quote(ready.kubeconfig)}   # then kubectl get nodes",
        *([f"  koalesce ssh {ready.cluster} {node}   # a shell on a node"] if node and is_reached else []),
        *([f"  koalesce reset {ready.cluster}   # back to how it is now"] if ready.provider == "local" else []),
        f"  koalesce down {ready.cluster}   # {'leave it' if is_borrowed else 'destroy it'}",
    ]
    return "\n".join(lines)


def code_of(end: RunFinished) -> int:
    """The exit code: a cluster that is up is what was asked for, though no test ran."""
    is_up = end.status == "passed" and not end.interrupted and not end.teardown_failed
    return exit_codes.PASSED if is_up else exit_codes.of_run(end)


class _UpView:
    """A view that leaves out how the run ended (there was no test to count), and has the start profiled if that is wanted."""

    def __init__(self, profile: Profile | None, view: View) -> None:
        self._profile = profile
        self._view = view
        self.ready: list[ClusterReady] = []

    def handle(self, event: AnyEvent) -> None:
        from koalesce.events import ClusterReady, RunFinished, SpecFinished, TeardownFinished

        if self._profile is not None:
            self._profile.handle(event)
        match event:
            case RunFinished() | SpecFinished(status="passed") | TeardownFinished(kept=True):
                return
            case ClusterReady():
                self.ready.append(event)
            case _:
                pass
        self._view.handle(event)

    def tick(self, elapsed: float) -> None:
        self._view.tick(elapsed)

    def say(self, text: str) -> None:
        self._view.say(text)

    def close(self) -> None:
        self._view.close()


def _options(args: argparse.Namespace, stop: Stop) -> RunOptions:
    from koalesce.cli.specs import find_specs
    from koalesce.engine import RunOptions
    from koalesce.errors import UsageError

    found = find_specs([args.spec])
    if len(found) > 1:
        raise UsageError(f"{args.spec} has {len(found)} specs; name one: a spec makes one cluster")
    images = {reference: Path(path) for reference, path in args.image}
    for reference, path in images.items():
        if not path.exists():
            raise UsageError(f"--image {reference}={path}: there is no {path}")
    return RunOptions(
        paths=(str(found[0]),),
        provider=args.provider,
        settings=settings_of(args),
        kubernetes=args.kubernetes,
        ttl=args.ttl,
        images=images,
        variables=variables_of(args),
        matrix=dict(args.matrix),
        trust=args.trust,
        verbose=args.verbose,
        cancel=stop.cancel,
    )
