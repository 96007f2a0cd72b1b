"""What machines of some clouds are told besides at their first boot: to let in only who may, and to end once their time is over."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from koalesce.errors import UsageError
from koalesce.machines.boot.config import BootFile, NodeConfig, Unit

_FILTER = "/etc/koalesce-access.nft"
PEERS = "/etc/koalesce-access-peers*.nft"  # what roots add once machines have addresses; none at first
_OWN4 = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_OWN6 = ("::1",)
_EXPIRY = "%Y%m%dT%H%M%SZ"  # as marks have it


def added(config: NodeConfig, wishes: Mapping[str, Any], *, allowed: Sequence[str]) -> NodeConfig:
    """The description with what a root wishes: `filter` by each machine itself but for `allowed` ranges, and the time when it `ends`."""
    if unknown := sorted(set(wishes) - {"filter", "ends"}):
        raise UsageError(f"local.boot has {', '.join(unknown)}; there are filter and ends")
    files, units = [*config.files], [*config.units]
    if wishes.get("filter"):
        files.append(BootFile(path=_FILTER, text=_table(allowed), mode=0o600))
        units.append(Unit(name="koalesce-access.service", text=_ACCESS))
    if ends := str(wishes.get("ends") or ""):
        units += [
            Unit(name="koalesce-end.service", text=_END, enabled=False),
            Unit(name="koalesce-end.timer", text=_timer(ends)),
        ]
    return config.model_copy(update={"files": tuple(files), "units": tuple(units)})


def _table(allowed: Sequence[str]) -> str:
    """A filter of nftables before anything is passed on to pods (nft(8)): there is no firewall in front of these machines."""
    try:
        networks = [ipaddress.ip_network(text, strict=False) for text in allowed]
    except ValueError as error:
        raise UsageError(f"settings.allowed_cidrs: {error}", hint="a range is, for example: 192.0.2.0/24") from error
    own4, own6 = ([str(each) for each in networks if each.version == version] for version in (4, 6))
    return f"""add table inet koalesce_access
delete table inet koalesce_access
table inet koalesce_access {{
  set allowed4 {{
    type ipv4_addr
    flags interval
    auto-merge
    elements = {{ {", ".join([*_OWN4, *own4])} }}
  }}
  set allowed6 {{
    type ipv6_addr
    flags interval
    auto-merge
    elements = {{ {", ".join([*_OWN6, *own6])} }}
  }}
  chain entries {{
    type filter hook prerouting priority -150; policy accept;
    iifname "lo" accept
    ct state established,related accept
    ip saddr @allowed4 accept
    ip6 saddr @allowed6 accept
    meta l4proto {{ icmp, ipv6-icmp }} accept
    udp dport 68 accept
    drop
  }}
}}
include "{PEERS}"
"""


_ACCESS = f"""[Unit]
Description=Let in only who may reach this machine
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
After=local-fs.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'exec nft -f {_FILTER}'

[Install]
WantedBy=sysinit.target
"""
_END = """[Unit]
Description=End this machine, whose time is over

[Service]
Type=oneshot
ExecStart=/bin/systemctl --no-block poweroff
"""


def _timer(expiry: str) -> str:
    try:
        at = datetime.strptime(expiry, _EXPIRY).replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"local.boot.ends: {error}", hint="it is local.marks.koalesce-expires") from error
    return f"""[Unit]
Description=The end of this machine's time

[Timer]
OnCalendar={at:%Y-%m-%d %H:%M:%S} UTC
Persistent=true

[Install]
WantedBy=timers.target
"""
