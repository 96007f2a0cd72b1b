"""Virtual servers of IPVS, as the kernel tells them of a node's network (/proc/net/ip_vs; ip_vs_info_seq_show in net/netfilter/ipvs/ip_vs_ctl.c)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

from koalesce.steps.state.view import Item, View

_SERVICE = "protocol address port fwmark scheduler ops persistent family servers"
_LOOK = "if [ ! -e /proc/net/ip_vs ]; then echo 'the kernel has no IPVS, or nobody has loaded it' >&2; exit 1; fi; cat /proc/net/ip_vs"
_PLACE = r"(?:(?P<v4>[0-9A-F]{8})|\[(?P<v6>[0-9a-fA-F:]+)\]):(?P<port>[0-9A-F]{4})"
_HEAD = re.compile(
    rf"(?:(?P<protocol>TCP|UDP|SCTP)\s+{_PLACE}|FWM\s+(?P<mark>[0-9A-F]{{8}}))\s+(?P<scheduler>\S+)(?P<ops>\s+ops)?"
    r"(?:\s+persistent (?P<persistent>\d+)(?:\s+\S+)?)?\s*"
)
_SERVER = re.compile(rf"\s+-> {_PLACE}\s+(?P<forward>\w+)\s+(?P<weight>-?\d+)\s+(?P<active>\d+)\s+(?P<inactive>\d+)\s*")
_TITLES = 3  # lines


def _services(text: str) -> list[Item]:
    """Services with the servers behind each."""
    found: list[Item] = []
    for line in text.splitlines()[_TITLES:]:
        if head := _HEAD.fullmatch(line):
            found.append(_service(head))
        elif found and (server := _SERVER.fullmatch(line)):
            address, port, _ = _place(server)
            numbers = {name: int(server[name]) for name in ("weight", "active", "inactive")}
            found[-1]["servers"].append({"address": address, "port": port, "forward": server["forward"], **numbers})
        else:
            raise ValueError(f"this is no line of /proc/net/ip_vs: {line}")
    return found


def _service(head: re.Match[str]) -> Item:
    common: Item = {
        "scheduler": head["scheduler"],
        "ops": head["ops"] is not None,
        "persistent": int(head["persistent"] or 0),
        "servers": [],
    }
    if head["mark"] is not None:
        return {"fwmark": int(head["mark"], 16), **common}
    address, port, family = _place(head)
    return {"protocol": head["protocol"], "address": address, "port": port, "family": family, **common}


def _place(found: re.Match[str]) -> tuple[str, int, str]:
    if found["v6"] is not None:
        return str(ipaddress.IPv6Address(found["v6"])), int(found["port"], 16), "inet6"
    return str(ipaddress.IPv4Address(int(found["v4"], 16))), int(found["port"], 16), "inet"


_VIEW = View(
    _LOOK,
    _services,
    frozenset(_SERVICE.split()),
    "virtual server",
    ("protocol", "address", "port", "fwmark", "scheduler"),
)
VIEWS = {"ipvs": _VIEW}
# Where nobody has loaded IPVS (yet), there are no virtual servers: so it's seen when a state is compared with an earlier one.
IF_ANY = replace(_VIEW, command="if [ -e /proc/net/ip_vs ]; then cat /proc/net/ip_vs; fi")
