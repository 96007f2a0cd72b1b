"""What Terraform would make of a request, without making it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from koalesce.cluster_request import ClusterRequest
from koalesce.providers import provider as provider_of
from koalesce.providers import roots
from koalesce.providers.base import Provider
from koalesce.terraform import Terraform, TerraformEvent
from koalesce.terraform.contract import check_variables


def planned_changes(
    request: ClusterRequest,
    *,
    provider: Provider | None = None,
    terraform: Callable[..., Terraform] = Terraform,
    progress: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Terraform's plan for a cluster: `create terraform_data.cluster` and so on. Makes nothing but a folder that is gone afterwards.

    The provider's tools are made ready, as for a run. UsageError for a request that the provider never serves, ProvisionError for what Terraform says.
    """
    provider = provider or provider_of(request.provider)
    asked = provider.resolve(request)
    provider.confirm(asked)
    resolved = provider.prepare(asked, progress=progress, cancel=None)
    with tempfile.TemporaryDirectory(prefix="koalesce-plan-") as made:
        folder = Path(made) / "root"
        roots.copy(provider.terraform_root, folder)
        variables = provider.variables(resolved, folder)
        check_variables(variables)
        client = terraform(folder, variables=variables)
        client.init()
        return [_shown(event) for event in client.plan()]


def _shown(event: TerraformEvent) -> str:
    return f"{event.action} {event.resource}"
