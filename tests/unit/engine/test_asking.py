"""What is asked again and again beside a test's steps, by a program that stands in for the probe."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from koalesce.events import StepFinished
from tests.unit.engine.test_case import World

# Answers a request as the probe does: a lone look is allowed; asked again and again, it prints what SEEN holds, line by line as the
# file grows, until its input ends; a last line "end" ends it by itself.
PROGRAM = """#!{python}
import json, os, select, sys, time
text = b""
while True:
    text += os.read(0, 65536)
    try:
        request = json.loads(text)
        break
    except ValueError:
        pass
def result(target, outcome="allowed", **fields):
    return {{"id": target["id"], "outcome": outcome, "local": "127.0.0.1:4", "seconds": 0.001, **fields}}
if "every" not in request:
    sources = [{{"id": s["id"], "results": [result(t) for t in s["targets"]]}} for s in request["sources"]]
    json.dump({{"sources": sources}}, sys.stdout)
    sys.exit()
open("{folder}/asked", "w").write(json.dumps(request))
source, shown = request["sources"][0], 0
target = source["targets"][0]
ended = False
while not ended:
    ended = bool(select.select([0], [], [], 0.02)[0])
    lines = open("{folder}/seen").read().splitlines()
    for line in lines[shown:]:
        if line == "end":
            sys.exit("the wire is cut")
        print(json.dumps({{"source": source["id"], "at": shown * 0.5, "result": result(target, **json.loads(line))}}), flush=True)
        shown += 1
"""
LOST, LATE, GOOD = '{"outcome": "dropped", "seconds": 0.4}', '{"seconds": 0.45}', "{}"


def world(tmp_path: Path, seen: list[str], *steps: str, stop: str = "stop: load") -> World:
    program = tmp_path / "koalesce-probe"
    program.write_text(PROGRAM.format(python=sys.executable, folder=tmp_path))
    program.chmod(0o755)
    (tmp_path / "seen").write_text("".join(f"{line}\n" for line in seen))
    begin = "background: {id: load, every: 20ms, run: {name: the API, tcp: {to: {address: 127.0.0.1, port: 6443}}}}"
    lines = "".join(f"  - {step}\n" for step in (begin, *steps, stop))
    found = World(tmp_path, f"tests:\n- name: t\n  steps:\n{lines}")
    found.stage = dataclasses.replace(found.stage, cluster=dataclasses.replace(found.stage.cluster, probe=program))
    return found


def last(found: World) -> StepFinished:
    return [event for event in found.events() if isinstance(event, StepFinished)][-1]


def probes() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("probe ")]


def test_all_that_is_asked_counts_until_the_stop(tmp_path: Path) -> None:
    stop = "{stop: {id: load, sent: 4, latency: {p99: {lt: 10ms}}}, outputs: {sent: {jsonpath: '{.sent}'}}}"
    found = world(tmp_path, [GOOD] * 4, stop=stop)

    assert found.run().status == "passed"
    assert last(found).message.startswith("load (the API): stopped after")
    request: dict[str, Any] = json.loads((tmp_path / "asked").read_text())
    assert request["every"] == 0.02
    assert probes() == []


def test_what_is_lost_fails_the_stop_with_the_steps_that_ran_meanwhile(tmp_path: Path) -> None:
    hurt = f"script: 'echo ''{LOST}'' >> seen; echo ''{GOOD}'' >> seen'"
    found = world(tmp_path, [GOOD], "{name: restart the agent, " + hurt + "}")

    finished = found.run()

    assert finished.status == "failed"
    step = last(found)
    assert "lost is 1, expected 0 (3 tries, 1 lost, 0 wrong, longest gap 501ms" in step.message
    assert "restart the agent" in step.message
    assert "host → 127.0.0.1:6443: 501ms, 1 lost" in step.detail
    assert "restart the agent" in step.detail
    assert "1 times dropped, expected allowed" in step.detail


@pytest.mark.parametrize(("stop", "status"), [("stop: load", "failed"), ("stop: {id: load, lost: {le: 1}}", "passed")])
def test_reports_can_draw_what_came_of_it_however_it_is_judged(tmp_path: Path, stop: str, status: str) -> None:
    found = world(tmp_path, [GOOD, LOST, GOOD], stop=stop)

    assert found.run().status == status
    (series,) = last(found).series
    assert series.title == "host → 127.0.0.1:6443"
    assert (sum(series.right), sum(series.lost), sum(series.wrong)) == (2, 1, 0)
    assert max(each for each in series.slowest if each is not None) == 0.001
    assert not any(event.series for event in found.events() if isinstance(event, StepFinished) and event.type != "stop")


@pytest.mark.parametrize(
    ("seen", "stop", "message"),
    [
        ([GOOD, LOST, GOOD], "{id: load, lost: {le: 1}}", ""),
        ([GOOD, LOST, GOOD], "{id: load, lost: {le: 1}, longestGap: {lt: 400ms}}", "longestGap is 501ms, expected < 400ms"),
        ([GOOD, LATE, GOOD], "{id: load, longestGap: {lt: 400ms}}", "longestGap is 450ms, expected < 400ms"),
        ([GOOD, LATE, GOOD], "{id: load, latency: {max: {lt: 400ms}}}", "latency.max is 450ms, expected < 400ms"),
        ([GOOD, LATE, GOOD], "{id: load, latency: {p50: {lt: 400ms}}}", ""),
        ([GOOD], "{id: load, sent: {ge: 2}}", "sent is 1, expected ≥ 2"),
        ([GOOD], "{id: load, match: {lost: {ge: 1}}}", ".lost is 0, expected ≥ 1"),
    ],
)  # fmt: skip
def test_a_stop_says_what_is_allowed(tmp_path: Path, seen: list[str], stop: str, message: str) -> None:
    finished = world(tmp_path, seen, stop="stop: " + stop).run()

    assert finished.status == ("failed" if message else "passed"), finished.message
    assert message in finished.message


def test_a_probe_that_ends_by_itself_is_an_error(tmp_path: Path) -> None:
    finished = world(tmp_path, [GOOD, "end"], "script: 'sleep 0.2'").run()

    assert finished.status == "error"
    assert "this machine: the probe ended by itself: the wire is cut" in finished.message


def test_a_test_that_breaks_off_ends_it(tmp_path: Path) -> None:
    found = world(tmp_path, [GOOD, LOST], "script: 'exit 1'")

    assert found.run().status == "failed"
    assert probes() == []


def test_it_begins_once_all_is_as_expected(tmp_path: Path) -> None:
    found = world(tmp_path, [GOOD])
    program = tmp_path / "koalesce-probe"
    real = program.read_text()
    first = 'if "every" not in request and not os.path.exists("{0}/tried"):\n    open("{0}/tried", "w").close()\n    json.dump({{"sources": [{{"id": "0", "results": [result({{"id": "0"}}, "refused")]}}]}}, sys.stdout)\n    sys.exit()\n'
    program.write_text(real.replace('if "every" not', first.format(tmp_path) + 'if "every" not', 1))

    assert found.run().status == "passed"
    assert (tmp_path / "tried").exists()
    began = next(event for event in found.events() if isinstance(event, StepFinished))
    assert (began.attempts, began.status) == (2, "passed")
