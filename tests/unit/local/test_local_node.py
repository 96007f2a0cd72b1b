"""What is told of a node whose init ends without a word."""

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
    init = tmp_path / "init"
    waits = "socket.socket(fileno=int(sys.argv[-1])).recv(65536)" if reads else "pass"
    init.write_text(f"#!{sys.executable}\nimport os, signal, socket, sys\n{waits}\n{ends}\n")
    init.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(init))
    node = RunningNode("cp", tmp_path, on_ended=lambda _: None)
    if not reads:
        node._process.wait()

    with pytest.raises(ProvisionError, match=f"^node cp can't be made: {told}$"):
        node.begin({"hostname": "cp"})  # type: ignore[typeddict-item]
    node.wait_ended()
