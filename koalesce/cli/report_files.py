"""The flags that say which reports are written, and the reporters that they ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.errors import UsageError

if TYPE_CHECKING:
    from koalesce.reporters import Reporter
    from koalesce.reporters.record import RunRecord

# The names of koalesce.reporters.FILE_REPORTERS with their help, written out: importing it would slow down every --help.
REPORTS = {
    "html": "write an HTML report: one file that shows the run to people",
    "junit": "write a JUnit XML report",
    "ctrf": "write a CTRF report: JSON that many tools read",
    "markdown": "write a summary in Markdown: for a merge request, a job's page",
    "spans": "write the run as OpenTelemetry spans: OTLP/JSON, which collectors read (extra: otel)",
    "tap": "write a TAP report, version 14",
    "events": "write every event of the run as a line of JSON",
}


def add_reports(parser: argparse._ArgumentGroup, names: Iterable[str], *, default: str | None = None) -> None:
    """Declare a flag for each of these reports; `default` is what it has where nobody says it."""
    for name in names:
        parser.add_argument(f"--{name}", metavar="FILE", type=Path, default=default, help=REPORTS[name])
    parser.add_argument(
        "--junit-strict", action="store_true",
        help="keep the JUnit report valid against Jenkins' XSD: its cases lack file and line, which others read",
    )  # fmt: skip


def add_baseline(parser: argparse._ArgumentGroup) -> None:
    """Declare the flag that names an earlier run."""
    parser.add_argument(
        "--baseline", metavar="EVENTS", type=Path,
        help="compare with an earlier run, by the file that its --events wrote: at the end, in the HTML report and in the summary",
    )  # fmt: skip


def baseline(args: argparse.Namespace) -> RunRecord | None:
    """The earlier run that is asked for; UsageError where its file can't be read."""
    if args.baseline is None:
        return None
    from koalesce.reporters.jsonl import read_run

    record = read_run(args.baseline)
    if not record.specs:
        raise UsageError(
            f"--baseline {args.baseline}: no spec is in it", hint="`koalesce run --events FILE` writes such a file"
        )
    return record


def report_paths(args: argparse.Namespace, read: Iterable[Path | str] = ()) -> dict[str, Path]:
    """The reports that were asked for, by their names, with their files; none of them is written twice, or over what is `read`."""
    paths: dict[str, Path] = {name: path for name in REPORTS if (path := getattr(args, name, None)) is not None}
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise UsageError("two reports can't be written to the same file", hint="give each its own")
    needed = {Path(path).resolve() for path in read}
    for name, path in paths.items():
        if path == Path("-"):
            raise UsageError(
                f"--{name} -: standard output shows the run",
                hint=f"give the report a file; of a run's --events, koalesce report EVENTS --{name} - writes it there",
            )
        if path.resolve() in needed:
            raise UsageError(
                f"--{name} {path}: what is read can't be written over", hint="give the report a file of its own"
            )
    if args.junit_strict and "junit" not in paths:
        raise UsageError("--junit-strict says how --junit writes its report", hint="add --junit FILE")
    return paths


def step_summary(environ: Mapping[str, str], earlier: RunRecord | None) -> dict[str, Reporter]:
    """The summary that GitHub shows on a job's page, where there is such a page."""
    from koalesce.reporters import FILE_REPORTERS

    path = environ.get("GITHUB_STEP_SUMMARY", "") if environ.get("GITHUB_ACTIONS") == "true" else ""
    return (
        {"step-summary": FILE_REPORTERS["markdown"].create(Path(path), appends=True, earlier=earlier)} if path else {}
    )


def sent_spans(environ: Mapping[str, str]) -> dict[str, Reporter]:
    """The spans that go to an OpenTelemetry collector, where the environment names one; a line on standard error where they can't."""
    from koalesce.reporters.spans import is_collected, to_collector

    def tell(problem: str) -> None:
        print(f"spans: {problem}", file=sys.stderr)

    if not is_collected(environ):
        return {}
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
    if protocol not in ("", "http/protobuf"):
        tell(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}; only http/protobuf is spoken, so none are sent")
        return {}
    try:
        return {"sent spans": to_collector(tell)}
    except UsageError as error:  # a CI system sets the variables for whatever runs there
        tell(f"{error.message}, so none are sent ({error.hint})")
        return {}


def check_reports(paths: Mapping[str, Path]) -> None:
    """Raise UsageError where a report could not be written; nothing is made."""
    from koalesce.reporters.files import check_writable

    for path in paths.values():
        check_writable(path, makes_folders=False)


def open_reports(
    paths: dict[str, Path], *, strict: bool, evidence_below: tuple[Path, ...] = (), earlier: RunRecord | None = None
) -> dict[str, Reporter]:
    """A reporter for each, once all files are known to be writable.

    `evidence_below`: folders that evidence may lie in, anywhere if none; `earlier`: a run to compare with.
    """
    from koalesce.reporters import FILE_REPORTERS
    from koalesce.reporters.files import check_writable

    for path in paths.values():
        check_writable(path)
    besides: dict[str, dict[str, Any]] = {
        "html": {"below": evidence_below, "earlier": earlier},
        "junit": {"strict": strict},
        "markdown": {"earlier": earlier},
    }
    return {name: FILE_REPORTERS[name].create(path, **besides.get(name, {})) for name, path in paths.items()}
