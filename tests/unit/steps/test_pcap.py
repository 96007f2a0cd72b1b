"""Packets out of capture files."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from koalesce.steps.wire.pcap import packets

ETHERNET, COOKED_2, RAW, COOKED = 1, 276, 101, 113
MACS = bytes.fromhex("0e0000000001" "0e0000000002")  # fmt: skip
SYN = 0x02
MSS = bytes([1, 1, 2, 4]) + struct.pack("!H", 1410) + bytes([0, 0])


def file(link: int, *frames: bytes, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 512, link)
    return head + b"".join(
        struct.pack(f"{order}IIII", 100, 500_000, len(frame), len(frame) + 1000) + frame for frame in frames
    )


def ipv4(protocol: int, body: bytes, *, fragment: int = 0x4000) -> bytes:
    ends = ipaddress.ip_address("10.244.1.2").packed + ipaddress.ip_address("10.96.0.1").packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 63, protocol, 0) + ends + body


def ipv6(protocol: int, body: bytes) -> bytes:
    ends = ipaddress.ip_address("fd00::1").packed + ipaddress.ip_address("fd00::2").packed
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body


def tcp(flags: int = SYN, options: bytes = b"", body: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, (20 + len(options)) // 4 << 4, flags, 1000, 0, 0) + options + body


def udp(body: bytes = b"hello") -> bytes:
    return struct.pack("!HHHH", 53, 53000, 8 + len(body), 0) + body


def test_a_tcp_packet_on_ethernet() -> None:
    (packet,) = packets(file(ETHERNET, MACS + b"\x08\x00" + ipv4(6, tcp(options=MSS))))

    assert packet == {
        "time": 100.5, "length": 1062, "dstMAC": "0e:00:00:00:00:01", "srcMAC": "0e:00:00:00:00:02", "family": "inet", "ttl": 63, "df": True,
        "src": "10.244.1.2", "dst": "10.96.0.1", "protocol": "tcp", "sport": 40000, "dport": 80, "flags": ["syn"], "mss": 1410, "payload": 0,
    }  # fmt: skip


def test_all_links_are_looked_at_in_the_cooked_form() -> None:
    head = struct.pack("!HHIHBB", 0x0800, 0, 3, 1, 4, 6) + MACS[:6] + b"\0\0"

    (packet,) = packets(file(COOKED_2, head + ipv4(17, udp())))

    assert (packet["srcMAC"], packet["protocol"], packet["sport"], packet["payload"]) == (
        "0e:00:00:00:00:01",
        "udp",
        53,
        5,
    )


def test_the_older_cooked_form_and_the_other_byte_order() -> None:
    head = struct.pack("!HHH", 0, 1, 6) + MACS[:6] + b"\0\0" + b"\x86\xdd"

    (packet,) = packets(file(COOKED, head + ipv6(17, udp()), order=">"))

    assert (packet["family"], packet["src"], packet["dst"], packet["dport"]) == ("inet6", "fd00::1", "fd00::2", 53000)


def test_a_tunnel_has_a_packet_in_it() -> None:
    (packet,) = packets(file(RAW, ipv4(4, ipv4(1, bytes([3, 13, 0, 0, 0, 0, 0, 0])))))

    assert packet["protocol"] == "ipip"
    assert (packet["inner"]["protocol"], packet["inner"]["type"], packet["inner"]["code"]) == ("icmp", 3, 13)


def test_a_later_fragment_has_no_ports() -> None:
    first, later = packets(file(RAW, ipv4(17, udp(), fragment=0x2000), ipv4(17, b"x" * 16, fragment=0x0003)))

    assert (first["dport"], first["df"]) == (53000, False)
    assert "dport" not in later
    assert later["payload"] == 16


def test_extensions_of_ipv6_are_passed_over() -> None:
    hop_by_hop = bytes([6, 0, 0, 0, 0, 0, 0, 0])

    (packet,) = packets(file(RAW, ipv6(0, hop_by_hop + tcp(0x12))))

    assert (packet["protocol"], packet["flags"], packet["payload"]) == ("tcp", ["syn", "ack"], 0)


def test_who_asks_for_an_address() -> None:
    body = (
        struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
        + MACS[6:]
        + bytes([198, 18, 0, 2])
        + bytes(6)
        + bytes([198, 18, 0, 9])
    )

    (packet,) = packets(file(ETHERNET, MACS + b"\x81\x00\x00\x07\x08\x06" + body))

    assert {name: packet[name] for name in ("family", "operation", "src", "dst")} == {
        "family": "arp", "operation": "request", "src": "198.18.0.2", "dst": "198.18.0.9",
    }  # fmt: skip


def test_what_is_cut_off_is_still_a_packet() -> None:
    found = packets(file(ETHERNET, MACS + b"\x08\x00" + ipv4(6, tcp())[:24], b"\0"))

    assert [(packet["family"], packet["length"]) for packet in found] == [("other", 1038), ("other", 1001)]


def test_what_is_no_capture_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no capture file"):
        packets(b"tcpdump: no such thing")
    assert packets(file(ETHERNET)) == []
