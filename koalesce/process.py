"""Commands: lists of words, run in a session of their own, with a deadline, a way to cancel, and caps on their output."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from koalesce.errors import KoalesceError
from koalesce.records import dataclass

if TYPE_CHECKING:  # what runs commands is imported where one is run: steps know of their errors alone when they're read
    import selectors
    import subprocess

_LAST_READS = 64  # a pipe holds a few of them
DEFAULT_CAP = 4 * 1024 * 1024
_GRACE = 2.0


class Cancel(Protocol):
    """What `threading.Event` offers of itself: asked often, from the thread that waits."""

    def is_set(self) -> bool:
        """Whether to stop now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a finished command left: exit code (negative: the signal that ended it), output as bytes, seconds."""

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

    def check(self) -> Result:
        """Return itself, or raise CommandError where the code isn't 0."""
        if self.code:
            raise CommandError(self)
        return self


class CommandError(KoalesceError):
    """A command ended with a code other than 0; shows command, code and output."""

    def __init__(self, result: Result, *, hint: str | None = None) -> None:
        output = (result.err.strip() or result.out.strip())[-2000:]
        super().__init__(
            f"{shlex.join(result.command)}: exit code {result.code}" + (f"\n{_indent(output)}" if output else ""),
            hint=hint,
        )
        self.result = result


class CommandTimeout(KoalesceError):
    """A command was still running at its deadline (or was cancelled) and was ended."""

    def __init__(
        self, command: Sequence[str], seconds: float, *, cancelled: bool, stdout: bytes, stderr: bytes
    ) -> None:
        why = "cancelled" if cancelled else "still running"
        super().__init__(f"{shlex.join(command)}: {why} after {seconds:.1f}s")
        self.cancelled = cancelled
        self.stdout = stdout
        self.stderr = stderr


class CommandMissing(KoalesceError):
    """The program isn't there, or can't be run."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: bytes | BinaryIO | None = None,
    stdout: BinaryIO | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
    cap: int = DEFAULT_CAP,
    on_line: Callable[[str, str], None] | None = None,
    dies_with_us: bool = False,
) -> Result:
    """Run a command to its end and return what it left; the code is not checked (see `Result.check`).

    `timeout` in seconds; at the deadline, or once `cancel` is set, the whole process group gets SIGTERM, then SIGKILL, and
    CommandTimeout is raised. Each stream keeps at most `cap` bytes (head). `on_line` gets ("stdout" | "stderr", line) as
    they come. `stdin` and `stdout` may be open files, which then are the command's own: of any size, none of it in memory. `env` replaces the environment as a whole. `dies_with_us`: it ends even where we are killed and can't end it.
    """
    import logging
    import subprocess

    words = [str(word) for word in command]
    logging.getLogger(__name__).debug("run: %s", shlex.join(words))
    started = time.monotonic()
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE if isinstance(stdin, bytes) else stdin,
            stdout=stdout or subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    except OSError as error:
        raise CommandMissing(f"can't run {words[0]}: {error.strerror}") from error
    deadline = None if timeout is None else started + timeout
    with process, _guard(process.pid) if dies_with_us else contextlib.nullcontext():
        try:
            out, err, ended = _pump(
                process, stdin if isinstance(stdin, bytes) else None, deadline, cancel, cap, on_line
            )
        except BaseException:
            _end(process)
            raise
    seconds = time.monotonic() - started
    if not ended:
        cancelled = bool(cancel and cancel.is_set())
        raise CommandTimeout(words, seconds, cancelled=cancelled, stdout=bytes(out.kept), stderr=bytes(err.kept))
    return Result(
        command=tuple(words),
        code=process.returncode,
        stdout=bytes(out.kept),
        stderr=bytes(err.kept),
        seconds=seconds,
        truncated=out.cut or err.cut,
    )


@contextlib.contextmanager
def _guard(group: int) -> Iterator[None]:
    """A process that ends a process group when we are killed: then its standard input ends without a line on it."""
    import subprocess

    waits = ["sh", "-c", 'read -r _ || kill -s KILL -- "-$1"', "sh", str(group)]
    guard = subprocess.Popen(
        waits, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"over\n")


class _Stream:
    """Keeps the head of a stream up to the cap, and hands whole lines on."""

    def __init__(self, name: str, cap: int, on_line: Callable[[str, str], None] | None) -> None:
        self.name = name
        self.kept = bytearray()
        self.cut = False
        self._cap = cap
        self._on_line = on_line
        self._partial = bytearray()

    def feed(self, data: bytes) -> None:
        room = self._cap - len(self.kept)
        self.kept += data[:room]
        self.cut = self.cut or len(data) > room
        if self._on_line is None:
            return
        self._partial += data
        *lines, rest = self._partial.split(b"\n")
        self._partial = bytearray(rest)
        for line in lines:
            self._on_line(self.name, line.decode("utf-8", "replace"))

    def close(self) -> None:
        if self._on_line and self._partial:
            self._on_line(self.name, self._partial.decode("utf-8", "replace"))
            self._partial.clear()


def _pump(
    process: subprocess.Popen[bytes],
    stdin: bytes | None,
    deadline: float | None,
    cancel: Cancel | None,
    cap: int,
    on_line: Callable[[str, str], None] | None,
) -> tuple[_Stream, _Stream, bool]:
    """Feed and drain the process until it ends and closes its streams, or until it is ended by us (third value False)."""
    import selectors
    import subprocess

    out, err = _Stream("stdout", cap, on_line), _Stream("stderr", cap, on_line)
    rest = memoryview(stdin or b"")
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, out), (process.stderr, err)):
            if stream is not None:  # it's a pipe, not a file
                selector.register(stream, selectors.EVENT_READ, kept)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, None)
        while selector.get_map():
            if (deadline is not None and time.monotonic() >= deadline) or (cancel is not None and cancel.is_set()):
                _end(process)
                _drain(selector)
                return out, err, False
            # A grandchild may hold the pipes open after the command itself has ended: give it a moment, no more.
            ended = process.poll() is not None
            wait = 0.05 if cancel is not None or ended else 0.5
            ready = selector.select(wait if deadline is None else max(0.0, min(wait, deadline - time.monotonic())))
            if not ready and ended:
                break
            for key, _ in ready:
                if key.data is None:
                    rest = _write(selector, process, rest)
                elif data := os.read(key.fd, 65536):
                    key.data.feed(data)
                else:
                    selector.unregister(key.fileobj)
    out.close()
    err.close()
    while process.poll() is None:
        if (deadline is not None and time.monotonic() >= deadline) or (cancel is not None and cancel.is_set()):
            _end(process)
            return out, err, False
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    return out, err, True


def _drain(selector: selectors.BaseSelector) -> None:
    """Take what an ended process had still written; a grandchild that goes on writing isn't waited for."""
    for _ in range(_LAST_READS):
        ready = [key for key, _ in selector.select(0) if key.data is not None]
        if not ready:
            return
        for key in ready:
            if data := os.read(key.fd, 65536):
                key.data.feed(data)
            else:
                selector.unregister(key.fileobj)


def _write(selector: selectors.BaseSelector, process: subprocess.Popen[bytes], rest: memoryview) -> memoryview:
    assert process.stdin is not None  # noqa: S101 - registered only then
    try:
        rest = rest[os.write(process.stdin.fileno(), rest[:65536]) :] if rest else rest
    except BrokenPipeError:
        rest = memoryview(b"")
    if not rest:
        selector.unregister(process.stdin)
        process.stdin.close()
    return rest


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all of its session: SIGTERM, a grace, SIGKILL."""
    import subprocess

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            if number is signal.SIGKILL:
                return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _indent(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
