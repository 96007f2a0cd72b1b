from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.errors import UsageError
from koalesce.events import AnyEvent, Grid, PairKind, RunStarted, SpecFinished, SpecStarted, StepFinished, to_json
from koalesce.reporters.jsonl import JsonLines, read_events

RUNS = Path(__file__).parents[2] / "data" / "runs"
EVENTS: list[AnyEvent] = [
    RunStarted(
        run_id="r", version="1", specs=("a.yaml",), folder="f", machine={"cpus": 2}, at="2026-03-01T12:00:00.000Z"
    ),
    SpecStarted(spec="ä\udcff\n.yaml", name="a", tests=("t", "\x00")),
]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reporter = JsonLines(path)
    for event in EVENTS:
        reporter.handle(event)
    reporter.close()

    assert list(read_events(path)) == EVENTS


def test_grids_are_read_back_and_broken_ones_are_named(tmp_path: Path) -> None:
    kinds = (PairKind(expected="allowed", observed="dropped", is_right=False, note="why"),)
    grid = Grid(title="t", rows=("a",), columns=("b", "c"), kinds=kinds, cells=((0, -1),))
    own = {"spec": "s", "test": "t", "section": "steps", "index": 0, "type": "curl", "title": "", "line": 1}
    event = StepFinished(**own, status="failed", attempts=1, seconds=1.0, message="", grids=(grid,))  # type: ignore[arg-type]  # a dict of both
    path = tmp_path / "events.jsonl"
    path.write_text(to_json(event) + "\n" + to_json(event).replace('"kinds":[', '"kinds":[7,') + "\n")

    events = read_events(path)

    assert next(events) == event
    with pytest.raises(
        UsageError, match=r"events\.jsonl:2: StepFinished\.grids: Grid\.kinds: expected an object, got 7"
    ):
        next(events)


def test_each_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reporter = JsonLines(path)
    reporter.handle(EVENTS[0])

    assert list(read_events(path)) == EVENTS[:1]
    reporter.close()


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines = (RUNS / "green.jsonl").read_bytes()
    path.write_bytes(lines[:-30])

    assert len(list(read_events(path))) == len(lines.splitlines()) - 1


@pytest.mark.parametrize(
    "line", ["{", "[]", '"x"', '{"event":"Unheard"}', '{"event":[]}', '{"event":"SpecStarted"}', "\x00", ""]
)
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text((RUNS / "kept.jsonl").read_text() + line + "\n")
    number = len(path.read_text().splitlines())

    with pytest.raises(UsageError) as problem:
        list(read_events(path))

    assert problem.value.message.startswith(f"{path}:{number}: ")
    assert "\n" not in problem.value.message


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"RunStarted","run_id":"r","version":"9","specs":[],"folder":"f","format":2}\n')

    with pytest.raises(UsageError, match="events of format 2, but this version reads up to 1"):
        list(read_events(path))


def test_a_field_that_a_newer_version_added_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event":"SpecFinished","spec":"a","status":"passed","seconds":1.0,"mood":"good"}\n')

    assert list(read_events(path)) == [SpecFinished(spec="a", status="passed", seconds=1.0)]


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.jsonl: can't be read: No such file"):
        list(read_events(tmp_path / "gone.jsonl"))
