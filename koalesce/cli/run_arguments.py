"""The arguments of `koalesce run`, which other commands that run specs have too."""

from __future__ import annotations

import argparse
import re

from koalesce.cli import report_files
from koalesce.cli.arguments import add_existing, add_values, duration, pattern, positive

# Flags without a default of their own: those of the settings are filled in later, where the command line says nothing.
_UNSAID = argparse.SUPPRESS


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Which specs."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="a spec, a folder, a glob or ./... (default: every spec below here)"
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Which of their tests."""
    what = parser.add_argument_group("what runs")
    what.add_argument(
        "--run", metavar="REGEX", type=pattern, dest="select",
        help="only tests whose names match, cells of a matrix included: 'proxy=ipvs'; TEST/CELL matches both sides apart",
    )  # fmt: skip
    what.add_argument("--skip", metavar="REGEX", type=pattern, help="no tests whose names match; wins over --run")
    what.add_argument(
        "--label", metavar="SELECTOR", type=label, action="append", default=[], dest="labels",
        help="only tests with these labels, their spec's included: 'tier=smoke,!flaky'",
    )  # fmt: skip
    what.add_argument(
        "--start-at", metavar="REGEX", type=pattern, help="begin with the first test whose name matches, go on in order"
    )
    what.add_argument("--rerun-failed", action="store_true", help="only tests that didn't pass when they last ran here")
    what.add_argument("--shard", metavar="I/N", type=shard, help="the I-th of N parts of the tests, for N machines")
    what.add_argument(
        "--short", action="store_true", default=_UNSAID, help='skip tests that are disruptive or labelled "slow"'
    )
    what.add_argument(
        "--count", metavar="N", type=positive,
        help="run each test N times, whatever has passed before (default: 1, unless its spec has passed and nothing has changed)",
    )  # fmt: skip
    what.add_argument(
        "--no-cache", action="store_false", dest="cached", default=_UNSAID,
        help="run specs also where they have passed and nothing has changed since; keep no results for later runs",
    )  # fmt: skip
    what.add_argument(
        "--shuffle", metavar="SEED", type=shuffle, default=_UNSAID,
        help="run the tests of a spec in a random order: on, off, or the seed that an earlier run printed",
    )  # fmt: skip
    what.add_argument("--list", action="store_true", help="list the tests that would run, and run nothing")
    what.add_argument(
        "--dry-run", action="store_true",
        help="check everything that can be checked beforehand, show clusters and tests, and run nothing",
    )  # fmt: skip
    add_values(what)
    what.add_argument(
        "--matrix", metavar="AXIS=VALUE,…", type=axis, action="append", default=[],
        help="values of an axis, instead of those in the specs: proxy=ipvs,nftables",
    )  # fmt: skip
    what.add_argument("--no-skips", action="store_true", default=_UNSAID, help="exit with 5 if any test is skipped")
    what.add_argument(
        "--no-flaky", action="store_true", default=_UNSAID,
        help="exit with 1 if any test passed only when it was run again",
    )  # fmt: skip


def add_place(parser: argparse.ArgumentParser) -> None:
    """On which clusters."""
    where = parser.add_argument_group("where it runs")
    where.add_argument(
        "--provider", metavar="NAME", default=_UNSAID, help="make clusters with this provider instead of the specs'"
    )
    where.add_argument(
        "--kubernetes", metavar="VERSION,…", type=versions, default=_UNSAID,
        help="run this version of Kubernetes instead of the specs'; of several, each spec once for each",
    )  # fmt: skip
    where.add_argument(
        "--cluster", metavar="NAME", help="run all specs on this cluster, which `koalesce up` made and which stays"
    )
    where.add_argument("--keep", action="store_true", help="keep the clusters when the run ends")
    where.add_argument(
        "--keep-on-failure", action="store_true", default=_UNSAID,
        help="keep clusters of specs that don't pass, and end those of the others",
    )  # fmt: skip
    add_existing(parser.add_argument_group("a cluster that exists"), unsaid=_UNSAID)


def add_manner(parser: argparse.ArgumentParser) -> None:
    """How, and how long."""
    how = parser.add_argument_group("how it runs")
    how.add_argument(
        "--parallel", metavar="N", type=positive, default=_UNSAID, help="tests at once in one cluster (default: 4)"
    )
    how.add_argument(
        "-p", "--at-once", metavar="N", type=positive, default=_UNSAID,
        help="specs at once, each on clusters of its own (default: 1), or, where none of them wants to be alone, on one that exists",
    )  # fmt: skip
    how.add_argument(
        "--failfast", action="store_true", default=_UNSAID,
        help="begin no test after the first one that doesn't pass; those under way go on",
    )  # fmt: skip
    how.add_argument(
        "--reruns", metavar="N", type=reruns, default=_UNSAID,
        help="run tests that fail again, up to N times, unless they say how often; those that pass then are told as flaky",
    )  # fmt: skip
    how.add_argument(
        "--run-timeout", metavar="DURATION", type=duration, default=_UNSAID, help="end the whole run after this time"
    )
    how.add_argument(
        "--timeout",
        metavar="DURATION",
        type=duration,
        default=_UNSAID,
        help="end every spec after this time, such as 10m",
    )
    how.add_argument("--trust", action="store_true", help="run specs from outside the project too: they are code")


def add_reports(parser: argparse.ArgumentParser) -> None:
    """What is told of it, and where."""
    reports = parser.add_argument_group("reports")
    reports.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=_UNSAID,
        help="show every test, phase and step, also of what passes",
    )
    report_files.add_reports(reports, report_files.REPORTS, default=_UNSAID)
    report_files.add_baseline(reports)


def reruns(text: str) -> int:
    """A flag's number of reruns."""
    if not text.isascii() or not text.isdigit() or int(text) > 10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 10")
    return int(text)


def shard(text: str) -> tuple[int, int]:
    """A flag's I/N."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form I/N, with I from 1 to N: 1/3")
    return number, of


def shuffle(text: str) -> int | str | None:
    """A flag's seed; `on` for one that is made later, None for no shuffling."""
    if text in ("on", "off"):
        return "on" if text == "on" else None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not on, off or a seed (a whole number)")
    return int(text)


def label(text: str) -> str:
    """A flag's label selector."""
    from koalesce.errors import UsageError
    from koalesce.kube.selector import parse

    try:
        parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def versions(text: str) -> tuple[str, ...]:
    """A flag's versions."""
    return _several(text, text)


def axis(text: str) -> tuple[str, tuple[str, ...]]:
    """A flag's AXIS=VALUE,…."""
    name, equals, values = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form AXIS=VALUE,…")
    return name, _several(values, text)


def _several(text: str, said: str) -> tuple[str, ...]:
    """Values between commas, each given once."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"{said!r}: a value is empty")
    if twice := [value for index, value in enumerate(found) if value in found[:index]]:
        raise argparse.ArgumentTypeError(f"{said!r}: {twice[0]} is there twice")
    return found
