"""The way out of a cluster through this machine (`egress: host`): a link, forwarding, address translation, name service.

All of it ends with the supervisor: the link with the cluster's network namespace, the nftables table with the process that owns it
(`flags owner`, nft(8)). Only that the machine forwards is a setting that has to be put back.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import re
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from koalesce.addresses import FABRIC
from koalesce.errors import ProvisionError
from koalesce.local import netns
from koalesce.local.netns import NetNamespace
from koalesce.local.request import GATEWAY
from koalesce.records import dataclass
from koalesce.toolchain import LocalTools
from koalesce.toolchain.system import environment

_POOL = ipaddress.IPv4Network("198.19.64.0/18")
_INSIDE = "uplink"
_DNS_PORT = 53
_PATIENCE = 4.0
# To these something is sent to see whether it gets through; none of it leaves this machine.
_TRIED = ("192.0.2.1", "198.51.100.1", "203.0.113.1")
_TCP_PORTS, _UDP_PORTS = (80, 443, 6443), (53, 443)
_TRIES = 8
_PAUSE = 0.25
_STUB = "/run/systemd/resolve/resolv.conf"


@dataclass(slots=True)
class Egress:
    """The way out of one cluster. Must be opened from the thread that the cluster's nodes belong to."""

    link: str
    host: NetNamespace
    tools: LocalTools
    _owners: list[subprocess.Popen[bytes]]
    _far: str = ""

    @classmethod
    def named(cls, mark: str, host: NetNamespace, tools: LocalTools) -> Egress:
        """A way out whose link on this machine is called after a mark of six letters."""
        return cls(f"koalesce-{mark}", host, tools, [])

    def open(self) -> None:
        """Make link, routes and rules; the calling thread is in the cluster's namespace."""
        near, far, prefix = self._addresses()
        self._far = str(far)
        cluster = NetNamespace.of_process("self")
        with self.host.entered():
            netns.ip(
                f"link add {self.link} type veth peer name {_INSIDE} netns {cluster.path}",
                f"addr add {near}/{prefix} dev {self.link}",
                f"link set {self.link} up",
            )
            self._own(self.link, str(far))
        cluster.close()
        netns.ip(f"addr add {far}/{prefix} dev {_INSIDE}", f"link set {_INSIDE} up", f"route add default via {near}")
        self._own(_INSIDE, "")
        _serve_names(self.host)

    def lets_through(self) -> bool:
        """Whether something of the cluster's gets through this machine's filters, before anything runs in the cluster.

        Must be asked from the thread that opened it. What gets through is counted, and dropped where it would leave.
        """
        name, (command, environment) = f"{_table(self.link)}_look", nft(self.tools)
        listing = [*command, "list", "table", "ip", name]
        cluster = NetNamespace.of_process("self")
        with self.host.entered():
            owner = self._owned(name, _counting(name, self._far))
            for _ in range(_TRIES):
                with cluster.entered():
                    _try_all([*_TRIED, *nameservers()])
                listed = subprocess.run(
                    listing, capture_output=True, text=True, env=environment, timeout=20, check=False
                ).stdout
                if passed := re.search(r"packets [1-9]", listed) is not None:
                    break
                time.sleep(_PAUSE)
        cluster.close()
        self._owners.remove(owner)
        owner.kill()
        owner.wait()
        return passed

    def close(self) -> None:
        """Let the rules go; the link goes with the namespace."""
        for owner in self._owners:
            owner.kill()
            owner.wait()

    def _addresses(self) -> tuple[ipaddress.IPv4Address, ipaddress.IPv4Address, int]:
        with self.host.entered():
            used = netns.command(["ip", "-4", "-oneline", "addr"])
        for _ in range(100):
            share = list(_POOL.subnets(new_prefix=30))[random.randrange(2**12)]  # noqa: S311 - nothing secret
            near, far = share.hosts()
            if f" {near}/" not in used:
                return near, far, share.prefixlen
        raise ProvisionError(f"no free addresses in {_POOL} for the way out of the cluster")

    def _own(self, out: str, source: str) -> None:
        """Have an nft process own a table for as long as it lives, which is as long as we do; returns when it is there."""
        self._owned(_table(out), _rules(out, source))

    def _owned(self, name: str, rules: str) -> subprocess.Popen[bytes]:
        command, environment = nft(self.tools)
        owner = subprocess.Popen(
            [*command, "--interactive"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._owners.append(owner)
        assert owner.stdin is not None  # noqa: S101 - PIPE was asked for
        owner.stdin.write(rules.encode())
        owner.stdin.flush()
        table = [*command, "list", "table", "ip", name]
        deadline = time.monotonic() + _PATIENCE
        while subprocess.run(table, capture_output=True, env=environment, timeout=20, check=False).returncode:
            if time.monotonic() > deadline:
                raise ProvisionError(
                    "the way out of the cluster can't be opened: nftables does not work on this machine"
                )
            time.sleep(0.02)
        return owner


def _rules(out: str, source: str) -> str:
    """An nftables table of its own (one line, as interactive nft reads): what leaves by a link gets this side's address."""
    match = f"ip saddr {source}" if source else f"ip saddr {FABRIC['IPv4']} oifname {out}"
    name = _table(out)
    return (
        f"add table ip {name} {{ flags owner; }}; "
        f"add chain ip {name} out {{ type nat hook postrouting priority srcnat; }}; "
        f"add rule ip {name} out {match} masquerade\n"
    )


def _counting(name: str, source: str) -> str:
    """A table of its own that counts and drops what has these sources and is about to leave, before addresses are translated."""
    return (
        f"add table ip {name} {{ flags owner; }}; "
        f"add chain ip {name} out {{ type filter hook postrouting priority -500; }}; "
        f"add rule ip {name} out ip saddr {source} counter drop\n"
    )


def _try_all(addresses: Sequence[str]) -> None:
    """Send packets to them that ask for connections, or answers, which nobody waits for."""
    for address in addresses:
        for kind, ports in ((socket.SOCK_STREAM, _TCP_PORTS), (socket.SOCK_DGRAM, _UDP_PORTS)):
            for port in ports:
                with socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK) as trying, contextlib.suppress(OSError):
                    trying.connect((address, port))
                    trying.send(b"\0")


def _table(link: str) -> str:
    return re.sub(r"\W", "_", link)


def nft(tools: LocalTools) -> tuple[list[str], dict[str, str]]:
    """The nft command of this machine, or that of the unpacked packages with the libraries that came with it."""
    for root in tools.system:
        if (root / "usr/sbin/nft").exists():
            return [str(root / "usr/sbin/nft")], environment([root])
    return ["nft"], environment([])


def _serve_names(host: NetNamespace) -> None:
    """Answer name queries on the gateway's address by asking this machine's resolvers."""
    servers = nameservers()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((GATEWAY["IPv4"], _DNS_PORT))
    threading.Thread(target=_relay, args=(datagrams, host, servers), name="names", daemon=True).start()


def nameservers(paths: Sequence[str] = (_STUB, "/etc/resolv.conf")) -> list[str]:
    """The IPv4 name servers of this machine (resolv.conf(5)), not a stub where the file behind it can be read."""
    for path in paths:
        try:
            text = Path(path).read_text()
        except OSError:
            continue
        if found := re.findall(r"^nameserver\s+(\d+\.\d+\.\d+\.\d+)\s*$", text, re.MULTILINE):
            return found
    return []


def _relay(datagrams: socket.socket, host: NetNamespace, servers: Sequence[str]) -> None:
    while True:
        try:
            query, asker = datagrams.recvfrom(4096)
        except OSError:
            return
        threading.Thread(target=_ask, args=(datagrams, host, servers, query, asker), daemon=True).start()


def _ask(
    datagrams: socket.socket, host: NetNamespace, servers: Sequence[str], query: bytes, asker: tuple[str, int]
) -> None:
    deadline = time.monotonic() + _PATIENCE
    for server in servers:
        with host.entered():
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with asking:
            try:
                asking.settimeout(max(0.1, (deadline - time.monotonic()) / 2))
                asking.connect((server, _DNS_PORT))
                asking.send(query)
                datagrams.sendto(asking.recv(4096), asker)
                return
            except OSError:
                continue
