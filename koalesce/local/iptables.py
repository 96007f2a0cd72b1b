"""Tables of iptables as `iptables-save` shows them, and what brings them back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import field

from koalesce.records import dataclass

# The chains that kube-proxy and the kubelet look after, as they find Services (k8s.io/kubernetes/pkg/proxy, pkg/kubelet).
_PROXYS = re.compile(
    r"KUBE-(?:(?:SVC|SVL|SEP|EXT|FW|XLB)-[A-Z2-7]{16}"
    r"|SERVICES|EXTERNAL-SERVICES|NODEPORTS|POSTROUTING|MARK-MASQ|MARK-DROP|FORWARD|FIREWALL|PROXY-FIREWALL|PROXY-CANARY|KUBELET-CANARY"
    r"|IPTABLES-HINT|LOAD-BALANCER|NODE-PORT|SOURCE-RANGES-FIREWALL|IPVS-FILTER|IPVS-OUT-FILTER)"
)
# Those of kube-router, as it finds policies; it draws the names of many anew each time.
_ROUTERS = re.compile(r"KUBE-(?:ROUTER|POD-FW|NWPLCY)-.+")
_DRAWN = re.compile(r"\bKUBE-(SVC|SVL|SEP|EXT|FW|XLB|POD-FW|NWPLCY)-[A-Z2-7]{16}\b")
_ENDPOINT = re.compile(r"\bKUBE-SEP-[A-Z2-7]{16}\b")  # kube-proxy's chain of a pod behind a Service, named after both
_COUNTERS = re.compile(r" \[\d+:\d+\]$")
Whose = Callable[[str], bool]  # whether a chain is of somebody's
Addresses = Mapping[str, str]  # whose pod has each
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


def is_proxys(chain: str) -> bool:
    """Whether kube-proxy or the kubelet looks after it."""
    return bool(_PROXYS.fullmatch(chain))


def is_looked_after(chain: str) -> bool:
    """Whether kube-proxy, the kubelet or kube-router looks after it."""
    return is_proxys(chain) or bool(_ROUTERS.fullmatch(chain))


def restoring(first: str, now: str, *, stays: Whose = is_looked_after) -> dict[str, str]:
    """The text for `iptables-restore --noflush` of each table that differs from what it was at first.

    Chains that somebody looks after (`stays`) are left as they are where they exist, but for rules that lead to what goes. They aren't
    even named: what their program writes into them after the look stays.
    """
    was, is_ = read(first), read(now)
    wanted = {name: _wanted(was.get(name, Table()), table, stays) for name, table in is_.items()}
    wanted |= {name: table for name, table in was.items() if name not in is_ and any(table.rules.values())}
    changes = {name: _changes(is_.get(name, Table()), table, stays) for name, table in wanted.items()}
    return {name: "\n".join((f"*{name}", *lines, "COMMIT\n")) for name, lines in changes.items() if lines}


def proxys_differ(first: str, now: str, *, was: Addresses | None = None, is_: Addresses | None = None) -> bool:
    """Whether chains of kube-proxy or the kubelet are others, or have other rules, than at first; in whichever order it found Services.

    `was` and `is_` tell whose pods had, and have, which addresses: another pod of the same controller is no difference.
    """
    return _proxys(first, was or {}) != _proxys(now, is_ or {})


def routers_differ(first: str, now: str) -> bool:
    """Whether the chains of kube-router say something else than at first, whatever their names."""
    return _routers(first) != _routers(now)


def renewed(first: str, now: str, whose: Whose) -> str:
    """What there was at first, but for chains of somebody's: of these, what there is now."""
    was, is_ = read(first), read(now)
    return "".join(
        _renewed(was.get(name, Table()), is_.get(name, Table()), whose).text(name) for name in {**was, **is_}
    )


def _renewed(first: Table, now: Table, whose: Whose) -> Table:
    found = Table(policies={chain: policy for chain, policy in first.policies.items() if not whose(chain)})
    found.policies |= {chain: policy for chain, policy in now.policies.items() if whose(chain)}
    for chain in found.policies:
        found.rules[chain] = list((now if whose(chain) else first).rules.get(chain, ()))
    return found


def _is_routers(chain: str) -> bool:
    return bool(_ROUTERS.fullmatch(chain))


def _routers(text: str) -> dict[str, list[str]]:
    """What kube-router's chains say, with no names that are drawn anew: what they say tells them apart."""
    found = _lines_of(text, _is_routers)
    return {name: sorted(_DRAWN.sub(r"KUBE-\1-*", line) for line in lines) for name, lines in found.items()}


def _proxys(text: str, pods: Addresses) -> dict[str, list[str]]:
    """What kube-proxy's chains say, with whose pods they lead to for addresses, and for names of chains that are made of these what is in them."""
    found = _lines_of(_told(text, pods), is_proxys)
    return {name: sorted(_with_endpoints_told(lines)) for name, lines in found.items()}


def _told(text: str, pods: Addresses) -> str:
    """Rules with `<whose pod>` in place of a pod's address."""
    if not pods:
        return text
    # An IPv6 address may be the beginning of another; after one of IPv4, a colon is followed by a port.
    known = "|".join(rf"{re.escape(address)}(?![\w.{':' if ':' in address else ''}])" for address in pods)
    return re.sub(rf"(?<![\w.:])(?:{known})", lambda match: f"<{pods[match[0]]}>", text)


def _with_endpoints_told(lines: list[str]) -> list[str]:
    said: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith("-A ") and _ENDPOINT.fullmatch(chain := line.split()[1]):
            said.setdefault(chain, []).append(line.replace(chain, "*"))
    names = {chain: hashlib.sha256("\n".join(rules).encode()).hexdigest()[:16] for chain, rules in said.items()}
    return [_ENDPOINT.sub(lambda match: names.get(match[0], match[0]), line) for line in lines]


def _lines_of(text: str, belongs: Whose) -> dict[str, list[str]]:
    """The chains and rules of each table where they belong to somebody."""
    found = {
        name: [
            line for chain in table.policies if belongs(chain) for line in (f":{chain}", *table.rules.get(chain, ()))
        ]
        for name, table in read(text).items()
    }
    return {name: lines for name, lines in found.items() if lines}


def _wanted(first: Table, now: Table, stays: Whose) -> Table:
    built_in = {chain: "ACCEPT" for chain, policy in now.policies.items() if policy != "-"}
    kept = {chain: "-" for chain in now.policies if stays(chain)}
    # One of a drawn name that isn't there any more was of a Service, pod or policy as it was then.
    back = {chain: policy for chain, policy in first.policies.items() if not (stays(chain) and _DRAWN.fullmatch(chain))}
    found = Table(policies={**built_in, **back, **kept})
    gone = (now.policies.keys() | first.policies.keys()) - found.policies.keys()
    for chain in found.policies:
        rules = now.rules if chain in kept else first.rules
        found.rules[chain] = [rule for rule in rules.get(chain, ()) if _target(rule) not in gone]
    return found


def _target(rule: str) -> str:
    match = _TARGET.search(rule)
    return match[1] if match else ""


def _changes(now: Table, wanted: Table, stays: Whose) -> list[str]:
    """The lines by which one table becomes another; a chain of somebody's own that is declared is emptied by that."""
    chains: list[str] = []
    rules: list[str] = []
    for chain, policy in wanted.policies.items():
        was, is_ = now.rules.get(chain, []), wanted.rules.get(chain, [])
        if chain in now.policies and stays(chain):
            rules += [rule.replace("-A ", "-D ", 1) for rule in was if rule not in is_]
        elif was != is_ or now.policies.get(chain) != policy:
            chains.append(f":{chain} {policy} [0:0]")
            rules += [*((f"-F {chain}",) if policy != "-" else ()), *is_]
    gone = [chain for chain in now.policies if chain not in wanted.policies]
    return [*chains, *rules, *(f"-F {chain}" for chain in gone), *(f"-X {chain}" for chain in gone)]
