"""A first boot as user data of cloud-init, which every stock image has (https://docs.cloud-init.io/en/latest/reference/modules.html)."""

from __future__ import annotations

import json
from typing import Any

from koalesce.machines.boot.config import NodeConfig, User

_UNITS = "/etc/systemd/system"


def render(config: NodeConfig) -> str:
    """The user data. Its body is JSON, which is YAML of any version, with nothing in it that could be read in two ways."""
    return f"#cloud-config\n{json.dumps(_values(config), indent=2, ensure_ascii=False)}\n"


def _values(config: NodeConfig) -> dict[str, Any]:
    files = [*((file.path, file.text, file.mode) for file in config.all_files)]
    files += [(f"{_UNITS}/{unit.name}", unit.text, 0o644) for unit in config.units]
    values: dict[str, Any] = {
        "disable_root": not any(user.name == "root" and user.authorized_keys for user in config.users),
        "ssh_pwauth": False,
        "users": [_user(user) for user in config.users],
        "write_files": [
            {"path": path, "content": text, "owner": "root:root", "permissions": f"{mode:04o}"}
            for path, text, mode in files
        ],
        "runcmd": _commands(config),
    }
    if config.hostname:
        values |= {"hostname": config.hostname, "preserve_hostname": False}
    if config.packages:
        values |= {"package_update": True, "packages": list(config.packages)}
    return values


def _user(user: User) -> dict[str, Any]:
    known = {"name": user.name, "lock_passwd": True, "ssh_authorized_keys": list(user.authorized_keys)}
    return known if user.name == "root" else {**known, "shell": "/bin/bash"}


def _commands(config: NodeConfig) -> list[list[str]]:
    """What is done once files are written and packages are there: in that order cloud-init goes."""
    commands = []
    if config.modules:
        commands.append(["modprobe", "--all", *config.modules])
    if config.sysctls:
        commands.append(["sysctl", "--quiet", "--load=/etc/sysctl.d/90-koalesce.conf"])
    if config.units:
        commands.append(["systemctl", "daemon-reload"])
    if config.started_units:
        commands.append(["systemctl", "enable", "--now", "--no-block", *config.started_units])
    return commands
