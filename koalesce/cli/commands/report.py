"""`koalesce report`: make reports of a run from its events."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from koalesce.cli import exit_codes
from koalesce.cli.report_files import REPORTS, add_baseline, add_reports, baseline, open_reports, report_paths
from koalesce.errors import UsageError

_STDOUT = Path("/dev/stdout")
NAME = "report"
HELP = "make reports of a run from its events"
_EXAMPLES = """\
examples:
  koalesce run specs/ --events events.jsonl          keep the events of a run
  koalesce report events.jsonl --html report.html    make a report of them, on any machine
  koalesce report events.jsonl --json | tparse       or the stream of `go test -json`
  koalesce report events.jsonl --markdown -          to standard output
  koalesce report new.jsonl --baseline old.jsonl     what differs between two runs
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare flags and arguments."""
    parser.epilog = _EXAMPLES
    parser.add_argument(
        "events", metavar="EVENTS", type=Path, help="the file that `koalesce run --events` wrote; - is standard input"
    )
    reports = parser.add_argument_group("reports")
    add_reports(reports, [name for name in REPORTS if name != "events"])
    add_baseline(reports)
    reports.add_argument("--json", action="store_true", help="write the stream of `go test -json` to standard output")


def run(args: argparse.Namespace) -> int:
    """Read all events, then write the reports: none is written of a file that is broken."""
    from koalesce.cli.follow import Reports
    from koalesce.reporters.comparison import compare, told
    from koalesce.reporters.go_test import GoTest
    from koalesce.reporters.jsonl import read_events
    from koalesce.reporters.record import RunRecord
    from koalesce.reporters.text import inert

    is_file = str(args.events) != "-"
    source = args.events if is_file else Path("/dev/stdin")
    # `events` is what is read here; as a report it would be the same file.
    asked = {name: _STDOUT if value == Path("-") else value for name, value in vars(args).items()}
    paths = report_paths(argparse.Namespace(**{**asked, "events": None}), [source])
    if args.json and _STDOUT in paths.values():
        raise UsageError("--json and another report can't both be standard output", hint="give the other one a file")
    if not paths and not args.json and args.baseline is None:
        raise UsageError(
            "no report is asked for",
            hint=f"add --{', --'.join(name for name in REPORTS if name != 'events')} with a FILE, --json or --baseline",
        )
    events = list(read_events(source))
    if not events:
        raise UsageError(f"{args.events}: there are no events in it", hint="`koalesce run --events FILE` writes them")
    # An event file may come from elsewhere: what it names as evidence is looked for beside it and here only.
    below = (Path.cwd(), *([source.resolve().parent] if is_file else []))
    earlier = baseline(args)
    reporters = open_reports(paths, strict=args.junit_strict, evidence_below=below, earlier=earlier)
    reports = Reports({**reporters, **({"json": GoTest(sys.stdout, sys.stderr)} if args.json else {})})
    record = RunRecord()
    for event in events:
        record.apply(event)
        reports.handle(event)
    reports.close()
    if earlier is not None and not args.json:
        print("".join(f"{inert(line)}\n" for line in told(compare(earlier, record))), end="")
    if not reports.problems:
        return exit_codes.PASSED
    print("\n".join(f"error: {problem}" for problem in reports.problems), file=sys.stderr)
    return exit_codes.ERROR
