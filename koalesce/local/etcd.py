"""etcd's members: where they are, and their flags."""

from __future__ import annotations

from collections.abc import Mapping

from koalesce.local.noderoot import File
from koalesce.local.request import FixtureSpec, LocalRequest, NodeSpec, url_host
from koalesce.pki import Pki

NAME = "etcd"
DATA = "/var/lib/etcd"
PORT = 2379
_PEER_PORT = 2380
_METRICS_PORT = 2381
# Of a member that comes to others which are there already; of flags that are given twice the last counts.
JOINING = ("--initial-cluster-state=existing",)
_PKI = "/etc/kubernetes/pki"
_FILES = ("etcd/ca.crt", "etcd/server.crt", "etcd/server.key", "etcd/peer.crt", "etcd/peer.key")
# A member alone has nobody to wait for. Several share busy processors, where a leader that is a little late must not lose its place.
_ALONE = {"heartbeat-interval": "50", "election-timeout": "250"}
_TOGETHER = {"heartbeat-interval": "250", "election-timeout": "2500"}


def servers(request: LocalRequest, node: NodeSpec) -> str:
    """Where an API server finds etcd: at the member beside it, else at any."""
    if request.datastore:
        return ",".join(request.datastore.endpoints)
    if node in request.members:
        return _url("127.0.0.1", PORT)
    return ",".join(_url(member.address, PORT) for member in request.members)


def files(pki: Pki) -> list[File]:
    """What a member reads."""
    return [File(path=f"{_PKI}/{name}", mode=0o600, text=pki.text(name)) for name in _FILES]


def peer_url(member: NodeSpec | FixtureSpec) -> str:
    """Where the other members reach one."""
    return _url(member.address, _PEER_PORT)


def flags(request: LocalRequest, node: NodeSpec | FixtureSpec) -> Mapping[str, str]:
    """The flags of a machine's member; where nobody is elsewhere, and it isn't public, it listens on loopback alone."""
    own = "127.0.0.1" if request.controls == (node,) else node.address
    client = node.address if request.is_public else own
    is_alone = len(request.members) == 1
    peers = {member.name: _url(own, _PEER_PORT) if is_alone else peer_url(member) for member in request.members}
    return {
        "name": node.name,
        "data-dir": DATA,
        "listen-client-urls": ",".join(_url(address, PORT) for address in dict.fromkeys(("127.0.0.1", client))),
        "advertise-client-urls": _url(client, PORT),
        "listen-peer-urls": peers[node.name],
        "initial-advertise-peer-urls": peers[node.name],
        "initial-cluster": ",".join(f"{name}={url}" for name, url in peers.items()),
        "listen-metrics-urls": f"http://127.0.0.1:{_METRICS_PORT}",
        "cert-file": f"{_PKI}/etcd/server.crt",
        "key-file": f"{_PKI}/etcd/server.key",
        "client-cert-auth": "true",
        "trusted-ca-file": f"{_PKI}/etcd/ca.crt",
        "peer-cert-file": f"{_PKI}/etcd/peer.crt",
        "peer-key-file": f"{_PKI}/etcd/peer.key",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{_PKI}/etcd/ca.crt",
        # The data doesn't outlive the cluster.
        "unsafe-no-fsync": "true",
        **(_ALONE if is_alone else _TOGETHER),
        # A reset changes all that it changes at once, so that no controller acts on half of it.
        "max-txn-ops": "100000",
    }


def _url(address: str, port: int) -> str:
    return f"https://{url_host(address)}:{port}"
