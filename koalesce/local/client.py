"""Starts and ends local clusters from outside: what `koalesce local up` and `down` do for Terraform."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import koalesce
from koalesce.assets import cache_dir
from koalesce.errors import ProvisionError
from koalesce.local import machine, request, teardown
from koalesce.local.ledger import Ledger
from koalesce.local.request import LocalRequest


def up(text: str, *, ledger: Ledger | None = None, progress: Callable[[str], None]) -> None:
    """Make the cluster that a request (JSON) asks for, and return when it is up; it lives on under its supervisor.

    KoalesceError says why it can't be made; then nothing of it is left.
    """
    wanted = request.parse(text)
    ledger = ledger or Ledger()
    machine.check(wanted.state_dir)
    ledger.unsupervised(wanted.name)
    tools, store = _tools(wanted, progress)
    reader, writer = os.pipe()
    handed = {
        "request": json.loads(text),
        "tools": tools,
        "store": str(store),
        "ledger": str(ledger.folder),
        "seeds": str(cache_dir() / "datastore"),
    }
    _spawn(writer, json.dumps(handed), ledger.log(wanted.name))
    os.close(writer)
    _follow(reader, progress, ledger.log(wanted.name))


def down(name: str, *, ledger: Ledger | None = None) -> None:
    """Remove a cluster; without one of this name all is well. TeardownError says what is left of it."""
    teardown.down(ledger or Ledger(), name)


def note(name: str, *, ledger: Ledger | None = None, wait: bool = False) -> None:
    """Have a cluster's supervisor note the state that a reset goes back to: as it is now.

    `wait` until it is noted; ProvisionError if it isn't. Of a cluster whose state was noted before nothing is awaited.
    """
    entry = (ledger or Ledger()).find(name)
    if entry is not None and entry.supervisor is not None and entry.supervisor.is_alive:
        os.kill(entry.supervisor.pid, signal.SIGUSR1)
        if wait:
            from koalesce.local import firststate  # which those who only start clusters don't need

            firststate.await_noted(Path(entry.folder))


def _tools(wanted: LocalRequest, progress: Callable[[str], None]) -> tuple[Mapping[str, Any], Path]:
    """The tools as JSON, and the image store's folder."""
    if wanted.tools and wanted.image_store:
        return wanted.tools, wanted.image_store
    from koalesce.toolchain import Toolchain  # imported here: it takes longer than what is left to do without it

    toolchain = Toolchain(progress=progress)
    store = wanted.image_store or toolchain.images.root
    if wanted.tools:
        return wanted.tools, store
    found = asdict(
        toolchain.local_cluster(
            wanted.kubernetes,
            dns=wanted.dns,
            static=wanted.static,
            addons=wanted.addons,
            routers=wanted.routers,
            resolver=bool(wanted.resolvers),
        )
    )
    values = {key: str(value) if isinstance(value, Path) else value for key, value in found.items()}
    return {**values, "system": [str(path) for path in found["system"]]}, store


def _spawn(status: int, handed: str, log_file: Path) -> None:
    """Start the supervisor in a session of its own, with no descriptor of ours but the status pipe."""
    log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = Path(koalesce.__file__).resolve().parent.parent
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "koalesce.local.supervisor", str(status)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[status],
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(root)},
        )
    assert process.stdin is not None  # noqa: S101 - PIPE was asked for
    try:
        process.stdin.write(handed.encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it ended at once; what it said is read next
    process.wait()  # it goes on in a child of its own, which is nobody's


def _follow(status: int, progress: Callable[[str], None], log: Path) -> None:
    with os.fdopen(status) as lines:
        for line in lines:
            message = json.loads(line)
            if message.get("ready"):
                return
            if text := message.get("line"):
                progress(text)
            elif "error" in message:
                raise ProvisionError(message["error"], hint=message.get("hint"))
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    raise ProvisionError(f"the cluster's supervisor ended without a word\n{tail}".rstrip())
