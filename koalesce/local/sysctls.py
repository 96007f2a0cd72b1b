"""Settings of the whole machine that clusters need raised: changed for the first, put back after the last.

What they were is kept in /run/koalesce, which ends with the machine's uptime as the settings do, and is shared by all users.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from koalesce.local.ledger import Process

FOLDER = Path("/run/koalesce")
# Three nodes with pods are beyond the usual 128 inotify instances (each kubelet, containerd and watched file needs some).
NEEDED = {"fs/inotify/max_user_instances": 8192, "fs/inotify/max_user_watches": 1048576}
FORWARDING = {"net/ipv4/ip_forward": 1}


def settings(names: Iterable[str], values: Mapping[str, int]) -> str:
    """Settings as sysctl(8) takes them."""
    return " ".join(f"{name.replace('/', '.')}={values[name]}" for name in names)


class SharedSettings:
    """Settings with their former values and the clusters that need them, told by their folders: names are each user's own."""

    def __init__(self, folder: Path = FOLDER, proc: Path = Path("/proc/sys")) -> None:
        self._folder = folder
        self._proc = proc
        self._file = folder / "sysctls.json"

    def raise_for(self, holder: Path, process: Process, needed: Mapping[str, int]) -> list[str]:
        """Raise each setting to at least the value that is needed, on behalf of a cluster whose supervisor is `process`.

        Returns those that can't be, as where /proc/sys is read-only: they are lower than needed.
        """
        refused = []
        with self._changing() as settings:
            for name, value in needed.items():
                path = self._proc / name
                current = int(path.read_text())
                known = settings.get(name)
                if known is None and current >= value:
                    continue
                known = settings.setdefault(name, {"before": current, "holders": {}})
                known["holders"][str(holder)] = [process.pid, process.start]
                if current < value:
                    known["set"] = value
                self._save(settings)
                if current < value:
                    try:
                        path.write_text(str(value))
                    except OSError:
                        refused.append(name)
        return refused

    def release(self, holder: Path) -> None:
        """Put back what this cluster needed and no living one needs any more; what somebody else has changed meanwhile is left alone."""
        if not self._file.exists():
            return
        with self._changing() as settings:
            for name, known in list(settings.items()):
                if known["holders"].pop(str(holder), None) is None:
                    continue
                living = any(Process(*process).is_alive for process in known["holders"].values())
                if not living and self._is_restored(name, known):
                    del settings[name]

    def _is_restored(self, name: str, known: Mapping[str, Any]) -> bool:
        """Put a setting back; whether that was possible, or was not needed."""
        path = self._proc / name
        try:
            if int(path.read_text()) == known.get("set"):
                path.write_text(str(known["before"]))
        except (OSError, ValueError):
            return False
        return True

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        descriptor = self._locked()
        try:
            settings: dict[str, Any] = json.loads(self._file.read_text()) if self._file.exists() else {}
            yield settings
            self._save(settings)
            if not settings:
                with contextlib.suppress(OSError):
                    self._folder.rmdir()
        finally:
            os.close(descriptor)

    def _locked(self) -> int:
        """A descriptor of the folder with its lock; whoever had the lock before may have removed the folder."""
        while True:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if self._folder.exists() and os.path.samestat(os.fstat(descriptor), self._folder.stat()):
                    return descriptor
                os.close(descriptor)

    def _save(self, settings: Mapping[str, Any]) -> None:
        if settings:
            temporary = self._file.with_suffix(".new")
            temporary.write_text(json.dumps(settings))
            temporary.replace(self._file)
        else:
            self._file.unlink(missing_ok=True)
