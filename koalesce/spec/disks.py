"""Disks of nodes in a spec: file systems of a limited size."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from koalesce.addons import VOLUMES, VOLUMES_SIZE, Addon
from koalesce.cluster_request import DiskRequest
from koalesce.matching.quantity import quantity
from koalesce.spec.common import Model, Text

_LEAST = 2**20
# A node's own folders that something else of it is mounted on, or that its init writes to.
_TAKEN = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "sys", "usr")
_TAKEN_OF_VAR = ("/var", "/var/lib", "/var/log")
_TAKEN_BELOW = ("/var/lib/koalesce", "/var/log/koalesce", "/var/run")


def as_place(path: str) -> str:
    """The path, if a disk can be there; ValueError otherwise."""
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//") or path == "/":
        raise ValueError(f'"{path}" is no place for a disk; write a path such as /mnt/data')
    is_below = any(f"{path}/".startswith(f"{taken}/") for taken in _TAKEN_BELOW)
    if path.split("/")[1] in _TAKEN or path in _TAKEN_OF_VAR or is_below:
        raise ValueError(f"{path} is the node's own; write another path, such as /mnt/data or /var/lib/kubelet")
    return path


def _size(text: str) -> str:
    size = quantity(text)
    if size is None or size < _LEAST:
        raise ValueError(f'"{text}" is no size of a disk; write one of at least 1Mi, such as 100Mi')
    return text


class Disk(Model):
    """A file system of a node's own that holds no more than its size. It's empty when the node starts.

    It's kept in memory: what is on it counts as memory of the node.
    """

    path: Annotated[Text, AfterValidator(as_place)] = Field(examples=["/mnt/data"])
    """Where the node has it, such as /mnt/data. With /var/lib/kubelet the kubelet's volumes and containers' own files are on it, with
    /var/lib/containerd images and containers, with /var/lib/etcd the control plane's data. Of the first the kubelet keeps a tenth free, of the second
    15 %, as by default: when less is left, its node has DiskPressure, and pods are evicted; `kubelet` has the last word (`evictionHard`)."""

    size: Annotated[Text, AfterValidator(_size)] = Field(examples=["100Mi"])
    """How much it holds, such as 100Mi."""

    @property
    def request(self) -> DiskRequest:
        """What is asked of a provider."""
        return DiskRequest(path=self.path, size=int(quantity(self.size) or 0))


def each_once(disks: tuple[Disk, ...]) -> tuple[Disk, ...]:
    """The disks, if no two are at the same place; ValueError otherwise."""
    paths = [disk.path for disk in disks]
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise ValueError(f"{twice} is there twice")
    return disks


def with_those_of(addons: Sequence[Addon], disks: tuple[DiskRequest, ...]) -> tuple[DiskRequest, ...]:
    """The disks of a node, and that of its volumes, if it's to have such and is given none for them."""
    if "local-path" not in addons or VOLUMES in {disk.path for disk in disks}:
        return disks
    return (*disks, DiskRequest(path=VOLUMES, size=VOLUMES_SIZE))
