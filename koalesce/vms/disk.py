"""The disk that virtual machines begin with: a Debian with systemd, sshd and cloud-init, and the kernel that is made for such machines.

Made once by mmdebstrap(1), and kept in the user's cache. Nothing on it is of any cluster, and no key: what a machine is told at its first
boot makes it one's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce import process
from koalesce.errors import Interrupted
from koalesce.process import Cancel
from koalesce.toolchain.system import command
from koalesce.vms import programs
from koalesce.vms.programs import Programs

_RELEASE = "bookworm"
_PACKAGES = (
    "linux-image-cloud-amd64", "initramfs-tools", "systemd-sysv", "udev", "dbus", "kmod", "ca-certificates", "cloud-init", "openssh-server", "sudo",
    "conntrack", "ethtool", "iproute2", "ipset", "iptables", "mount", "nftables", "procps", "util-linux",
)  # fmt: skip
_SIZE = "8G"  # no more of it is used than there is on it
_MINUTES = 30
# No data are asked for over a network that there isn't, and nothing is done that a machine of ours isn't told; one kind of key is soon made.
CLOUD_INIT = """\
datasource_list: [NoCloud]
ssh_genkeytypes: [ed25519]
no_ssh_fingerprints: true
cloud_init_modules: [seed_random, write-files, set_hostname, update_hostname, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [package-update-upgrade-install, scripts-user, final-message]
"""
_FILES = {
    "etc/hostname": "vm\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/cloud/cloud.cfg.d/90-koalesce.cfg": CLOUD_INIT,
}
_WANTED = {"multi-user.target.wants/systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service"}
_UNWANTED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
    "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-networkd-wait-online.service",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk, and the kernel and initial memory disk that it's started with."""

    disk: Path
    kernel: Path
    initrd: Path

    @classmethod
    def of(cls, folder: Path) -> Disk:
        """The one that is kept in a folder."""
        return cls(disk=folder / "disk", kernel=folder / "vmlinuz", initrd=folder / "initrd.img")


def provide(tools: Programs, *, progress: Callable[[str], None], cancel: Cancel | None = None) -> Disk:
    """The disk, made where it isn't kept yet, which takes some minutes."""
    key = f"node-{_RELEASE}-{programs.key((_RELEASE, _PACKAGES, _FILES, _SIZE, _WANTED, _UNWANTED))}"

    def fill(folder: Path) -> None:
        progress("making the disk of virtual machines, which takes some minutes the first time")
        make(folder, tools, release=_RELEASE, packages=_PACKAGES, size=_SIZE, furnish=_furnish, cancel=cancel)

    return Disk.of(programs.shelf().make(key, fill))


def make(
    folder: Path,
    tools: Programs,
    *,
    release: str,
    packages: Sequence[str],
    size: str,
    furnish: Callable[[Path], None],
    cancel: Cancel | None = None,
) -> None:
    """Fill a folder with a disk of Debian, its kernel and its initial memory disk; `furnish` changes its files before."""
    root = folder / "root"
    bootstrap = command("mmdebstrap", [tools.root])
    run([bootstrap, "--variant=minbase", f"--include={','.join(packages)}", release, root], cancel=cancel)
    furnish(root)
    for name in ("vmlinuz", "initrd.img"):
        (kernel,) = (root / "boot").glob(f"{name}-*")
        shutil.copy(kernel, folder / name)
    run(["mke2fs", "-q", "-t", "ext4", "-d", root, folder / "disk", size], cancel=cancel)
    shutil.rmtree(root)


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files below a root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def set_units(root: Path, *, wanted: Mapping[str, str], unwanted: Sequence[str]) -> None:
    """Have units start with the machine, and others never."""
    units = root / "etc/systemd/system"
    for name, target in {**wanted, **dict.fromkeys(unwanted, "/dev/null")}.items():
        (units / name).parent.mkdir(exist_ok=True)
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to(target)


def run(argv: Sequence[str | Path], *, cancel: Cancel | None = None) -> None:
    """Run one of the commands that make disks, to its end, without getting in the way of others."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    try:
        process.run(["nice", "-n", "19", *argv], env=environment, timeout=_MINUTES * 60, cancel=cancel).check()
    except process.CommandTimeout as error:
        if error.cancelled:
            raise Interrupted from error
        raise


def _furnish(root: Path) -> None:
    write(root, _FILES)
    set_units(root, wanted=_WANTED, unwanted=_UNWANTED)
    for host_key in (root / "etc/ssh").glob("ssh_host_*"):
        host_key.unlink()  # of all machines with this disk: each makes its own at its first boot
