from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from koalesce.local.ledger import Process
from koalesce.local.sysctls import SharedSettings

ME = Process.of(os.getpid())
DEAD = Process(ME.pid, ME.start - 1)
NAME = "fs/inotify/max_user_instances"


class Settings:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "proc" / NAME
        self.path.parent.mkdir(parents=True)
        self.path.write_text("128\n")
        self.folder = folder / "run"
        self.shared = SharedSettings(self.folder, folder / "proc")

    @property
    def value(self) -> int:
        return int(self.path.read_text())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path)


def test_raised_for_the_first_and_put_back_after_the_last(settings: Settings) -> None:
    settings.shared.raise_for("c1", ME, {NAME: 8192})
    settings.shared.raise_for("c2", ME, {NAME: 8192})
    assert settings.value == 8192

    settings.shared.release("c1")
    assert settings.value == 8192

    settings.shared.release("c2")
    assert settings.value == 128
    assert not settings.folder.exists()


def test_what_is_high_enough_is_not_touched(settings: Settings) -> None:
    settings.path.write_text("9000\n")

    settings.shared.raise_for("c1", ME, {NAME: 8192})
    settings.shared.release("c1")

    assert settings.value == 9000
    assert not settings.folder.exists()


def test_what_somebody_else_changed_meanwhile_stays(settings: Settings) -> None:
    settings.shared.raise_for("c1", ME, {NAME: 8192})
    settings.path.write_text("500\n")

    settings.shared.release("c1")

    assert settings.value == 500


def test_what_can_not_be_raised_is_told_and_left(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, text: str) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as patched:
        file = settings.path
        whole = Path.write_text
        patched.setattr(Path, "write_text", lambda path, text: (refuse if path == file else whole)(path, text))
        assert settings.shared.raise_for("c1", ME, {NAME: 8192}) == [NAME]

    settings.shared.release("c1")
    assert settings.value == 128
    assert not settings.folder.exists()


def test_a_dead_holder_does_not_count(settings: Settings) -> None:
    settings.shared.raise_for("dead", DEAD, {NAME: 8192})
    settings.shared.raise_for("c1", ME, {NAME: 8192})

    settings.shared.release("c1")

    assert settings.value == 128


def test_a_second_release_does_nothing(settings: Settings) -> None:
    settings.shared.raise_for("c1", ME, {NAME: 8192})
    settings.shared.release("c1")
    settings.path.write_text("300\n")

    settings.shared.release("c1")

    assert settings.value == 300
