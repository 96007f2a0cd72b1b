"""What a virtual machine is told at its first boot, as cloud-init takes it from a disk: its description, its name, its network."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence

from koalesce.machines.boot import cloudinit
from koalesce.machines.boot.config import BootFile, NodeConfig
from koalesce.vms import iso
from koalesce.vms.emulator import Vm

_LABEL = (
    "cidata"  # by which cloud-init knows it (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html)
)


def seed(config: NodeConfig, vm: Vm, *, keys: Sequence[str], gateway: str, prefix: int, identity: str) -> bytes:
    """The image of that disk. Packages aren't installed: the machine's disk has them, and there may be no way out."""
    resolver = BootFile(path="/etc/resolv.conf", text=f"nameserver {gateway}\n")
    told = config.opened_by(keys, hostname=vm.name).model_copy(
        update={"packages": (), "files": (*config.files, resolver)}
    )
    files = {
        "user-data": cloudinit.render(told),
        "meta-data": json.dumps({"instance-id": identity, "local-hostname": vm.name}),
        "network-config": json.dumps(network(vm, gateway=gateway, prefix=prefix)),
    }
    return iso.image(_LABEL, {name: text.encode() for name, text in files.items()})


def network(vm: Vm, *, gateway: str, prefix: int) -> dict[str, object]:
    """Its one link, in version 2 of the format."""
    address = f"{ipaddress.IPv4Address(vm.address)}/{prefix}"
    link = {
        "match": {"macaddress": vm.mac},
        "dhcp4": False,
        "addresses": [address],
        "routes": [{"to": "0.0.0.0/0", "via": gateway}],
    }
    return {"version": 2, "ethernets": {"eth0": link}}
