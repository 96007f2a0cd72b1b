"""What a machine is like before anything is put on it, and what speaks against it: all of it said at once."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from koalesce.durations import format_seconds
from koalesce.machines import layout
from koalesce.machines.shell import Shell

_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_LEAST_SPACE = 3 * 1024**3  # bytes: binaries, images, and what a few pods write
# Seconds; certificates are valid from an hour ago, but what logs and events tell would be out of order.
_MOST_SKEW = 60.0
# What is called there, each with the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2", "iptables-restore": "iptables", "iptables-save": "iptables", "modprobe": "kmod", "mount": "mount",
    "sysctl": "procps", "systemctl": "systemd", "tar": "tar", "unshare": "util-linux",
}  # fmt: skip
_SCRIPT = f"""
echo "clock $(date +%s)"
echo "machine $(uname -m)"
echo "init $(cat /proc/1/comm)"
echo "system $(. /etc/os-release 2>/dev/null; echo "$PRETTY_NAME")"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  echo "cgroups 2 $(cat /sys/fs/cgroup/cgroup.controllers)"
else
  echo "cgroups 1 $(awk '$4 == 1 {{ printf "%s ", $1 }}' /proc/cgroups)"
fi
for program in {" ".join(PROGRAMS)}; do command -v $program >/dev/null || echo "lacks $program"; done
for path in {" ".join(map(shlex.quote, layout.PLACES))}; do [ ! -e $path ] || echo "has $path"; done
[ ! -e {layout.RECORD} ] || echo "used $(cat {layout.RECORD}/name 2>/dev/null)"
ip -o addr show | awk '{{ sub("/.*", "", $4); print "address " $4 }}'
echo "space $(df -Pk /var/lib | awk 'NR == 2 {{ print $4 }}')"
if [ -e /run/systemd/resolve/resolv.conf ] && grep -q '^nameserver 127.0.0.53' /etc/resolv.conf 2>/dev/null; then
  echo "resolver /run/systemd/resolve/resolv.conf"
else
  echo "resolver /etc/resolv.conf"
fi
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A machine as it was found. `present` are the places of ours where something is already, `used` the cluster that it has.

    `skew` is by how many seconds its clock is ahead of this machine's, as far as that is certain; negative: behind.
    """

    machine: str
    init: str
    system: str
    cgroup_version: int
    controllers: frozenset[str]
    lacking: tuple[str, ...]
    present: tuple[str, ...]
    used: str | None
    addresses: frozenset[str]
    space: int
    resolver: str
    skew: float


def survey(shell: Shell, *, clock: Callable[[], float] = time.time) -> Survey:
    """Look at a machine."""
    asked = clock()
    output = shell.do("what it is like can't be told", _SCRIPT)
    return read(output, between=(asked, clock()))


def read(output: str, *, between: tuple[float, float]) -> Survey:
    """What the script's output tells, that was asked for and answered at these times of this machine's clock."""
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        name, _, rest = line.partition(" ")
        found.setdefault(name, []).append(rest)
    version, *controllers = _one(found, "cgroups").split() or ["0"]
    return Survey(
        machine=_one(found, "machine"),
        init=_one(found, "init"),
        system=_one(found, "system"),
        cgroup_version=int(version),
        controllers=frozenset(controllers),
        lacking=tuple(found.get("lacks", ())),
        present=tuple(found.get("has", ())),
        used=found["used"][0] if "used" in found else None,
        addresses=frozenset(found.get("address", ())),
        space=1024 * int(_one(found, "space") or 0),
        resolver=_one(found, "resolver"),
        skew=_skew(int(_one(found, "clock") or 0), *between),
    )


def _skew(told: int, asked: float, answered: float) -> float:
    """How far a time in whole seconds lies outside of those between which it was told."""
    return min(told + 1 - asked, 0.0) if told < answered else max(told - answered, 0.0)


def _one(found: Mapping[str, list[str]], name: str) -> str:
    return found.get(name, [""])[0]


def problems(found: Survey, address: str) -> Iterator[str]:
    """What speaks against a machine whose node is to have this address, as sentences that say what to do."""
    own = platform.machine()
    if found.machine != own:
        yield f"it is a machine of {found.machine}, and the binaries that this one makes are for {own}"
    if found.init != "systemd":
        system = f" ({found.system})" if found.system else ""
        yield f"its init is {found.init or 'unknown'}{system}; a machine with systemd is needed, such as one of Debian 12"
    if missing := [name for name in _CONTROLLERS if name not in found.controllers]:
        yield f"its kernel has no cgroup controller {', '.join(missing)}; start it with cgroup_enable={missing[0]}"
    if abs(found.skew) > _MOST_SKEW:
        way = "ahead of" if found.skew > 0 else "behind"
        yield f"its clock is {format_seconds(abs(found.skew))} {way} this machine's; set it, such as by timedatectl set-ntp true"
    if found.lacking:
        packages = sorted({PROGRAMS.get(name, name) for name in found.lacking})
        yield f"it lacks {', '.join(found.lacking)}; on Debian: apt-get install {' '.join(packages)}"
    if found.used is not None:
        name = found.used or "NAME"
        yield f"it is in use by the cluster {found.used or '(unknown)'}; `koalesce down {name}` frees it, with --machines FILE where nothing else is known of that cluster"
    elif found.present:
        yield f"it has {', '.join(found.present)} already, which a cluster would overwrite; take a machine without Kubernetes and containerd"
    if address not in found.addresses:
        yield f"it hasn't the address {address}; say as address the one that the other machines reach it by"
    if found.space < _LEAST_SPACE:
        yield f"it has {found.space / 1024**3:.1f} GiB free in /var/lib, and {_LEAST_SPACE / 1024**3:.0f} are needed"
