"""What can be said of any cloud in `cluster.providers.NAME`, and is the same for all of them."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr

from koalesce.durations import Duration
from koalesce.machines.boot.config import PublicKey
from koalesce.models import Model

_DEFAULT_TTL = Duration(2 * 3600.0)
WORD = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def network(text: str) -> str:
    """A range of IPv4 or IPv6 addresses, as it is written."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f'"{text}" is no range of addresses, such as 192.0.2.0/24') from error
        raise ValueError(f"{text} is an address in {meant}, which would be the range") from error
    return text


Network = Annotated[StrictStr, AfterValidator(network)]
Word = Annotated[StrictStr, Field(pattern=WORD)]


class CloudOptions(Model):
    """A cloud's settings; each cloud adds its own."""

    allowed_cidrs: Annotated[tuple[Network, ...], Field(alias="allowedCIDRs")] = ()
    """From where SSH, the API server and etcd may be reached; there is no default, as it would be the whole internet."""

    authorized_keys: tuple[PublicKey, ...] = ()
    """Public keys that open the machines besides the cluster's own, such as a CI system's."""

    ttl: Duration = _DEFAULT_TTL
    """After this time anybody may sweep what the cluster has; `cluster.ttl` and `--ttl` win where they are longer."""

    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for each thing that is awaited."""

    def settings(self) -> dict[str, Any]:
        """The settings of the contract, as Terraform has them."""
        return {**self.model_dump(mode="json", by_alias=False), "ttl": f"{self.ttl.seconds:.0f}s"}
