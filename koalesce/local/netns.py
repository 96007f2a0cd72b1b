"""Network namespaces: entering them for the length of a block, and setting up links in them with ip(8)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from koalesce.errors import ProvisionError
from koalesce.local import syscalls
from koalesce.records import dataclass


@dataclass(frozen=True, slots=True)
class NetNamespace:
    """A network namespace, held by an open descriptor."""

    descriptor: int

    @classmethod
    def of_process(cls, pid: int | str) -> NetNamespace:
        """The namespace of a process; `self` is the calling thread's."""
        path = "/proc/thread-self/ns/net" if pid == "self" else f"/proc/{pid}/ns/net"
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    @property
    def path(self) -> str:
        """A path that stands for it, for as long as it is held."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is in it."""
        return os.path.samestat(os.fstat(self.descriptor), os.stat("/proc/thread-self/ns/net"))  # noqa: PTH116

    def enter(self) -> None:
        """Move the calling thread here for good."""
        syscalls.setns(self.descriptor, syscalls.CLONE_NEWNET)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread, and what it starts, is in this namespace until the block ends."""
        back = NetNamespace.of_process("self")
        try:
            self.enter()
            yield
        finally:
            back.enter()
            back.close()

    def close(self) -> None:
        """Let it go; it lasts as long as a process is in it."""
        os.close(self.descriptor)


def ip(*lines: str) -> None:
    """Carry out lines as `ip -batch` does, in the calling thread's namespace; ProvisionError shows the first that fails."""
    _run(["ip", "-batch", "-"], "\n".join(lines) + "\n")


def command(words: Sequence[str], text: str = "") -> str:
    """Run a command in the calling thread's namespace and return its output."""
    return _run(words, text)


def environment() -> dict[str, str]:
    """Our environment, in which the commands of administrators are found, whoever's PATH we were started with."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}


def _run(words: Sequence[str], text: str) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=20, check=False, env=environment())
    if done.returncode:
        raise ProvisionError(
            f"{' '.join(words)}: {done.stderr.strip() or f'exit code {done.returncode}'}\n{text}".strip()
        )
    return done.stdout


def new() -> None:
    """Move the calling thread (call it before others exist: then the whole process) to a new namespace, with `lo` up."""
    syscalls.unshare(syscalls.CLONE_NEWNET)
    ip("link set lo up")
