"""The disk of the virtual machine: a Debian with systemd, a kernel with all its modules, and the packages that Koalesce is made of.

Made once, kept in the user's cache. Neither Koalesce nor its tools are on it: the guest sees them in shared folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce import process
from koalesce.assets import cache_dir
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.shelf import Shelf
from koalesce.toolchain.system import command, has_command

CHECKOUT = Path(__file__).resolve().parents[2]
_FORMAT = 1  # raise it when the same settings would make another disk
_RELEASE = "bookworm"
_PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "mmdebstrap": "mmdebstrap"}
_PACKAGES = (
    "linux-image-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "kmod", "ca-certificates", "python3", "python3-venv",
    "conntrack", "ethtool", "iproute2", "ipset", "iptables", "mount", "nftables", "procps", "runc", "socat", "tcpdump", "util-linux",
)  # fmt: skip
_SIZE = "4G"  # no more of it is used than there is on it
_MINUTES = 30
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_TASK = "/usr/local/sbin/vm-task"
_FILES = {
    "etc/hostname": "vm\n",
    "etc/hosts": "127.0.0.1 localhost vm\n::1 localhost\n",
    _TASK[1:]: """\
#!/bin/sh -e
modprobe 9pnet_virtio
mkdir -p /repo
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,ro,cache=loose repo /repo
exec python3 -B /repo/tests/vm/guest.py
""",
    "etc/systemd/system/vm-task.service": f"""\
[Unit]
Description=What this machine was started for
After=multi-user.target

[Service]
Type=oneshot
ExecStart={_TASK}
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=infinity
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/console
""",
}
_WANTED = "etc/systemd/system/multi-user.target.wants/vm-task.service"
_UNWANTED = ("e2scrub_reap.service", "apt-daily.timer", "apt-daily-upgrade.timer", "serial-getty@ttyS0.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What is needed to start the guest: its disk, kernel and initial memory disk; and below which folder the emulator is."""

    disk: Path
    kernel: Path
    initrd: Path
    programs: Path


def provide() -> Guest:
    """The guest, made where it isn't kept yet; PackagesUnavailable where Debian's packages can't be had."""
    shelf = Shelf(cache_dir() / "vm")
    programs = _programs(shelf)
    wanted = _requirements(tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")))
    key = f"debian-{_RELEASE}-{_key((_RELEASE, _PACKAGES, _FILES, wanted))}"
    made = shelf.make(key, lambda folder: _fill(folder, programs, wanted))
    emulator = Path("/") if has_command("qemu-system-x86_64") else programs
    return Guest(disk=made / "disk", kernel=made / "vmlinuz", initrd=made / "initrd.img", programs=emulator)


def _key(value: object) -> str:
    return hashlib.sha256(json.dumps([_FORMAT, value]).encode()).hexdigest()[:12]


def _requirements(project: dict[str, dict[str, object]]) -> list[str]:
    settings: dict[str, object] = project["project"]
    optional = settings["optional-dependencies"]
    assert isinstance(settings["dependencies"], list)
    assert isinstance(optional, dict)
    return [*settings["dependencies"], *optional["cel"]]


def _programs(shelf: Shelf) -> Path:
    """What this machine lacks of the programs, unpacked; nothing is installed."""
    lacking = sorted(package for name, package in _PROGRAMS.items() if not has_command(name))
    if not lacking:
        return Path("/")
    debian = Debian(cache_dir() / "debian", progress=print)

    def fill(folder: Path) -> None:
        debian.unpack(lacking, folder, on_host=True)

    return shelf.make(f"programs-{_key(lacking)}", fill)


def _fill(folder: Path, programs: Path, requirements: Sequence[str]) -> None:
    print("making the disk of the virtual machine, which takes some minutes", flush=True)
    root = folder / "root"
    _run([command("mmdebstrap", [programs]), "--variant=minbase", f"--include={','.join(_PACKAGES)}", _RELEASE, root])
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    (root / _TASK[1:]).chmod(0o755)
    (root / _WANTED).parent.mkdir(exist_ok=True)
    (root / _WANTED).symlink_to("../vm-task.service")
    for unit in _UNWANTED:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    _install(root, requirements)
    for name in ("vmlinuz", "initrd.img"):
        (kernel,) = (root / "boot").glob(f"{name}-*")
        shutil.copy(kernel, folder / name)
    _run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", _SIZE])
    shutil.rmtree(root)


def _install(root: Path, requirements: Sequence[str]) -> None:
    """Python packages, by the guest's own interpreter; this machine's settings of pip hold, and its certificates."""
    for path in (_BUNDLE, Path("/etc/resolv.conf")):
        if path.is_file():
            shutil.copy(path, root / str(path)[1:])
    _run(["chroot", root, "python3", "-m", "venv", "/opt/koalesce"])
    _run(["chroot", root, "/opt/koalesce/bin/pip", "install", "--quiet", "--no-cache-dir", *requirements])


def _run(argv: Sequence[str | Path]) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    process.run(["nice", "-n", "19", *argv], env=environment, timeout=_MINUTES * 60).check()
