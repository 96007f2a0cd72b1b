"""Requests through a port-forward: what the connection to this machine doesn't tell, the port-forward does."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.curl import Curl
from tests.fakes import FakeCluster, context, running_pod

ANSWER = {"outcome": "allowed", "http": {"status": 200, "url": "http://web:8080/", "headers": {}, "body": "ok"}}
RESET = {"outcome": "refused", "stage": "answer", "reason": "connected, then reset by peer"}
CLOSED = "port 8080 of test-ns/web-0: connection refused: nothing listens there"


@dataclass
class FakeForward:
    port: int = 40000
    problems: list[str] = field(default_factory=list)
    closed: bool = False

    def close(self) -> None:
        self.closed = True


def attempt(tmp_path: Path, forward: FakeForward, result: dict[str, Any], **fields: Any) -> Outcome:
    """One attempt with a program in the probe's place that notes what it's asked and always answers the same."""
    answer = {"sources": [{"id": "0", "addresses": [], "results": [result]}]}
    (tmp_path / "answer").write_text(json.dumps(answer))
    program = tmp_path / "probe"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/asked\ncat {tmp_path}/answer\n")
    program.chmod(0o755)
    cluster = FakeCluster(running_pod("web-0"))
    cluster.kube.forward = lambda pod, *, namespace, port: forward  # type: ignore[attr-defined]  # only these tests forward
    at = context(cluster)
    at = replace(at, cluster=replace(at.cluster, probe=program, host_exec=("false",)))
    return Curl.model_validate({"via": {"portForward": {"pod": "web-0"}}, "url": "http://web:8080/", **fields}).attempt(
        at
    )


def test_the_request_goes_to_the_local_port_of_this_machines_own_network(tmp_path: Path) -> None:
    forward = FakeForward()

    outcome = attempt(tmp_path, forward, ANSWER, body="ok")

    assert isinstance(outcome, Passed)
    asked = json.loads((tmp_path / "asked").read_text())["sources"][0]["targets"][0]["http"]
    assert (asked["url"], asked["resolve"]) == ("http://web:8080/", {"web:8080": "127.0.0.1:40000"})
    assert forward.closed


@pytest.mark.parametrize(
    ("problems", "expect", "kind"),
    [
        ([CLOSED], "refused", Passed),
        ([CLOSED], "closed", Failed),
        (["pods web-0 not found"], "refused", Errored),
        (["pods web-0 not found"], "closed", Errored),
        ([], "closed", Passed),
        ([], "refused", Failed),
    ],
)
def test_a_reset_is_what_the_port_forward_says_of_it(
    tmp_path: Path, problems: list[str], expect: str, kind: type
) -> None:
    assert type(attempt(tmp_path, FakeForward(problems=problems), RESET, expect=expect)) is kind


def test_why_there_is_no_answer(tmp_path: Path) -> None:
    outcome = attempt(tmp_path, FakeForward(problems=[CLOSED]), RESET)

    assert isinstance(outcome, Failed)
    assert outcome.message == f"GET http://web:8080/: refused ({CLOSED})"


def test_a_pod_that_is_not_there(tmp_path: Path) -> None:
    outcome = attempt(tmp_path, FakeForward(), ANSWER, via={"portForward": {"pod": "nobody"}})

    assert outcome == Failed("pod test-ns/nobody does not exist", actual="missing")
