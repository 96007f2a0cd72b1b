"""Routes as `ip route` shows them: which ones routing programs have learnt, and where they lead."""

from __future__ import annotations

import re

# Of /etc/iproute2/rt_protos, those of routing programs; others (kube-router's is 17) are shown as numbers.
_PROGRAMS = "babel|bgp|bird|eigrp|gated|isis|openr|ospf|rip|xorp|zebra"
_LEARNT = re.compile(rf"\bproto (?:{_PROGRAMS}|\d+)\b")
_NEXT_HOP = re.compile(r" nhid \d+\b")
_TABLE = re.compile(r" table \S+")
_TYPES = ("blackhole", "prohibit", "throw", "unreachable", "unicast")


def without_number(line: str) -> str:
    """The route without the number of its next hop, which routing programs draw anew; its next hop stands beside it."""
    return _NEXT_HOP.sub("", line)


def is_learnt(line: str) -> bool:
    """Whether a routing program has made it."""
    return bool(_LEARNT.search(line))


def destination(line: str) -> str:
    """Where it leads, and in which table."""
    words = [word for word in line.split() if word not in _TYPES]
    table = _TABLE.search(line)
    return f"{words[0]}{table[0] if table else ''}"
