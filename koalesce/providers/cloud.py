"""Clusters on machines that a cloud makes: Terraform asks the cloud for them, and `koalesce machines up` makes nodes of them.

One class for all clouds. What differs is in `providers/clouds/<name>.py` (settings, credentials, API) and in `terraform/<name>`.
"""

from __future__ import annotations

import dataclasses
import importlib
import ipaddress
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from koalesce.assets import asset
from koalesce.errors import KoalesceError, MissingCredentials, UsageError
from koalesce.providers.on_machines import OnMachines
from koalesce.records import dataclass

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel
    from koalesce.providers.cloud_api import CloudApi
    from koalesce.providers.cloud_options import CloudOptions

_PATIENCE = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What only one cloud has.

    `credentials` are the variables of the environment that its Terraform plugin and `api` read, and where one gets what they hold.
    `api` is its own API, asked without Terraform; None where it can't be: then only Terraform's state knows what there is.
    `ended` says that the service isn't there any more, and what to use instead.
    """

    name: str
    title: str
    options: type[CloudOptions]
    credentials: Mapping[str, str]
    api: Callable[[Mapping[str, str]], CloudApi] | None = None
    ended: str = ""

    def missing(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The credentials that the environment lacks."""
        return {name: what for name, what in self.credentials.items() if not environment.get(name)}

    def read(self, settings: Mapping[str, Any]) -> CloudOptions:
        """The settings of a spec; UsageError for what is wrong with them."""
        from pydantic import ValidationError

        from koalesce.refusals import refusal

        try:
            return self.options.model_validate(dict(settings))
        except ValidationError as error:
            raise refusal(error, f"providers.{self.name}", self.options) from error


def cloud(name: str) -> Cloud:
    """What is known of a cloud that Koalesce brings."""
    return cast(Cloud, importlib.import_module(f"koalesce.providers.clouds.{name}").CLOUD)


class CloudProvider(OnMachines):
    """Makes clusters in a cloud that Koalesce brings (its name), or any other one; `environment` has its credentials, `root` its Terraform root.

    What was begun just before Terraform ended may come to be later than that: after a cluster that never came up, nothing counts as gone
    until it isn't listed again after `settling` seconds.
    """

    place = "is in a cloud"
    nature = "makes all machines of a cluster alike, and "

    def __init__(
        self,
        own: Cloud | str,
        environment: Mapping[str, str] = os.environ,
        *,
        root: Path | None = None,
        settling: float = 4.0,
    ) -> None:
        super().__init__()
        self.name = own if isinstance(own, str) else own.name
        self.terraform_root = root or asset("terraform", self.name)
        self._own = own
        self._environment = environment
        self._settling = settling

    @property
    def cloud(self) -> Cloud:
        """What only this cloud has."""
        return cloud(self._own) if isinstance(self._own, str) else self._own

    def api(self) -> CloudApi:
        """The cloud's API; UsageError where it can't be asked without Terraform, or credentials are missing."""
        own = self.cloud
        if own.ended:
            raise UsageError(f"{own.ended}: nobody can be asked what is there, and nothing there costs money any more")
        self._check_credentials(own)
        if own.api is None:
            raise UsageError(
                f"{own.title} can't be asked without Terraform's state",
                hint=f"koalesce down NAME, or look for what is marked koalesce-run in your account at {own.title}",
            )
        return own.api(self._environment)

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with an exact Kubernetes version; UsageError for what can't be had there."""
        options = self.cloud.read(request.settings)
        return dataclasses.replace(super().resolve(request), ttl=request.ttl or options.ttl.seconds)

    def confirm(self, request: ClusterRequest) -> None:
        """See that the account's credentials are there, and that it's said who may reach the cluster."""
        own = self.cloud
        self._check_credentials(own)
        if not own.read(request.settings).allowed_cidrs:
            raise UsageError(
                f"providers.{self.name}.allowedCIDRs: nobody has said from where the cluster may be reached",
                hint="say the address of this machine as others see it, such as [192.0.2.7/32]",
            )

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine lacks; that there is no such service any more, or that it doesn't answer us or take our credentials."""
        own = self.cloud
        found = [own.ended] if own.ended else self._refusal(request)
        return [*found, *super().check(request)]

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Find or make the binaries and images of this Kubernetes version."""
        self.confirm(request)
        options = self.cloud.read(request.settings)
        self._settings = {
            **options.settings(),
            "ttl": f"{request.ttl or options.ttl.seconds:.0f}s",
            **self._tools(request, progress=progress, cancel=cancel),
        }
        return request

    def advice(self, request: ClusterRequest, said: str) -> str:
        """Which settings have a word that an error names: there is no such region, size or image, as a rule."""
        options = self.cloud.read(request.settings)
        fields = {field.alias or name: getattr(options, name) for name, field in type(options).model_fields.items()}
        words = set(re.findall(r"[\w.-]+", said))
        return "; ".join(
            f"{value} is providers.{self.name}.{name}{'' if name in request.settings else ' where the spec says nothing else'}"
            for name, value in fields.items()
            if isinstance(value, str) and value in words
        )

    def free(self, entry: Entry, known: Collection[str]) -> None:
        """Remove what Terraform has begun and was ended before it knew: machines keep networks and firewalls from being removed."""
        from koalesce.providers.cloud_api import remove_all

        if entry.ready or self.cloud.api is None:
            return
        api = self.api()
        time.sleep(self._settling)
        remove_all(
            api, lambda: [each for each in api.listing(_marks(entry)) if each.id not in known], patience=_PATIENCE
        )

    def remains(self, entry: Entry) -> list[str]:
        """What the cloud still has of a cluster, and our own files."""
        own = [f"folder {entry.folder}"] if entry.folder and Path(entry.folder).exists() else []
        try:
            api = self.api()
            found = api.listing(_marks(entry))
            if not found and not entry.ready:
                time.sleep(self._settling)
                found = api.listing(_marks(entry))
        except KoalesceError as error:
            if self.cloud.api is None:  # Terraform's word is all that there is
                return own
            return [f"what {self.cloud.title} may still have can't be listed: {error.message}", *own]
        return [*map(str, found), *own]

    def remove(self, name: str) -> None:
        """Remove all that bears the cluster's marks, and our own files."""
        from koalesce.local.ledger import Ledger
        from koalesce.machines import client
        from koalesce.providers.cloud_api import remove_all

        entry = Ledger().find(name)
        if entry is None:
            return
        api = self.api()
        remove_all(api, lambda: api.listing(_marks(entry)), patience=_PATIENCE)
        client.forget(name)

    def _check_settings(self, request: ClusterRequest) -> None:
        _check_ranges(request, getattr(self.cloud.read(request.settings), "node_cidr", ""))

    def _refusal(self, request: ClusterRequest) -> list[str]:
        """Why the cloud doesn't tell us what is there: then a cluster could be neither made nor seen to be gone."""
        from koalesce.providers.cloud_api import RUN_MARK, CloudError

        if self.cloud.api is None or self.cloud.missing(self._environment):  # which `confirm` tells
            return []
        try:
            self.api().listing({RUN_MARK: request.run_id})
        except CloudError as error:
            return [f"{error.message} ({error.hint})" if error.hint else error.message]
        return []

    def _check_credentials(self, own: Cloud) -> None:
        if missing := own.missing(self._environment):
            told = "; ".join(f"{name} isn't set: {what}" for name, what in missing.items())
            raise MissingCredentials(f"the provider {self.name} needs credentials: {told}", credentials=missing)


def _marks(entry: Entry) -> dict[str, str]:
    """What everything of a cluster bears."""
    from koalesce.providers.cloud_api import CLUSTER_MARK, RUN_MARK

    return {RUN_MARK: entry.run_id, CLUSTER_MARK: entry.name}


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
