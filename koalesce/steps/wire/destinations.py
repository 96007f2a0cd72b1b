"""Destinations on several ports, by several protocols, of several families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Annotated

from pydantic import Field, model_validator

from koalesce.addresses import Family
from koalesce.steps.base import StepContext
from koalesce.steps.wire.destination import Destination, Endpoint, Endpoints, Port, Protocol


class Destinations(Destination):
    """What to connect to: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture`, `fixtures` and `address`, with a port or several."""

    ports: Annotated[list[Port], Field(min_length=2)] | None = None
    """Several ports, instead of `port`: each is a target of its own, called `web-0:8080` where rules and reports name it."""

    protocols: Annotated[list[Protocol], Field(min_length=2)] | None = None
    """TCP, UDP and SCTP, or two of them, instead of `protocol`: targets are called `web-0 UDP`, or `web-0:8080 UDP`."""

    @model_validator(mode="after")
    def _are_told_apart(self) -> Destinations:
        for one, several in (("port", "ports"), ("protocol", "protocols")):
            values: Sequence[object] | None = getattr(self, several)
            if values is None:
                continue
            if one in self.model_fields_set:
                raise ValueError(f"say {one} or {several}, not both")
            if len(set(values)) < len(values):
                raise ValueError(f"{several}: each is said once")
        return self

    @property
    def said_ports(self) -> list[Port]:
        """The ports that are said."""
        return self.ports or super().said_ports

    @property
    def spoken(self) -> tuple[Protocol, ...]:
        """The protocols that are spoken."""
        return tuple(self.protocols or [self.protocol])

    def all_endpoints(self, families: Sequence[Family], context: StepContext) -> Endpoints:
        """All that is meant, in each way; of addresses of these families, or of the primary ones where none is said."""
        found: list[Endpoint] = []
        for one, port, family in self._ways(families):
            endpoints = one.endpoints(family, context)
            if not isinstance(endpoints, list):
                return endpoints
            marks = [f":{port}"] if self.ports else []
            marks += [f" {one.protocol}"] if self.protocols else []
            marks += [f" {family}"] if len(families) > 1 else []
            found += [
                replace(each, name=each.name + "".join(marks), plain=each.name, protocol=one.protocol, family=family)
                for each in endpoints
            ]
        return found

    def _ways(self, families: Sequence[Family]) -> Iterator[tuple[Destination, Port | None, Family | None]]:
        ports: list[Port | None] = [*self.said_ports] or [None]
        known: list[Family | None] = [*families] or [None]
        for port, protocol, family in product(ports, self.spoken, known):
            yield self.model_copy(update={"port": port, "protocol": protocol}), port, family
