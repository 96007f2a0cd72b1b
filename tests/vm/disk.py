"""The disk of the virtual machine: a Debian with systemd, a kernel with all its modules, and the packages that Koalesce is made of.

Made once, kept in the user's cache. Neither Koalesce nor its tools are on it: the guest sees them in shared folders.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.vms import disk, programs
from koalesce.vms.disk import Disk
from koalesce.vms.programs import Programs

CHECKOUT = Path(__file__).resolve().parents[2]
_RELEASE = "bookworm"
_PACKAGES = (
    "linux-image-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "kmod", "ca-certificates", "python3", "python3-venv",
    "conntrack", "ethtool", "iproute2", "ipset", "iptables", "mount", "nftables", "procps", "runc", "socat", "tcpdump", "util-linux",
)  # fmt: skip
_SIZE = "4G"  # no more of it is used than there is on it
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
_WANTED = {"multi-user.target.wants/vm-task.service": "../vm-task.service"}
_UNWANTED = ("e2scrub_reap.service", "apt-daily.timer", "apt-daily-upgrade.timer", "serial-getty@ttyS0.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What is needed to start the guest."""

    disk: Disk
    programs: Programs


def provide() -> Guest:
    """The guest, made where it isn't kept yet; PackagesUnavailable where Debian's packages can't be had."""
    tools = programs.provide(print)
    wanted = _requirements(tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")))
    key = f"debian-{_RELEASE}-{programs.key((_RELEASE, _PACKAGES, _FILES, wanted))}"
    made = Disk.of(programs.shelf().make(key, lambda folder: _fill(folder, tools, wanted)))
    return Guest(disk=made, programs=tools)


def _requirements(project: dict[str, dict[str, object]]) -> list[str]:
    settings: dict[str, object] = project["project"]
    optional = settings["optional-dependencies"]
    assert isinstance(settings["dependencies"], list)
    assert isinstance(optional, dict)
    return [*settings["dependencies"], *optional["cel"]]


def _fill(folder: Path, tools: Programs, requirements: Sequence[str]) -> None:
    print("making the disk of the virtual machine, which takes some minutes", flush=True)

    def furnish(root: Path) -> None:
        disk.write(root, _FILES)
        (root / _TASK[1:]).chmod(0o755)
        disk.set_units(root, wanted=_WANTED, unwanted=_UNWANTED)
        _install(root, requirements)

    disk.make(folder, tools, release=_RELEASE, packages=_PACKAGES, size=_SIZE, furnish=furnish)


def _install(root: Path, requirements: Sequence[str]) -> None:
    """Python packages, by the guest's own interpreter; this machine's settings of pip hold, and its certificates."""
    for path in (_BUNDLE, Path("/etc/resolv.conf")):
        if path.is_file():
            shutil.copy(path, root / str(path)[1:])
    disk.run(["chroot", root, "python3", "-m", "venv", "/opt/koalesce"])
    disk.run(["chroot", root, "/opt/koalesce/bin/pip", "install", "--quiet", "--no-cache-dir", *requirements])
