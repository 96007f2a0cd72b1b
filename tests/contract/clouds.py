"""Clusters in a fake cloud: by real Terraform and its real plugin, whose servers lead to no machines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from koalesce.cluster import ClusterRequest, NodeRequest
from koalesce.providers.cloud import CloudProvider
from koalesce.providers.session import ClusterSession
from koalesce.terraform.binary import find_problem
from koalesce.terraform.trying import has_plugins_of, plugin_mirror

STEP = Path(__file__).with_name("machines_step.py")
NODES = (NodeRequest(name="cp", role="control-plane"), NodeRequest(name="w", role="worker"))


class WithoutMachines(CloudProvider):
    """The provider, but for the step that makes nodes of machines, and the tools that this needs."""

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Those of the provider, with another command."""
        return {**super().variables(request, folder), "koalesce_command": [sys.executable, "-P", str(STEP)]}

    @staticmethod
    def _tools(*_: Any, **__: Any) -> dict[str, Any]:
        return {}


def request(name: str, provider: str = "hcloud", run: str = "run-1", **fields: Any) -> ClusterRequest:
    """A cluster of two nodes."""
    settings = {"allowedCIDRs": ["192.0.2.0/24"], **fields.pop("settings", {})}
    return ClusterRequest(
        **{
            "name": name,
            "run_id": run,
            "provider": provider,
            "kubernetes": "1.37",
            "nodes": NODES,
            "settings": settings,
            **fields,
        }
    )


def lacking(provider: str = "hcloud") -> str:
    """Why clusters of a provider can't be tried here; empty if they can."""
    if problem := find_problem():
        return problem
    root = CloudProvider(provider).terraform_root
    how = f"`koalesce toolchain plugin {provider}` makes it"
    return "" if has_plugins_of(root) else f"the plugin of {provider} isn't in {plugin_mirror()}; {how}"


def main(name: str) -> None:
    """Make a cluster, and keep it: a run that can be killed."""
    session = ClusterSession(request(name), provider=WithoutMachines("hcloud"))
    session.up()
    session.keep()


if __name__ == "__main__":
    main(sys.argv[1])
