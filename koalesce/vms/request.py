"""What a cluster of virtual machines shall be: the JSON that Terraform hands to `koalesce vms up`, read and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from koalesce.errors import UsageError
from koalesce.local import request as local
from koalesce.local.request import LocalRequest
from koalesce.machines.request import Account, MachinesRequest
from koalesce.vms.emulator import SLOWNESS, Vm, accelerator

USER = "root"
KEY, KNOWN_HOSTS = "key", "known_hosts"
_PROCESSORS, _MEBIBYTES = 2, 2048
_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRequest:
    """A cluster of virtual machines, one for each of its nodes; `accelerated` says how they run (`kvm`, `tcg`)."""

    cluster: LocalRequest
    vms: tuple[Vm, ...]
    accelerated: str
    images: tuple[str, ...]

    @property
    def slowness(self) -> float:
        """By how much longer things may take than on a machine whose processor helps."""
        return SLOWNESS[self.accelerated]

    def on_machines(self, *, inside: tuple[str, ...], reached_at: str) -> MachinesRequest:
        """The cluster as one on machines that are up."""
        folder = self.cluster.state_dir
        accounts = [
            Account(node=vm.name, host=vm.address, port=22, user=USER, key=str(folder / KEY), address=vm.address)
            for vm in self.vms
        ]
        return MachinesRequest(
            cluster=self.cluster, accounts=tuple(accounts), known_hosts=str(folder / KNOWN_HOSTS), images=self.images,
            provider="qemu", inside=inside, reached_at=reached_at, slowness=self.slowness,
        )  # fmt: skip


def parse(text: str) -> VmRequest:
    """Read a request; UsageError says what is wrong with it."""
    try:
        return from_mapping(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"the request for a cluster of virtual machines isn't valid: {reason}") from error


def from_mapping(data: Mapping[str, Any]) -> VmRequest:
    """Read a request from its JSON value; KeyError, TypeError or ValueError for what is wrong with it."""
    if not data.get("nodes"):
        raise ValueError("a cluster of virtual machines has at least one node")
    settings = dict(data.get("settings") or {})
    accelerated = settings.get("accelerator") or accelerator()
    if accelerated not in SLOWNESS:
        raise ValueError(f"accelerator {accelerated!r} is none of {', '.join(SLOWNESS)}")
    timeout = float(settings.get("timeout") or _TIMEOUT) * SLOWNESS[accelerated]
    cluster = local.from_mapping({**data, "settings": {**settings, "timeout": timeout}})
    if cluster.has_failover:
        raise ValueError(f"{len(cluster.controls)} nodes are control planes, and virtual machines take one")
    processors, mebibytes = int(settings.get("processors") or _PROCESSORS), int(settings.get("mebibytes") or _MEBIBYTES)
    vms = tuple(
        Vm(
            name=node.name, number=number, address=node.address, folder=cluster.state_dir / "vms" / node.name,
            processors=math.ceil(node.cpu) or processors, mebibytes=node.memory // 2**20 or mebibytes,
        )
        for number, node in enumerate(cluster.nodes, 1)
    )  # fmt: skip
    return VmRequest(cluster=cluster, vms=vms, accelerated=accelerated, images=tuple(data.get("images") or ()))
