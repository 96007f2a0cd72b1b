"""`koalesce run`: run specs on temporary clusters."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from koalesce.cli import exit_codes
from koalesce.cli.arguments import add_values, duration, pattern, positive, variables_of
from koalesce.cli.report_files import REPORTS, add_reports, open_reports, report_paths
from koalesce.errors import UsageError

if TYPE_CHECKING:
    from koalesce.cli.follow import Abandoned, Reports
    from koalesce.cli.stopping import Stop
    from koalesce.engine import RunOptions
    from koalesce.reporters import View

NAME = "run"
HELP = "run specs on temporary clusters"
_EXAMPLES = """\
examples:
  koalesce run                                        every spec below this folder
  koalesce run specs/kube-router.yaml --run 'policy'  the tests with "policy" in their names
  koalesce run specs/ --junit report.xml --no-skips   as a CI system wants it
  koalesce run specs/ --html report.html              one file that shows the run to people
  koalesce run specs/a.yaml specs/b.yaml --cluster dev    both on the cluster `koalesce up SPEC --name dev` made
  koalesce run specs/kube-router.yaml --image docker.io/cloudnativelabs/kube-router:dev=build/kube-router.tar

exit codes:
  0 passed   1 failed   2 usage or invalid spec   3 error: it could not be found out   4 something is left over
  5 no test ran   130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare flags and arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a spec, a folder or ./... (default: every spec below here)"
    )
    what = parser.add_argument_group("what runs")
    what.add_argument(
        "--run",
        metavar="REGEX",
        type=pattern,
        dest="select",
        help="only tests whose names match, cells of a matrix included: 'proxy=ipvs'",
    )
    add_values(what)
    what.add_argument("--no-skips", action="store_true", help="exit with 5 if any test is skipped")
    what.add_argument(
        "--no-flaky", action="store_true", help="exit with 1 if any test passed only when it was run again"
    )
    where = parser.add_argument_group("where it runs")
    where.add_argument("--provider", metavar="NAME", help="make clusters with this provider instead of the specs'")
    where.add_argument("--kubernetes", metavar="VERSION", help="run this version of Kubernetes instead of the specs'")
    where.add_argument(
        "--cluster", metavar="NAME", help="run all specs on this cluster, which `koalesce up` made and which stays"
    )
    where.add_argument("--keep", action="store_true", help="keep the clusters when the run ends")
    how = parser.add_argument_group("how it runs")
    how.add_argument(
        "--parallel", metavar="N", type=positive, default=4, help="tests at once in one cluster (default: 4)"
    )
    how.add_argument(
        "--reruns", metavar="N", type=_reruns, default=0,
        help="run tests that fail again, up to N times, unless they say how often; those that pass then are told as flaky",
    )  # fmt: skip
    how.add_argument("--run-timeout", metavar="DURATION", type=duration, help="end the whole run after this time")
    how.add_argument("--timeout", metavar="DURATION", type=duration, help="end every spec after this time, such as 10m")
    how.add_argument("--trust", action="store_true", help="run specs from outside the project too: they are code")
    reports = parser.add_argument_group("reports")
    reports.add_argument("-v", "--verbose", action="store_true", help="show every phase and every step")
    add_reports(reports, REPORTS)


def _reruns(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 10")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Run the specs, and show and report how they go."""
    from koalesce.cli.follow import Reports
    from koalesce.cli.stopping import Stop
    from koalesce.reporters.terminal import open_view

    paths = report_paths(args)
    stop = Stop()
    options = _options(args, stop)
    reports = Reports(open_reports(paths, strict=args.junit_strict))
    view = open_view(sys.stdout, os.environ, verbose=args.verbose, live=not args.debug)
    with stop.on_signals():
        code = _follow(options, view, reports, stop, no_skips=args.no_skips, no_flaky=args.no_flaky)
    if not reports.problems:
        return code
    print("\n".join(f"error: {problem}" for problem in reports.problems), file=sys.stderr)
    return exit_codes.worse(code, exit_codes.ERROR)


def _options(args: argparse.Namespace, stop: Stop) -> RunOptions:
    from koalesce.cli.specs import find_specs
    from koalesce.engine import RunOptions

    for flag in ("provider", "kubernetes", "keep"):
        if args.cluster is not None and getattr(args, flag):
            raise UsageError(
                f"--{flag} says how clusters are made; --cluster takes one as it is", hint="leave out one of them"
            )
    images = {reference: Path(path) for reference, path in args.image}
    for reference, path in images.items():
        if not path.exists():
            raise UsageError(f"--image {reference}={path}: there is no {path}")
    return RunOptions(
        paths=tuple(str(path) for path in find_specs(args.paths)),
        keep=args.keep,
        cluster=args.cluster,
        provider=args.provider,
        kubernetes=args.kubernetes,
        images=images,
        variables=variables_of(args),
        select=args.select,
        parallel=args.parallel,
        timeout=args.timeout,
        run_timeout=args.run_timeout,
        reruns=args.reruns,
        trust=args.trust,
        verbose=args.verbose,
        cancel=stop.cancel,
    )


def _follow(options: RunOptions, view: View, reports: Reports, stop: Stop, *, no_skips: bool, no_flaky: bool) -> int:
    from koalesce import engine
    from koalesce.cli.follow import Abandoned, follow
    from koalesce.clock import SystemClock

    try:
        try:
            end = follow(engine.run(options), view, reports, stop, SystemClock())
        finally:
            _close(view, reports)
    except Abandoned as abandoned:
        _leave(abandoned)
    if not (end.passed or end.failed or end.error or end.skipped or end.interrupted):
        print(_nothing(options), file=sys.stderr)
    return exit_codes.of_run(end, no_skips=no_skips, no_flaky=no_flaky)


def _nothing(options: RunOptions) -> str:
    """Why no test ran, where none was even skipped."""
    if options.select is None:
        return "the specs have no tests"
    return f"no test has a name that matches {options.select!r}\n  hint: koalesce list shows their names"


def _close(view: View, reports: Reports) -> None:
    """Close the view, whose stream may be gone, and the reports in any case."""
    try:
        view.close()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            reports.problems.append(f"the output could not be written: {error.strerror or error}")
    finally:
        reports.close()


def _leave(abandoned: Abandoned) -> NoReturn:
    """End the process here and now: threads of the engine may hang in what was to be interrupted."""
    print(abandoned, file=sys.stderr, flush=True)
    os._exit(exit_codes.TEARDOWN_FAILED if abandoned.is_left else exit_codes.of_error(abandoned))
