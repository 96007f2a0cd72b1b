"""What machines of some clouds are told besides: whom they let in, and when they end."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.machines.boot import additions, cloudinit, config

ALLOWED = ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32"]
_MOST = 16384  # bytes of user data that the strictest of the clouds takes


def user_data(**wishes: Any) -> dict[str, Any]:
    told = additions.added(config.load().opened_by(["ssh-ed25519 AAAA ci"]), wishes, allowed=ALLOWED)
    text = cloudinit.render(told)
    assert len(text.encode()) < _MOST
    found: dict[str, Any] = json.loads(text.removeprefix("#cloud-config\n"))
    return found


def files(told: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["content"] for file in told["write_files"]}


def started(told: dict[str, Any]) -> list[str]:
    """The units that are started at last."""
    *_, last = told["runcmd"]
    assert last[:4] == ["systemctl", "enable", "--now", "--no-block"]
    return last[4:]  # type: ignore[no-any-return]  # JSON


def test_without_wishes_there_is_only_what_all_are_told() -> None:
    told = user_data()

    assert [path for path in files(told) if "access" in path or "koalesce-end" in path] == []
    assert started(told) == ["koalesce-host-keys.service"]
    assert "MaxSessions 100\n" in files(told)["/etc/ssh/sshd_config.d/10-koalesce.conf"]


def test_a_machine_without_a_firewall_filters_by_itself_and_at_every_boot() -> None:
    told = user_data(filter=True)

    lines = [line.strip() for line in files(told)["/etc/koalesce-access.nft"].splitlines()]
    assert (
        "elements = { 127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 192.0.2.0/24, 198.51.100.7/32 }" in lines
    )
    assert "elements = { ::1, 2001:db8::/32 }" in lines
    assert "type filter hook prerouting priority -150; policy accept;" in lines
    assert lines[lines.index("drop") - 3 : lines.index("drop")] == [
        "ip6 saddr @allowed6 accept", "meta l4proto { icmp, ipv6-icmp } accept", "udp dport 68 accept",
    ]  # fmt: skip
    assert lines[-1] == 'include "/etc/koalesce-access-peers*.nft"'
    assert "nftables" in told["packages"]
    assert started(told) == ["koalesce-host-keys.service", "koalesce-access.service"]
    (mode,) = [file["permissions"] for file in told["write_files"] if file["path"] == "/etc/koalesce-access.nft"]
    assert mode == "0600"


def test_a_machine_ends_by_itself_when_its_time_is_over() -> None:
    told = user_data(ends="20261123T140000Z")

    assert "OnCalendar=2026-11-23 14:00:00 UTC\n" in files(told)["/etc/systemd/system/koalesce-end.timer"]
    assert "poweroff" in files(told)["/etc/systemd/system/koalesce-end.service"]
    assert started(told) == ["koalesce-host-keys.service", "koalesce-end.timer"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_its_units(tmp_path: Path) -> None:
    units = {
        Path(path).name: text for path, text in files(user_data(filter=True, ends="20261123T140000Z")).items() if "/systemd/" in path
    }  # fmt: skip
    for name, text in units.items():
        (tmp_path / name).write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", *(tmp_path / name for name in units)], capture_output=True, text=True, check=False
    )

    assert [line for line in done.stderr.splitlines() if "koalesce-" in line] == []
    assert len(units) == 4


@pytest.mark.parametrize(
    ("wishes", "allowed", "message"),
    [
        ({"filtre": True}, [], "local.boot has filtre; there are filter and ends"),
        ({"filter": True}, ["192.0.2.0/33"], "settings.allowed_cidrs: '192.0.2.0/33'"),
        ({"ends": "tomorrow"}, [], "local.boot.ends: "),
    ],
)
def test_what_is_wrong_is_said(wishes: dict[str, Any], allowed: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        additions.added(config.load(), wishes, allowed=allowed)
