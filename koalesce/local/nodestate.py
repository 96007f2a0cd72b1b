"""What a node, or a fixture, has outside of the API: its links, addresses, routes, filters, settings and files, as data to compare later."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.errors import ProvisionError
from koalesce.local.netns import NetNamespace
from koalesce.local.node import exec_prefix
from koalesce.local.routes import without_number
from koalesce.records import dataclass

_PATIENCE = 20.0
_SEED = re.compile(r" initval 0x[0-9a-f]+")
_MARK = "===koalesce==="
# A program that isn't there, or a kind of table that the kernel doesn't know, has nothing to show.
_COMMANDS = {
    "links": "ip -j -d addr show",
    "namespaces": "ip netns list-id",
    "routes": "ip route show table all",
    "routes6": "ip -6 route show table all",
    "rules": "ip rule show",
    "rules6": "ip -6 rule show",
    "queues": "tc -j qdisc show",
    "iptables": "iptables-save",
    "iptables6": "ip6tables-save",
    "sets": "ipset save",
    "nft": "nft -s list ruleset",
}
_LOOKED_AFTER = ("routes", "routes6", "iptables", "iptables6")
_FOLDERS = ("etc", "opt/cni")
LARGE_FILE = "="  # before its size, the time of its last change, and its digest, which stand for its content
_LARGE = 256 * 1024  # bytes
_SYSCTLS, _SETTINGS = "/proc/sys/", "/proc/sys/net"
_LONGEST = 64 * 1024  # bytes of a setting; the kernel gives a page at most
# Of routes and rules, what the kernel says of the moment.
_PASSING = frozenset(("linkdown", "dead", "offload", "rt_offload", "trap", "notify"))


def _script(names: Collection[str]) -> str:
    return "; ".join(f"echo {_MARK}; {_COMMANDS[name]} 2>/dev/null" for name in names)


SCRIPT = _script(_COMMANDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node's own state. `sets` are ipsets with what is in them, `files` mode and content (base64) by path below the node's root."""

    links: Mapping[str, Mapping[str, Any]]
    routes: tuple[str, ...]
    routes6: tuple[str, ...]
    rules: tuple[str, ...]
    rules6: tuple[str, ...]
    queues: tuple[tuple[str, str], ...]
    iptables: str
    iptables6: str
    sets: Mapping[str, tuple[str, ...]]
    nft: Mapping[str, str]
    settings: Mapping[str, str]
    files: Mapping[str, tuple[int, str]]

    def as_json(self) -> dict[str, Any]:
        """The value that `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NodeState:
        """The state that `as_json` gave."""
        tuples = {name: tuple(value[name]) for name in ("routes", "routes6", "rules", "rules6")}
        return cls(
            **{
                **value,
                **tuples,
                "queues": tuple((dev, kind) for dev, kind in value["queues"]),
                "sets": {name: tuple(lines) for name, lines in value["sets"].items()},
                "files": {path: (mode, text) for path, (mode, text) in value["files"].items()},
            }
        )


def look(pid: int, *, before: NodeState | None = None) -> NodeState:
    """The state of the node whose init has this pid; ProvisionError if it has ended.

    What `before` says of a large file stays true while its size and content are the same, whenever it was written.
    """
    known = before.files if before else {}
    found = _state(_shown(pid, _COMMANDS))
    return replace(found, settings=_settings(pid), files=_files(Path(f"/proc/{pid}/root"), known))


def look_again(pid: int, before: NodeState) -> NodeState:
    """The state of before, with routes and iptables' chains as they are now: what changes while programs follow, at a part of a look's cost."""
    parts = _shown(pid, _LOOKED_AFTER)
    return replace(
        before,
        routes=_routes(parts["routes"]),
        routes6=_routes(parts["routes6"]),
        iptables=parts["iptables"],
        iptables6=parts["iptables6"],
    )


def read(output: str) -> NodeState:
    """The state that the output of `SCRIPT` tells, which says nothing of settings and files; ValueError where it is incomplete."""
    return _state(_parts(output, _COMMANDS))


def _shown(pid: int, names: Collection[str]) -> dict[str, str]:
    """What the commands of these names say on a node; ProvisionError if it has ended."""
    done = process.run([*exec_prefix(f"/proc/{pid}"), "sh", "-c", _script(names)], timeout=_PATIENCE)
    try:
        return _parts(done.out, names)
    except ValueError:
        why = done.err.strip() or f"exit code {done.code}"
        raise ProvisionError(f"can't look at the node of process {pid}: {why}") from None


def _parts(output: str, names: Collection[str]) -> dict[str, str]:
    """What each command of a script said; ValueError where some did not run."""
    parts = dict(zip(names, output.split(f"{_MARK}\n")[1:], strict=False))
    if len(parts) < len(names) or not parts.get("links", "there").strip():
        raise ValueError("the output of a look is incomplete")
    return parts


def _state(parts: Mapping[str, str]) -> NodeState:
    return NodeState(
        links=_links(parts["links"], parts["namespaces"]),
        routes=_routes(parts["routes"]),
        routes6=_routes(parts["routes6"]),
        rules=tuple(_rule(line) for line in parts["rules"].splitlines()),
        rules6=tuple(_rule(line) for line in parts["rules6"].splitlines()),
        queues=_queues(parts["queues"]),
        iptables=parts["iptables"],
        iptables6=parts["iptables6"],
        sets=_sets(parts["sets"]),
        nft=_nft(parts["nft"]),
        settings={},
        files={},
    )


def _links(text: str, namespaces: str) -> dict[str, dict[str, Any]]:
    """Links by name: what can be set of them, and whether their other end is in the namespace of a living pod."""
    pods = {line.split()[1] for line in namespaces.splitlines() if "name: cni-" in line}
    return {
        link["ifname"]: {
            "up": "UP" in link["flags"],
            "mtu": link["mtu"],
            "master": link.get("master", ""),
            "of_pod": str(link.get("link_netnsid", "")) in pods,
            "addresses": sorted(
                f"{address['local']}/{address['prefixlen']}"
                for address in link.get("addr_info", ())
                if address.get("scope") != "link" and "local" in address
            ),
        }
        for link in json.loads(text)
    }


def _routes(text: str) -> tuple[str, ...]:
    """The routes that somebody has made, as `ip route add` takes them; those of addresses come and go with these."""
    joined = text.replace("\n\t", " ")
    lines = [" ".join(word for word in line.split() if word not in _PASSING) for line in joined.splitlines()]
    lines = [without_number(line.replace(" pref medium", "")) for line in lines]
    return tuple(line for line in lines if line and " proto kernel" not in line)


def _rule(line: str) -> str:
    priority, _, rest = line.partition(":")
    return f"{' '.join(rest.split())} priority {priority}"


def _queues(text: str) -> tuple[tuple[str, str], ...]:
    found = [] if not text.strip() else json.loads(text)
    return tuple(
        (queue["dev"], queue["kind"]) for queue in found if queue.get("root") or queue["kind"] in ("clsact", "ingress")
    )


def _sets(text: str) -> dict[str, tuple[str, ...]]:
    """Each ipset: the line that makes it, without the seed of its hashes that each making draws anew, and those that fill it."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        verb, name, *_ = [*line.split(), "", ""]
        if verb in ("create", "add"):
            found[name] = (*found.get(name, ()), _SEED.sub("", line))
    return {name: (lines[0], *sorted(lines[1:])) for name, lines in found.items()}


def _nft(text: str) -> dict[str, str]:
    """Each table of nftables by `family name`; the tables of iptables and of kube-proxy are theirs to look after."""
    tables: dict[str, str] = {}
    for part in ("\n" + text).split("\ntable ")[1:]:
        name = " ".join(part.split()[:2])
        if name.split()[1] not in ("nat", "mangle", "filter", "raw", "security", "kube-proxy"):
            body = "\n".join(line for line in part.splitlines() if not line.startswith("#"))
            tables[name] = f"table {body}\n"
    return tables


def _settings(pid: int) -> dict[str, str]:
    """What can be set of the node's network namespace; the kernel shows each thread that of its own."""
    found: dict[str, str] = {}
    inside = NetNamespace.of_process(pid)
    try:
        with inside.entered():
            for place, _, names in os.walk(_SETTINGS):
                for name in names:
                    path = f"{place}/{name}"
                    with contextlib.suppress(OSError, UnicodeDecodeError):
                        found |= _setting(path)
    finally:
        inside.close()
    return found


def _setting(path: str) -> dict[str, str]:
    """One that can be set, by its name; there are a thousand on each node, so that the ways to read files that are kinder cost too much."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(file).st_mode & stat.S_IWUSR:
            return {path.removeprefix(_SYSCTLS): os.read(file, _LONGEST).decode().strip()}
        return {}
    finally:
        os.close(file)


def _files(root: Path, before: Mapping[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    """The files of folders that are the node's own: mode and content; of a link, where it leads to."""
    found: dict[str, tuple[int, str]] = {}
    for folder in _FOLDERS:
        for place, _, names in os.walk(root / folder):
            for name in names:
                path = Path(place, name)
                with contextlib.suppress(OSError):
                    shown = str(path.relative_to(root))
                    found[shown] = _file(path, before.get(shown, (0, ""))[1])
    return found


def _file(path: Path, before: str) -> tuple[int, str]:
    status = path.lstat()
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return mode, str(path.readlink())
    if status.st_size > _LARGE:
        return mode, _large(path, status, before)
    return mode, base64.b64encode(path.read_bytes()).decode() if stat.S_ISREG(mode) else ""


def _large(path: Path, status: os.stat_result, before: str) -> str:
    """What stands for a large file's content: it is read only if that may have changed."""
    size, written = str(status.st_size), str(status.st_ctime_ns)
    was = before.removeprefix(LARGE_FILE).split()
    if was[:2] == [size, written]:
        return before
    digest = _digest(_Written(path=path, name=path.name, size=status.st_size, time=status.st_ctime_ns))
    return before if [was[:1], was[2:]] == [[size], [digest]] else f"{LARGE_FILE}{size} {written} {digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A file as it was written once: nodes have the same ones, and each is read once."""

    path: Path = field(compare=False)
    name: str
    size: int
    time: int


@functools.lru_cache(maxsize=256)
def _digest(file: _Written) -> str:
    with file.path.open("rb") as content:
        return hashlib.file_digest(content, hashlib.blake2b).hexdigest()[:32]
