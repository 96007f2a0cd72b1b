"""How a node is begun: what its two processes tell in either order, and what is told of an init that ends without a word."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.local.node import RunningNode


@pytest.mark.parametrize(
    ("reads", "ends", "told"),
    [
        (True, "os.kill(os.getpid(), signal.SIGKILL)", "its init ended with SIGKILL"),
        (True, "sys.exit(3)", "its init ended with exit code 3"),
        (False, "sys.exit(3)", "its init ended with exit code 3"),
        (True, "sys.exit('no room')", "no room"),
    ],
)
def test_an_init_that_ends_is_told_with_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool, ends: str, told: str
) -> None:
    waits = "socket.socket(fileno=int(sys.argv[-1])).recv(65536)" if reads else "pass"
    node = _node(tmp_path, monkeypatch, f"{waits}\n{ends}")
    if not reads:
        node._process.wait()

    with pytest.raises(ProvisionError, match=f"^node cp can't be made: {told}$"):
        node.begin({"hostname": "cp"})  # type: ignore[typeddict-item]
    node.wait_ended()


@pytest.mark.parametrize("order", [("pid", "up"), ("up", "pid")])
def test_an_init_may_be_up_before_its_pid_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[str, str]
) -> None:
    lines = {"pid": b'{"event": "pid", "pid": 7}\n', "up": b'{"event": "up"}\n'}
    tells = [f"control.recv(65536)\ncontrol.sendall({lines[order[0]]!r})", f"control.sendall({lines[order[1]]!r})"]
    body = ["control = socket.socket(fileno=int(sys.argv[-1]))", *tells, "control.recv(65536)"]
    node = _node(tmp_path, monkeypatch, "\n".join(body))

    node.begin({"hostname": "cp"})  # type: ignore[typeddict-item]
    node.wait_up()

    assert node.pid == 7
    node._process.kill()
    node.wait_ended()


def _node(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> RunningNode:
    """A node whose init is this script."""
    init = folder / "init"
    init.write_text(f"#!{sys.executable}\nimport os, signal, socket, sys\n{body}\n")
    init.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(init))
    return RunningNode("cp", folder, on_ended=lambda _: None)
