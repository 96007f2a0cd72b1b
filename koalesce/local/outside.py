"""What of this machine's network gets in the way of clusters: routes to the addresses of their nodes, filters that forward nothing.

Clusters have networks of their own, so that this concerns only those with a way out (`egress: host`).
"""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from koalesce.addresses import FABRIC
from koalesce.local import netns

_OURS = "koalesce-"
REMEDY = (
    f"let through what links called {_OURS}* forward: iptables -I FORWARD -i {_OURS}+ -j ACCEPT; "
    f"iptables -I FORWARD -o {_OURS}+ -j ACCEPT"
)
OTHER_ADDRESSES = "end that VPN, or have it use other addresses, while pods need what is behind it"
_WIDE = 8  # routes to more than this are the ways out of the machine
_PATIENCE = 20.0
_CHAIN = re.compile(r"\bchain (?P<name>\S+) \{(?P<body>[^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LEADS_TO = re.compile(r"\b(?:jump|goto) (\S+?)(?=[\s,}]|$)")
_ACCEPTS = re.compile(r"\baccept\b|-j ACCEPT\b")
_ANSWERS = re.compile(r"\bct status dnat\b|\bct state (?!.*\bnew\b)|--ctstate (?!\S*NEW)|--state (?!\S*NEW)")
_OTHER_CHAINS = re.compile(r"-A (INPUT|OUTPUT) ")
_ICMP = re.compile(r"\bicmp(v6)?\b")
_COMES = re.compile(r'(?:\biifname |(?<!! )-i )"?(?P<link>[^\s"!{]+)')
_GOES = re.compile(r'(?:\boifname |(?<!! )-o )"?(?P<link>[^\s"!{]+)')
# A rule that takes whatever has come so far, with or without a counter.
_ALL = re.compile(r"^(counter( packets \d+ bytes \d+)?\s+)?(drop|reject\b[^{}]*)$")


def claimed(routes: str) -> list[str]:
    """Who else has addresses of clusters' nodes: `198.18.0.0/15 by tun0`, out of what a /proc/net/route says (proc_net(5))."""
    found = []
    for line in routes.splitlines()[1:]:
        link, destination, _, _, _, _, _, mask, *_ = line.split()
        address, bits = (int.from_bytes(bytes.fromhex(text), "little") for text in (destination, mask))
        network = ipaddress.IPv4Network((address, bits.bit_count()))
        if network.prefixlen >= _WIDE and network.overlaps(FABRIC["IPv4"]) and not link.startswith(_OURS):
            found.append(f"{network} by {link}")
    return sorted(set(found))


def out_of_reach(others: Sequence[str]) -> str:
    """What it means that others have these addresses."""
    return f"this machine reaches others at addresses that clusters' nodes have ({', '.join(others)}); pods don't, not even with egress: host"


@dataclass(frozen=True, slots=True)
class Filter:
    """A chain that lets nothing be forwarded but what is named, and the rules that may name something of clusters."""

    name: str
    exceptions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def closed(ruleset: str, ways_out: Sequence[str] = ()) -> list[Filter]:
    """The chains that let nothing of IPv4 be forwarded but what they name, out of what `nft list ruleset` says."""
    found = []
    for table, text in _tables(ruleset):
        chains = {chain["name"]: _rules(chain["body"]) for chain in _CHAIN.finditer(text)}
        for name, (head, *rules) in chains.items():
            drops = "policy drop" in head or any(_ALL.fullmatch(rule) for rule in rules)
            if "hook forward" in head and drops and not table.startswith(("bridge ", "netdev ", "ip6 ")):
                exceptions = (rule for rule in _followed(name, chains) if _may_let_through(rule, ways_out))
                found.append(Filter(f"{name} of the table {table}", tuple(exceptions)))
    return found


def _rules(body: str) -> list[str]:
    return [line.strip() for line in body.strip().splitlines()] or [""]


def _followed(name: str, chains: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The rules of a chain, and of those that it leads to."""
    waiting, seen = [name], {name}
    while waiting:
        for rule in chains.get(waiting.pop(), ()):
            yield rule
            for other in _LEADS_TO.findall(rule):
                if other not in seen:
                    seen.add(other)
                    waiting.append(other)


def _may_let_through(rule: str, ways_out: Sequence[str]) -> bool:
    """Whether a rule (as nft or iptables writes it) may accept what a cluster begins: not one about others' links, or answers only."""
    if not _ACCEPTS.search(rule) or _ANSWERS.search(rule) or _ICMP.search(rule):
        return False
    comes, goes = _COMES.search(rule), _GOES.search(rule)
    if comes and not comes["link"].startswith(_OURS[: len(comes["link"].rstrip("*+"))]):
        return False
    return not (goes and ways_out and not any(_is_link(link, goes["link"]) for link in ways_out))


def _is_link(link: str, pattern: str) -> bool:
    return link.startswith(pattern[:-1]) if pattern.endswith(("*", "+")) else link == pattern


def _tables(ruleset: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^table ", ruleset, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("{")
        yield name.strip(), rest


def filters(nft: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> list[Filter]:
    """The chains in the calling thread's network namespace that let nothing be forwarded; none where it can't be told.

    `nft` is the command with its environment; default: the machine's, if it has one. Without, iptables tells of its own rules alone.
    """
    environment = environment or netns.environment()
    if nft is None:
        program = shutil.which("nft", path=environment["PATH"])
        nft = [program] if program else []
    ways = ways_out(routes())
    found = closed(_output([*nft, "list", "ruleset"], environment), ways) if nft else []
    for name in ("iptables-legacy",) if nft else ("iptables", "iptables-legacy"):
        program = shutil.which(name, path=environment["PATH"])
        rules = _output([program, "-S"], environment).splitlines() if program else []
        if "-P FORWARD DROP" in rules:
            exceptions = (rule for rule in rules if not _OTHER_CHAINS.match(rule) and _may_let_through(rule, ways))
            found.append(Filter(f"FORWARD of {name}", tuple(exceptions)))
    return found


def ways_out(routes: str) -> list[str]:
    """The links of default routes, out of what a /proc/net/route says."""
    fields = (line.split() for line in routes.splitlines()[1:])
    return sorted({link for link, destination, _, _, _, _, _, mask, *_ in fields if destination == mask == "00000000"})


def _output(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a command prints; nothing if it fails, as where the kernel has no such filter."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def routes(root: Path = Path("/")) -> str:
    """The routes of IPv4 in the calling thread's network namespace, as the kernel shows them; nothing where it shows none."""
    try:
        return (root / "proc/thread-self/net/route").read_text()
    except OSError:
        return ""
