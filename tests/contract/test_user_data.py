"""What clouds' machines are told at their first boot: the locals of each root, evaluated by Terraform without its plugins."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from koalesce.assets import asset
from koalesce.errors import ProvisionError
from koalesce.terraform import find_binary

CLOUDS = sorted(path.parent for path in asset("terraform").glob("*/main.tf") if "user_data = join(" in path.read_text())
METAL = ("equinix", "latitudesh")
KEY = "ssh-ed25519 AAAAC3Nz koalesce-dev"
_ATTRIBUTE = re.compile(r"^  (\w+) += .*?(?=^  (?:\w+ += |#)|^\})", re.DOTALL | re.MULTILINE)
_GIVEN = {  # what the resources of a root would say
    "public_key": f'"{KEY}"',
    "marks": '{ koalesce-cluster = "dev", koalesce-run = "r-1", koalesce-expires = "20261123T140000Z" }',
}


@pytest.mark.parametrize("root", CLOUDS, ids=lambda root: root.name)
def test_user_data_is_a_cloud_config_without_secrets(root: Path, tmp_path: Path) -> None:
    text = user_data(root, tmp_path)

    assert text.startswith("#cloud-config\n")
    assert "PRIVATE" not in text
    told = YAML(typ="safe").load(text)
    assert told["ssh_authorized_keys"] == ([KEY] if root.name in METAL else []) + ["ssh-ed25519 AAAA ci"]
    assert {"iproute2", "ipset", "iptables", "kmod", "procps"} <= set(told["packages"])
    assert len(text.encode()) < 16384  # what the strictest of them takes


@pytest.mark.parametrize("name", METAL)
def test_machines_without_a_firewall_filter_by_themselves(name: str, tmp_path: Path) -> None:
    told = YAML(typ="safe").load(user_data(asset("terraform", name), tmp_path))

    assert told["runcmd"] == [["systemctl", "enable", "--now", "nftables.service"]]
    assert told["disable_root"] is False
    (file,) = told["write_files"]
    assert (file["path"], file["permissions"]) == ("/etc/nftables.conf", "0600")
    lines = [line.strip() for line in file["content"].splitlines()]
    assert lines[0] == "table inet koalesce_access {"
    assert "elements = { 127.0.0.0/8, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 192.0.2.0/24 }" in lines
    assert "elements = { ::1, 2001:db8::/32 }" in lines
    assert "type filter hook prerouting priority -150; policy accept;" in lines
    assert lines[lines.index("drop") - 3 : lines.index("drop")] == [
        "ip6 saddr @allowed6 accept", "meta l4proto { icmp, ipv6-icmp } accept", "udp dport 68 accept",
    ]  # fmt: skip
    assert ('include "/etc/nftables-peers*.nft"' in lines) == (name == "latitudesh")


def test_instances_of_aws_end_by_themselves(tmp_path: Path) -> None:
    told = YAML(typ="safe").load(user_data(asset("terraform", "aws"), tmp_path))

    assert told["runcmd"] == [["systemd-run", "--on-calendar=2026-11-23 14:00:00 UTC", "systemctl", "poweroff"]]


def user_data(root: Path, folder: Path) -> str:
    """The local of this name, with settings of which all clouds have something."""
    try:
        terraform = find_binary()
    except ProvisionError as error:
        pytest.skip(error.message)
    main = (root / "main.tf").read_text()
    block = main[main.index("locals {") :]
    found = {match[1]: match[0] for match in _ATTRIBUTE.finditer(block[: block.index("\n}") + 2])}
    found |= {name: f"  {name} = {value}\n" for name, value in _GIVEN.items()}
    needed = "".join(found[name] for name in sorted(_needed(found, "user_data")))
    (folder / "main.tf").write_text("locals {\n" + needed + "}\n")
    (folder / "variables.tf").write_text((root / "variables.tf").read_text())
    settings: dict[str, Any] = {
        "allowed_cidrs": ["192.0.2.0/24", "2001:db8::/32"], "authorized_keys": ["ssh-ed25519 AAAA ci"],
    }  # fmt: skip
    values = {"name": "dev", "run_id": "r-1", "kubernetes_version": "1.37.2", "nodes": [], "settings": settings}
    (folder / "terraform.tfvars.json").write_text(json.dumps(values))
    done = subprocess.run(
        [terraform, "console"], cwd=folder, input="jsonencode(local.user_data)\n", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rendered: str = json.loads(json.loads(done.stdout))
    return rendered


def _needed(found: dict[str, str], name: str) -> set[str]:
    """A local, and those that it is made of."""
    used = set(re.findall(r"local\.(\w+)", found[name])) - {name}
    return {name}.union(*(_needed(found, each) for each in used))
