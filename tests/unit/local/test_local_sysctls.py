from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})
    settings.shared.raise_for(Path("c2"), ME, {NAME: 8192})
    assert settings.value == 8192

    settings.shared.release(Path("c1"))
    assert settings.value == 8192

    settings.shared.release(Path("c2"))
    assert settings.value == 128
    assert not settings.folder.exists()


def test_clusters_of_one_name_are_different_ones(settings: Settings) -> None:
    """As two users may have them."""
    settings.shared.raise_for(Path("/home/a/state/dev"), ME, {NAME: 8192})
    settings.shared.raise_for(Path("/home/b/state/dev"), ME, {NAME: 8192})

    settings.shared.release(Path("/home/b/state/dev"))

    assert settings.value == 8192
    settings.shared.release(Path("/home/a/state/dev"))
    assert settings.value == 128


def test_what_is_high_enough_is_not_touched(settings: Settings) -> None:
    settings.path.write_text("9000\n")

    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})
    settings.shared.release(Path("c1"))

    assert settings.value == 9000
    assert not settings.folder.exists()


def test_what_somebody_else_changed_meanwhile_stays(settings: Settings) -> None:
    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})
    settings.path.write_text("500\n")

    settings.shared.release(Path("c1"))

    assert settings.value == 500


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """While nothing can be written there."""
    whole = Path.write_text

    def write(self: Path, text: str) -> int:
        if self == path:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return whole(self, text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "write_text", write)
        yield


def test_what_can_not_be_raised_is_told_and_left(settings: Settings) -> None:
    with refused(settings.path):
        assert settings.shared.raise_for(Path("c1"), ME, {NAME: 8192}) == [NAME]

    settings.shared.release(Path("c1"))
    assert settings.value == 128
    assert not settings.folder.exists()


def test_what_can_not_be_put_back_is_by_the_next_who_needs_it(settings: Settings) -> None:
    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})
    with refused(settings.path):
        settings.shared.release(Path("c1"))
    assert settings.value == 8192

    settings.shared.raise_for(Path("c2"), ME, {NAME: 8192})
    settings.shared.release(Path("c2"))

    assert settings.value == 128


def test_whoever_needs_a_setting_not_leaves_it_to_those_who_do(settings: Settings) -> None:
    """Their processes may be in another pid namespace, and look dead from here."""
    settings.shared.raise_for(Path("theirs"), DEAD, {NAME: 8192})

    settings.shared.release(Path("ours"))

    assert settings.value == 8192
    settings.shared.release(Path("theirs"))
    assert settings.value == 128


def test_a_dead_holder_does_not_count(settings: Settings) -> None:
    settings.shared.raise_for(Path("dead"), DEAD, {NAME: 8192})
    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})

    settings.shared.release(Path("c1"))

    assert settings.value == 128


def test_a_second_release_does_nothing(settings: Settings) -> None:
    settings.shared.raise_for(Path("c1"), ME, {NAME: 8192})
    settings.shared.release(Path("c1"))
    settings.path.write_text("300\n")

    settings.shared.release(Path("c1"))

    assert settings.value == 300
