"""What a cluster on given machines shall be: the JSON that Terraform hands to `koalesce machines up`, read and checked."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.addresses import range_with
from koalesce.errors import ProvisionError, UsageError
from koalesce.local import etcd
from koalesce.local import request as local
from koalesce.local.request import ExternalEtcd, LocalRequest, NodeSpec, api_url, url_host


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How a node's machine is reached: `key` is a file (empty: the agent's keys), `node` the node's name, `address` the node's in the cluster."""

    node: str
    host: str
    port: int
    user: str
    key: str
    address: str

    @property
    def is_root(self) -> bool:
        """Whether commands needn't ask for a root's rights."""
        return self.user == "root"

    def __str__(self) -> str:
        return f"{self.node} ({self.user}@{self.host}{f':{self.port}' if self.port != 22 else ''})"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinesRequest:
    """A cluster on given machines. `cluster` says what it is like, as for one on this machine; `accounts` has one for each of its nodes.

    `known_hosts` is the file of the keys that the machines must have, `images` what they must be able to run. `provider` says who has the
    machines. `fresh` ones were just made for it: they may have yet to boot, and get any key noted that they show first. With `public`
    the API server and etcd are reached by the hosts of the machines, with `overlay` pods reach each other by a tunnel between machines.
    `inside` is the argv prefix that runs a command on this machine where the machines are reached (empty: anywhere), `reached_at` the URL
    of the API server where that isn't needed. Whatever has a time of its own gets so many times of it by `slowness`.
    """

    cluster: LocalRequest
    accounts: tuple[Account, ...]
    known_hosts: str
    images: tuple[str, ...]
    provider: str = "ssh"
    fresh: bool = False
    public: bool = False
    overlay: bool = False
    inside: tuple[str, ...] = ()
    reached_at: str = ""
    slowness: float = 1.0

    @property
    def api_host(self) -> str:
        """Where the API server is reached from here."""
        return self.accounts[0].host if self.public else self.cluster.control.address

    @property
    def api_url(self) -> str:
        """The API server as it is reached from here."""
        return self.reached_at or api_url(self.api_host)

    def node(self, name: str) -> NodeSpec:
        """The node of this name."""
        return next(node for node in self.cluster.nodes if node.name == name)


def parse(text: str) -> MachinesRequest:
    """Read a request; UsageError says what is wrong with it, ProvisionError which machine's name leads nowhere."""
    try:
        return from_mapping(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"the request for a cluster on machines isn't valid: {reason}") from error


def from_mapping(data: Mapping[str, Any]) -> MachinesRequest:
    """Read a request from its JSON value; KeyError, TypeError or ValueError for what is wrong with it."""
    datastore = _datastore(data)
    cluster = local.from_mapping({**data, "etcd": {}} if datastore else data)
    settings = data.get("settings") or {}
    machines, nodes = settings.get("machines") or (), cluster.nodes
    if not data.get("nodes"):
        raise ValueError("a cluster on machines has at least one node")
    if cluster.has_failover:
        raise ValueError(f"{len(cluster.controls)} nodes are control planes, and machines take one")
    if len(machines) < len(nodes):
        raise ValueError(f"there are {len(machines)} machines for {len(nodes)} nodes")
    accounts = tuple(account_of(node.name, machine) for node, machine in zip(nodes, machines, strict=False))
    placed = tuple(
        dataclasses.replace(node, addresses=(account.address,)) for node, account in zip(nodes, accounts, strict=True)
    )
    _check_apart(cluster, accounts)
    members = () if datastore else tuple(node for node in placed if node.is_control_plane)
    public = bool(settings.get("public"))
    args = _public(cluster.args, accounts[0].host) if public else cluster.args
    return MachinesRequest(
        cluster=dataclasses.replace(
            cluster, nodes=placed, members=members, datastore=datastore, args=args, is_public=True
        ),
        accounts=accounts,
        known_hosts=str(settings["known_hosts"]),
        images=tuple(data.get("images") or ()),
        provider=str(data.get("provider") or "ssh"),
        fresh=bool(settings.get("fresh")),
        public=public,
        overlay=bool(settings.get("overlay")),
    )


def _datastore(data: Mapping[str, Any]) -> ExternalEtcd | None:
    """The etcd that the request names, if it does; its keys of this cluster are told from those of any other."""
    etcd: Mapping[str, Any] = data.get("etcd") or {}
    if not etcd.get("endpoints"):
        return None
    return ExternalEtcd(
        endpoints=tuple(map(str, etcd["endpoints"])),
        prefix=f"/koalesce/{data['name']}-{secrets.token_hex(8)}",
        **{name: _text(name, str(etcd.get(name) or "")) for name in ("ca", "cert", "key")},
    )


def _text(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ProvisionError(f"etcd.{name}: {path} can't be read: {error}") from error


def _check_apart(cluster: LocalRequest, accounts: Sequence[Account]) -> None:
    """Raise ValueError where a machine has an address of pods or Services: it couldn't be reached any more."""
    for account in accounts:
        for what, ranges in (("pods", cluster.pod_cidrs), ("Services", cluster.service_cidrs)):
            if taken := range_with(account.address, ranges):
                raise ValueError(
                    f"the address {account.address} of {account.node} is one of those of {what} ({taken}); choose another range for them"
                )


def _public(args: Mapping[str, Mapping[str, str]], host: str) -> dict[str, Mapping[str, str]]:
    """Arguments of components with those that have etcd serve its clients, who need certificates, outside as well."""
    url = f"https://{url_host(host)}:{etcd.PORT}"
    own = {"listen-client-urls": f"https://0.0.0.0:{etcd.PORT}", "advertise-client-urls": url}
    return {**args, etcd.NAME: {**own, **args.get(etcd.NAME, {})}}


def identity(text: str) -> tuple[str, str, str, Path]:
    """Of a request: the cluster's name, its provider, its run, and the folder of its files; UsageError if one is missing."""
    try:
        data = json.loads(text)
        return data["name"], data["provider"], str(data.get("run_id", "")), Path(data["state_dir"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the request for a cluster on machines isn't valid: {error}") from error


def authorized_keys(text: str) -> list[str]:
    """The public keys that a request has open machines besides the cluster's own; `text` is one that `identity` has read."""
    return [str(key) for key in (json.loads(text).get("settings") or {}).get("authorized_keys") or ()]


def boot(text: str) -> tuple[Mapping[str, Any], list[str]]:
    """What a request's root wishes its machines to be told at their first boot besides what all are, and from where they may be reached."""
    data = json.loads(text)
    return data.get("boot") or {}, [str(each) for each in (data.get("settings") or {}).get("allowed_cidrs") or ()]


def account_of(node: str, machine: Mapping[str, Any]) -> Account:
    """How the machine of a node is reached; ProvisionError if its name leads nowhere."""
    host = str(machine["host"])
    return Account(
        node=node,
        host=host,
        port=int(machine.get("port") or 22),
        user=str(machine.get("user") or "root"),
        key=str(machine.get("key") or ""),
        address=str(machine.get("address") or "") or _resolved(host),
    )


def _resolved(host: str) -> str:
    """The address that a machine's name leads to, which is then its node's."""
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, family=socket.AF_INET)[0][4][0])
    except OSError as error:
        raise ProvisionError(
            f"the machine's name {host} leads to no address: {error.strerror}",
            hint="say its IPv4 address as host",
        ) from error


def saved(request: MachinesRequest, identity: str) -> str:
    """What `of_saved` needs to remove the cluster: a text to keep in its folder."""
    return json.dumps(
        {
            "identity": identity,
            "known_hosts": request.known_hosts,
            "accounts": [dataclasses.asdict(account) for account in request.accounts],
        },
        indent=2,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What is kept of a request: how its machines are reached, and by what they tell this cluster from others."""

    identity: str
    known_hosts: str
    accounts: tuple[Account, ...]


def of_saved(path: Path) -> Saved:
    """Read it again; ProvisionError if it can't be."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Saved(
            identity=data["identity"],
            known_hosts=data["known_hosts"],
            accounts=tuple(Account(**account) for account in data["accounts"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProvisionError(f"{path} doesn't say which machines the cluster is on: {error}") from error
