"""The Linux system calls behind namespaces and mounts, which Python 3.11 has no names for. Importable without anything else."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SHARED = 1 << 20
MNT_DETACH = 2

_PR_SET_PDEATHSIG = 1
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones (unshare(2)); of the calling thread."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare", f"{flags:#x}")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace of this kind that the descriptor stands for (setns(2)); only the calling thread does."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), "setns", str(descriptor))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """Attach a file system, or change what is attached (man 2 mount); OSError names the target."""
    code = _libc.mount(
        source.encode(),
        target.encode(),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(code, "mount", target)


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    """Unmount a file system (umount2(2)), by default lazily."""
    _check(_libc.umount2(target.encode(), ctypes.c_int(flags)), "umount", target)


def pivot_root(root: str, old: str) -> None:
    """Make `root` the root of this mount namespace and put the old one at `old` (pivot_root(2))."""
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), root.encode(), old.encode()), "pivot_root", root)


def join_session_keyring() -> None:
    """Get a new, nameless session keyring (keyctl_join_session_keyring(3)), as container runtimes do for each container."""
    number = _SYS_KEYCTL[os.uname().machine]
    command = ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING)
    _check(_libc.syscall(ctypes.c_long(number), command, ctypes.c_void_p()), "keyctl", "session keyring")


def set_hostname(name: str) -> None:
    """Set the name of this UTS namespace."""
    data = name.encode()
    _check(_libc.sethostname(data, ctypes.c_size_t(len(data))), "sethostname", name)


def die_with_parent(signal: int) -> None:
    """Have the kernel send this signal when the thread that made this process ends (PR_SET_PDEATHSIG in prctl(2))."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl", "PR_SET_PDEATHSIG")


def _check(code: int, call: str, subject: str) -> None:
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}", subject)
