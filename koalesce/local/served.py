"""Which images a cluster's nodes were given, by tag: a file in the cluster's folder, a line for each."""

from __future__ import annotations

import json
import threading
from pathlib import Path

_FILE = "images.jsonl"


class Served:
    """Notes images as they are served. What is there already isn't noted again."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _FILE
        self._known: set[tuple[str, str]] = set()
        self._is_unknown = False
        self._lock = threading.Lock()
        self._file.touch(mode=0o600)

    def note(self, reference: str, digest: str) -> None:
        """An image was asked for, and had this digest; an empty one where it wasn't to be had."""
        with self._lock:
            if self._is_unknown or (reference, digest) in self._known:
                return
            self._known.add((reference, digest))
            try:
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([reference, digest]) + "\n")
            except OSError:  # a full disk: rather nothing is known than not all of it
                self._is_unknown = True
                self._file.unlink(missing_ok=True)


def read(folder: Path) -> dict[str, str]:
    """The digests of images by reference; an empty one where an image wasn't to be had, or was two different ones.

    OSError or ValueError for a cluster that an earlier version made, and for a file that is damaged.
    """
    found: dict[str, str] = {}
    for line in (folder / _FILE).read_text(encoding="utf-8").splitlines():
        reference, digest = json.loads(line)
        found[reference] = digest if found.get(reference, digest) == digest else ""
    return found
