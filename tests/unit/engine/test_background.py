"""Steps that go on in the background of a test: their start, their stop, and their end whatever happens."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from koalesce.events import StepStarted
from tests.unit.engine.test_case import World

SLEEPER = "{script: {run: 'echo begun; echo $$ > PID; sleep 60'}}"


def one_test(*steps: str) -> str:
    lines = "".join(f"  - {step}\n" for step in steps)
    return f"tests:\n- name: t\n  steps:\n{lines}"


def is_alive(pid_file: Path) -> bool:
    pid = int(pid_file.read_text())
    return Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()


def ongoing() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("background ")]


def begun(path: str) -> str:
    """A step that waits for a script to have written its file."""
    return f"script: 'while ! test -s {path}; do sleep 0.02; done'"


def test_a_stopped_script_has_ended_and_gives_what_it_printed(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            f"background: {{id: job, run: {SLEEPER}}}", begun("PID"),
            "{stop: {id: job, match: {stdout: begun, exitCode: null}}, outputs: {said: {jsonpath: '{.stdout}'}}}",
            "script: {run: 'echo ${{ outputs.said }}', stdout: begun}",
        ),
    )  # fmt: skip

    finished = world.run()

    assert finished.status == "passed", finished.message
    assert not is_alive(tmp_path / "PID")
    assert ongoing() == []


def test_steps_in_between_run_while_it_goes_on(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            "background: {id: job, run: {script: 'while ! test -e GO; do sleep 0.02; done; echo went'}}",
            "script: 'touch GO'",
            "{stop: {id: job, wait: true, match: {stdout: went, exitCode: 0}}, timeout: 5s}",
        ),
    )

    assert world.run().status == "passed"
    titles = [(title, status) for _, title, status in world.steps()]
    assert titles == [("start job", "passed"), ("script touch GO", "passed"), ("wait for job", "passed")]


def test_events_tell_what_goes_on_and_what_ends_it(tmp_path: Path) -> None:
    world = World(tmp_path, one_test(f"background: {{id: job, run: {SLEEPER}}}", "script: 'true'", "stop: job"))

    world.run()

    started = [event for event in world.events() if isinstance(event, StepStarted)]
    assert [(event.type, event.ongoing) for event in started] == [
        ("background", "job"),
        ("script", ""),
        ("stop", "job"),
    ]


def test_what_had_failed_by_itself_is_told_at_its_stop(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            "background: {id: job, run: {script: 'echo no way >&2; touch OVER; exit 3'}}",
            "script: 'while ! test -e OVER; do sleep 0.02; done; sleep 0.2'",
            "stop: job",
        ),
    )

    finished = world.run()

    assert finished.status == "failed"
    assert "stop job: job (script echo no way" in finished.message
    assert "exit code is 3, expected 0" in finished.message


def test_a_failure_can_be_what_is_expected(tmp_path: Path) -> None:
    steps = (
        "background: {id: job, run: {script: 'exit 3'}}",
        "{stop: {id: job, wait: true, status: failed}, timeout: 9s}",
    )

    assert World(tmp_path, one_test(*steps)).run().status == "passed"


def test_a_mismatch_of_what_it_gave_fails_the_stop(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            "background: {id: job, run: {script: 'echo one'}}",
            "{stop: {id: job, wait: true, match: {stdout: two}}, timeout: 9s}",
        ),
    )

    finished = world.run()

    assert (finished.status, finished.message) == (
        "failed", 'wait for job: job (script echo one): .stdout is "one", expected "two"',
    )  # fmt: skip


def test_waiting_for_one_that_does_not_end_fails_and_ends_it(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            f"background: {{id: job, run: {SLEEPER}}}", begun("PID"), "{stop: {id: job, wait: true}, timeout: 100ms}"
        ),
    )

    finished = world.run()

    assert finished.status == "failed"
    assert "had not ended by itself after" in finished.message
    assert not is_alive(tmp_path / "PID")


def test_all_of_them_end_when_another_step_fails(tmp_path: Path) -> None:
    world = World(
        tmp_path, one_test(f"background: {{id: job, run: {SLEEPER}}}", begun("PID"), "script: exit 1", "stop: job")
    )

    finished = world.run()

    assert finished.status == "failed"
    assert finished.message.startswith("script exit 1: ")
    assert not is_alive(tmp_path / "PID")
    assert ongoing() == []
    assert (
        "begun"
        in (tmp_path / "evidence" / next(iter(tmp_path.glob("evidence/*"))).name / "background/0.txt").read_text()
    )


def test_a_failing_test_tells_of_what_had_failed_in_the_background(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test(
            "background: {id: job, run: {script: 'touch OVER; exit 3'}}",
            "script: 'while ! test -e OVER; do sleep 0.02; done; sleep 0.2'", "script: exit 1", "stop: job",
        ),
    )  # fmt: skip

    message = world.run().message

    assert message.startswith("script exit 1: ")
    assert "in the background, job (script touch OVER; exit 3): failed: " in message


def test_an_interrupt_ends_them(tmp_path: Path) -> None:
    world = World(
        tmp_path, one_test(f"background: {{id: job, run: {SLEEPER}}}", begun("PID"), "sleep: 60s", "stop: job")
    )
    runner = threading.Thread(target=world.run)
    runner.start()
    while not (tmp_path / "PID").exists() or not (tmp_path / "PID").read_text():
        time.sleep(0.01)

    world.interrupt.event.set()
    runner.join(60)

    assert not runner.is_alive()
    assert not is_alive(tmp_path / "PID")
    assert ongoing() == []


def test_a_watch_over_the_steps_holds_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "FLAG").touch()
    watch = "background: {id: flag, run: {script: 'test -e FLAG', consistently: 60s, retry: {every: 20ms}}}"
    world = World(tmp_path, one_test(watch, "sleep: 100ms", "stop: {id: flag, status: stopped}"))

    assert world.run().status == "passed"


def test_a_watch_over_the_steps_tells_that_it_broke(tmp_path: Path) -> None:
    (tmp_path / "FLAG").touch()
    watch = "background: {id: flag, run: {script: 'test -e FLAG', consistently: 60s, retry: {every: 20ms}}}"
    world = World(tmp_path, one_test(watch, "script: 'rm FLAG'", "stop: flag"))

    finished = world.run()

    assert finished.status == "failed"
    assert "stop flag: flag (script test -e FLAG): failed" in finished.message


def test_what_never_held_has_failed_when_it_is_stopped(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test("background: {id: pod, run: {wait-for: {resource: pod/none, condition: Ready}}}", "stop: pod"),
    )

    finished = world.run()

    assert finished.status == "failed"
    assert "does not exist" in finished.message


def test_what_a_stopped_command_had_to_print_is_looked_at(tmp_path: Path) -> None:
    job = (
        "background: {id: job, run: {script: {run: 'touch PID; echo begun > PID; sleep 60', stdout: {contains: done}}}}"
    )
    world = World(tmp_path, one_test(job, begun("PID"), "stop: job"))

    finished = world.run()

    assert finished.status == "failed"
    assert "stdout" in finished.message


def test_the_stop_of_what_was_left_out_is_left_out(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        one_test("{background: {id: job, run: {script: 'true'}}, requires: [sctp]}", "script: 'true'", "stop: job"),
    )

    assert world.run().status == "passed"
    assert [status for _, _, status in world.steps()] == ["skipped", "passed", "skipped"]


def test_the_absence_of_what_a_step_does_not_give_shows_nothing(tmp_path: Path) -> None:
    start = "background: {id: job, run: {script: 'echo one'}}"
    said = {}
    for number, (match, more) in enumerate(
        (
            ("{sdtout: null}", ""), ("{result: {absent: true}}", ""), ("{result: null}", "mayNotExist: true, "),
            ("{json: null}", ""), ("{json: {error: null}}", ""), ("{stdout: one, exitCode: 0}", ""),
        )
    ):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        stop = f"{{stop: {{id: job, wait: true, match: {match}}}, {more}timeout: 9s}}"
        finished = World(folder, one_test(start, stop)).run()
        said[f"{more}{match}"] = "" if finished.status == "passed" else finished.message

    assert "it gives no sdtout, so that this isn't there proves nothing; did you mean stdout?" in said["{sdtout: null}"]
    assert "it gives stdout, stderr, exitCode" in said["{result: {absent: true}}"]
    assert "what isn't in it proves nothing" in said["{json: {error: null}}"]
    passed = {match for match, message in said.items() if not message}
    assert passed == {"mayNotExist: true, {result: null}", "{json: null}", "{stdout: one, exitCode: 0}"}
