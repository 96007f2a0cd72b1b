"""Finds out by trying what this machine's kernel can do inside a network namespace, as capabilities that specs can require."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from koalesce.local import netns, syscalls
from koalesce.local.request import LocalRequest

_ALWAYS = ("node-exec", "node-kill", "privileged", "host-exec", "images")
# ip(8) commands that work only where the kernel has the feature.
_LINKS = {
    "dummy": "link add try0 type dummy",
    "vxlan": "link add try1 type vxlan id 1 dstport 4789 dev lo",
    "ipip": "link add try2 type ipip local 127.0.0.1 remote 127.0.0.2",
    "gre": "link add try3 type gre local 127.0.0.1 remote 127.0.0.2",
    "wireguard": "link add try4 type wireguard",
    "geneve": "link add try5 type geneve id 1 remote 127.0.0.2",
    "vlan": "link add link lo name try6 type vlan id 7",
    "macvlan": "link add try7 type veth peer name try8\nlink add link try7 name try9 type macvlan",
    "vrf": "link add try10 type vrf table 10",
    "fou": "fou add port 5555 ipproto 4",
}
_NETLINK_NETFILTER = 12


def probe(request: LocalRequest) -> frozenset[str]:
    """What clusters on this machine can do; tried in a process with a network namespace of its own, within a second or two."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.write(writer, ",".join(_try_all()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        found = stream.read()
    os.waitpid(child, 0)
    return frozenset({*_ALWAYS, *filter(None, found.split(",")), *_chosen(request)})


def _chosen(request: LocalRequest) -> list[str]:
    return [
        *(["egress"] if request.egress == "host" else []),
        f"cgroup-v{1 if Path('/sys/fs/cgroup/memory').is_dir() else 2}",
    ]


def _try_all() -> list[str]:
    try:
        netns.new()
    except Exception:
        return []
    return [name for name, lines in _LINKS.items() if _works(lines)]


def _works(lines: str) -> bool:
    try:
        netns.ip(*lines.splitlines())
    except Exception:
        return False
    return True


del socket, syscalls
