"""Payloads of a size: what shows which packets a path passes on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from koalesce.models import Model

_OF_PACKETS = range(54, 65_536)  # headers of IPv6 and UDP, and what asks for an echo
_MOST_IN_BULK = 8 << 20  # agnhost netexec reads no more than 10 MiB of a form


class Sized(Model):
    """So many bytes: over UDP one packet, over TCP one stream."""

    size: Annotated[StrictInt, Field(ge=1)]
    """Over UDP the length of the IP packet, headers included, as an MTU counts it: 54 to 65535. Over TCP how much is sent through the connection, up to 8388608; packets
    are then as long as both ends believe the path to carry, so that one that is too long for it, of which nobody tells them, is seen as `dropped`."""

    df: StrictBool = False
    """Whether the packet must go in one piece (UDP only; TCP never lets its packets be cut): with "don't fragment" set, whatever the kernel knows of the path.
    One that is too long is then `rejected`, by a router or by the source's own link, and the reason tells the MTU; where it's lost without a word it is `dropped`."""

    def check(self, protocol: str) -> None:
        """Raise a ValueError where a protocol can't carry that."""
        if protocol == "SCTP":
            raise ValueError("payload: a size is for UDP and TCP")
        if protocol == "UDP" and self.size not in _OF_PACKETS:
            raise ValueError(
                f"payload: a packet of UDP has {_OF_PACKETS[0]} to {_OF_PACKETS[-1]} bytes with its headers, not {self.size}"
            )
        if protocol == "TCP" and self.size > _MOST_IN_BULK:
            raise ValueError(f"payload: at most {_MOST_IN_BULK} bytes are sent over TCP, not {self.size}")
        if protocol == "TCP" and self.df:
            raise ValueError(
                "payload: df is for UDP; TCP never lets its packets be cut, and finds the path's MTU by itself"
            )
