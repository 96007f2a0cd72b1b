"""Packets out of a capture file (https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html), as items to compare."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from typing import Any

Packet = dict[str, Any]

FIELDS = frozenset(
    [
        "place",
        "time",
        "length",
        "family",
        "protocol",
        "src",
        "dst",
        "sport",
        "dport",
        "ttl",
        "df",
        "flags",
        "mss",
        "payload",
        "type",
        "code",
        "operation",
        "srcMAC",
        "dstMAC",
        "inner",
    ]
)
HEADER = 24  # bytes of the file before the first packet
_MAGICS = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}
_ETHERNET, _RAW, _COOKED, _COOKED_2 = 1, 101, 113, 276  # https://www.tcpdump.org/linktypes.html
_IPV4, _IPV6, _ARP, _TAGS = 0x0800, 0x86DD, 0x0806, (0x8100, 0x88A8)
_PROTOCOLS = {1: "icmp", 2: "igmp", 4: "ipip", 6: "tcp", 17: "udp", 41: "ip6ip", 47: "gre", 50: "esp", 58: "icmpv6", 89: "ospf", 132: "sctp"}  # fmt: skip
_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg")
_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options of IPv6
_FRAGMENT, _MSS = 44, 2


def packets(data: bytes) -> list[Packet]:
    """All packets of a file; the last may be missing its end where the writer was cut off. ValueError if it's no such file."""
    order = _MAGICS.get(data[:4])
    if order is None or len(data) < HEADER:
        raise ValueError("this is no capture file")
    (link,) = struct.unpack_from(f"{order}I", data, 20)
    found, at = [], HEADER
    while at + 16 <= len(data):
        seconds, micros, kept, length = struct.unpack_from(f"{order}IIII", data, at)
        frame = data[at + 16 : at + 16 + kept]
        at += 16 + kept
        found.append({"time": seconds + micros / 1e6, "length": length, **_frame(link & 0xFFFF, frame)})
    return found


def _frame(link: int, frame: bytes) -> Packet:
    """A packet below its link's header; what is cut off isn't there."""
    try:
        kind, rest, macs = _unwrapped(link, frame)
        return {**macs, **_network(kind, rest)}
    except (struct.error, IndexError, ValueError):
        return {"family": "other"}


def _unwrapped(link: int, frame: bytes) -> tuple[int, bytes, Packet]:
    """The EtherType, what follows the header, and the hardware's addresses."""
    if link == _ETHERNET:
        macs = {"dstMAC": _mac(frame[0:6]), "srcMAC": _mac(frame[6:12])}
        kind, at = _short(frame, 12), 14
        while kind in _TAGS:
            kind, at = _short(frame, at + 2), at + 4
        return kind, frame[at:], macs
    if link == _COOKED:
        return _short(frame, 14), frame[16:], {"srcMAC": _mac(frame[6:12])} if _short(frame, 4) == 6 else {}
    if link == _COOKED_2:
        return _short(frame, 0), frame[20:], {"srcMAC": _mac(frame[12:18])} if frame[11] == 6 else {}
    if link == _RAW:
        return _IPV6 if frame[0] >> 4 == 6 else _IPV4, frame, {}
    raise ValueError(f"link type {link} is not known")


def _network(kind: int, data: bytes) -> Packet:
    if kind == _IPV4:
        return _ipv4(data)
    if kind == _IPV6:
        return _ipv6(data)
    if kind == _ARP:
        operation = {1: "request", 2: "reply"}.get(_short(data, 6), "other")
        return {"family": "arp", "operation": operation, "src": _address(data[14:18]), "dst": _address(data[24:28])}
    return {"family": "other"}


def _ipv4(data: bytes) -> Packet:
    size, total, fragment = (data[0] & 15) * 4, _short(data, 2), _short(data, 6)
    packet = {
        "family": "inet", "ttl": data[8], "df": bool(fragment & 0x4000), "src": _address(data[12:16]), "dst": _address(data[16:20]),
    }  # fmt: skip
    return {**packet, **_carried(data[9], data[size:], total - size, is_first=not fragment & 0x1FFF)}


def _ipv6(data: bytes) -> Packet:
    packet = {"family": "inet6", "ttl": data[7], "src": _address(data[8:24]), "dst": _address(data[24:40])}
    number, rest, left, is_first = data[6], data[40:], _short(data, 4), True
    while number in (*_EXTENSIONS, _FRAGMENT):
        is_first = is_first and not (number == _FRAGMENT and _short(rest, 2) & 0xFFF8)
        size = 8 if number == _FRAGMENT else (rest[1] + 1) * 8
        number, rest, left = rest[0], rest[size:], left - size
    return {**packet, **_carried(number, rest, left, is_first=is_first)}


def _carried(number: int, data: bytes, size: int, *, is_first: bool) -> Packet:
    """What a packet carries: `size` is how much, of which only a part may have been kept."""
    name = _PROTOCOLS.get(number, str(number))
    packet: Packet = {"protocol": name}
    if not is_first:
        return {**packet, "payload": size}
    match name:
        case "tcp":
            head = (data[12] >> 4) * 4
            flags = [flag for bit, flag in enumerate(_FLAGS) if data[13] >> bit & 1]
            mss = {"mss": found[0]} if (found := list(_mss(data[20:head]))) else {}
            return {**packet, **_ports(data), "flags": flags, **mss, "payload": size - head}
        case "udp":
            return {**packet, **_ports(data), "payload": size - 8}
        case "sctp":
            return {**packet, **_ports(data), "payload": size - 12}
        case "icmp" | "icmpv6":
            return {**packet, "type": data[0], "code": data[1], "payload": size - 8}
        case "ipip" | "ip6ip":
            return {**packet, "inner": _ipv4(data) if name == "ipip" else _ipv6(data), "payload": size}
        case _:
            return {**packet, "payload": size}


def _mss(options: bytes) -> Iterator[int]:
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == _MSS:
            yield _short(options, at + 2)
        at += 1 if options[at] == 1 else max(options[at + 1], 2)


def _ports(data: bytes) -> Packet:
    return {"sport": _short(data, 0), "dport": _short(data, 2)}


def _short(data: bytes, at: int) -> int:
    (number,) = struct.unpack_from("!H", data, at)
    return int(number)


def _address(data: bytes) -> str:
    return str(ipaddress.ip_address(data))


def _mac(data: bytes) -> str:
    return ":".join(f"{byte:02x}" for byte in data)
