"""Connect over TCP, say something, and look at what comes back."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from koalesce.steps.wire.destination import Protocol
from koalesce.steps.wire.exchange import Exchange


class Tcp(Exchange, key="tcp"):
    """Connect over TCP from each source to each target; with `send` or `reply` an answer must come, too.

    `allowed`: the handshake was completed, and an answer came where one is asked for. `refused`, `rejected` and `dropped` are those of
    `connectivity`, with its positive control; what could not be tried is none of them. The answer is read until the other side closes or
    pauses, up to 64 KiB. With `reply` and no `send`, what the server says by itself is looked at (a banner).
    """

    protocol: ClassVar[Protocol] = "TCP"

    @model_validator(mode="after")
    def _speaks_only_when_let_in(self) -> Tcp:
        if self.send is not None and self.expect != ["allowed"]:
            raise ValueError("send needs a connection, so it needs expect: allowed")
        return self
