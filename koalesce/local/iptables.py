"""Tables of iptables as `iptables-save` shows them, and what brings them back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

# Whose chains Kubernetes' own programs look after, as they find Services and policies.
LOOKED_AFTER = "KUBE-"
_COUNTERS = re.compile(r" \[\d+:\d+\]$")
_TARGET = re.compile(r" (?:-j|-g) (\S+)")


@dataclass(slots=True)
class Table:
    """One table: each chain's policy (`-` for one that somebody made), and its rules in order."""

    policies: dict[str, str] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """What `iptables-restore` takes, which replaces the table as a whole."""
        chains = [f":{chain} {policy} [0:0]" for chain, policy in self.policies.items()]
        rules = [rule for chain in self.policies for rule in self.rules.get(chain, ())]
        return "\n".join((f"*{name}", *chains, *rules, "COMMIT\n"))


def read(text: str) -> dict[str, Table]:
    """The tables of an `iptables-save`, without counters."""
    tables: dict[str, Table] = {}
    table = Table()
    for line in text.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:], Table())
        elif line.startswith(":"):
            chain, policy = _COUNTERS.sub("", line)[1:].split(" ")[:2]
            table.policies[chain] = policy
        elif line.startswith("-A "):
            table.rules.setdefault(line.split()[1], []).append(line)
    return tables


def restoring(first: str, now: str) -> dict[str, str]:
    """The text for `iptables-restore` of each table that differs from what it was at first.

    Chains that Kubernetes looks after stay as they are where they exist, but for rules that lead to what goes.
    """
    was, is_ = read(first), read(now)
    wanted = {name: _wanted(was.get(name, Table()), table) for name, table in is_.items()}
    wanted |= {name: table for name, table in was.items() if name not in is_ and any(table.rules.values())}
    return {name: table.text(name) for name, table in wanted.items() if _differs(table, is_.get(name, Table()))}


def looked_after_differ(first: str, now: str) -> bool:
    """Whether chains that Kubernetes looks after are others, or have other rules, than at first; in whichever order it found Services."""
    return _looked_after(read(first)) != _looked_after(read(now))


def _looked_after(tables: Mapping[str, Table]) -> dict[str, dict[str, list[str]]]:
    return {
        name: {chain: sorted(table.rules.get(chain, ())) for chain in table.policies if chain.startswith(LOOKED_AFTER)}
        for name, table in tables.items()
        if any(chain.startswith(LOOKED_AFTER) for chain in table.policies)
    }


def _wanted(first: Table, now: Table) -> Table:
    built_in = {chain: "ACCEPT" for chain, policy in now.policies.items() if policy != "-"}
    kept = {chain: "-" for chain in now.policies if chain.startswith(LOOKED_AFTER)}
    found = Table(policies={**built_in, **first.policies, **kept})
    gone = now.policies.keys() - found.policies.keys()
    for chain in found.policies:
        if chain in kept:
            found.rules[chain] = [rule for rule in now.rules.get(chain, ()) if _target(rule) not in gone]
        else:
            found.rules[chain] = list(first.rules.get(chain, ()))
    return found


def _target(rule: str) -> str:
    match = _TARGET.search(rule)
    return match[1] if match else ""


def _differs(one: Table, other: Table) -> bool:
    rules = [{chain: rules for chain, rules in table.rules.items() if rules} for table in (one, other)]
    return one.policies != other.policies or rules[0] != rules[1]
