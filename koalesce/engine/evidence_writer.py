"""The one writer of evidence: bounded in size and time, without secrets, and never an error of the run."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from koalesce.engine.masking import Masks
from koalesce.errors import KoalesceError
from koalesce.process import Cancel

_FILE = 2 << 20  # characters of one file
_FOLDER = 128 << 20  # of all
Look = Callable[[], str]


@dataclass(slots=True, kw_only=True)
class EvidenceWriter:
    """The one writer of artifacts below a folder; masks secrets. `problems` says what could not be had."""

    folder: Path
    masks: Masks
    problems: list[str] = field(default_factory=list)
    cancel: Cancel | None = None  # set: the run is to end, and nothing more is looked at
    deadline: float | None = None  # monotonic; what has not begun by then is left out
    written: list[str] = field(default_factory=list)  # files, below the folder
    _left: int = _FOLDER
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, name: str, text: str) -> None:
        """Write one file; an empty text makes none, of a long one head and tail are kept."""
        if not text.strip():
            return
        masked = _cut(self.masks.text(text))
        with self._lock:
            self._left -= len(masked)
            if self._left < 0:
                self.problems.append(f"{name}: left out, as the folder is large already")
                return
        safe = "/".join(_safe(part) for part in name.split("/"))
        path = self.folder / safe
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)  # it may be a link to what others have as well
        path.write_text(masked, encoding="utf-8", errors="replace")
        self.written.append(safe)

    def collect(self, name: str, look: Look) -> None:
        """Write what `look` finds; a failure to find it is noted, not raised."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.problems.append(f"{name}: no time was left")
            return
        if self.cancel is not None and self.cancel.is_set():
            self.problems.append(f"{name}: interrupted")
            return
        try:
            self.write(name, look())
        except KoalesceError as error:
            self.problems.append(f"{name}: {error.message}")
        except Exception as error:  # evidence must not take the run down
            self.problems.append(f"{name}: {type(error).__name__}: {error}")

    def beside(self) -> EvidenceWriter:
        """Another writer into the same folder, which lists its own files and problems, for others to have them as well."""
        return EvidenceWriter(folder=self.folder, masks=self.masks, cancel=self.cancel)

    def take_over(self, folder: Path, names: Sequence[str]) -> None:
        """Have files that lie below another folder as well, by links where that can be; what can't be had is noted, not raised."""
        for name in names:
            try:
                _link_or_copy(folder / name, self.folder / name)
            except OSError as error:
                self.problems.append(f"{name}: {error.strerror}")


def _link_or_copy(there: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(there)
    except OSError:
        shutil.copyfile(there, path)


def _cut(text: str) -> str:
    if len(text) <= _FILE:
        return text
    half = _FILE // 2
    return f"{text[:half]}\n\n… {len(text) - 2 * half} characters left out …\n\n{text[-half:]}"


def _safe(part: str) -> str:
    """A file name without surprises."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-.") or "unnamed"
