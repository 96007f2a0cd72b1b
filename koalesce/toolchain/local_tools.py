"""What a local cluster is made of, as it is handed to whoever makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from koalesce.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTools:
    """What a local cluster is made of.

    `kubernetes`, `etcd`, `containerd` and `cni` are folders of binaries, `runc` and `probe` binaries. `system` are roots of
    unpacked Debian packages whose usr/ is laid over the host's /usr in a node; empty if the host has everything. `images`
    tells the reference in the image store by role: `pause`, `coredns` (with that `dns`), `metrics-server` (with that addon), `probe`
    (agnhost and small tools), and components of the control plane, where they are asked for. `routers` are such roots by the program
    (`gobgpd`, `frr`) that makes a fixture a router; "/" where the host has it. `resolver` is the binary that makes one a resolver, if any is.
    """

    kubernetes: Path
    etcd: Path
    containerd: Path
    cni: Path
    system: tuple[Path, ...]
    runc: Path
    probe: Path
    images: Mapping[str, str]
    routers: Mapping[str, str] = field(default_factory=dict)
    resolver: Path | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LocalTools:
        """Read them from JSON: a field that is no list or map is a path."""
        found: dict[str, Any] = {key: Path(value) for key, value in values.items() if isinstance(value, str)}
        return cls(
            **found,
            system=tuple(Path(path) for path in values["system"]),
            images=values["images"],
            routers=values.get("routers", {}),
        )
