"""A first boot as a script of sh(1), for machines that are told nothing when they boot; it may be run again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from koalesce.machines.boot.config import NodeConfig, User

_UNITS = "/etc/systemd/system"


def render(config: NodeConfig) -> str:
    """The script, which is run as root."""
    return "\n".join(["#!/bin/sh", "set -eu", "umask 022", *_lines(config)]) + "\n"


def _lines(config: NodeConfig) -> Iterator[str]:
    if config.hostname:
        yield f"hostnamectl set-hostname {config.hostname}"
    if config.packages:
        yield "export DEBIAN_FRONTEND=noninteractive"
        yield f"apt-get update -q && apt-get install -y -q --no-install-recommends {shlex.join(config.packages)}"
    for user in config.users:
        yield from _user(user)
    for file in config.all_files:
        yield from _file(file.path, file.text, file.mode)
    for unit in config.units:
        yield from _file(f"{_UNITS}/{unit.name}", unit.text, 0o644)
    if config.modules:
        yield f"modprobe --all {shlex.join(config.modules)}"
    if config.sysctls:
        yield "sysctl --quiet --load=/etc/sysctl.d/90-koalesce.conf"
    yield "systemctl daemon-reload"
    if config.started_units:
        yield f"systemctl enable --now --no-block {shlex.join(config.started_units)}"
    yield "systemctl try-reload-or-restart ssh 2>/dev/null || systemctl try-reload-or-restart sshd"


def _user(user: User) -> Iterator[str]:
    yield f"id {user.name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {user.name}"
    if user.authorized_keys:
        yield f"home=$(getent passwd {user.name} | cut -d: -f6)"
        yield f'install -d -m 0700 -o {user.name} "$home/.ssh"'
        yield 'touch "$home/.ssh/authorized_keys"'
        for key in user.authorized_keys:
            line = shlex.quote(key)
            yield f'grep -qxF {line} "$home/.ssh/authorized_keys" || echo {line} >>"$home/.ssh/authorized_keys"'
        yield f'chown {user.name} "$home/.ssh/authorized_keys" && chmod 0600 "$home/.ssh/authorized_keys"'


def _file(path: str, text: str, mode: int) -> Iterator[str]:
    folder = path.rpartition("/")[0] or "/"
    yield f"mkdir -p {shlex.quote(folder)}"
    yield f"printf %s {shlex.quote(text)} >{shlex.quote(path)}"
    yield f"chmod {mode:04o} {shlex.quote(path)}"
