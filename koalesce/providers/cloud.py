"""Clusters on machines that a cloud makes: Terraform asks the cloud for them, and `koalesce machines up` makes nodes of them.

One class for all clouds. What differs is in `providers/clouds/<name>.py` (settings, credentials, API) and in `terraform/<name>`.
"""

from __future__ import annotations

import dataclasses
import importlib
import ipaddress
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from koalesce.assets import asset
from koalesce.errors import UsageError
from koalesce.providers.ssh import SshProvider, check_served

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel
    from koalesce.providers.cloud_api import CloudApi
    from koalesce.providers.cloud_options import CloudOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What only one cloud has.

    `credentials` are the variables of the environment that its Terraform plugin and `api` read, and where one gets what they hold.
    `api` is its own API, asked without Terraform; None where it can't be: then only Terraform's state knows what there is.
    """

    name: str
    title: str
    options: type[CloudOptions]
    credentials: Mapping[str, str]
    api: Callable[[Mapping[str, str]], CloudApi] | None = None

    def missing(self, environment: Mapping[str, str]) -> list[str]:
        """The credentials that the environment lacks, as sentences."""
        return [f"{name} isn't set: {what}" for name, what in self.credentials.items() if not environment.get(name)]

    def read(self, settings: Mapping[str, Any]) -> CloudOptions:
        """The settings of a spec; UsageError for what is wrong with them."""
        from pydantic import ValidationError

        try:
            return self.options.model_validate(dict(settings))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise UsageError(
                f"providers.{self.name}: {f'{place}: ' if place else ''}{first['msg']}",
                hint=f"terraform/{self.name}/README.md tells what there is to say",
            ) from error


def cloud(name: str) -> Cloud:
    """What is known of a cloud that Koalesce brings."""
    return cast(Cloud, importlib.import_module(f"koalesce.providers.clouds.{name}").CLOUD)


class CloudProvider(SshProvider):
    """Makes clusters in a cloud; `environment` has its credentials."""

    def __init__(self, name: str, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self.name = name
        self.terraform_root = asset("terraform", name)
        self._environment = environment

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for what can't be had there."""
        from koalesce.toolchain.supported import resolve_version

        check_served(request, self.name)
        options = cloud(self.name).read(request.settings)
        _check_ranges(request, getattr(options, "node_cidr", ""))
        return dataclasses.replace(request, kubernetes=resolve_version(request.kubernetes))

    def confirm(self, request: ClusterRequest) -> None:
        """See that the account's credentials are there, and that it's said who may reach the cluster."""
        own = cloud(self.name)
        if missing := own.missing(self._environment):
            raise UsageError(
                f"the provider {self.name} needs credentials: {'; '.join(missing)}",
                hint="; ".join(f"export {name}=…" for name in own.credentials if not self._environment.get(name)),
            )
        if not own.read(request.settings).allowed_cidrs:
            raise UsageError(
                f"providers.{self.name}.allowedCIDRs: nobody has said from where the cluster may be reached",
                hint="say the address of this machine as others see it, such as [192.0.2.7/32]",
            )

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version."""
        self.confirm(request)
        options = cloud(self.name).read(request.settings)
        self._settings = {**options.settings(), **self._tools(request, progress=progress, cancel=cancel)}
        return request

    def reset(self, entry: Entry) -> list[str]:
        """Refuse: there is nobody on its machines who could do it."""
        raise UsageError(
            f"{entry.name} is in a cloud, and can't be brought back to a first state",
            hint=f"koalesce down {entry.name}, and koalesce up again",
        )

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """Refuse, likewise."""
        raise UsageError(f"{entry.name} is in a cloud; what has become of it can't be told")


def _check_ranges(request: ClusterRequest, node_cidr: str) -> None:
    """Raise UsageError where addresses of machines would be those of pods or Services, too."""
    named = {"nodeCIDR": node_cidr, "podCIDR": request.pod_cidr, "serviceCIDR": request.service_cidr}
    ranges = [(name, ipaddress.ip_network(text)) for name, value in named.items() for text in value.split(",") if text]
    for index, (name, one) in enumerate(ranges):
        for other_name, other in ranges[index + 1 :]:
            if one.overlaps(other):
                raise UsageError(
                    f"{name} {one} and {other_name} {other} overlap",
                    hint="choose ranges that have no address in common",
                )
