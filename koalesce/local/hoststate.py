"""What a node's kernel holds and somebody may take away from it: how it is shown, removed, and put back where nobody else has."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from koalesce.errors import ClusterError
from koalesce.records import dataclass

Run = Callable[[Sequence[str], str], str]  # a command on the node and its input; ClusterError where it fails
_NOT_WRITTEN = {
    "linkdown",
    "dead",
    "offload",
    "trap",
    "rt_offload",
    "rt_trap",
}  # what ip(8) shows of a route and doesn't take
_NFT_FRAME = ("table ", "chain ", "}", "type ", "comment ")
_WAIT = "--wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """Something of a node. `keeps` picks of what `show` prints the lines that are it; `restore` makes a command and its input of these."""

    what: str
    show: Sequence[str]
    remove: Sequence[str]
    restore: Callable[[list[str]], tuple[Sequence[str], str]]
    keeps: Callable[[str], bool] = bool

    def lines(self, run: Run) -> list[str]:
        """What there is of it."""
        return [line for line in run(self.show, "").splitlines() if line.strip() and self.keeps(line.strip())]

    def take(self, run: Run) -> list[str]:
        """Remove it, and return what it was; ClusterError where there is none, or it is still there."""
        before = self.lines(run)
        if not before:
            raise ClusterError(f"there is no {self.what}")
        run(self.remove, "")
        return before

    def put_back(self, run: Run, before: list[str]) -> None:
        """Put it back, unless somebody has done so meanwhile."""
        if not self.lines(run):
            command, text = self.restore(before)
            run(command, text)


def host_state(wanted: Mapping[str, Any]) -> HostState:
    """What is meant by one of the fields `route`, `rule`, `chain`, `ipset`, `nftChain` and `nftSet` with those beside it."""
    makers: Mapping[str, Callable[[Mapping[str, Any]], HostState]] = {
        "route": _route, "rule": _rule, "chain": _chain, "ipset": _ipset, "nft_chain": _nft_chain, "nft_set": _nft_set,
    }  # fmt: skip
    return next(make(wanted) for field, make in makers.items() if wanted.get(field) is not None)


def _ip(wanted: Mapping[str, Any], address: str = "") -> list[str]:
    is_six = ":" in address or wanted.get("family") == "IPv6"
    return ["ip", "-6"] if is_six else ["ip", "-4"]


def _route(wanted: Mapping[str, Any]) -> HostState:
    destination, table = str(wanted["route"]), str(wanted.get("table") or "main")
    ip = _ip(wanted, destination)
    return HostState(
        what=f"route to {destination} in table {table}",
        show=[*ip, "route", "show", "table", table, "exact", destination],
        remove=[*ip, "route", "del", destination, "table", table],
        restore=lambda lines: (
            [*ip, "route", "add", *(word for word in lines[0].split() if word not in _NOT_WRITTEN), "table", table], "",
        ),
    )  # fmt: skip


def _rule(wanted: Mapping[str, Any]) -> HostState:
    priority, ip = str(wanted["rule"]), _ip(wanted)
    return HostState(
        what=f"routing rule of priority {priority}",
        show=[*ip, "rule", "show", "pref", priority],
        remove=[*ip, "rule", "del", "pref", priority],
        restore=lambda lines: ([*ip, "rule", "add", "pref", priority, *lines[0].partition(":")[2].split()], ""),
    )


def _chain(wanted: Mapping[str, Any]) -> HostState:
    chain, table = str(wanted["chain"]), str(wanted.get("table") or "filter")
    program = "ip6tables" if wanted.get("family") == "IPv6" else "iptables"
    return HostState(
        what=f"rule in the chain {chain} of {program}' table {table}",
        show=[program, _WAIT, "-t", table, "-S", chain],
        remove=[program, _WAIT, "-t", table, "-F", chain],
        restore=lambda lines: (
            [f"{program}-restore", "--noflush", _WAIT], "\n".join([f"*{table}", *lines, "COMMIT", ""])
        ),
        keeps=lambda line: line.startswith("-A "),
    )  # fmt: skip


def _ipset(wanted: Mapping[str, Any]) -> HostState:
    name = str(wanted["ipset"])
    return HostState(
        what=f"member of the ipset {name}",
        show=["ipset", "save", name],
        remove=["ipset", "flush", name],
        restore=lambda lines: (["ipset", "restore", "-exist"], "\n".join([*lines, ""])),
        keeps=lambda line: line.startswith("add "),
    )


def _nft_chain(wanted: Mapping[str, Any]) -> HostState:
    family, table, chain = str(wanted["nft_chain"]).split()
    head = f"add rule {family} {table} {chain} "
    return HostState(
        what=f"rule in the chain {chain} of the nftables table {family} {table}",
        show=["nft", "-s", "list", "chain", family, table, chain],
        remove=["nft", "flush", "chain", family, table, chain],
        restore=lambda lines: (["nft", "-f", "-"], "".join(f"{head}{line.strip()}\n" for line in lines)),
        keeps=lambda line: not line.startswith(_NFT_FRAME),
    )


def _nft_set(wanted: Mapping[str, Any]) -> HostState:
    """A set or a map; which of them it is nft(8) wants to be told."""
    words = str(wanted["nft_set"]).split()
    family, table, name = words
    either = "nft {0} set {1} 2>/dev/null || nft {0} map {1}"
    return HostState(
        what=f"element in the set {name} of the nftables table {family} {table}",
        show=["sh", "-c", either.format("--json --stateless list", shlex.join(words))],
        remove=["sh", "-c", either.format("flush", shlex.join(words))],
        restore=lambda lines: (["nft", "--json", "--file", "-"], _elements_added(lines[0], family, table, name)),
        keeps=lambda line: bool(elements(line)),
    )


def elements(line: str) -> list[Any]:
    """The elements of a set or a map, as nft prints it (libnftables-json(5))."""
    found = (one for entry in json.loads(line)["nftables"] for kind, one in entry.items() if kind in ("set", "map"))
    return [element for one in found for element in one.get("elem", ())]


def _elements_added(line: str, family: str, table: str, name: str) -> str:
    element = {"family": family, "table": table, "name": name, "elem": [_lasting(one) for one in elements(line)]}
    return json.dumps({"nftables": [{"add": {"element": element}}]})


def _lasting(element: Any) -> Any:
    """An element without the time that it had left."""
    if isinstance(element, list):  # of a map: key and value
        return [_lasting(each) for each in element]
    if isinstance(element, Mapping) and isinstance(element.get("elem"), Mapping):
        return {"elem": {key: value for key, value in element["elem"].items() if key != "expires"}}
    return element
