"""What this machine must have before a local cluster can be made on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.local import cgroups, syscalls
from koalesce.local.cgroups import Layout

_COMMANDS = {"ip": "iproute2", "nsenter": "util-linux"}
_LEAST_FREE = 512 * 1024 * 1024


def check(folder: Path) -> Layout:
    """Check everything that a cluster below `folder` needs; ProvisionError names the first thing that is missing."""
    if os.uname().sysname != "Linux":
        raise ProvisionError("a local cluster needs Linux", hint="use another cluster provider")
    if os.geteuid() != 0:
        raise ProvisionError(
            "a local cluster needs root: its nodes are namespaces, mounts and cgroups",
            hint="run as root (sudo -E koalesce …) or use another cluster provider",
        )
    for command, package in _COMMANDS.items():
        if shutil.which(command) is None:
            raise ProvisionError(f"the command {command} is missing on this machine", hint=f"install {package}")
    if not Path("/dev/kmsg").exists():
        raise ProvisionError("/dev/kmsg is missing, which kubelets read", hint="run in a privileged container or a VM")
    layout = cgroups.detect()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < _LEAST_FREE:
        raise ProvisionError(
            f"{existing} has only {free // 2**20} MiB left; a local cluster needs {_LEAST_FREE // 2**20} MiB",
            hint="free some space, or set KOALESCE_STATE_DIR to a larger disk",
        )
    return layout


def takes_overlays(folder: Path) -> bool:
    """Whether overlays can be written to below `folder` (on another overlay they can't); tried in a process of its own."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".overlay-") as trial:
        child = os.fork()
        if child == 0:
            os._exit(_try_overlay(Path(trial)))
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def _try_overlay(trial: Path) -> int:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        lower, upper, work, merged = (trial / name for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        syscalls.mount("overlay", str(merged), "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
        (merged / "file").write_text("")
        syscalls.unmount(str(merged))
    except OSError:
        return 1
    return 0
