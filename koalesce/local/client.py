"""Starts and ends local clusters from outside: what `koalesce local up` and `down` do for Terraform."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from koalesce.assets import cache_dir
from koalesce.local import detached, machine, request, teardown
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
    handed = {
        "request": json.loads(text),
        "tools": tools,
        "store": str(store),
        "ledger": str(ledger.folder),
        "seeds": str(cache_dir() / "datastore"),
    }
    detached.start("koalesce.local.supervisor", json.dumps(handed), ledger.log(wanted.name), progress)


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
