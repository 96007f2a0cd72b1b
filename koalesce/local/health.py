"""What this machine has for local clusters, what it lacks, and what will be otherwise on it: each with what to do."""

from __future__ import annotations

import datetime
import errno
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from koalesce.errors import ProvisionError
from koalesce.local import cgroups, machine, outside
from koalesce.local.sysctls import NEEDED, settings
from koalesce.records import dataclass

State = Literal["good", "noted", "lacking"]
_MORE_TIME = "where the machine is only slow, give it more time: cluster.providers: {local: {timeout: 10m}}"
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
_ALL_USERS = ["0", "0", "4294967295"]  # the map of the first user namespace, user_namespaces(7)
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
_ELSEWHERE = "use another cluster provider on this machine"
_PRIVILEGED = "in a container, run it as a privileged one"
_LEAST_MEMORY = 2 * 2**20  # KiB: three nodes take some 1.4 GiB
_NOT_BEFORE = 2025  # a clock before that has never been set


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `lacking`: no local cluster can be made; `noted`: one can, and this is what differs."""

    name: str
    state: State
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.hint})" if self.hint else self.text


def essentials(folder: Path, root: Path = Path("/")) -> list[Finding]:
    """What a cluster below `folder` can't be made without, as the machine's file system (at `root`) and kernel tell it."""
    if platform.system() != "Linux":
        return [Finding("system", "lacking", "local clusters need Linux", _ELSEWHERE)]
    system = Finding("system", "good", f"Linux {platform.release()}, {platform.machine()}")
    if os.geteuid() != 0:
        text = "local clusters need root: their nodes are namespaces, mounts and network links"
        return [system, Finding("root", "lacking", text, "run koalesce with sudo")]
    return [system, _root(root), _namespaces(root), _overlay(root), _clock(), _room(folder)]


def circumstances(folder: Path, root: Path = Path("/")) -> list[Finding]:
    """What is otherwise on this machine; only where `essentials` lack nothing."""
    worries = [*machine.outdated(machine.KERNELS, root), *machine.worries(folder, root)]
    return [
        *(Finding(each.name, "noted", each.text, each.hint) for each in worries),
        *_container(root),
        *_confinement(root),
        _memory(root),
        _watches(root),
        _layers(folder),
        _ipv6(root),
        *_claimed(root),
        *_filters(),
    ]


def obstacles(folder: Path, root: Path = Path("/")) -> list[Finding]:
    """What a cluster below `folder` can't be made for. Where a filter may be in the way, that is found out by trying."""
    found = [finding for finding in essentials(folder, root) if finding.state == "lacking"]
    if not found and any(_filters_of_calls(root)):
        found = [finding for finding in trials(root) if finding.state == "lacking"]
    return found


def trials(root: Path = Path("/")) -> list[Finding]:
    """What can only be told by trying, where nothing that is known of speaks against it."""
    if refused := cgroups.refusal(cgroups.detect()):
        return [Finding("cgroups", "lacking", refused.message, refused.hint or "")]
    if why := machine.refusal():
        text = f"root is refused what nodes are made of (namespaces, mounts, devices, links): {why}"
        hints = [f"{finding.text.partition(',')[0]}: {finding.hint}" for finding in _filters_of_calls(root)]
        hint = "; ".join(hints) or f"AppArmor, seccomp or a container stand in the way: {_PRIVILEGED}"
        return [Finding("mounts", "lacking", text, hint)]
    return [Finding("mounts", "good", "namespaces, mounts, devices and links can be made")]


def suspect(said: str, root: Path = Path("/")) -> str:
    """What of this machine may have kept a cluster from being made, of which `said` is told, with what to do; empty if nothing is known of."""
    found = [finding for finding in trials(root) if finding.state == "lacking"]
    if any(os.strerror(refusal) in said for refusal in (errno.EPERM, errno.EACCES)):
        found += _confinement(root)
    if found:
        return str(found[0])
    from koalesce.local.api import WAITED  # which those who only look at a machine don't need

    return _MORE_TIME if said.startswith(WAITED) else ""


def _root(root: Path) -> Finding:
    status = _status(root)
    held = int(status.get("CapEff", "0"), 16)
    if missing := [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]:
        return Finding("root", "lacking", f"root lacks {', '.join(missing)} here", _PRIVILEGED)
    if _line(root / "proc/self/uid_map").split() not in ([], _ALL_USERS):
        text = "root is only that of a user namespace here, and may make no devices"
        return Finding(
            "root",
            "lacking",
            text,
            "run koalesce as the machine's own root; in a container, as a privileged one that isn't rootless",
        )
    return Finding("root", "good", "root, with the capabilities that it needs")


def _namespaces(root: Path) -> Finding:
    if missing := [kind for kind in _NAMESPACES if not (root / "proc/self/ns" / kind).exists()]:
        return Finding(
            "namespaces", "lacking", f"the kernel has no namespaces of kind {', '.join(missing)}", _ELSEWHERE
        )
    return Finding("namespaces", "good", f"namespaces of kind {', '.join(_NAMESPACES)}")


def _overlay(root: Path) -> Finding:
    modules = root / "lib/modules" / os.uname().release / "modules.dep"
    is_loaded = "overlay" in (root / "proc/filesystems").read_text().split()
    if is_loaded or (modules.exists() and "/overlay.ko" in modules.read_text()):  # then the first mount loads it
        return Finding("overlayfs", "good", "overlay file systems")
    return Finding("overlayfs", "lacking", "the kernel has no overlay file system (CONFIG_OVERLAY_FS)", _ELSEWHERE)


def _clock() -> Finding:
    now = datetime.datetime.now(datetime.UTC)
    if now.year < _NOT_BEFORE:
        return Finding("clock", "lacking", f"the clock says {now:%Y-%m-%d}: certificates would not be valid", "set it")
    return Finding("clock", "good", f"the clock says {now:%Y-%m-%d %H:%M} UTC")


def _room(folder: Path) -> Finding:
    """What those who make the nodes find missing: commands, cgroups, room on the disk."""
    try:
        layout = machine.check(folder)
    except ProvisionError as error:
        return Finding("nodes", "lacking", error.message, error.hint or "")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    return Finding("nodes", "good", f"cgroup v{layout.version}; {free:.1f} GiB free below {existing}")


def _claimed(root: Path) -> Iterator[Finding]:
    if others := outside.claimed(outside.routes(root)):
        yield Finding("routes", "noted", outside.out_of_reach(others), outside.OTHER_ADDRESSES)


def _filters() -> Iterator[Finding]:
    if chains := outside.filters():
        text = f"this machine forwards nothing but what it's told to ({', '.join(map(str, chains))}); clusters with egress: host get nowhere"
        yield Finding("firewall", "noted", text, outside.REMEDY)


def _container(root: Path) -> Iterator[Finding]:
    marks = ("run/.containerenv", ".dockerenv")
    if "container=" in _line(root / "proc/1/environ") or any((root / mark).exists() for mark in marks):
        text = "this is a container: clusters share its limits of processor, memory and processes"
        yield Finding(
            "container", "noted", text, "where something is refused that root may do, start it as a privileged one"
        )


def _confinement(root: Path) -> Iterator[Finding]:
    yield from _filters_of_calls(root)
    if _line(root / "sys/fs/selinux/enforce") == "1":
        text = "SELinux is enforcing; files of nodes and pods get no labels of their own"
        yield Finding("selinux", "noted", text, "if pods are refused their files, try with `setenforce 0`")


def _filters_of_calls(root: Path) -> Iterator[Finding]:
    if _status(root).get("Seccomp") == "2":
        text = "a seccomp filter is on, which may refuse system calls that nodes make (mount, unshare, keyctl)"
        yield Finding("seccomp", "noted", text, "in a container, run it without one: --security-opt seccomp=unconfined")
    said = _line(root / "proc/self/attr/current")
    if said.endswith("(enforce)"):
        text = f"the AppArmor profile {said.split()[0]} is enforced, which may refuse mounts"
        yield Finding(
            "apparmor", "noted", text, "in a container, run it without one: --security-opt apparmor=unconfined"
        )


def _memory(root: Path) -> Finding:
    fields = dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0])
    if free < _LEAST_MEMORY:
        text = f"{free / 2**20:.1f} GiB of memory are available; three nodes take 1.4 GiB, and pods come on top"
        return Finding("memory", "noted", text, "use fewer nodes, or end what else runs")
    return Finding("memory", "good", f"{free / 2**20:.1f} GiB of memory are available")


def _watches(root: Path) -> Finding:
    paths = {name: root / "proc/sys" / name for name in NEEDED}
    low = [name for name, path in paths.items() if int(path.read_text()) < NEEDED[name]]
    if fixed := [name for name in low if not os.access(paths[name], os.W_OK)]:
        text = f"inotify limits are low and can't be raised from here ({', '.join(name.rpartition('/')[2] for name in low)}); more than a node or two will run into them"
        return Finding("inotify", "noted", text, f"on the machine itself: sysctl -w {settings(fixed, NEEDED)}")
    if low:
        return Finding("inotify", "good", "inotify limits are low; they are raised while clusters are up, and put back")
    return Finding("inotify", "good", "inotify limits are high enough")


def _layers(folder: Path) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if machine.takes_overlays(existing):
        return Finding("layers", "good", f"images can be unpacked below {existing}")
    text = f"{existing} is an overlay itself (or a network file system): what nodes write goes to memory instead"
    return Finding("layers", "noted", text, "set KOALESCE_STATE_DIR to a folder on ext4, xfs or tmpfs")


def has_ipv6(root: Path = Path("/")) -> bool:
    """Whether the kernel has IPv6, and it isn't switched off."""
    return (root / "proc/net/if_inet6").exists()


def _ipv6(root: Path) -> Finding:
    if has_ipv6(root):
        return Finding("ipv6", "good", "IPv6")
    return Finding(
        "ipv6", "noted", "the kernel has no IPv6, or it is switched off: no dual stack", "boot without ipv6.disable=1"
    )


def _status(root: Path) -> dict[str, str]:
    lines = (root / "proc/self/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
