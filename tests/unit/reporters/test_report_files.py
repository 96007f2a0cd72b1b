from __future__ import annotations

import os
from pathlib import Path

import pytest

from koalesce.errors import UsageError
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
