"""A router that answers every packet to one address with ICMP port unreachable from its own, as `REJECT` of iptables does."""

import socket
import struct
import sys


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


interface, guarded = sys.argv[1], socket.inet_aton(sys.argv[2])
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
sniffer.bind((interface, 0x0800))
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
print("listening", flush=True)
while True:
    packet, where = sniffer.recvfrom(2048)
    if where[2] != socket.PACKET_HOST or packet[16:20] != guarded:
        continue
    quoted = packet[:28]
    header = struct.pack("!BBHI", 3, 3, 0, 0)
    message = struct.pack("!BBHI", 3, 3, checksum(header + quoted), 0) + quoted
    sender.sendto(message, (socket.inet_ntoa(packet[12:16]), 0))
