"""Packet filters: rules of iptables and nftables, sets, and the connections that are tracked."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from koalesce.local import iptables
from koalesce.steps.state.view import Item, View

_RULE = "family table chain rule target comment"
_CHAIN = "family table chain policy"
_SET = "name type family members comments timeouts references header"
_CONNECTION = "family protocol src dst sport dport reply state timeout mark zone id assured unreplied"


def _iptables(text: str) -> list[Item]:
    """Rules of `iptables-save`, a family after the other: `rule` is all that follows the chain's name."""
    return [item for item in _saved(text) if "rule" in item]


def _chains(text: str) -> list[Item]:
    """Chains of `iptables-save`; `policy` is `-` for those that users make."""
    return [item for item in _saved(text) if "rule" not in item]


def _saved(text: str) -> Iterator[Item]:
    for part in text.split("== ")[1:]:
        family, _, saved = part.partition("\n")
        for name, table in iptables.read(saved).items():
            for chain, policy in table.policies.items():
                place = {"family": family, "table": name, "chain": chain}
                yield {**place, "policy": policy}
                for line in table.rules.get(chain, ()):
                    rule = line.removeprefix(f"-A {chain}").strip()
                    words = shlex.split(rule)
                    yield {
                        **place,
                        "rule": rule,
                        "target": _after(words, "-j", "-g"),
                        "comment": _after(words, "--comment"),
                    }


def _after(words: list[str], *options: str) -> str:
    """The word after the first of some options; empty if there is none."""
    return next((words[place + 1] for place, word in enumerate(words[:-1]) if word in options), "")


def _nftables(text: str) -> list[Item]:
    """Objects of the ruleset as nftables gives them (libnftables-json(5)), each with its `kind`: table, chain, rule, set, map, element …."""
    return [
        {"kind": kind, **(value if isinstance(value, dict) else {"value": value})}
        for entry in json.loads(text)["nftables"]
        for kind, value in entry.items()
        if kind != "metainfo"
    ]


def _ipsets(text: str) -> list[Item]:
    """Sets with their members; `comments` and `timeouts` map those members that have such."""
    found = []
    for each in _root(text, "ipsets").iterfind("ipset"):
        header = each.find("header")
        values = {part.tag: part.text or "" for part in header} if header is not None else {}
        members = [(member.findtext("elem", ""), member) for member in each.iterfind("members/member")]
        found.append(
            {
                "name": each.get("name", ""),
                "type": each.findtext("type", ""),
                "family": values.pop("family", "inet"),
                "references": int(values.pop("references", "0")),
                "members": sorted(name for name, _ in members),
                "comments": {name: said.strip('"') for name, one in members if (said := one.findtext("comment"))},
                "timeouts": {name: int(left) for name, one in members if (left := one.findtext("timeout"))},
                "header": values,
            }
        )
    return found


def _connections(text: str) -> list[Item]:
    """Tracked connections: addresses and ports as they were sent, and those of the `reply`."""
    return [_connection(flow) for flow in _root(text, "conntrack").iterfind("flow")]


def _connection(flow: ElementTree.Element) -> Item:
    item: Item = {"assured": False, "unreplied": False}
    for meta in flow.iterfind("meta"):
        direction = meta.get("direction")
        if direction in ("original", "reply"):
            layer3, layer4 = meta.find("layer3"), meta.find("layer4")
            if layer3 is None or layer4 is None:
                continue
            ends: Item = {name: layer3.findtext(name, "") for name in ("src", "dst")}
            ends |= {name: int(port) for name in ("sport", "dport") if (port := layer4.findtext(name))}
            if direction == "reply":
                item["reply"] = ends
            else:
                family = "inet6" if layer3.get("protoname") == "ipv6" else "inet"
                item |= {"family": family, "protocol": layer4.get("protoname", ""), **ends}
        else:
            item |= {part.tag: _scalar(part.text or "") for part in meta}
    return item


def _scalar(text: str) -> Any:
    """A number, a text, or true for a mark that is just there."""
    return int(text) if text.isdigit() else text or True


def _root(text: str, tag: str) -> ElementTree.Element:
    """The document's root; an empty one where nothing was printed (there is nothing to list)."""
    found = re.search(rf"<{tag}[ >/].*", text, re.DOTALL)
    try:
        return ElementTree.fromstring(found[0]) if found else ElementTree.Element(tag)  # noqa: S314 - the node's own tool wrote it
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error


_SAVE = "echo '== inet'; iptables-save; echo '== inet6'; if [ -e /proc/net/if_inet6 ]; then ip6tables-save; fi"
VIEWS = {
    "iptables": View(_SAVE, _iptables, frozenset(_RULE.split()), "rule"),
    "chains": View(_SAVE, _chains, frozenset(_CHAIN.split()), "chain"),
    "nftables": View("nft -j list ruleset", _nftables, None, "object", maps=None),
    "ipsets": View(
        "ipset list -o xml", _ipsets, frozenset(_SET.split()), "set", maps=frozenset(("comments", "header", "timeouts"))
    ),
    "connections": View(
        "conntrack -L -o xml 2>/dev/null",
        _connections,
        frozenset(_CONNECTION.split()),
        "connection",
        maps=frozenset(("reply",)),
    ),
}
