"""Commands on the nodes of a cluster that others made: by exec in a privileged pod of ours on each, and from there in the node's namespaces.

`koalesce kubeconfig exec KUBECONFIG NAMESPACE/NODE -- COMMAND` is what a node's argv prefix says; it is attached to its own streams, and ends with the command's code.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from koalesce.errors import ClusterError
from koalesce.kube import ApiError, Kube
from koalesce.kube.errors import ExecTimeout

CONTAINER = "node"
OWN_FOLDER = "/koalesce"  # of the container, for programs of ours
PROBE = f"{OWN_FOLDER}/koalesce-probe"
FAILED = 255  # as ssh(1) ends where no command of the machine's has ended
_FOREVER = 10.0**6
_GRACE = 1.5  # seconds for ending a command of which we are told to end: whoever runs us kills us after two
# An image without nsenter will do where the node has it.
# Where a node that we made has the probe. Here it is in our container: it's opened there, and begun on the node by its descriptor.
_PROGRAM = "/opt/koalesce/bin/koalesce-probe"
_ENTER = f"""\
export KOALESCE_EXEC="$0" HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ "$1" = {_PROGRAM} ]; then shift; exec 9<{PROBE}; set -- /proc/self/fd/9 "$@"; fi
set -- nsenter -t 1 -m -u -i -n -- "$@"
command -v nsenter >/dev/null || set -- chroot /proc/1/root "$@"
exec "$@"
"""
# Whatever a command has begun has its mark in its environment.
_END = """\
for signal in TERM KILL; do
  for file in /proc/[0-9]*/environ; do
    if grep -qs "KOALESCE_EXEC=$0" "$file"; then pid=${file#/proc/}; kill -$signal "${pid%/environ}" 2>/dev/null; found=1; fi
  done
  [ "$found" ] || exit 0
  found=; sleep 0.3
done
"""


def prefix(kubeconfig: Path, namespace: str, node: str) -> list[str]:
    """The argv prefix that runs a command on a node, by the pods in this namespace."""
    return [sys.executable, "-m", "koalesce", "kubeconfig", "exec", str(kubeconfig), f"{namespace}/{node}", "--"]


def words_of(command: Sequence[str], mark: str) -> list[str]:
    """What runs a command on the node, in the container; all that it begins has the mark."""
    return ["sh", "-c", _ENTER, mark, *command]


def run(kube: Kube, namespace: str, node: str, command: Sequence[str]) -> int:
    """Run a command on a node, attached to our own standard streams; its exit code, 255 and a line on standard error where there is none.

    When we are told to end (SIGTERM, SIGINT, SIGHUP), the command and all that it has begun is ended first.
    """
    mark = secrets.token_hex(8)
    cancel = threading.Event()
    with _told_to_end(cancel), _streams() as (stdin, stdout, stderr, size):
        try:
            return kube.exec(
                node, words_of(command, mark), namespace=namespace, container=CONTAINER,
                stdin=stdin, stdout=stdout, stderr=stderr, size=size, timeout=_FOREVER, cancel=cancel,
            ).code  # fmt: skip
        except ExecTimeout:
            end(kube, namespace, node, mark)
            return 128 + signal.SIGTERM
        except ApiError as error:
            problem = f"{node} takes no commands: {error.message}"
        except ClusterError as error:
            problem = f"the command on {node} was cut off: {error.message}"
    sys.stderr.write(f"koalesce: {problem}\n")
    return FAILED


def end(kube: Kube, namespace: str, node: str, mark: str) -> None:
    """End what has this mark; as far as that can be done in time: the rest ends with the pod."""
    with contextlib.suppress(ClusterError):
        kube.exec(node, ["sh", "-c", _END, mark], namespace=namespace, container=CONTAINER, timeout=_GRACE)


@contextlib.contextmanager
def _told_to_end(cancel: threading.Event) -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: cancel.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_Streams = tuple[BinaryIO | None, BinaryIO, BinaryIO, Callable[[], tuple[int, int]] | None]


@contextlib.contextmanager
def _streams() -> Iterator[_Streams]:
    """Our streams without buffers; none for standard input that is nothing, and the size of our terminal where it is one."""
    with _unbuffered(0, "rb") as stdin, _unbuffered(1, "wb") as stdout, _unbuffered(2, "wb") as stderr:
        if stdin.isatty() and stdout.isatty():
            with _raw(0):
                yield stdin, stdout, stderr, lambda: (lambda size: (size.columns, size.lines))(os.get_terminal_size(0))
        else:
            yield (None if _is_nothing(0) else stdin), stdout, stderr, None


def _unbuffered(number: int, mode: str) -> BinaryIO:
    return open(number, mode, buffering=0, closefd=False)  # type: ignore[return-value]


def _is_nothing(number: int) -> bool:
    return os.path.samestat(os.fstat(number), os.stat(os.devnull))  # noqa: PTH116 - of a descriptor, as the other one


@contextlib.contextmanager
def _raw(number: int) -> Iterator[None]:
    before = termios.tcgetattr(number)
    tty.setraw(number, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
