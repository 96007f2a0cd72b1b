"""A first boot as Ignition, for Flatcar and Fedora CoreOS (https://coreos.github.io/ignition/configuration-v3_4/)."""

from __future__ import annotations

import base64
import json
from typing import Any

from koalesce.machines.boot.config import NodeConfig, User

VERSION = "3.4.0"


def render(config: NodeConfig) -> str:
    """The configuration. Ignition has no package manager: packages are left out, as its systems bring what they have."""
    files = [(file.path, file.text, file.mode) for file in config.all_files]
    if config.hostname:
        files.append(("/etc/hostname", f"{config.hostname}\n", 0o644))
    value = {
        "ignition": {"version": VERSION},
        "passwd": {"users": [_user(user) for user in config.users]},
        "storage": {"files": [_file(*file) for file in files]},
        "systemd": {
            "units": [{"name": unit.name, "enabled": unit.enabled, "contents": unit.text} for unit in config.units]
        },
    }
    return json.dumps(value, indent=2) + "\n"


def _user(user: User) -> dict[str, Any]:
    known = {"name": user.name, "sshAuthorizedKeys": list(user.authorized_keys)}
    return known if user.name == "root" else {**known, "shell": "/bin/bash"}


def _file(path: str, text: str, mode: int) -> dict[str, Any]:
    source = f"data:;base64,{base64.b64encode(text.encode()).decode()}"
    return {"path": path, "overwrite": True, "mode": mode, "contents": {"source": source}}
