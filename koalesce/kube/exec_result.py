"""What a command in a pod left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """Exit code and output of a command that ended. `truncated`: one of the streams was longer than its cap; its middle is left out."""

    command: tuple[str, ...]
    code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    truncated: bool = False

    @property
    def out(self) -> str:
        """Standard output as text; bytes that are no UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")
