"""The root of a node: what its mount namespace shows. Runs in the node's init, before and after it becomes the root.

The host's read-only `/usr` below private, minimal everything else; nothing of what is mounted here reaches the host, and all of
it goes with the namespace. Importable without anything but the standard library: the init runs without site packages.
"""

# Paths are strings here, most of them below a root that isn't `/` yet.
# ruff: noqa: PTH101, PTH102, PTH103, PTH106, PTH110, PTH112, PTH120, PTH211, S103, S108
from __future__ import annotations

import contextlib
import os
import stat
from typing import TypedDict

from koalesce.local import syscalls
from koalesce.local.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT

OLD = "/.old"
_FOLDERS = (
    "boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr", "var",
)  # fmt: skip
_DEVICES = {
    "null": (1, 3, 0o666), "zero": (1, 5, 0o666), "full": (1, 7, 0o666), "random": (1, 8, 0o666),
    "urandom": (1, 9, 0o666), "kmsg": (1, 11, 0o600), "tty": (5, 0, 0o666), "fuse": (10, 229, 0o666),
    "net/tun": (10, 200, 0o666),
}  # fmt: skip
_HIDDEN = ("usr/local", "usr/src")


class Bind(TypedDict):
    """A file or folder of the host that the node sees at `target`."""

    source: str
    target: str
    writable: bool


class Overlay(TypedDict):
    """A folder that shows `lower` (the first wins) and keeps what is written in `upper`; without `upper` it is read-only."""

    target: str
    lower: list[str]
    upper: str
    work: str


class CgroupMount(TypedDict):
    """One cgroup hierarchy to mount afresh: its file system, options, place, and other names of it."""

    kind: str
    options: str
    target: str
    links: list[str]


class File(TypedDict):
    """A file to write."""

    path: str
    mode: int
    text: str


class RootPlan(TypedDict):
    """Everything that the root of a node is made of.

    `tmpfs` are file systems kept in memory, by their places, and how many bytes they hold (0: half of the memory). `masks` maps files
    below /proc and /sys to what they shall say.
    """

    root: str
    usr: list[str]
    links: dict[str, str]
    binds: list[Bind]
    overlays: list[Overlay]
    tmpfs: dict[str, int]
    cgroups: list[CgroupMount]
    folders: list[str]
    files: list[File]
    masks: dict[str, str]
    sysctls: dict[str, str]


def enter(plan: RootPlan) -> None:
    """Build the root in a mount namespace of our own and make it `/`; OSError names what could not be done."""
    root = plan["root"]
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    syscalls.mount("koalesce", root, "tmpfs", 0, "mode=0755")
    for folder in _FOLDERS:
        os.mkdir(f"{root}/{folder}", 0o755)
    _mount_usr(root, plan["usr"])
    os.chmod(f"{root}/root", 0o700)
    os.chmod(f"{root}/tmp", 0o1777)
    _mount_dev(f"{root}/dev")
    syscalls.mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.mount("sysfs", f"{root}/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _mount_cgroups(root, plan["cgroups"])
    syscalls.mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for bind in plan["binds"]:
        _bind(bind["source"], root + bind["target"], writable=bind["writable"])
    for target in sorted(plan["tmpfs"]):
        _folder(root + target)
        size = plan["tmpfs"][target]
        syscalls.mount("tmpfs", root + target, "tmpfs", MS_NODEV, f"mode=0755,size={size}" if size else "mode=0755")
    for overlay in plan["overlays"]:
        _overlay(root, overlay)
    for name, target in plan["links"].items():
        _folder(os.path.dirname(root + name))
        os.symlink(target, root + name)
    for folder in plan["folders"]:
        _folder(root + folder)
    for file in plan["files"]:
        _write(root + file["path"], file["text"], file["mode"])
    _write_sysctls(f"{root}/proc/sys", plan["sysctls"])
    _mask(root, plan["masks"])
    _protect_sysctls(f"{root}/proc/sys")
    _pivot(root)


def _mount_usr(root: str, layers: list[str]) -> None:
    if len(layers) > 1:
        syscalls.mount("overlay", f"{root}/usr", "overlay", MS_RDONLY | MS_NODEV, f"lowerdir={':'.join(layers)}")
    else:
        _bind(layers[0], f"{root}/usr", writable=False)
    for hidden in _HIDDEN:
        if os.path.isdir(f"{root}/{hidden}"):
            syscalls.mount("none", f"{root}/{hidden}", "tmpfs", MS_RDONLY, "size=4k,mode=0755")


def _mount_dev(dev: str) -> None:
    syscalls.mount("devtmpfs", dev, "tmpfs", MS_NOSUID, "mode=0755,size=16m")
    os.mkdir(f"{dev}/net")
    os.umask(0)
    for name, (major, minor, mode) in _DEVICES.items():
        os.mknod(f"{dev}/{name}", stat.S_IFCHR | mode, os.makedev(major, minor))
    os.umask(0o022)
    for name, kind, options in (
        ("pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        ("shm", "tmpfs", "mode=1777"),
        ("mqueue", "mqueue", ""),
    ):
        os.mkdir(f"{dev}/{name}")
        syscalls.mount(kind, f"{dev}/{name}", kind, MS_NOSUID | MS_NOEXEC, options)
    links = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
    for name, target in links.items():
        os.symlink(target, f"{dev}/{name}")


def _mount_cgroups(root: str, mounts: list[CgroupMount]) -> None:
    """Mount the hierarchies as they look in the node's cgroup namespace: its own part of each is the root."""
    top = f"{root}/sys/fs/cgroup"
    if all(mount["target"] for mount in mounts):
        syscalls.mount("cgroup", top, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755")
    for mount in mounts:
        target = f"{top}/{mount['target']}".rstrip("/")
        _folder(target)
        syscalls.mount(mount["kind"], target, mount["kind"], MS_NOSUID | MS_NODEV | MS_NOEXEC, mount["options"])
        for link in mount["links"]:
            os.symlink(mount["target"], f"{top}/{link}")


def _overlay(root: str, overlay: Overlay) -> None:
    target = root + overlay["target"]
    _folder(target)
    if not overlay["upper"]:
        _bind(overlay["lower"][0], target, writable=False)
        return
    upper, work = root + overlay["upper"], root + overlay["work"]
    _folder(upper)
    _folder(work)
    options = f"lowerdir={':'.join(overlay['lower'])},upperdir={upper},workdir={work}"
    syscalls.mount("overlay", target, "overlay", 0, options)


def _bind(source: str, target: str, *, writable: bool) -> None:
    if os.path.isdir(source):
        _folder(target)
    elif not os.path.exists(target):
        _write(target, "", 0o644)
    syscalls.mount(source, target, None, MS_BIND)
    if not writable:
        syscalls.mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def _mask(root: str, masks: dict[str, str]) -> None:
    """Show files of the node's own in the place of what the kernel has one of for the whole machine."""
    for number, (path, text) in enumerate(masks.items()):
        if os.path.exists(root + path):
            own = f"{root}/run/koalesce/own/{number}"
            _write(own, text, 0o644)
            syscalls.mount(own, root + path, None, MS_BIND)


def _write_sysctls(folder: str, values: dict[str, str]) -> None:
    """Set what this network namespace has of its own; a kernel without a feature has no file for it."""
    for name, value in values.items():
        with contextlib.suppress(FileNotFoundError):
            _set(f"{folder}/{name}", value)


def _set(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - `pathlib` is slow to load
        file.write(text)


def _protect_sysctls(folder: str) -> None:
    """Make /proc/sys read-only but for `net`, which is this namespace's own."""
    syscalls.mount(folder, folder, None, MS_BIND | MS_REC)
    syscalls.mount(f"{folder}/net", f"{folder}/net", None, MS_BIND)
    syscalls.mount("none", folder, None, MS_BIND | MS_REMOUNT | MS_RDONLY)


def _pivot(root: str) -> None:
    os.mkdir(root + OLD)
    os.chdir(root)
    syscalls.pivot_root(".", "." + OLD)
    os.chdir("/")
    syscalls.unmount(OLD)
    os.rmdir(OLD)
    # kubelet and CSI drivers need mounts to propagate between the node and its pods.
    syscalls.mount("none", "/", None, MS_REC | syscalls.MS_SHARED)


def _folder(path: str) -> None:
    os.makedirs(path, 0o755, exist_ok=True)


def _write(path: str, text: str, mode: int) -> None:
    _folder(os.path.dirname(path))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
