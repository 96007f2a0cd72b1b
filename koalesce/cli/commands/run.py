"""`koalesce run`: run specs on temporary clusters."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, NoReturn, TextIO

from koalesce.cli import exit_codes, run_arguments
from koalesce.cli.report_files import baseline, check_reports, open_reports, report_paths, sent_spans, step_summary
from koalesce.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from koalesce.cli.follow import Abandoned, Reports
    from koalesce.cli.stopping import Stop
    from koalesce.engine import RunOptions
    from koalesce.reporters import Reporter, View
    from koalesce.reporters.record import RunRecord

NAME = "run"
HELP = "run specs on temporary clusters"
_EXAMPLES = """\
examples:
  koalesce run                                        every spec below this folder
  koalesce run specs/kube-router.yaml --run 'policy'  the tests with "policy" in their names
  koalesce run specs/ --junit report.xml --no-skips   as a CI system wants it
  koalesce run 'specs/*-dns.yaml' --skip /proxy=ipvs  no cell with proxy=ipvs of any test
  koalesce run --rerun-failed --failfast              what failed last time, until something fails again
  koalesce run --count 20 --run flaps --shuffle on    is it flaky?
  koalesce run --kubernetes 1.34,1.37 --list          what would run on both versions
  koalesce run --shard 2/3 --label tier=smoke         on the second of three machines
  koalesce run specs/ --html report.html              one file that shows the run to people
  koalesce run specs/ --baseline main.jsonl           what fails newly, is fixed or slower since that run
  gotestsum --raw-command -- koalesce run --json      as gotestsum shows Go's tests
  koalesce run specs/a.yaml specs/b.yaml --cluster dev    both on the cluster `koalesce up SPEC --name dev` made
  koalesce run specs/a.yaml --provider kubeconfig --i-own kind-dev    on a cluster that exists, where they may run
  koalesce run specs/kube-router.yaml --image docker.io/cloudnativelabs/kube-router:dev=build/kube-router.tar

exit codes:
  0 passed   1 failed   2 usage or invalid spec   3 error: it could not be found out   4 something is left over
  5 no test ran   130 interrupted

Most flags can also be set in koalesce.toml ([run]) or the environment (KOALESCE_RUN_PARALLEL=8): koalesce config
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare flags and arguments."""
    parser.epilog = _EXAMPLES
    run_arguments.add_paths(parser)
    run_arguments.add_selection(parser)
    run_arguments.add_place(parser)
    run_arguments.add_manner(parser)
    run_arguments.add_reports(parser)
    parser.add_argument(
        "--json", action="store_true",
        help="write the stream of `go test -json` to standard output instead of lines for people: gotestsum reads it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run the specs, and show and report how they go."""
    from koalesce.cli.run_options import only_failed, options_of, refuse_both
    from koalesce.cli.settings import fill_in
    from koalesce.cli.stopping import Stop

    refuse_both(args)
    fill_in(args)
    stop = Stop()
    only = only_failed(args)
    if only is not None and not only:
        print("no test failed when it last ran here", file=sys.stderr)
        return exit_codes.NO_TESTS
    options = options_of(args, stop.cancel, only)
    if args.list:
        return _show(options)
    paths = report_paths(args, [*options.paths, *options.images.values(), *args.values])
    earlier = baseline(args)
    if args.dry_run:
        check_reports(paths)
        return _show(options, dry_run=True)
    return _run(args, options, stop, paths, earlier)


def _run(
    args: argparse.Namespace, options: RunOptions, stop: Stop, paths: dict[str, Path], earlier: RunRecord | None
) -> int:
    from koalesce.cli.follow import Reports

    asked_for = open_reports(paths, strict=args.junit_strict, earlier=earlier)
    beside = {**step_summary(os.environ, earlier), **sent_spans(os.environ)}
    reports = Reports({**asked_for, **beside, "rerun-failed": _failed_tests()})
    view = _view(args, earlier)
    _tell_seed(options, sys.stderr if args.json else sys.stdout)
    with stop.on_signals():
        code = _follow(options, view, reports, stop, no_skips=args.no_skips, no_flaky=args.no_flaky)
    if not reports.problems:
        return code
    print("\n".join(f"error: {problem}" for problem in reports.problems), file=sys.stderr)
    return exit_codes.worse(code, exit_codes.ERROR)


def _tell_seed(options: RunOptions, stream: TextIO) -> None:
    if options.shuffle is not None:
        print(f"shuffled: --shuffle {options.shuffle} gives the same order again", file=stream, flush=True)


def _view(args: argparse.Namespace, earlier: RunRecord | None) -> View:
    """What is seen of the run while it lasts, and at its end what differs from an earlier one."""
    from koalesce.reporters.terminal import open_view

    if args.json:
        from koalesce.reporters.go_test import GoTest

        view: View = GoTest(sys.stdout, sys.stderr)
    else:
        view = open_view(sys.stdout, os.environ, verbose=args.verbose, live=not args.debug)
    if earlier is None:
        return view
    from koalesce.reporters.beside import Beside

    return Beside(view, earlier)


def _show(options: RunOptions, *, dry_run: bool = False) -> int:
    """What would run."""
    from koalesce import engine
    from koalesce.cli.listing import selected_tests
    from koalesce.cli.plans import planned
    from koalesce.reporters.text import inert

    chosen = engine.prepare(options)
    _tell_seed(options, sys.stderr)
    lines = planned(chosen, options) if dry_run else [line for each in chosen for line in selected_tests(each)]
    print("".join(f"{inert(line)}\n" for line in lines), end="")
    if any(each.tests for each in chosen):
        return exit_codes.PASSED
    print(_nothing(options), file=sys.stderr)
    return exit_codes.NO_TESTS


def _failed_tests() -> Reporter:
    from koalesce.cli.failed_tests import FailedTests, read_failed

    try:
        known = read_failed()
    except UsageError:  # it is about to be written anew
        known = {}
    return FailedTests(known)


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
    from koalesce.engine.selection import narrowing

    said = narrowing(options)
    if not said:
        return "the specs have no tests"
    if said == f"--run {options.select}":
        return f"no test has a name that matches {options.select!r}\n  hint: koalesce list shows their names"
    where = "labels are those of specs (metadata.labels) and of tests (labels); " if options.labels else ""
    return f"no test is left by {said}\n  hint: {where}koalesce list shows names of tests"


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
