"""The list of machines that clusters are made on: how each is reached, and the keys that they must have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictStr, ValidationError

from koalesce.models import Model

# What may stand in a configuration of ssh, where neither blanks nor quotes may be.
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?$"
_USER = r"^[A-Za-z_][A-Za-z0-9._-]*$"
_FILE = r"^[^\"\n]*$"
_ADDRESS = r"^([0-9]{1,3}(\.[0-9]{1,3}){3})?$"


def _machine(value: Any) -> Any:
    return {"host": value} if isinstance(value, str) else value


class Machine(Model):
    """A machine; a bare text is its `host`."""

    host: Annotated[StrictStr, Field(pattern=_HOST)]
    """Its address, or a name that leads to one."""

    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 22
    """Where its sshd listens."""

    user: Annotated[StrictStr, Field(pattern=_USER)] | None = None
    """Who logs in; default: that of the list."""

    key: Annotated[StrictStr, Field(pattern=_FILE)] | None = None
    """The file of the private key; default: that of the list."""

    address: Annotated[StrictStr, Field(pattern=_ADDRESS)] = ""
    """The IPv4 address by which the other machines reach it; default: that of `host`."""


class MachineList(Model):
    """Machines, of which a cluster takes as many as it has nodes: the first for the control plane."""

    machines: Annotated[tuple[Annotated[Machine, BeforeValidator(_machine)], ...], Field(min_length=1)]
    """The machines."""

    known_hosts: Annotated[StrictStr, Field(pattern=_FILE, min_length=1)] = "~/.ssh/known_hosts"
    """The file with the keys that the machines have, as ssh writes it. A machine with another key, or with none there, is refused."""

    user: Annotated[StrictStr, Field(pattern=_USER)] = "root"
    """Who logs in where a machine says nothing else; another one than root may use sudo without a password."""

    key: Annotated[StrictStr, Field(pattern=_FILE)] = ""
    """The file of the private key where a machine says nothing else; empty: the keys of the agent, and ssh's usual ones."""

    def settings(self) -> dict[str, Any]:
        """The settings of the contract, with every default filled in and absolute paths."""
        return {
            "known_hosts": _absolute(self.known_hosts),
            "machines": [
                {
                    "host": machine.host,
                    "port": machine.port,
                    "user": machine.user or self.user,
                    "key": _absolute(machine.key if machine.key is not None else self.key),
                    "address": machine.address,
                }
                for machine in self.machines
            ],
        }


def of_settings(settings: Mapping[str, Any]) -> MachineList:
    """The list of a spec's `providers.ssh`, or of a file; UsageError for what is wrong with it."""
    return _checked(settings, "providers.ssh", between=".")


def read(path: Path) -> dict[str, Any]:
    """The settings of a file, whose paths are seen from its folder; UsageError if it can't be read, or isn't a list of machines."""
    from koalesce.yaml.settings import read_settings  # imported here: most commands read no list

    value = read_settings(path)
    if isinstance(value, list):
        value = {"machines": value}
    found = _checked(value, str(path), between=": ").model_dump(mode="json", exclude_unset=True)
    return _beside(found, path.absolute().parent)


def _checked(value: Any, where: str, *, between: str) -> MachineList:
    try:
        return MachineList.model_validate(value)
    except ValidationError as error:
        from koalesce.refusals import refusal

        hint = "a list of machines is, for example: {machines: [192.0.2.10, {host: 192.0.2.11, user: admin}], key: ~/.ssh/id_ed25519}"
        raise refusal(error, where, MachineList, Machine, hint=hint, between=between) from error


def _beside(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with paths from a folder."""
    for part in (found, *found["machines"]):
        for name in {"key", "known_hosts"} & part.keys():
            if part[name]:
                part[name] = str(folder / Path(part[name]).expanduser())
    return found


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""
