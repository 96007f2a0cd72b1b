"""What machines tell of themselves."""

from __future__ import annotations

import json
import platform

MARK = "===koalesce===\n"


def network(*links: str, routes: str = "", routes6: str = "", iptables: str = "") -> str:
    """What a look at a machine with these links prints."""
    shown = [
        {"ifname": name, "flags": ["UP"], "mtu": 1500, "addr_info": [{"local": "192.0.2.10", "prefixlen": 24}]}
        for name in ("lo", "eth0", *links)
    ]
    parts = [json.dumps(shown) + "\n", "", routes, routes6, "", "", "", iptables, "", "", ""]
    return "".join(MARK + part for part in parts)


NOW = 1_700_000_000
OUTPUT = f"""clock {NOW}
machine {platform.machine()}
init systemd
system Debian GNU/Linux 12 (bookworm)
cgroups 2 cpuset cpu io memory hugetlb pids
address 127.0.0.1
address 192.0.2.10
space 10485760
resolver /run/systemd/resolve/resolv.conf
"""
