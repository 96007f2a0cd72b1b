"""What pods and commands print, from its chunks to every report: valid, inert, and without the secret that came in two pieces."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce import process
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
DRAWING = re.compile(r"\x1b\[\??[0-9;]*[mKAhl]")  # colors, cursor and erased lines: what rich sends itself


CHUNKS = (
    b"\x1b[2J\x1b[31mred\x1b]0;title\x07\x00 [/bold]\n::error::owned\n##[group]x\npassword: " + SECRET[:7].encode(),
    SECRET[7:].encode() + "\n€".encode()[:2],
    "\n€".encode()[2:] + b"\nend\n",
)
WRITER = """
import os, sys
for chunk in {chunks!r}:
    os.write(1, chunk)
    if chunk == {chunks!r}[0]:
        open(sys.argv[1]).read()  # until the other end has read it
"""


def of_exec(folder: Path) -> str:
    def send(connection: ExecConnection) -> None:
        for chunk in CHUNKS:
            connection.send(1, chunk)
        connection.finish()

    api = FakeApi()
    api.on_exec = send
    with client_of(api, folder) as kube:
        return kube.exec("web", ["x"], namespace="one").out


def of_log(folder: Path) -> str:
    api = FakeApi()
    api.log = list(CHUNKS)
    with client_of(api, folder) as kube:
        return kube.logs("web", namespace="one")


def of_command(folder: Path) -> str:
    fifo = folder / "go-on"
    os.mkfifo(fifo)
    seen: list[str] = []

    def see(_stream: str, line: str) -> None:
        seen.append(line)
        if len(seen) == 1:
            fifo.write_bytes(b"")

    return process.run([sys.executable, "-c", WRITER.format(chunks=CHUNKS), fifo], on_line=see, timeout=60).out


@contextlib.contextmanager
def client_of(api: FakeApi, folder: Path) -> Iterator[Kube]:
    with serve(api, folder) as kubeconfig:
        kube = Kube(kubeconfig, limits=LIMITS)
        try:
            yield kube
        finally:
            kube.close()


@pytest.fixture(params=[of_exec, of_log, of_command], ids=["exec", "log", "command"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The text, as a step gets it."""
    return str(request.param(tmp_path))


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


@pytest.mark.parametrize("view", ["plain", "live", "live in color"])
def test_the_terminal_shows_it_inert_and_masked(output: str, view: str) -> None:
    stream = io.StringIO()
    reporter = Plain(stream) if view == "plain" else LiveView(stream, color=view == "live in color")
    for number, event in enumerate(events(output)):
        reporter.handle(event)
        if isinstance(reporter, LiveView):
            reporter.tick(float(number))
    reporter.close()

    text = DRAWING.sub("", stream.getvalue())
    assert "\x1b" not in text
    assert SECRET not in text
    assert SECRET[:7] not in text
    assert "password: ***" in text
    assert "[/bold]" in text
    assert "\x00" not in text
    assert "\x07" not in text
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
