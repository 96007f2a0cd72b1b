"""Where results are kept: small files, whole or not there, of which those that nobody has used for a while go.

As `go test` does it, a result is found in two steps. What is known before a spec runs leads to what it has read when it last passed; that,
with what is in it now, leads to the result.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.assets import cache_dir
from koalesce.events import AnyEvent, from_json, to_json

MOST_BYTES = 256 << 20
MOST_FILES = 4000
KEPT_UNUSED = 7 * 86400.0  # seconds
_FORMAT = 1
_DRAFT = ".draft-"

Name = tuple[str, ...]  # of something that a result depends on
Digest = Callable[[Name], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a spec that passed: its events, and when that was (RFC 3339)."""

    at: str
    events: tuple[AnyEvent, ...]


class Results:
    """The results in a folder. Nothing that is wrong with it is an error: what can't be read isn't there."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_dir() / "results"

    def find(self, known: str, digest: Digest) -> Result | None:
        """The result of a spec by what is known before it runs, where all that it had read is the same now."""
        names = self._read(f"{known}.inputs")
        try:
            found = (
                self._read(f"{_key(known, [tuple(name) for name in names['inputs']], digest)}.result")
                if names
                else None
            )
            if found is None:
                return None
            return Result(at=str(found["at"]), events=tuple(from_json(line) for line in found["events"]))
        except (LookupError, TypeError, ValueError):
            return None

    def keep(self, known: str, names: Sequence[Name], digest: Digest, result: Result) -> None:
        """Keep a result; OSError where that can't be done."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(
            f"{_key(known, names, digest)}.result",
            {"at": result.at, "events": [to_json(event) for event in result.events]},
        )
        self._write(f"{known}.inputs", {"inputs": sorted(names)})
        self._prune()

    def clear(self) -> int:
        """Remove all of them; how many results there were. OSError where that can't be done."""
        count = len(list(self.folder.glob("*.result")))
        if self.folder.exists():
            shutil.rmtree(self.folder)
        return count

    def _read(self, name: str) -> dict[str, Any] | None:
        """What a file holds, which counts as used from now on; None if it isn't there, or is damaged."""
        path = self.folder / name
        try:
            found = json.loads(gzip.decompress(path.read_bytes()))
            os.utime(path)
        except (OSError, EOFError, ValueError, zlib.error):
            return None
        return found if isinstance(found, dict) and found.get("format") == _FORMAT else None

    def _write(self, name: str, content: dict[str, Any]) -> None:
        descriptor, draft = tempfile.mkstemp(prefix=_DRAFT, dir=self.folder)  # for its owner alone
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(gzip.compress(json.dumps({"format": _FORMAT, **content}).encode()))
            Path(draft).replace(self.folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(draft).unlink()
            raise

    def _prune(self) -> None:
        """Remove what nobody has used for a while, and what is more than there is room for."""
        states: list[tuple[float, int, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # another run removes it, too
                states.append((path.stat().st_mtime, path.stat().st_size, path))
        oldest, size = time.time() - KEPT_UNUSED, 0
        for number, (used, bytes_, path) in enumerate(sorted(states, reverse=True)):
            size += bytes_
            if used < oldest or size > MOST_BYTES or number >= MOST_FILES:
                path.unlink(missing_ok=True)


def _key(known: str, names: Sequence[Name], digest: Digest) -> str:
    inputs = [[*name, digest(name)] for name in sorted(names)]
    return hashlib.sha256(json.dumps([known, inputs]).encode()).hexdigest()
