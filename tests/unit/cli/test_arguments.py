from __future__ import annotations

import argparse

import pytest

from koalesce.cli.arguments import Parser, assignment, did_you_mean, duration, pattern, positive
from koalesce.durations import Duration
from koalesce.errors import UsageError


@pytest.fixture
def parser() -> Parser:
    made = Parser("koalesce run", "run specs")
    made.add_argument("paths", nargs="*")
    made.add_argument("--junit")
    made.add_argument("-v", "--verbose", action="store_true")
    return made


def test_paths_and_flags_may_be_mixed(parser: Parser) -> None:
    args = parser.parse(["a.yaml", "-v", "b.yaml", "--junit", "x.xml", "c.yaml"])

    assert vars(args) == {"paths": ["a.yaml", "b.yaml", "c.yaml"], "verbose": True, "junit": "x.xml"}


def test_commands_within_commands_work(parser: Parser) -> None:
    nested = Parser("koalesce image", "images")
    nested.add_subparsers(dest="what", required=True).add_parser("build", help="build one").add_argument("file")

    assert vars(nested.parse(["build", "x.yaml"])) == {"what": "build", "file": "x.yaml"}
    with pytest.raises(UsageError, match=r"invalid choice: 'biuld' .*; did you mean \"build\"[?]"):
        nested.parse(["biuld"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jnit", "x"], 'koalesce run: unrecognized arguments: --jnit; did you mean "--junit"?'),
        (["--jnit=x"], 'koalesce run: unrecognized arguments: --jnit=x; did you mean "--junit"?'),
        (["--verb"], 'koalesce run: unrecognized arguments: --verb; did you mean "--verbose"?'),
        (["--zzz"], "koalesce run: unrecognized arguments: --zzz"),
        (["--junit"], "koalesce run: argument --junit: expected one argument"),
    ],
)
def test_says_what_is_wrong_and_what_was_meant(parser: Parser, words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as problem:
        parser.parse(words)

    assert (problem.value.message, problem.value.hint) == (message, "koalesce run --help")


def test_did_you_mean() -> None:
    assert did_you_mean("rnu", ["run", "up"]) == '; did you mean "run"?'
    assert did_you_mean("elephant", ["run", "up"]) == ""


def test_types_read_what_they_should() -> None:
    assert duration("1m30s") == Duration(90.0)
    assert positive("12") == 12
    assert assignment("docker.io/a:1=build/a=b.tar") == ("docker.io/a:1", "build/a=b.tar")
    assert assignment("empty=") == ("empty", "")
    assert pattern("a/b") == "a/b"


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (duration, "10", "write it with a unit"),
        (positive, "0", "'0' is not a whole number from 1"),
        (positive, "-1", "is not a whole number"),
        (positive, "²", "is not a whole number"),
        (assignment, "x", "is not of the form NAME=VALUE"),
        (assignment, "=x", "is not of the form NAME=VALUE"),
        (pattern, "fine/b[", r"'fine/b\[' is not a regular expression: unterminated character set"),
    ],
)
def test_types_refuse_the_rest(kind: object, text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        kind(text)  # type: ignore[operator]
