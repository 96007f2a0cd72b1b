"""What this machine must have before a local cluster can be made on it."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import koalesce
from koalesce.errors import ProvisionError
from koalesce.local import cgroups, netns
from koalesce.local.cgroups import Layout

_COMMANDS = {"ip": "iproute2", "nsenter": "util-linux", "unshare": "util-linux", "mount": "mount"}
_MODULES = ("overlay", "br_netfilter", "nf_conntrack", "ip_vs")
_TRIAL = """
python=$1 root=$2
mount -t tmpfs none /mnt
mkdir /mnt/proc /mnt/sys
mount -t proc none /mnt/proc
mount -t sysfs none /mnt/sys
mount --bind /mnt/proc /mnt/proc
mknod /mnt/tun c 10 200
mkdir /mnt/lower /mnt/lowest /mnt/merged
mount -t overlay -o lowerdir=/mnt/lower:/mnt/lowest overlay /mnt/merged
ip link set lo up
ip link add trial0 type bridge
ip link add trial1 type veth peer name trial2
echo 1 >/proc/sys/net/ipv4/ip_forward
cd /mnt
exec "$python" -I -S -c 'import sys; sys.path.insert(0, sys.argv[1]); from koalesce.local import trial; trial.main()' "$root"
"""
_LEAST_FREE = 512 * 1024 * 1024
_ROOM = 2 * 2**30  # bytes: what three nodes with some images take
_ROOM_FOR_FILES = 100_000
_DAY = 86400.0
_LEAST_FILES = 8192  # a node with some dozens of pods has a thousand or two
_SYS_RESOURCE = 24
# https://kubernetes.io/docs/reference/node/kernel-version-requirements/
KERNELS = {"cgroup v2": (5, 8), "egress: host": (5, 12), "kubeProxy: nftables": (5, 13)}


class Worry(NamedTuple):
    """Something of this machine that may get in a cluster's way later."""

    name: str
    text: str
    hint: str


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
        if shutil.which(command, path=netns.environment()["PATH"]) is None:
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


def worries(folder: Path, root: Path = Path("/")) -> Iterator[Worry]:
    """What may get in the way of a cluster below `folder`, though it can be made: a disk that is nearly full, a clock that is behind, few open files."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    status = os.statvfs(existing)
    free = status.f_bavail * status.f_frsize
    if free < _ROOM:
        text = f"only {free / 2**30:.1f} GiB are free below {existing}; images that nodes unpack, and logs, need some"
        yield Worry("disk", text, "free some space, or set KOALESCE_STATE_DIR to a larger disk")
    elif status.f_files and status.f_favail < _ROOM_FOR_FILES:
        text = f"only {status.f_favail} more files can be made below {existing}; an image has thousands"
        yield Worry("disk", text, "remove some, or set KOALESCE_STATE_DIR to another file system")
    marks = [path for path in (Path(__file__), root / "var/log", root / "run") if path.exists()]
    newest, path = max((path.stat().st_mtime, path) for path in marks)
    if newest - time.time() > _DAY:
        written = time.strftime("%Y-%m-%d", time.gmtime(newest))
        text = f"the clock is behind: {path} is of {written}; what is downloaded over TLS may be refused"
        yield Worry("clock", text, "set it")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _LEAST_FILES and not _may_raise_limits(root):
        text = f"a process may open {most} files at most, an API server or a runtime may need more"
        yield Worry("files", text, f"raise the limit: ulimit -Hn {_LEAST_FILES}")


def outdated(wanted: Collection[str], root: Path = Path("/")) -> Iterator[Worry]:
    """Which of these (of `KERNELS`) take a newer kernel; a distribution's may have them all the same."""
    release = (root / "proc/sys/kernel/osrelease").read_text().strip()
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    needs = [
        f"{what} from {'.'.join(map(str, least))} on"
        for what, least in KERNELS.items()
        if what in wanted and version < least
    ]
    if needs:
        yield Worry("kernel", f"Linux {release} is old: {', '.join(needs)}", "boot a newer one")


def _may_raise_limits(root: Path) -> bool:
    """Whether root may open more files than its limit, as nodes then do."""
    lines = (root / "proc/self/status").read_text().splitlines()
    held = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return bool(held >> _SYS_RESOURCE & 1)


def load_modules() -> None:
    """Load the kernel modules that nodes rely on, where they are modules; what is missing shows later, as a capability.

    br_netfilter, once loaded, filters the bridges of the whole machine until told not to: it is told at once.
    """
    bridges = Path("/proc/sys/net/bridge")
    if bridges.exists() or not (modprobe := shutil.which("modprobe", path=netns.environment()["PATH"])):
        return
    subprocess.run([modprobe, "--all", "--quiet", *_MODULES], capture_output=True, timeout=20, check=False)
    leave_bridges_alone()


def leave_bridges_alone() -> None:
    """Have no packet filter see what crosses a bridge in the calling thread's network namespace."""
    for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
        path.write_text("0")


def set_sysctls(values: Mapping[str, str]) -> None:
    """Set what the calling thread's network namespace has of its own."""
    for name, value in values.items():
        Path("/proc/sys", name).write_text(value)


def refusal() -> str:
    """Why root can't make what nodes are made of, namespaces with mounts, links and settings of their own, found out by trying; empty if it can."""
    script = ["sh", "-ec", _TRIAL, "sh", sys.executable, str(Path(koalesce.__file__).resolve().parent.parent)]
    command = ["unshare", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid", "--fork", *script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=netns.environment())
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return said if done.returncode else ""


def takes_overlays(folder: Path) -> bool:
    """Whether overlays can be made below `folder` (on another overlay they can't); tried in a mount namespace of its own."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".overlay-") as trial:
        lower, upper, work, merged = (Path(trial, name) for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        command = ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
