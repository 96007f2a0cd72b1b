from __future__ import annotations

import os
from pathlib import Path

import pytest

from koalesce.errors import UsageError
from koalesce.events import RunFinished, SpecStarted, TestStarted
from koalesce.reporters import FILE_REPORTERS, Saving
from koalesce.reporters.files import check_writable, write_whole


def test_makes_the_folder_but_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "build" / "reports" / "junit.xml"

    check_writable(path)

    assert list(path.parent.iterdir()) == []


def test_a_folder_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path)


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("")

    with pytest.raises(UsageError, match=r"can't write a report to .*build/junit\.xml: .*build is no folder"):
        check_writable(tmp_path / "build" / "junit.xml")


def test_a_file_system_that_takes_no_files_is_found(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"can't write a report to /proc/junit\.xml: "):
        check_writable(Path("/proc/junit.xml"))


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target.xml"
    target.write_text("old")
    link = tmp_path / "link.xml"
    link.symlink_to(target)

    write_whole(link, b"new")

    assert link.is_symlink()
    assert target.read_text() == "new"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link.xml", "target.xml"]


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, b"report")
        assert os.read(reader, 100) == b"report"
    finally:
        os.close(reader)


WHOLE = ("ctrf", "html", "junit", "markdown", "tap")
HALF = [
    SpecStarted(spec="a.yaml", name="a", tests=("t", "u")),
    TestStarted(spec="a.yaml", test="t", namespace="n", line=3),
]


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_saved_is_the_report_of_a_run_that_ends_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "saved").write_text("of an earlier run")
    saved, closed = (FILE_REPORTERS[name].create(tmp_path / file) for file in ("saved", "closed"))
    for event in HALF:
        saved.handle(event)
        closed.handle(event)
    closed.close()

    assert isinstance(saved, Saving)
    saved.save()

    assert (tmp_path / "saved").read_bytes() == (tmp_path / "closed").read_bytes()
    saved.handle(RunFinished(status="error", passed=0, failed=0, error=1, skipped=0, seconds=1.0))
    saved.close()
    assert (tmp_path / "saved").read_bytes() != (tmp_path / "closed").read_bytes()


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_file_is_written_to_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        reporter = FILE_REPORTERS[name].create(tmp_path / "pipe")
        reporter.handle(HALF[0])
        assert isinstance(reporter, Saving)
        reporter.save()
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


def test_a_summary_that_is_added_to_a_file_of_others_is_not_saved(tmp_path: Path) -> None:
    (tmp_path / "summary").write_text("others\n")
    reporter = FILE_REPORTERS["markdown"].create(tmp_path / "summary", appends=True)
    reporter.handle(HALF[0])
    assert isinstance(reporter, Saving)

    reporter.save()
    assert (tmp_path / "summary").read_text() == "others\n"
    reporter.close()
    assert (tmp_path / "summary").read_text().startswith("others\n## ")
