"""The description of a machine's first boot (`templates/node.yaml`): users, files, units, settings, modules, packages. No secret is in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr, ValidationError

from koalesce.assets import asset
from koalesce.models import Model
from koalesce.refusals import refusal

_NAME = r"^[a-z_][a-z0-9_-]{0,30}$"
_HOST = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_PATH = r"^(/[A-Za-z0-9._@-]+)+$"
_WORD = r"^[A-Za-z0-9][A-Za-z0-9.+_-]*$"
_SETTING = r"^[a-z0-9]+([./][A-Za-z0-9_*-]+)+$"
_UNIT = r"^[A-Za-z0-9@._-]+\.(service|socket|timer|mount|target|path)$"
# The form of a line of authorized_keys (sshd(8)), without options.
_PUBLIC_KEY = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+={0,3}( [^\n]*)?"
)
_SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bclient-key-data:|\bpassword\s*[:=]", re.IGNORECASE)


def _open(text: str) -> str:
    """A text that anybody may read; ValueError if it's none."""
    if found := _SECRET.search(text):
        raise ValueError(
            f"it holds a secret ({found.group()!r}), and pods can read what machines are told when they boot"
        )
    return text


def _public_key(text: str) -> str:
    """A line of authorized_keys; ValueError if it's none, without what may be a private one."""
    if not _PUBLIC_KEY.fullmatch(text):
        raise ValueError("is no public key; one is the line of a .pub file: ssh-ed25519 AAAA… NAME")
    return text


Text = Annotated[StrictStr, AfterValidator(_open)]
PublicKey = Annotated[StrictStr, AfterValidator(_public_key)]


class User(Model):
    """Somebody who may log in, by keys only."""

    name: Annotated[StrictStr, Field(pattern=_NAME)]
    """The name; `root` is there already, others are made."""

    authorized_keys: tuple[PublicKey, ...] = ()
    """The public keys that open it."""

    sudo: bool = False
    """Whether it may become root without a password."""


class BootFile(Model):
    """A file."""

    path: Annotated[StrictStr, Field(pattern=_PATH)]
    """Where it lies."""

    text: Text
    """What is in it."""

    mode: Annotated[int, Field(strict=True, ge=0, le=0o777)] = 0o644
    """Who may do what with it; it belongs to root."""


class Unit(Model):
    """A unit of systemd."""

    name: Annotated[StrictStr, Field(pattern=_UNIT)]
    """Its name, with its kind."""

    text: Text
    """What is in it (systemd.unit(5))."""

    enabled: bool = True
    """Whether it's started, now and at each boot."""


class NodeConfig(Model):
    """A machine's first boot."""

    hostname: Annotated[StrictStr, Field(pattern=_HOST)] | None = None
    """What the machine is called; left out: as it is."""

    users: tuple[User, ...] = ()
    """Who may log in."""

    files: tuple[BootFile, ...] = ()
    """Files, written before any unit starts."""

    sysctls: Mapping[
        Annotated[StrictStr, Field(pattern=_SETTING)], Annotated[StrictStr, Field(pattern=r"^[^\n]+$")]
    ] = {}
    """Settings of the kernel (sysctl.d(5)), now and at each boot."""

    modules: tuple[Annotated[StrictStr, Field(pattern=_WORD)], ...] = ()
    """Modules of the kernel, loaded now and at each boot (modules-load.d(5))."""

    packages: tuple[Annotated[StrictStr, Field(pattern=_WORD)], ...] = ()
    """Packages to install, by Debian's names, where there is a package manager."""

    units: tuple[Unit, ...] = ()
    """Units of systemd."""

    def opened_by(self, keys: Sequence[str], *, hostname: str | None = None) -> NodeConfig:
        """The same for one machine, with the public keys that its first user may log in by; UsageError if one is none."""
        first, *others = self.users or (User(name="root"),)
        known = {**first.model_dump(), "authorized_keys": [*first.authorized_keys, *keys]}
        return _checked(
            {**self.model_dump(), "users": [known, *others], "hostname": hostname or self.hostname},
            "what the machine is told",
        )

    @property
    def all_files(self) -> tuple[BootFile, ...]:
        """Its files, and those that say its settings and modules, and who may become root."""
        found = [*self.files]
        if self.sysctls:
            lines = "".join(f"{name} = {value}\n" for name, value in self.sysctls.items())
            found.append(BootFile(path="/etc/sysctl.d/90-koalesce.conf", text=lines))
        if self.modules:
            found.append(
                BootFile(path="/etc/modules-load.d/koalesce.conf", text="".join(f"{name}\n" for name in self.modules))
            )
        for user in self.users:
            if user.sudo:
                rule = f"{user.name} ALL=(ALL) NOPASSWD: ALL\n"
                found.append(BootFile(path=f"/etc/sudoers.d/90-{user.name}", text=rule, mode=0o440))
        return tuple(found)

    @property
    def started_units(self) -> tuple[str, ...]:
        """The units that start."""
        return tuple(unit.name for unit in self.units if unit.enabled)


def load(path: Path | None = None) -> NodeConfig:
    """The description of a file, by default the one that Koalesce brings; UsageError if it is none."""
    from koalesce.yaml.settings import read_settings  # imported here: most commands read no description

    path = path or asset("templates", "node.yaml")
    return _checked(read_settings(path), str(path))


def _checked(value: Any, where: str) -> NodeConfig:
    try:
        return NodeConfig.model_validate(value)
    except ValidationError as error:
        raise refusal(error, where, NodeConfig, between=": ") from error
