"""What a cluster may have besides, by name, and where: what specs, providers and clusters agree on."""

from __future__ import annotations

from typing import Literal, get_args

Addon = Literal["load-balancer", "local-path", "metrics-server"]
ADDONS: tuple[Addon, ...] = get_args(Addon)
# Where a node has the volumes of local-path, and the size of the disk that it gets for them unless the spec gives it one.
VOLUMES = "/var/local-path-provisioner"
VOLUMES_SIZE = 2**30
