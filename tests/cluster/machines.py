"""Machines to try the provider ssh on: Debian with systemd and sshd in systemd-nspawn, each with a network of its own on one bridge.

The root file system is made once by mmdebstrap(1), and kept; machines share it, each with a layer of its own over it. What nspawn keeps from its machines on cgroup v1, and values of the kernel that
kubelets want and that are the whole machine's, are given to them as they boot. A machine that is told to boot again comes back with its disk alone: its network and its cgroups are new ones.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.assets import cache_dir
from koalesce.local import cgroups

PACKAGES = (
    "ca-certificates", "dbus", "iproute2", "ipset", "iptables", "kmod", "mount", "nftables", "openssh-server", "procps", "sudo", "systemd", "systemd-sysv",
)  # fmt: skip
PROGRAMS = ("ip", "mmdebstrap", "setpriv", "ssh", "ssh-keygen", "systemd-nspawn")
_DEBIAN = {"mmdebstrap": "mmdebstrap", "ssh": "openssh-client", "systemd-nspawn": "systemd-container"}
_USERS = """
for user in deploy op; do
  useradd --create-home --shell /bin/bash $user
  mkdir -m 0700 /home/$user/.ssh
  cp /root/.ssh/authorized_keys /home/$user/.ssh/
  chown -R $user: /home/$user/.ssh
done
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy
echo 'op ALL=(ALL) ALL' > /etc/sudoers.d/op
"""
# What systemd goes by beside version 1: it places a machine in all hierarchies where it is in this one.
_HYBRID = Path("/sys/fs/cgroup/unified")
_BOOT = 300.0
_PAUSE = 0.2
_PATIENCE = 20.0
_LENT = """\
#!/bin/sh
set -e
for place in /sys/fs/cgroup/*; do mount -o remount,bind,rw $place 2>/dev/null || true; done
mount -o remount,bind,rw /proc/sys
number=0
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  number=$((number + 1))
  echo ${pair#*=} > /run/lent$number
  mount --bind /run/lent$number /proc/sys/${pair%=*}
done
[ -e /dev/kmsg ] || mknod /dev/kmsg c 1 11
mount --make-rshared /
"""
_LENDING = """\
[Unit]
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lend

[Install]
WantedBy=sysinit.target
"""
_BOOTS_AGAIN = 133  # what nspawn ends with (systemd-nspawn(1), of --keep-unit) where a machine is told to boot
# A machine's life: a network namespace for each boot, whose link has its address only once the system has begun to start, as where a server tells it.
_LIFE = """
while :; do
  ip -n {site} link del {name} 2>/dev/null
  ip netns del {namespace} 2>/dev/null
  ip netns add {namespace} && ip -n {site} -batch - <<'END' || exit 1
link add {name} type veth peer name eth0 address 02:4b:00:00:00:{number:02x} netns {namespace}
link set {name} master br0 up
END
  ip -n {namespace} link set lo up
  {{ sleep 2; ip -n {namespace} -batch - <<'END'
addr add {address}/24 dev eth0
link set eth0 up
route add default via 10.77.0.1
END
  }} &
  setpriv --pdeathsig=KILL -- "$@"
  [ $? = {again} ] || exit
  wait
  for group in {groups}; do find $group -mindepth 1 -depth -type d -exec rmdir {{}} + ; done
done
"""


def lacking() -> str:
    """What this machine lacks for them, as a reason to skip; empty if nothing."""
    if os.geteuid():
        return "machines in systemd-nspawn need root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    packages = sorted({_DEBIAN[name] for name in missing if name in _DEBIAN})
    hint = f"; on Debian: apt-get install {' '.join(packages)}" if packages else ""
    return f"there is no {', '.join(missing)} here{hint}" if missing else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A running one."""

    name: str
    address: str
    namespace: str
    site: str  # the network namespace with the bridge
    process: subprocess.Popen[bytes]
    groups: tuple[Path, ...]  # of cgroup v1; on v2 it has what nspawn makes, which ends with it

    def cut_power(self) -> None:
        """End it at once, with all that runs on it; from then on nobody answers at its address, not even its kernel."""
        subprocess.run(["ip", "-n", self.site, "link", "del", self.name], check=False, capture_output=True)
        for group in self.groups:
            for pid in cgroups.processes([group]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Machines on a bridge, and a place from which they are reached: `inside` is the argv prefix that runs a command there."""

    folder: Path
    machines: tuple[Machine, ...]
    inside: tuple[str, ...]

    @property
    def key(self) -> Path:
        """The key that opens them."""
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        """The file of their keys."""
        return self.folder / "known_hosts"

    def list_file(self, name: str = "machines.yaml", *, entries: Sequence[str] = (), **changes: str) -> Path:
        """A list of them, as the provider reads it; `entries` say how each is reached, `changes` are of the list as a whole."""
        fields: Mapping[str, str] = {"key": str(self.key), "knownHosts": str(self.known_hosts), **changes}
        lines = [*(f"{name}: {value}" for name, value in fields.items())]
        lines.append(f"machines: [{', '.join(entries or [machine.address for machine in self.machines])}]")
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, machine: Machine, command: str) -> str:
        """Run a command of a shell on a machine."""
        words = ["-i", str(self.key), "-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "BatchMode=yes"]
        return _run([*self.inside, "ssh", *words, f"root@{machine.address}", command])


@contextlib.contextmanager
def machines(folder: Path, count: int) -> Iterator[Site]:
    """So many machines that are up, and gone at the end. root may log in, deploy, who may be root, and op, whom sudo asks for a password."""
    mark = f"kt{secrets.token_hex(2)}"
    with contextlib.ExitStack() as stack:
        _run(["ip", "netns", "add", mark])
        stack.callback(_run, ["ip", "netns", "del", mark])
        _ip(
            mark,
            "link set lo up",
            "link add br0 type bridge forward_delay 0",
            "addr add 10.77.0.1/24 dev br0",
            "link set br0 up",
        )
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")])
        base = folder / "base"
        base.mkdir()
        stack.callback(shutil.rmtree, base, ignore_errors=True)
        _run(["tar", "-xpf", str(_root_archive()), "-C", str(base)])
        (base / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        (base / "root/.ssh/authorized_keys").write_text((folder / "key.pub").read_text())
        _run(["chroot", str(base), "sh", "-ec", _USERS])
        inside = ("ip", "netns", "exec", mark)
        made = tuple(_machine(stack, folder, mark, number) for number in range(1, count + 1))
        site = Site(folder=folder, machines=made, inside=inside)
        site.known_hosts.write_text(
            "".join(
                f"{each.address} {(folder / each.name / 'etc/ssh/ssh_host_ed25519_key.pub').read_text()}"
                for each in made
            )
        )
        for machine in made:
            _await(site, machine)
        yield site


def _machine(stack: contextlib.ExitStack, folder: Path, mark: str, number: int) -> Machine:
    name, namespace = f"m{number}", f"{mark}m{number}"
    address = f"10.77.0.{10 + number}"
    root = _root(stack, folder, name)
    _furnish(root, name)
    stack.callback(subprocess.run, ["ip", "netns", "del", namespace], check=False)
    groups = [each.path / namespace for each in cgroups.detect().hierarchies if each.version == 1]
    groups += [_HYBRID / namespace] if groups and _HYBRID.is_dir() else []
    stack.callback(cgroups.remove, groups, seconds=_PATIENCE)
    for group in groups:
        group.mkdir()
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (group / setting).exists():
                (group / setting).write_text((group.parent / setting).read_text())
    life = _LIFE.format(
        site=mark, name=name, namespace=namespace, address=address, number=number, again=_BOOTS_AGAIN, groups=" ".join(map(str, groups)),
    )  # fmt: skip
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(
        ["sh", "-c", f'{"; ".join(f"echo $$ > {group}/cgroup.procs" for group in groups) or ":"}; exec "$@"', "sh",
         "setpriv", "--pdeathsig=KILL", "--",  # also where this is killed, and ends nothing any more
         "sh", "-c", life, "sh", "systemd-nspawn", "--directory", str(root), f"--bind={folder / f'{name}-lib'}:/var/lib", "--boot", "--register=no", "--keep-unit", "--capability=all", "--console=pipe",
         f"--network-namespace-path=/run/netns/{namespace}", f"--machine={name}", "--system-call-filter=add_key keyctl request_key bpf"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        env={**os.environ, **({"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"} if groups else {})},
    )  # fmt: skip
    machine = Machine(name=name, address=address, namespace=namespace, site=mark, process=process, groups=tuple(groups))
    stack.callback(machine.cut_power)
    return machine


def _root(stack: contextlib.ExitStack, folder: Path, name: str) -> Path:
    """A machine's own root file system: a layer over the common one, but for /var/lib, where a layer of containers couldn't lie over that."""
    root, layer, work, lib = (folder / f"{name}{suffix}" for suffix in ("", "-layer", "-work", "-lib"))
    for each in (root, layer, work):
        each.mkdir()
        stack.callback(shutil.rmtree, each, ignore_errors=True)
    stack.callback(shutil.rmtree, lib, ignore_errors=True)
    _run(["cp", "-a", str(folder / "base/var/lib"), str(lib)])
    options = f"lowerdir={folder / 'base'},upperdir={layer},workdir={work}"
    _run(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    stack.callback(_run, ["umount", "--lazy", str(root)])
    return root


def _root_archive() -> Path:
    archive = cache_dir() / "test-data" / "debian-12-sshd.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        draft = archive.with_name(f".{archive.name}.{os.getpid()}.tar")
        _run(
            ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(draft)],
            timeout=900.0,
        )
        draft.replace(archive)
    return archive


def _furnish(root: Path, name: str) -> None:
    """What makes it a machine of its own."""
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").write_text("nameserver 10.77.0.1\n")
    (root / "usr/local/sbin/lend").write_text(_LENT)
    (root / "usr/local/sbin/lend").chmod(0o755)
    (root / "etc/systemd/system/lend.service").write_text(_LENDING)
    wants = root / "etc/systemd/system/sysinit.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "lend.service").symlink_to("../lend.service")
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / "etc/ssh/ssh_host_ed25519_key")])


def _await(site: Site, machine: Machine) -> None:
    """Wait until it lets us in, and has what nspawn doesn't give."""
    deadline = time.monotonic() + _BOOT
    while True:
        try:
            site.run(machine, "systemctl start lend.service")
        except subprocess.CalledProcessError as error:
            if time.monotonic() > deadline:
                log = (site.folder / f"{machine.name}.log").read_text(errors="replace")[-2000:]
                raise AssertionError(f"{machine.name} doesn't boot: {error.stderr}\n{log}") from error
            time.sleep(_PAUSE)
        else:
            return


def _ip(namespace: str, *lines: str) -> None:
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(lines), text=True, check=True)


def _run(command: Sequence[str], *, timeout: float = 300.0) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=timeout, stdin=subprocess.DEVNULL
    ).stdout


if __name__ == "__main__" and (_reason := lacking()):
    print(f"note: the provider ssh can't be tried on machines here: {_reason}")
