"""What nodes and their runtimes ask of the kernel and no command does, tried in namespaces that end with it (see `machine.refusal`).

Filters of containers refuse these even to a root that may mount: Docker's, for one, `pivot_root` and `keyctl`
(https://docs.docker.com/engine/security/seccomp/). Only the standard library is there.
"""

from __future__ import annotations

import errno
import os
import sys

from koalesce.local import syscalls


def main() -> None:
    """Try in a mount namespace of its own whose working directory is a mount; the exit code is 1 if something is refused, which is told."""
    try:
        _try()
    except OSError as error:
        sys.exit(error.strerror)


def _try() -> None:
    syscalls.set_hostname("trial")
    with open("/proc/self/ns/net") as namespace:  # noqa: PTH123 - `pathlib` is slow to load
        syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNET)
    try:
        syscalls.join_session_keyring()
    except OSError as error:
        if error.errno != errno.ENOSYS:  # runtimes do without keyrings where there are none
            raise
    os.mkdir("old")  # noqa: PTH102
    syscalls.pivot_root(".", "./old")
