"""`koalesce watch`: run again whenever something changes, on a cluster that stays up in between."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from koalesce.cli.arguments import add_values, variables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAME = "watch"
HELP = "run a spec again whenever its files change, on a cluster that stays up"
_TTL = "2h"  # of a cluster whose watch was killed, or that nobody has used for so long
_SHOWN = 3  # changed files
_EXAMPLES = """\
examples:
  koalesce watch specs/kube-router.yaml
  koalesce watch specs/kube-router.yaml -- --run policy --failfast -v     with flags of koalesce run
  koalesce watch specs/a.yaml --also src/ --image docker.io/x/router:dev=build/router.tar
  koalesce watch specs/a.yaml --cluster dev    on a cluster that `koalesce up` made, and that stays

It looks at the spec's folder and all below it, at --also, and at the files of --values and --image, but at no report that it writes. The cluster is made anew when the
spec asks for another one. ^C ends the cluster that it made, and itself.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which spec, and what is looked at."""
    parser.epilog = _EXAMPLES
    parser.add_argument("spec", metavar="SPEC", help="the spec")
    parser.add_argument(
        "--cluster", metavar="NAME", help="run on this cluster, which `koalesce up` made and which stays"
    )
    parser.add_argument("--also", metavar="PATH", action="append", default=[], help="look at this file or folder, too")
    parser.add_argument("--keep", action="store_true", help="keep the cluster at the end")
    add_values(parser)
    parser.set_defaults(rest=[])  # behind --: flags of koalesce run


def run(args: argparse.Namespace) -> int:
    """Run, wait for a change, run again, until somebody interrupts."""
    from koalesce.cli import exit_codes
    from koalesce.cli.specs import find_specs
    from koalesce.cli.stopping import Stop
    from koalesce.cli.watching import await_change, snapshot
    from koalesce.errors import UsageError
    from koalesce.providers.joining import made

    found = find_specs([args.spec])
    if len(found) > 1:
        raise UsageError(f"{args.spec} has {len(found)} specs; name one")
    written = _written(args.rest)
    if args.cluster is not None:
        made(args.cluster)
    roots, round_ = _roots(found[0], args), _Round(found[0], args)
    stop = Stop()
    try:
        while not stop.cancel.is_set():
            before = snapshot(roots, written)
            if round_.run() == exit_codes.INTERRUPTED:
                break
            print(f"looking at {len(before)} files; ^C ends", flush=True)
            with stop.on_signals():
                files = await_change(roots, before, stop.cancel.wait, written)
            if files:
                more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
                print(f"\nchanged: {', '.join(map(str, files[:_SHOWN]))}{more}", flush=True)
    finally:
        code = round_.end()
    return code


def _written(words: list[str]) -> frozenset[Path]:
    """The reports that flags of koalesce run ask for: no change of theirs counts. UsageError for flags that it doesn't have, before a cluster is made for them."""
    from koalesce.cli.arguments import Parser
    from koalesce.cli.commands import load
    from koalesce.cli.report_files import report_paths
    from koalesce.errors import UsageError

    parser = Parser("koalesce run")
    load("run").add_arguments(parser)
    given = parser.parse(words)
    if given.paths or given.cluster is not None:
        raise UsageError("koalesce watch: behind -- stand flags of koalesce run, but no spec and no --cluster")
    if given.json:
        raise UsageError("koalesce watch: --json is of one run; a watch has many", hint="leave it out")
    return frozenset(path.resolve() for path in report_paths(given).values())


def _roots(spec: Path, args: argparse.Namespace) -> list[Path]:
    """What is looked at; UsageError for what isn't there."""
    from pathlib import Path

    from koalesce.errors import UsageError

    also = [Path(path) for path in args.also]
    for path in also:
        if not path.exists():
            raise UsageError(f"--also {path}: there is no {path}")
    return [spec.parent, *also, *args.values, *(Path(path) for _, path in args.image)]


class _Round:
    """Runs the spec on its cluster, which is made when it's needed."""

    def __init__(
        self, spec: Path, args: argparse.Namespace, call: Callable[[Sequence[str]], int] | None = None
    ) -> None:
        from koalesce.cli.main import main

        self._spec = spec
        self._args = args
        self._call = call or main
        self._own = "" if args.cluster else _new_name(spec)
        self._values = _words(args)
        self._rest = args.rest

    def run(self) -> int:
        """Once, on a cluster that fits; the exit code of what went wrong, or of the run."""
        from koalesce.cli import exit_codes

        if self._own and not self._fits():
            self._down()
            words = ["up", str(self._spec), "--name", self._own, "--ttl", _TTL, *self._values]
            if (code := self._call(words)) != exit_codes.PASSED:
                return code
        cluster = self._own or self._args.cluster
        return self._call(["run", str(self._spec), "--cluster", cluster, *self._values, *self._rest])

    def end(self) -> int:
        """End the cluster, unless it is to stay."""
        from koalesce.cli import exit_codes

        return exit_codes.PASSED if self._args.keep or not self._own else self._down()

    def _fits(self) -> bool:
        """Whether the cluster is up and like what the spec asks for now; a spec that isn't valid is left to the run to tell of."""
        from koalesce.engine.joining import check_fits
        from koalesce.errors import UsageError
        from koalesce.spec import InvalidSpecs, load_all

        try:
            check_fits(self._own, load_all([self._spec], variables=variables_of(self._args)))
        except InvalidSpecs:
            return self._is_up()
        except UsageError:
            return False
        return True

    def _is_up(self) -> bool:
        from koalesce.local.ledger import Ledger

        return Ledger().find(self._own) is not None

    def _down(self) -> int:
        from koalesce.cli import exit_codes

        return self._call(["down", self._own]) if self._is_up() else exit_codes.PASSED


def _new_name(spec: Path) -> str:
    import secrets

    from koalesce.kube.marks import slug

    return f"watch-{slug(spec.stem, 24)}-{secrets.token_hex(2)}"


def _words(args: argparse.Namespace) -> list[str]:
    """The flags of values as they were given."""
    flags = (("--set", args.set), ("--set-string", args.set_string), ("--image", args.image))
    found = [word for flag, pairs in flags for name, value in pairs for word in (flag, f"{name}={value}")]
    return [*found, *(word for file in args.values for word in ("--values", str(file)))]
