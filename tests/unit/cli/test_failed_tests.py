"""What `--rerun-failed` remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.cli.failed_tests import FailedTests, read_failed
from koalesce.errors import UsageError
from koalesce.events import SpecFinished, SpecStarted, Status, TestFinished


def run(file: Path, *ends: tuple[str, Status, str], spec: Status = "failed") -> dict[str, frozenset[str]]:
    failed = FailedTests(read_failed(file), file)
    failed.handle(SpecStarted(spec="a.yaml", name="a", tests=tuple(name for name, _, _ in ends)))
    for name, status, message in ends:
        failed.handle(TestFinished(spec="a.yaml", test=name, status=status, seconds=0, message=message, line=1))
    failed.handle(SpecFinished(spec="a.yaml", status=spec, seconds=0))
    failed.close()
    return read_failed(file)


def test_a_test_is_remembered_until_it_passes(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "failed.json"

    assert run(file, ("t", "failed", ""), ("u", "error", ""), ("v", "passed", "")) == {"a.yaml": {"t", "u"}}
    assert run(file, ("t", "passed", "")) == {"a.yaml": {"u"}}
    assert run(file, ("u", "passed", ""), spec="passed") == {}


def test_what_a_broken_spec_kept_from_running_is_remembered(tmp_path: Path) -> None:
    ends: list[tuple[str, Status, str]] = [("t", "skipped", "not run: no cluster"), ("u", "skipped", "not yet")]

    assert run(tmp_path / "failed.json", *ends, spec="error") == {"a.yaml": {"t"}}


def test_one_of_several_tries_that_fails_is_enough(tmp_path: Path) -> None:
    ends: list[tuple[str, Status, str]] = [("t [run=1]", "failed", ""), ("t [run=2]", "passed", "")]

    assert run(tmp_path / "failed.json", *ends) == {"a.yaml": {"t"}}


def test_nothing_is_written_while_nothing_fails(tmp_path: Path) -> None:
    run(tmp_path / "new" / "failed.json", ("t", "passed", ""), spec="passed")

    assert not (tmp_path / "new").exists()


def test_what_is_saved_while_the_run_lasts_is_put_right_later(tmp_path: Path) -> None:
    file = tmp_path / "failed.json"
    failed = FailedTests({}, file)
    failed.handle(TestFinished(spec="a.yaml", test="t", status="failed", seconds=0, message="", line=1))
    failed.save()
    assert read_failed(file) == {"a.yaml": {"t"}}

    failed.handle(SpecStarted(spec="a.yaml", name="a", tests=("t",)))
    failed.handle(TestFinished(spec="a.yaml", test="t", status="passed", seconds=0, message="", line=1))
    failed.close()

    assert read_failed(file) == {}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"failed": []}', '{"failed": {"a": 1}}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "failed.json").write_text(text)

    with pytest.raises(UsageError, match="can't be read"):
        read_failed(tmp_path / "failed.json")
