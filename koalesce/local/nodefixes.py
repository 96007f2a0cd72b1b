"""What brings a node back to the state that it had at first: commands for what differs, in the order in which they work."""

from __future__ import annotations

import base64
import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from koalesce import process
from koalesce.errors import KoalesceError
from koalesce.local import iptables, routes
from koalesce.local.netns import NetNamespace
from koalesce.local.node import exec_prefix
from koalesce.local.nodestate import LARGE_FILE, NodeState
from koalesce.records import dataclass

# Devices that the kernel gives every namespace together with a module: nobody can remove them.
_KERNELS = frozenset(
    ("tunl0", "gre0", "gretap0", "erspan0", "sit0", "ip6tnl0", "ip6gre0", "ip_vti0", "ip6_vti0")
)  # fmt: skip
_USUAL_QUEUES = frozenset(("noqueue", "fq_codel", "fq", "pfifo_fast", "mq"))
_PATIENCE = 20.0
_PROXY_SETS = "KUBE-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """Something that differs: a sentence, and the command that undoes it, or the file or setting to write; none if nothing can."""

    what: str
    command: tuple[str, ...] = ()
    text: str = ""
    path: str = ""
    content: tuple[int, str] | None = None


def fixes(first: NodeState, now: NodeState, *, stays: iptables.Whose = iptables.is_looked_after) -> list[Fix]:
    """All that differs, what others need first, but for chains that stay with those who look after them."""
    return [
        *_files(first, now),
        *_settings(first, now),
        *tables(first, now, stays=stays),
        *_sets(first, now),
        *_links(first, now),
        *_queues(first, now),
        *_addresses(first, now),
        *_routes(first.routes, now.routes, ("ip",)),
        *_routes(first.routes6, now.routes6, ("ip", "-6")),
        *_lines("rule", first.rules, now.rules, ("ip",)),
        *_lines("rule", first.rules6, now.rules6, ("ip", "-6")),
    ]


def carry_out(found: list[Fix], pid: int) -> None:
    """Carry them out on the node whose init has this pid; what doesn't work still differs at the next look."""
    inside = NetNamespace.of_process(pid)
    try:
        for fix in found:
            with contextlib.suppress(KoalesceError, OSError):
                _carry_out(fix, pid, inside)
    finally:
        inside.close()


def _carry_out(fix: Fix, pid: int, inside: NetNamespace) -> None:
    if fix.command:
        words = [*exec_prefix(f"/proc/{pid}"), *fix.command]
        process.run(words, stdin=fix.text.encode(), timeout=_PATIENCE)
    elif fix.path.startswith("net/"):
        with inside.entered():
            Path("/proc/sys", fix.path).write_text(fix.text)
    elif fix.path:
        _write(Path(f"/proc/{pid}/root", fix.path), fix.content)


def _write(path: Path, content: tuple[int, str] | None) -> None:
    path.unlink(missing_ok=True)
    if content is None:
        return
    mode, text = content
    path.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(mode):
        path.symlink_to(text)
    elif stat.S_ISREG(mode):
        path.touch(mode=0o600)
        path.write_bytes(base64.b64decode(text))
        path.chmod(stat.S_IMODE(mode))


def _files(first: NodeState, now: NodeState) -> Iterator[Fix]:
    for path in sorted(first.files.keys() | now.files.keys()):
        if first.files.get(path) != now.files.get(path):
            content = first.files.get(path)
            if content and content[1].startswith(LARGE_FILE):
                yield Fix(
                    what=f"file /{path} is missing, or has changed, and is too large for a copy to have been kept"
                )
                continue
            how = "was not there at first" if path not in first.files else "is missing, or has changed"
            yield Fix(what=f"file /{path} {how}", path=path, content=content)


def _settings(first: NodeState, now: NodeState) -> Iterator[Fix]:
    for path, value in first.settings.items():
        is_ = now.settings.get(path)
        if is_ is not None and is_ != value:
            yield Fix(what=f"setting {path} is {is_}, at first {value}", path=path, text=value)


def tables(first: NodeState, now: NodeState, *, stays: iptables.Whose = iptables.is_looked_after) -> list[Fix]:
    """Tables of iptables and nftables that differ, but for chains that stay with those who look after them."""
    return [*_iptables(first, now, stays), *_nftables(first, now)]


def _iptables(first: NodeState, now: NodeState, stays: iptables.Whose) -> Iterator[Fix]:
    for words, was, is_ in (
        ("iptables", first.iptables, now.iptables),
        ("ip6tables", first.iptables6, now.iptables6),
    ):
        for table, text in iptables.restoring(was, is_, stays=stays).items():
            command = (f"{words}-restore", "--noflush", "--wait", f"--table={table}")
            yield Fix(what=f"{words}' table {table} has changed", command=command, text=text)


def _nftables(first: NodeState, now: NodeState) -> Iterator[Fix]:
    for name in sorted(first.nft.keys() | now.nft.keys()):
        if first.nft.get(name) != now.nft.get(name):
            gone = f"delete table {name}\n" if name in now.nft else ""
            text = gone + first.nft.get(name, "")
            yield Fix(what=f"nftables' table {name} has changed", command=("nft", "-f", "-"), text=text)


def _sets(first: NodeState, now: NodeState) -> Iterator[Fix]:
    for name in sorted(first.sets.keys() | now.sets.keys()):
        if name.startswith(_PROXY_SETS) or first.sets.get(name) == now.sets.get(name):
            continue
        if name in first.sets:
            lines = [*(("flush " + name,) if name in now.sets else ()), *first.sets[name]]
            text = "\n".join(lines) + "\n"
            yield Fix(
                what=f"ipset {name} is missing, or has changed", command=("ipset", "restore", "-exist"), text=text
            )
        else:
            yield Fix(what=f"ipset {name} was not there at first", command=("ipset", "destroy", name))


def _links(first: NodeState, now: NodeState) -> Iterator[Fix]:
    in_use = _bridges_of_pods(now)
    for name, link in now.links.items():
        if name not in first.links and name not in in_use and not link["of_pod"] and name not in _KERNELS:
            yield Fix(what=f"link {name} was not there at first", command=("ip", "link", "del", name))
    for name, link in first.links.items():
        is_ = now.links.get(name)
        if is_ is None:
            if not link["of_pod"]:
                yield Fix(what=f"link {name} is missing")
            continue
        for key, words in _link_changes(link["up"], link["mtu"], link["master"]).items():
            if is_[key] != link[key]:
                yield Fix(what=f"link {name} has changed ({key})", command=("ip", "link", "set", name, *words))


def _bridges_of_pods(now: NodeState) -> set[str]:
    """The bridges that join living pods to their node."""
    return {link["master"] for link in now.links.values() if link["of_pod"]}


def _link_changes(up: bool, mtu: int, master: str) -> dict[str, tuple[str, ...]]:
    """The words of `ip link set` that bring each property back."""
    return {
        "up": ("up",) if up else ("down",),
        "mtu": ("mtu", str(mtu)),
        "master": ("master", master) if master else ("nomaster",),
    }


def _queues(first: NodeState, now: NodeState) -> Iterator[Fix]:
    for dev, kind in now.queues:
        if dev in first.links and (dev, kind) not in first.queues and kind not in _USUAL_QUEUES:
            place = kind if kind in ("clsact", "ingress") else "root"
            command = ("tc", "qdisc", "del", "dev", dev, place)
            yield Fix(what=f"link {dev} has a queueing discipline {kind}", command=command)
    for dev, kind in first.queues:
        if dev in now.links and (dev, kind) not in now.queues and kind not in _USUAL_QUEUES:
            yield Fix(what=f"link {dev} lacks its queueing discipline {kind}")


def _addresses(first: NodeState, now: NodeState) -> Iterator[Fix]:
    in_use = _bridges_of_pods(now)
    for name, link in first.links.items():
        if name not in now.links:
            continue
        was, is_ = set(link["addresses"]), set(now.links[name]["addresses"])
        # With a node's first pod its bridge gets an address, without which nobody reaches pods there: CoreDNS' new one may be it.
        new = set() if name in in_use else is_ - was
        for verb, those in (("del", new), ("add", was - is_)):
            for address in sorted(those):
                command = ("ip", "addr", verb, address, "dev", name)
                yield Fix(what=f"addresses of {name} have changed ({address})", command=command)


def _lines(kind: str, first: tuple[str, ...], now: tuple[str, ...], ip: tuple[str, ...]) -> Iterator[Fix]:
    for line in now:
        if line not in first:
            yield Fix(what=f"{kind} {line} was not there at first", command=(*ip, kind, "del", *line.split()))
    for line in first:
        if line not in now:
            yield Fix(what=f"{kind} {line} is missing", command=(*ip, kind, "add", *line.split()))


def _routes(first: tuple[str, ...], now: tuple[str, ...], ip: tuple[str, ...]) -> Iterator[Fix]:
    """Routes, of which those of routing programs are theirs to change and to withdraw; they only come back where there is none."""
    fixed, fixed_now = ([line for line in lines if not routes.is_learnt(line)] for lines in (first, now))
    yield from _lines("route", tuple(fixed), tuple(fixed_now), ip)
    there = {routes.destination(line) for line in now}
    missing = [line for line in first if routes.is_learnt(line) and routes.destination(line) not in there]
    yield from _lines("route", tuple(missing), (), ip)
