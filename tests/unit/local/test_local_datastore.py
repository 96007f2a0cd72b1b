from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koalesce.local.datastore import Datastore, Seeds, with_new_uids
from koalesce.local.request import LocalRequest, from_mapping

UID = "0c8e3a52-1f0f-4a53-9a39-1d8e0f6b1c11"


class Etcd(Datastore):
    """Answers as etcd's gateway does, from a dict."""

    def __init__(self, values: Mapping[str, bytes] | None = None) -> None:
        self.values = dict(values or {})
        self.transactions = 0

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if path == "/v3/kv/txn":
            self.transactions += 1
            for put in (operation["request_put"] for operation in body["success"]):
                self.values[_text(put["key"])] = base64.b64decode(put["value"])
            return {}
        first, end = _text(body["key"]), _text(body["range_end"])
        found = {key: value for key, value in self.values.items() if first <= key < end}
        return {"kvs": [{"key": _code(key.encode()), "value": _code(value)} for key, value in found.items()]}


def _text(code: str) -> str:
    return base64.b64decode(code).decode()


def _code(data: bytes) -> str:
    return base64.b64encode(data).decode()


def request(**changes: Any) -> LocalRequest:
    return from_mapping({"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/s", **changes})


def test_only_what_says_nothing_of_a_cluster_is_kept(tmp_path: Path) -> None:
    first = Etcd(
        {
            "/registry/clusterroles/view": b"view",
            "/registry/clusterroles/system:coredns": b"of an add-on",
            "/registry/namespaces/kube-system": b"ns",
            "/registry/serviceaccounts/kube-system/coredns": b"of an add-on",
            "/registry/secrets/kube-system/token": b"secret",
            "/registry/configmaps/kube-system/extension-apiserver-authentication": b"certificates",
            "/registry/masterleases/198.18.0.10": b"address",
        }
    )
    Seeds(tmp_path, request()).gather(first)
    second = Etcd()

    assert Seeds(tmp_path, request()).plant(second)
    assert second.values == {"/registry/clusterroles/view": b"view", "/registry/namespaces/kube-system": b"ns"}


def test_nothing_is_planted_where_nothing_was_gathered(tmp_path: Path) -> None:
    assert not Seeds(tmp_path, request()).plant(Etcd())


def test_another_api_server_has_seeds_of_its_own(tmp_path: Path) -> None:
    Seeds(tmp_path, request()).gather(Etcd({"/registry/roles/a/b": b"1"}))

    assert Seeds(tmp_path, request(name="c2")).plant(Etcd())
    for other in (
        request(kubernetes_version="1.34.4"),
        request(feature_gates={"A": True}),
        request(runtime_config={"api/all": "true"}),
        request(component_args={"apiserver": {"v": "2"}}),
    ):
        assert not Seeds(tmp_path, other).plant(Etcd())


def test_damaged_seeds_are_thrown_away(tmp_path: Path) -> None:
    seeds = Seeds(tmp_path, request())
    seeds.gather(Etcd())
    (file,) = tmp_path.iterdir()
    file.write_text("{")

    assert not seeds.plant(Etcd())
    assert list(tmp_path.iterdir()) == []


def test_many_objects_are_written_in_small_transactions() -> None:
    etcd = Etcd()

    etcd.write({f"/registry/roles/a/{number}": _code(b"x") for number in range(250)})

    assert (len(etcd.values), etcd.transactions) == (250, 3)


def test_no_two_clusters_have_the_same_uids() -> None:
    stored = b"k8s\0\n\x01" + UID.encode() + b"\x12" + json.dumps({"uid": UID}).encode()

    first, second = (with_new_uids({"a": _code(stored)})["a"] for _ in range(2))

    assert first != second
    assert UID.encode() not in base64.b64decode(first)
    assert len(base64.b64decode(first)) == len(stored)
    assert base64.b64decode(first).startswith(b"k8s\0\n\x01")


class Members(Datastore):
    """The members of an etcd, which takes a new one only at the second try."""

    def __init__(self, *names: str) -> None:
        self.members = [{"ID": str(number), "name": name, "peerURLs": [url(name)]} for number, name in enumerate(names)]
        self.refusals = 1

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        match path.rpartition("/")[2]:
            case "remove":
                self.members = [member for member in self.members if member["ID"] != body["ID"]]
            case "add" if self.refusals:
                self.refusals -= 1
                raise OSError("etcd: 503 unhealthy cluster")
            case "add":
                self.members.append({"ID": "9", "peerURLs": body["peerURLs"]})
        return {"members": self.members}


def url(name: str) -> str:
    return f"https://{name}:2380"


def test_a_member_without_data_takes_the_place_of_the_former() -> None:
    etcd = Members("cp1", "cp2", "cp3")

    tries = [etcd.replace_member("cp2", url("cp2")) for _ in range(3)]

    assert tries == [False, True, True]
    assert [(member.get("name"), member["peerURLs"]) for member in etcd.members] == [
        ("cp1", [url("cp1")]),
        ("cp3", [url("cp3")]),
        (None, [url("cp2")]),
    ]
