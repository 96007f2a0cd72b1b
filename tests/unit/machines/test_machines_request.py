"""The request for a cluster on machines: which machine becomes which node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ProvisionError, UsageError
from koalesce.machines import request
from koalesce.machines.request import Account


def data(**changes: Any) -> dict[str, Any]:
    return {
        "name": "c1",
        "kubernetes_version": "1.37.2",
        "state_dir": "/state",
        "nodes": [{"name": "w", "role": "worker"}, {"name": "cp", "role": "control-plane"}],
        "settings": {
            "known_hosts": "/known",
            "machines": [
                {"host": "192.0.2.10", "port": 22, "user": "root", "key": "/key", "address": ""},
                {"host": "192.0.2.11", "port": 2222, "user": "me", "key": "", "address": "10.0.0.2"},
                {"host": "192.0.2.12"},
            ],
        },
        **changes,
    }


def test_the_control_plane_is_on_the_first_machine_and_nodes_have_the_machines_addresses() -> None:
    found = request.parse(json.dumps(data()))

    assert found.accounts == (
        Account(node="cp", host="192.0.2.10", port=22, user="root", key="/key", address="192.0.2.10"),
        Account(node="w", host="192.0.2.11", port=2222, user="me", key="", address="10.0.0.2"),
    )
    assert [(node.name, node.addresses) for node in found.cluster.nodes] == [
        ("cp", ("192.0.2.10",)), ("w", ("10.0.0.2",)),
    ]  # fmt: skip
    assert [member.addresses for member in found.cluster.members] == [("192.0.2.10",)]
    assert found.cluster.api_url == "https://192.0.2.10:6443"


def test_a_cluster_of_a_cloud_is_reached_by_the_host_of_its_first_machine_and_so_is_its_etcd() -> None:
    changed = data(provider="hcloud")
    changed["settings"] |= {"public": True, "fresh": True, "overlay": True}
    changed["settings"]["machines"][0]["address"] = "10.80.0.10"
    changed["component_args"] = {"etcd": {"quota-backend-bytes": "1"}}

    found = request.parse(json.dumps(changed))

    assert (found.provider, found.fresh, found.overlay) == ("hcloud", True, True)
    assert (found.api_url, found.cluster.api_url) == ("https://192.0.2.10:6443", "https://10.80.0.10:6443")
    assert found.cluster.args["etcd"] == {
        "listen-client-urls": "https://0.0.0.0:2379", "advertise-client-urls": "https://192.0.2.10:2379", "quota-backend-bytes": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"known_hosts": "/known", "machines": [{"host": "192.0.2.1"}]}}, "1 machines for 2 nodes"),
        ({"nodes": []}, "at least one node"),
        (
            {"nodes": [{"name": "a", "role": "control-plane"}, {"name": "b", "role": "control-plane"}]},
            "2 nodes are control planes, and machines take one",
        ),
        ({"settings": {"machines": [{"host": "192.0.2.1"}] * 2}}, "known_hosts is missing"),
        (
            {"pod_cidr": "192.0.0.0/16"},
            r"the address 192\.0\.2\.10 of cp is one of those of pods \(192\.0\.0\.0/16\)",
        ),
        ({"service_cidr": "10.0.0.0/24"}, r"the address 10\.0\.0\.2 of w is one of those of Services"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request.parse(json.dumps(data(**changes)))


def test_a_file_of_an_etcd_that_cannot_be_read_is_said() -> None:
    etcd = {"mode": "external", "endpoints": ["https://192.0.2.20:2379"], "ca": "/no/such/ca"}

    with pytest.raises(ProvisionError, match=r"etcd\.ca: /no/such/ca can't be read"):
        request.parse(json.dumps(data(etcd=etcd)))


def test_a_name_that_leads_nowhere_is_said() -> None:
    machines = [{"host": "no-such-machine.invalid"}] * 2

    with pytest.raises(ProvisionError, match=r"no-such-machine\.invalid leads to no address"):
        request.parse(json.dumps(data(settings={"known_hosts": "/known", "machines": machines})))


def test_what_is_saved_of_a_request_is_read_again(tmp_path: Path) -> None:
    found = request.parse(json.dumps(data()))
    file = tmp_path / "machines.json"
    file.write_text(request.saved(found, "c1-abc"))

    saved = request.of_saved(file)

    assert (saved.identity, saved.known_hosts, saved.accounts) == ("c1-abc", "/known", found.accounts)


def test_what_is_saved_and_damaged_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "machines.json"
    file.write_text("{}")

    with pytest.raises(ProvisionError, match=str(file)):
        request.of_saved(file)
