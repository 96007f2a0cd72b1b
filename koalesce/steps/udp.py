"""Send a datagram and look at the one that comes back."""

from __future__ import annotations

from typing import ClassVar

from koalesce.steps.wire.destination import Protocol
from koalesce.steps.wire.exchange import Exchange


class Udp(Exchange, key="udp"):
    """Send a datagram from each source to each target; a datagram must come back.

    It's sent again every 0.3 s until something comes. `send` is `hostname` by default, which `agnhost netexec` answers. `allowed`: an answer came. `refused`, `rejected` and `dropped` are those
    of `connectivity`, with its positive control; what could not be tried is none of them. A server that doesn't answer can't be told from
    a filter that discards: both are `dropped`.
    """

    protocol: ClassVar[Protocol] = "UDP"
