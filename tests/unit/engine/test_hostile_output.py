"""What a pod prints, from the exec's frames to every report: valid, inert, and without the secret that came in two pieces."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from koalesce.engine.masking import Masks
from koalesce.events import AnyEvent, RunFinished, SpecFinished, SpecStarted, StepFinished, TestFinished, TestStarted
from koalesce.kube import Kube
from koalesce.reporters.console import LiveView
from koalesce.reporters.junit import JUnit
from koalesce.reporters.plain import Plain
from tests.unit.kube.api_server import ExecConnection, FakeApi, serve
from tests.unit.kube.conftest import LIMITS

SECRET = "hunter22-correct-horse"
SPEC = "specs/a.yaml"


def print_hostile(connection: ExecConnection) -> None:
    connection.send(
        1, b"\x1b[31mred\x1b]0;title\x07\x00 [/bold]\n::error::owned\n##[group]x\npassword: " + SECRET[:7].encode()
    )
    connection.send(1, SECRET[7:].encode() + "\n€".encode()[:2])
    connection.send(1, "\n€".encode()[2:] + b"\nend\n")
    connection.finish()


@pytest.fixture
def output(tmp_path: Path) -> str:
    api = FakeApi()
    api.on_exec = print_hostile
    with serve(api, tmp_path) as kubeconfig:
        kube = Kube(kubeconfig, limits=LIMITS)
        try:
            return kube.exec("web", ["x"], namespace="one").out
        finally:
            kube.close()


def events(output: str) -> list[AnyEvent]:
    masks = Masks()
    masks.add([SECRET])
    step = StepFinished(
        spec=SPEC, test="t", section="steps", index=0, type="exec", title=output, line=3, status="failed", attempts=1, seconds=1.0,
        message=output, expected=output, actual=output, detail=output,
    )  # fmt: skip
    told: list[AnyEvent] = [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        TestStarted(spec=SPEC, test="t", namespace="n", line=1),
        step,
        TestFinished(spec=SPEC, test="t", status="failed", seconds=1.0, message=output, line=1),
        SpecFinished(spec=SPEC, status="failed", seconds=1.0, message=output),
        RunFinished(status="failed", passed=0, failed=1, error=0, skipped=0, seconds=1.0),
    ]
    return [masks.event(event) for event in told]


def test_the_output_is_whole_before_it_is_masked(output: str) -> None:
    assert SECRET in output
    assert "€\nend\n" in output


@pytest.mark.parametrize("view", ["plain", "live"])
def test_the_terminal_shows_it_inert_and_masked(output: str, view: str) -> None:
    stream = io.StringIO()
    reporter = Plain(stream) if view == "plain" else LiveView(stream, color=False)
    for event in events(output):
        reporter.handle(event)
    reporter.close()

    text = stream.getvalue()
    assert SECRET not in text
    assert SECRET[:7] not in text
    assert "password: ***" in text
    assert "[/bold]" in text
    assert "\x00" not in text
    assert "\x1b]0;" not in text
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]
    assert "##[group]" not in text


def test_junit_is_valid_and_masked(output: str, tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    reporter = JUnit(path)
    for event in events(output):
        reporter.handle(event)
    reporter.close()

    text = path.read_text()
    assert ET.fromstring(text).find(".//failure") is not None
    assert SECRET not in text
    assert SECRET[:7] not in text
    assert "password: ***" in text
    assert not set(text) & {"\x00", "\x1b", "\x07"}
