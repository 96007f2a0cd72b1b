"""What of this machine's network gets in the way of clusters: routes to the addresses of their nodes, filters that forward nothing.

Clusters have networks of their own, so that this concerns only those with a way out (`egress: host`).
"""

from __future__ import annotations

import ipaddress
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
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


def closed(ruleset: str) -> list[str]:
    """The chains that let nothing be forwarded but what they name, out of what `nft list ruleset` says."""
    found = []
    for table, text in _tables(ruleset):
        for chain in _CHAIN.finditer(text):
            head, *rules = [line.strip() for line in chain["body"].strip().splitlines()] or [""]
            drops = "policy drop" in head or any(_ALL.fullmatch(rule) for rule in rules)
            if "hook forward" in head and drops and not table.startswith(("bridge ", "netdev ")):
                found.append(f"{chain['name']} of the table {table}")
    return found


def _tables(ruleset: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^table ", ruleset, flags=re.MULTILINE)[1:]:
        name, _, rest = part.partition("{")
        yield name.strip(), rest


def filters(nft: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> list[str]:
    """The chains in the calling thread's network namespace that let nothing be forwarded; none where it can't be told.

    `nft` is the command with its environment; default: the machine's, if it has one. Without, iptables tells of its own rules alone.
    """
    environment = environment or netns.environment()
    if nft is None:
        program = shutil.which("nft", path=environment["PATH"])
        nft = [program] if program else []
    found = closed(_output([*nft, "list", "ruleset"], environment)) if nft else []
    for name in ("iptables-legacy",) if nft else ("iptables", "iptables-legacy"):
        program = shutil.which(name, path=environment["PATH"])
        if program and "-P FORWARD DROP" in _output([program, "-S", "FORWARD"], environment).splitlines():
            found.append(f"FORWARD of {name}")
    return found


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
