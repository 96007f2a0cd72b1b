"""The stream of `go test -json`, by its own rules; tests/contract/test_gotestsum.py has the real gotestsum read it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from koalesce.events import (
    AnyEvent,
    ClusterReady,
    RunFinished,
    SpecFinished,
    SpecStarted,
    StepFinished,
    TeardownFinished,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.go_test import GoTest
from tests.unit.reporters.go_stream import ends, lines, recorded

ACTIONS = {"start", "run", "output", "attr", "pass", "fail", "skip"}
SPEC = "specs/a.yaml"


def check_rules(found: list[dict[str, Any]]) -> None:
    """What https://pkg.go.dev/cmd/test2json says of a stream, and how `go test` orders it."""
    running: dict[str, list[str]] = {}
    over: set[tuple[str, str]] = set()
    for line in found:
        package, test, action = line["Package"], line.get("Test", ""), line["Action"]
        assert action in ACTIONS
        assert ("Output" in line) == (action == "output")
        assert ("Elapsed" in line) == (action in ("pass", "fail", "skip"))
        assert (package, "") not in over, "a package's end is its last line"
        if action == "start":
            assert package not in running
            running[package] = []
            continue
        here = running[package]
        if action == "run":
            assert test not in here
            assert (package, test) not in over
            assert "/" not in test or test.partition("/")[0] in here, "a subtest runs within its test"
            here.append(test)
        elif test:
            assert test in here
        if action == "output":
            assert line["Output"].endswith("\n")
            assert line["Output"].count("\n") == 1
        if action in ("pass", "fail", "skip"):
            assert not [each for each in here if each.startswith(f"{test}/" if test else "")], (
                "nothing within it goes on"
            )
            over.add((package, test))
            if test:
                here.remove(test)
    assert {(package, "") for package in running} <= over, "every package ended"


@pytest.mark.parametrize("run", ["green", "red", "interrupted", "kept"])
def test_every_beginning_of_a_run_makes_a_whole_stream(run: str) -> None:
    events = recorded(run)

    for count in range(len(events) + 1):
        check_rules(lines(events[:count]))


def test_tells_how_specs_tests_and_steps_ended() -> None:
    assert ends(lines(recorded("red"))) == [
        ("pods_reach_each_other/apply_clients.yaml", "pass"),
        ("pods_reach_each_other/across_nodes,_without_source_NAT", "fail"),
        ("pods_reach_each_other/cleanup:_delete_clients", "pass"),
        ("pods_reach_each_other", "fail"),
        ("policies_hold/wget_from_the_outsider", "fail"),
        ("policies_hold", "fail"),
        ("routes_come_back", "fail"),
        ("teardown", "fail"),
        ("specs/kube-router.yaml", "fail"),
        ("images", "fail"),
        ("vxlan", "skip"),
        ("specs/flannel.yaml", "fail"),
        ("specs/none.yaml", "skip"),
        ("peers", "skip"),
        ("specs/bgp.yaml", "pass"),
    ]


def test_output_of_a_failed_step_is_that_of_go_test() -> None:
    name = "pods_reach_each_other/across_nodes,_without_source_NAT"
    told = [line for line in lines(recorded("red")) if line.get("Test") == name]

    assert "".join(line.get("Output", "") for line in told) == (
        f"=== RUN   {name}\n"
        "    specs/kube-router.yaml:17: connectivity: 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed\n"
        "    expected: allowed\n"
        "    actual:   dropped\n"
        "    |             client-0  client-1\n"
        "    | client-0    allowed   dropped\n"
        "    | client-1    dropped   allowed\n"
        f"--- FAIL: {name} (60.00s)\n"
    )
    assert told[-1] == {
        "Time": "2026-03-01T12:01:04.300Z", "Action": "fail", "Package": "specs/kube-router.yaml", "Test": name, "Elapsed": 60.0,
    }  # fmt: skip


def test_an_error_is_told_apart_from_a_failure() -> None:
    found = lines(recorded("red"))

    errors = {line["Test"] for line in found if line.get("Key") == "koalesce.status" and line["Value"] == "error"}

    assert {"policies_hold", "routes_come_back", "teardown", "images"} <= errors
    assert "pods_reach_each_other" not in errors


def test_a_test_begins_while_it_runs() -> None:
    events: list[AnyEvent] = [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestStarted(spec=SPEC, test="t", namespace="n", line=1),
    ]
    written = io.StringIO()
    reporter = GoTest(written, io.StringIO())
    for event in events:
        reporter.handle(event)

    assert [json.loads(line)["Action"] for line in written.getvalue().splitlines()] == ["start", "run", "output"]


def step(title: str, status: str = "passed", message: str = "", index: int = 0) -> StepFinished:
    return StepFinished(
        spec=SPEC, test="t", section="steps", index=index, type="script", title=title, line=7, status=status,  # type: ignore[arg-type]  # a status
        attempts=1, seconds=0.1, message=message,
    )  # fmt: skip


def test_a_flaky_test_passes_and_says_what_it_failed_of() -> None:
    found = lines(
        [
            SpecStarted(spec=SPEC, name="a", tests=("t",)),
            TestStarted(spec=SPEC, test="t", namespace="n1", line=5),
            step("look", "failed", "first time"),
            TestRerun(spec=SPEC, test="t", rerun=1, reruns=2, seconds=0.1, message="look: first time", line=5),
            TestStarted(spec=SPEC, test="t", namespace="n2", line=5, rerun=1),
            step("look"),
            TestFinished(
                spec=SPEC, test="t", status="passed", seconds=0.3, message="", line=5, rerun=1, reruns=2, flaky=True
            ),
            SpecFinished(spec=SPEC, status="passed", seconds=1.0),
        ]
    )

    check_rules(found)
    assert ends(found) == [("t/look", "pass"), ("t", "pass"), (SPEC, "pass")]
    output = "".join(line.get("Output", "") for line in found)
    assert "try 1 failed" in output
    assert "first time" in output
    assert [line["Value"] for line in found if line.get("Key") == "koalesce.flaky"] == ["passed on rerun 1"]


def test_names_are_those_that_go_would_give() -> None:
    tests = ("IPv4/IPv6 reach", "IPv4_IPv6 reach", "\x1b[31m  ")
    events: list[AnyEvent] = [SpecStarted(spec="b.yaml [proxy=ipvs]", name="b", tests=tests)]

    found = lines(events)

    assert {line["Package"] for line in found} == {"b.yaml_[proxy=ipvs]"}
    assert [line["Test"] for line in found if line["Action"] == "run"] == ["IPv4_IPv6_reach", "IPv4_IPv6_reach#01", "_"]


def test_two_steps_of_one_title_are_two_subtests() -> None:
    found = lines(
        [
            SpecStarted(spec=SPEC, name="a", tests=("t",)),
            TestStarted(spec=SPEC, test="t", namespace="n", line=5),
            step("look at a/b"),
            step("look at a/b", index=1),
            TestFinished(spec=SPEC, test="t", status="passed", seconds=0.3, message="", line=5),
        ]
    )

    assert [line["Test"] for line in found if line["Action"] == "run"] == ["t", "t/look_at_a_b", "t/look_at_a_b#01"]


def test_a_spec_ends_with_its_cluster() -> None:
    events: list[AnyEvent] = [
        ClusterReady(
            spec=SPEC, cluster="a-1", provider="local", kubernetes="1", nodes=(), capabilities=(), kubeconfig="", seconds=1.0
        ),
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestFinished(spec=SPEC, test="t", status="passed", seconds=0.3, message="", line=5),
        SpecFinished(spec=SPEC, status="passed", seconds=1.0),
    ]  # fmt: skip
    left = TeardownFinished(spec=SPEC, cluster="a-1", seconds=0.1, message="in use", command="koalesce down a-1")
    end = RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=1.0)

    assert ends(lines([*events, end])) == [("t", "pass"), (SPEC, "pass")]
    assert ends(lines([*events, left, end])) == [("t", "pass"), ("teardown", "fail"), (SPEC, "fail")]
    check_rules(lines([*events, left, end]))


def test_nothing_foreign_is_a_command_or_a_line_of_its_own() -> None:
    hostile = "::error::x\n--- FAIL: y (0.00s)\r\n\x1b]0;title\x07##[error]z \udcff"
    found = lines(
        [
            SpecStarted(spec=SPEC, name="a", tests=("t",)),
            TestStarted(spec=SPEC, test="t", namespace="n", line=5),
            step(hostile, "failed", hostile),
            TestFinished(spec=SPEC, test="t", status="failed", seconds=0.3, message=hostile, line=5),
        ]
    )

    check_rules(found)
    output = [line["Output"] for line in found if "Output" in line]
    assert not [line for line in output if line.lstrip().startswith("::") or "##[" in line or "\x1b" in line]
    assert [line for line in output if line.startswith("--- ")] == [
        "--- FAIL: t/|_::error::x_---_FAIL:_y_(0.00s)_##_[error]z_\N{REPLACEMENT CHARACTER} (0.10s)\n",
        "--- FAIL: t (0.30s)\n",
    ]
