"""What is kept of a node, or a fixture: the last of each component's log, with the lines that matter first, and the state of its network."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from koalesce.cluster import Machine

_TIMEOUT = 5.0  # of one look
_LAST = 1 << 20  # bytes of a log
_MOST = 50  # lines that matter, of one log
_TAIL = '"$@" | tail -c "$0"'
# klog's severities, levels of logfmt and of JSON, Go's last words, and what a node's init says of a component.
_MATTERS = re.compile(
    r"^[EF]\d{4} \d\d:|\blevel=\"?(?:error|fatal|panic)\b|\"level\": ?\"(?:error|d?panic|fatal)\""
    r"|^panic:|^fatal error:|\bkoalesce: (?:\S+ ended with code (?!0$)|can't start )"
)
_NETWORK = {
    "addresses": "ip -details address",
    "routes": "ip route show table all; ip -6 route show table all",
    "rules": "ip rule; ip -6 rule",
    "neighbours": "ip neighbour",
    "iptables": "iptables-save -c 2>&1; ip6tables-save -c 2>&1",
    "nftables": "nft list ruleset 2>&1",
    "ipset": "ipset list 2>&1",
    "listeners": "ss -lntup 2>&1",
    "conntrack": "conntrack -L 2>&1 | head -n 2000",
    "processes": "ps -eo pid,ppid,stat,etime,args 2>&1",
}


def node_jobs(node: Machine) -> dict[str, Callable[[], str]]:
    """What to look at, by file; nothing of a node that takes no commands."""
    if not node.exec:
        return {}
    logs = {f"{name}.log": partial(_log, node, command) for name, command in node.logs.items()}
    script = "\n".join(f"echo '=== {name}: {command}'\n{command}\necho" for name, command in _NETWORK.items())
    return {**logs, "network.txt": partial(_run, node, ("sh", "-c", script))}


def _log(node: Machine, command: tuple[str, ...]) -> str:
    text = _run(node, ("sh", "-c", _TAIL, str(_LAST), *command))
    if len(text.encode("utf-8", "replace")) >= _LAST:
        text = text.partition("\n")[2]  # the first line is a part of one, in which no secret would be known as such
    bad = [line for line in text.splitlines() if _MATTERS.search(line)]
    if not bad:
        return text
    shown = bad[-_MOST:]
    head = "lines that matter" if len(shown) == len(bad) else f"lines that matter, the last {_MOST} of {len(bad)}"
    return "\n".join([f"=== {head}", *shown, "", "=== the log, or the last of it", text])


def _run(node: Machine, command: tuple[str, ...]) -> str:
    result = node.run(command, timeout=_TIMEOUT)
    said = "\n".join(part for part in (f"[exit code {result.code}]" if result.code else "", result.err.strip()) if part)
    return result.out + (f"\n{said}" if said else "")
