"""Folders made once: whole or not at all, by one at a time, swept after a crash."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from koalesce.errors import Interrupted, ProvisionError
from koalesce.toolchain.shelf import FullDisk, Shelf, locked


def test_makes_a_folder_once(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    calls = []

    def fill(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("made")

    first = shelf.make("tool/1.0/build", fill)
    second = shelf.make("tool/1.0/build", fill)

    assert first == second == tmp_path / "tool/1.0/build"
    assert (first / "file").read_text() == "made"
    assert len(calls) == 1


def test_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Shelf(tmp_path).make("tool/1.0", fill)

    assert Shelf(tmp_path).find("tool/1.0") is None
    assert not [path for path in tmp_path.rglob("*") if path.name == "half"]


def test_what_a_killed_process_left_is_not_taken_for_whole(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from koalesce.toolchain.shelf import Shelf\n"
        "def fill(folder):\n    (folder / 'half').write_text('…'); os.kill(os.getpid(), 9)\n"
        "Shelf(pathlib.Path(sys.argv[1])).make('tool/1.0', fill)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9
    assert list(tmp_path.rglob("half"))

    folder = Shelf(tmp_path).make("tool/1.0", lambda folder: (folder / "whole").touch())

    assert sorted(path.name for path in folder.iterdir()) == ["whole"]


def test_sweep_removes_what_is_left_but_not_what_is_being_made(tmp_path: Path) -> None:
    making = tmp_path / ".making"
    (making / "dead@1~a" / "usr").mkdir(parents=True)
    (making / "dead@1~a" / "usr").chmod(0o500)
    (making / "alive@1~b").mkdir()

    with locked(making / "alive@1.lock"):
        Shelf(tmp_path).sweep()

    assert sorted(path.name for path in making.iterdir() if path.is_dir()) == ["alive@1~b"]


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    calls: list[int] = []
    waited: list[bool] = []
    started, waiting = threading.Event(), threading.Event()

    def fill(folder: Path) -> None:
        calls.append(1)
        started.set()
        assert waiting.wait(60)

    def note() -> None:
        waited.append(True)
        waiting.set()

    first = threading.Thread(target=lambda: Shelf(tmp_path).make("tool", fill))
    first.start()
    assert started.wait(60)
    Shelf(tmp_path).make("tool", fill, waiting=note)
    first.join()

    assert calls == [1]
    assert waited == [True]


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FullDisk, match="no space left on the disk that holds"):
        Shelf(tmp_path).make("tool", fill)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ProvisionError, match=r"can't write to .*file.*: Not a directory"):
        Shelf(tmp_path / "file" / "tools").make("tool", lambda folder: None)


def test_waiting_for_a_lock_can_be_cancelled(tmp_path: Path) -> None:
    cancel = threading.Event()

    with (
        locked(tmp_path / "lock"),
        pytest.raises(Interrupted),
        locked(tmp_path / "lock", cancel=cancel, waiting=cancel.set),
    ):
        pass
