"""Brings a machine back to how it was: its record says what that is, and what of it belongs to which cluster.

Services end first, then what they have started, mounts, links and rules, settings, files, and at last the record itself. All of it
is safe to repeat; of a machine whose record is another cluster's nothing is touched.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.local import nodefixes, nodestate
from koalesce.local.nodestate import NodeState
from koalesce.machines import datastore, layout
from koalesce.machines.shell import Shell

_FILE = f"{layout.RECORD}/record.json"
_IDENTITY = f"{layout.RECORD}/identity"  # written first: a record that isn't whole is whose it says
_PATIENCE = 120.0
_TABLE = re.compile(r"^\*(\S+)$", re.MULTILINE)  # in what iptables-save prints
# Places that one record may name: whatever it says, nothing else is ever removed.
_OURS = frozenset(layout.PLACES)
_CLAIM = f"""
set -eu
umask 077
mkdir {layout.RECORD} 2>/dev/null || {{ echo "it is in use by the cluster $(cat {layout.RECORD}/name 2>/dev/null)"; exit 3; }}
printf %s "$IDENTITY" > {_IDENTITY}
printf %s "$NAME" > {layout.RECORD}/name
cat > {layout.RECORD}/record.new
[ "$(wc -c < {layout.RECORD}/record.new)" -eq "$SIZE" ] || {{ echo "the connection broke"; exit 4; }}
mv {layout.RECORD}/record.new {_FILE}
sync {_FILE} {layout.RECORD}
"""
# What a command that was cut off while it took a machine has left, when nothing else had been changed yet.
_UNCLAIM = f"""[ -e {_FILE} ] || [ "$(cat {_IDENTITY} 2>/dev/null)" != {{identity}} ] || rm -rf {layout.RECORD}"""
_SETTINGS = (
    "find /proc/sys/net -type f -perm -u+w -exec grep -H '' {} + 2>/dev/null; "
    f"grep -H '' {' '.join(f'/proc/sys/{path}' for path in layout.KERNEL_SETTINGS)}"
)
_END = f"""
cd /
units=$(cd {layout.UNITS} && ls -d {layout.UNIT_PREFIX}*.service 2>/dev/null || true)
if [ -n "$units" ]; then
  systemctl disable $units >/dev/null 2>&1
  systemctl stop --no-block $units 2>/dev/null
  systemctl kill --signal=KILL $units 2>/dev/null # nothing of theirs is needed any more, and some take minutes to end
  systemctl stop $units 2>/dev/null
fi
groups() {{ for top in /sys/fs/cgroup /sys/fs/cgroup/*; do [ ! -d $top/kubepods ] || echo $top/kubepods; done; }}
ours() {{
  for group in $(groups); do find $group -name cgroup.procs -exec cat {{}} + 2>/dev/null; done
  for process in /proc/[0-9]*; do
    case $(readlink $process/exe 2>/dev/null) in {layout.TOOLS}/*) echo ${{process#/proc/}} ;; esac
  done
}}
for round in $(seq 100); do
  processes=$(ours | grep -vx 0 | sort -u)
  [ -n "$processes" ] || break
  kill -KILL $processes 2>/dev/null
  sleep 0.1
done
for group in $(groups); do find $group -depth -type d -exec rmdir {{}} + 2>/dev/null; done
awk '{{ print $5 }}' /proc/self/mountinfo | grep -E '^(/var/lib/kubelet|/var/lib/containerd|/run/containerd|/run/netns/cni-)' | sort -r |
  while read -r point; do umount -l "$point"; done
rm -f /run/netns/cni-*
[ ! -x {layout.TOOLS}/bin/kube-proxy ] || {layout.TOOLS}/bin/kube-proxy --cleanup >/dev/null 2>&1
true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a machine's record says: whose it is, its first network as `nodestate.SCRIPT` told it, and settings as they were."""

    identity: str
    network: str
    settings: Mapping[str, str]


def claim(shell: Shell, name: str, identity: str) -> None:
    """Write the record of a machine that nothing has been changed on yet; ProvisionError where another cluster was faster."""
    first = shell.do("its network can't be looked at", nodestate.SCRIPT)
    nodestate.read(first)
    # br_netfilter brings some settings: they have to be there to be told.
    shell.run("; ".join(f"modprobe {module} 2>/dev/null" for module in layout.MODULES))
    shell.take()
    told = {"identity": identity, "network": first, "settings": _settings(shell)}
    text = json.dumps(told).encode()
    given = f"NAME={shlex.quote(name)} IDENTITY={shlex.quote(identity)} SIZE={len(text)}"
    shell.do("it can't be taken", f"{given}{_CLAIM}", stdin=text)


def _settings(shell: Shell) -> dict[str, str]:
    """All settings of the network that can be changed, and those of the kernel that kubelets change, by their paths below /proc/sys."""
    found = shell.do("its settings can't be read", _SETTINGS)
    lines = (line.removeprefix("/proc/sys/").partition(":") for line in found.splitlines())
    return {path: value for path, colon, value in lines if colon}


def owner(shell: Shell) -> str:
    """The identity of the cluster that has taken a machine; empty if none has."""
    return shell.do("whose it is can't be read", f"if [ -e {_IDENTITY} ]; then cat {_IDENTITY}; fi")


def record(shell: Shell) -> Record | None:
    """The record of a machine; None if it has none."""
    text = shell.do("its record can't be read", f"if [ -e {_FILE} ]; then cat {_FILE}; fi")
    if not text:
        return None
    try:
        data: Mapping[str, Any] = json.loads(text)
        return Record(identity=data["identity"], network=data["network"], settings=data["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProvisionError(
            f"{shell.account}: {_FILE} is damaged: {error}", hint=f"look what is left there, and remove {layout.RECORD}"
        ) from error


def remove(shell: Shell, identity: str) -> None:
    """Remove everything of the cluster from a machine; nothing where it has none of it. ProvisionError says what is left."""
    found = record(shell)
    if found is None:
        shell.do("a record that isn't whole can't be removed", _UNCLAIM.format(identity=shlex.quote(identity)))
    if found is None or found.identity != identity:
        return
    shell.do("services can't be ended", _END, timeout=_PATIENCE)
    left = datastore.clear(shell)
    _restore_network(shell, found)
    for _ in range(2):  # that of all links changes those of each
        _restore_settings(shell, found)
    places = " ".join(map(shlex.quote, sorted(_OURS)))
    shell.do(
        "files can't be removed",
        f"set -e\ncd /\nrm -rf --one-file-system {places}\nrm -f {layout.UNITS}/{layout.UNIT_PREFIX}*.service\n"
        f"systemctl daemon-reload\nsystemctl reset-failed '{layout.UNIT_PREFIX}*' 2>/dev/null || true\n"
        f"rm -rf {layout.RECORD}",
        timeout=_PATIENCE,
    )
    if left:
        raise ProvisionError(left)


def _restore_network(shell: Shell, found: Record) -> None:
    """Remove links, routes, rules and sets that weren't there; ProvisionError with those that stay."""
    first = nodestate.read(found.network)
    for turn in range(3):  # a link takes routes with it, and a rule may hold a set
        now = nodestate.read(shell.do("its network can't be looked at", nodestate.SCRIPT))
        fixes = [fix for fix in _fixes(first, now) if fix.command]
        if not fixes:
            _drop_tables(shell, first, now)
            return
        if turn < 2:
            shell.run("\n".join(map(_line, fixes)), timeout=_PATIENCE)
    raise ProvisionError(f"{shell.account}: its network isn't as it was: {'; '.join(fix.what for fix in fixes)}")


def _drop_tables(shell: Shell, first: NodeState, now: NodeState) -> None:
    """Remove tables of iptables that are empty now and weren't there, where they can be removed at all: in nftables."""
    added = [
        f"{family} {table}"
        for family, was, is_ in (("ip", first.iptables, now.iptables), ("ip6", first.iptables6, now.iptables6))
        for table in sorted(set(_TABLE.findall(is_)) - set(_TABLE.findall(was)))
    ]
    if added:
        lines = "; ".join(f"nft delete table {table}" for table in added)
        shell.run(f"! iptables --version | grep -q nf_tables || {{ {lines}; }}")


def _fixes(first: NodeState, now: NodeState) -> list[nodefixes.Fix]:
    own = set(first.links)
    return nodefixes.fixes(_lasting(first, own), _lasting(now, own), stays=lambda chain: False)


def _lasting(state: NodeState, own: Collection[str]) -> NodeState:
    """A state without what comes and goes by itself: the machine's `own` links, and what its network tells it (DHCP, router advertisements)."""
    links = {name: link for name, link in state.links.items() if name not in own}
    routes, routes6 = (tuple(filter(_is_made, lines)) for lines in (state.routes, state.routes6))
    return replace(state, links=links, routes=routes, routes6=routes6)


def _is_made(route: str) -> bool:
    return not any(word in route.split() for word in ("dhcp", "ra", "expires"))


def _line(fix: nodefixes.Fix) -> str:
    given = f" <<'KOALESCE_END'\n{fix.text}KOALESCE_END" if fix.text else ""
    return f"{shlex.join(fix.command)}{given}"


def _restore_settings(shell: Shell, found: Record) -> None:
    now = _settings(shell)
    changed = {path: value for path, value in found.settings.items() if now.get(path, value) != value}
    lines = [f"printf %s {shlex.quote(value)} > {shlex.quote(f'/proc/sys/{path}')}" for path, value in changed.items()]
    if lines:
        shell.run("\n".join(lines))
