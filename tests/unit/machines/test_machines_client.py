"""What the commands that Terraform calls do with a cluster's folder: an attempt that failed is in nobody's way."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ClusterError, ProvisionError
from koalesce.local.ledger import Ledger
from koalesce.machines import client, removal
from koalesce.toolchain import ImageStore


class FakeBringup:
    """The making of a cluster that puts something on a machine, and fails or not."""

    attempts: list[str]
    fails: bool

    def __init__(self, *, folder: Path, identity: str, shells: Any, **_: Any) -> None:
        self.identity, self.shells = identity, shells

    def run(self) -> frozenset[str]:
        FakeBringup.attempts.append(self.identity)
        self.shells["cp"].take()
        if FakeBringup.fails:
            raise ClusterError("it broke")
        return frozenset()

    def evidence(self) -> list[tuple[str, str]]:
        return []


@pytest.fixture
def removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The identities of clusters that were removed from machines."""
    found: list[str] = []
    FakeBringup.attempts, FakeBringup.fails = [], False
    monkeypatch.setattr(client, "Bringup", FakeBringup)
    monkeypatch.setattr(client, "_tools", lambda *_: (None, ImageStore(tmp_path / "store")))
    monkeypatch.setattr(removal, "remove", lambda _shell, identity: found.append(identity))
    return found


def up(folder: Path) -> None:
    data = {
        "name": "c1", "kubernetes_version": "1.37.2", "state_dir": str(folder / "c1"), "nodes": [{"name": "cp", "role": "control-plane"}],
        "settings": {"known_hosts": "/known", "machines": [{"host": "192.0.2.10"}]},
    }  # fmt: skip
    client.up(json.dumps(data), ledger=Ledger(folder / "ledger"))


def test_what_an_attempt_that_failed_has_left_is_removed_before_the_next(tmp_path: Path, removed: list[str]) -> None:
    FakeBringup.fails = True
    with pytest.raises(ClusterError):
        up(tmp_path)
    FakeBringup.fails = False

    up(tmp_path)

    assert removed == FakeBringup.attempts[:1]
    assert (tmp_path / "c1" / "outputs.json").exists()


def test_a_cluster_that_is_up_is_not_replaced(tmp_path: Path, removed: list[str]) -> None:
    up(tmp_path)

    with pytest.raises(ProvisionError, match="c1 is in use"):
        up(tmp_path)

    assert removed == []


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, removed: list[str]) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "mine").touch()

    with pytest.raises(ProvisionError, match="c1 is in use"):
        up(tmp_path)

    assert (tmp_path / "c1" / "mine").exists()


def test_two_commands_do_not_make_a_cluster_in_the_same_folder(tmp_path: Path, removed: list[str]) -> None:
    (tmp_path / "c1").mkdir()
    held = os.open(tmp_path / "c1", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(ProvisionError, match="another command is making a cluster"):
            up(tmp_path)
    finally:
        os.close(held)

    assert FakeBringup.attempts == []
