"""The runner of upstream's conformance tests: what it selects, how it reads a report, what it calls a surprise."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance import selection, summary
from tests.conformance.selection import Selection, is_alone
from tests.conformance.suite import Result, focus, read_report

A, B, C = "[sig-x] A works [Conformance]", "[sig-x] B (v1) works [Conformance]", "[sig-y] C works [Conformance]"


def selected(**changes: Any) -> Selection:
    fields: dict[str, Any] = {"groups": ("[sig-x] ",), "run": (A,), "known_failures": {}, "left_out": {B: "why"}}
    return Selection(**fields | changes)


def spec(name: str, state: str, message: str = "", kind: str = "It") -> dict[str, Any]:
    group, _, rest = name.partition(" ")
    return {
        "ContainerHierarchyTexts": [group],
        "LeafNodeText": rest,
        "LeafNodeType": kind,
        "State": state,
        "RunTime": 2_500_000_000,
        "Failure": {"Message": message},
    }


def report(*specs: dict[str, Any], reasons: list[str] | None = None) -> list[dict[str, Any]]:
    return [{"SpecReports": list(specs), "SpecialSuiteFailureReasons": reasons}]


def test_the_selection_here_says_of_each_group_what_is_run() -> None:
    here = selection.load()

    assert here.problems([*here.run, *here.left_out]) == []
    assert all(any(name.startswith(group) for name in here.run) for group in here.groups)


def test_a_selection_that_names_each_test_of_its_groups_once_has_no_problems() -> None:
    assert selected().problems([A, B, C]) == []


def test_what_a_selection_misses_or_makes_up_is_told() -> None:
    wrong = selected(run=(A, A, "[sig-x] D"), known_failures={B: "it does"}, left_out={}, first=("A works", "E works"))

    assert wrong.problems([A, B]) == [
        "there is no test '[sig-x] D'",
        f"neither run nor left out: '{B}'",
        f"named twice: '{A}'",
        f"known to fail, but not run: '{B}'",
        "begun first, but matches nothing: 'E works'",
    ]


def test_what_lasts_longest_is_begun_first() -> None:
    assert selected(run=(A, B, C), first=("sig-y", r"\(v1\)", "works")).in_order() == [C, B, A]
    assert selected(run=(B, A)).in_order() == [B, A]


def test_the_focus_matches_the_named_test_only() -> None:
    pattern = re.compile(focus(B))

    assert [pattern.search(f"e2e suite {name}") is not None for name in (B, A, f"{B} [Slow]")] == [True, False, False]


def test_tests_that_disturb_others_are_run_alone() -> None:
    assert [is_alone(name) for name in (A, f"{A} [Serial]", f"{A} [Disruptive] [Slow]")] == [False, True, True]


def test_a_report_tells_how_a_test_ended() -> None:
    found = report(
        spec("setup", "passed", kind="SynchronizedBeforeSuite"),
        spec(A, "passed"),
        spec(B, "timedout", "too slow"),
        spec(C, "skipped", "needs 3 nodes"),
    )

    assert [read_report(found, name) for name in (A, B, C)] == [
        Result(name=A, status="passed", seconds=2.5),
        Result(name=B, status="failed", seconds=2.5, message="too slow"),
        Result(name=C, status="skipped", seconds=2.5, message="needs 3 nodes"),
    ]


def test_a_test_that_never_ran_is_an_error_and_says_why() -> None:
    setup = spec("setup", "failed", "no nodes", kind="SynchronizedBeforeSuite")
    broken = report(setup, spec(A, "skipped"), reasons=["Suite timed out"])

    assert read_report(broken, A) == Result(name=A, status="error", message="no nodes\nSuite timed out")
    assert read_report(broken, B) == Result(name=B, status="error", message="the test program has no such test")


def test_only_what_the_selection_does_not_say_is_a_surprise() -> None:
    known = selected(run=(A, B, C), known_failures={A: "no such kernel", B: "it does"})
    ended = [Result(name=A, status="failed"), Result(name=B, status="passed"), Result(name=C, status="skipped")]

    assert summary.surprises(ended, known) == [f"passes, but is said to fail: {B}", f"skipped: {C}"]
    assert summary.surprises([Result(name=A, status="error")], known) == [f"error: {A}"]


def test_the_table_counts_by_group_and_gives_reasons() -> None:
    known = selected(known_failures={A: "no such kernel"})

    lines = summary.table([Result(name=A, status="failed")], known).splitlines()

    assert [line.split() for line in lines] == [
        ["run", "passed", "failed", "skipped", "error", "left", "out"],
        ["[sig-x]", "1", "0", "1", "0", "0", "1"],
        f"known: {A}".split(),
        ["no", "such", "kernel"],
    ]
