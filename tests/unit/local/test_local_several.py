"""Clusters of several control planes: their addresses, members of etcd, flags and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from koalesce import pki
from koalesce.local import control_plane, etcd, network, nodeplan
from koalesce.local.cgroups import Hierarchy, Layout
from koalesce.local.outputs import outputs
from koalesce.local.request import LocalRequest, NodeSpec, from_mapping
from koalesce.pki import Pki, PkiRequest
from koalesce.terraform.contract import check_outputs
from koalesce.toolchain import LocalTools

NODES = [
    {"name": "w1", "role": "worker"},
    *({"name": f"cp{number}", "role": "control-plane"} for number in (1, 2, 3)),
]


def request(**changes: Any) -> LocalRequest:
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES}
    return from_mapping({**basis, **changes})


def flags(wanted: LocalRequest, node: NodeSpec, component: str) -> dict[str, str]:
    argv = control_plane.services(wanted, node)[component].argv
    return dict(word.removeprefix("--").split("=", 1) for word in argv[1:])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    wanted = request()
    asked = PkiRequest(nodes={}, api_names=wanted.api_names, etcd_names=wanted.etcd_names)
    return pki.create(tmp_path_factory.mktemp("pki"), asked)


def test_the_api_is_at_an_address_that_is_no_nodes() -> None:
    wanted = request()

    assert [node.name for node in wanted.controls] == ["cp1", "cp2", "cp3"]
    assert wanted.api_url == "https://198.18.0.2:6443"
    assert wanted.api_address not in {node.address for node in wanted.nodes}
    assert {"198.18.0.2", *(node.address for node in wanted.controls)} <= set(wanted.api_names)
    assert f"addr add {wanted.api_address}/16 dev fabric" in network.fabric(wanted.families, wanted.api_address)


def test_of_ipv6_clusters_too() -> None:
    wanted = request(ip_families=["IPv6", "IPv4"])

    assert wanted.api_url == "https://[fd4b:6f61:6c65::2]:6443"
    assert flags(wanted, wanted.control, "etcd")["listen-client-urls"] == (
        "https://127.0.0.1:2379,https://[fd4b:6f61:6c65::10]:2379"
    )


def test_a_single_control_plane_is_at_its_node() -> None:
    wanted = request(nodes=NODES[:2])

    assert not wanted.has_failover
    assert wanted.api_address == wanted.control.address
    assert flags(wanted, wanted.control, "kube-scheduler")["leader-elect"] == "false"
    assert flags(wanted, wanted.control, "etcd")["listen-client-urls"] == "https://127.0.0.1:2379"


def test_each_control_plane_has_a_member_that_knows_all() -> None:
    wanted = request()
    peers = "cp1=https://198.18.0.10:2380,cp2=https://198.18.0.11:2380,cp3=https://198.18.0.12:2380"

    for node in wanted.controls:
        own = flags(wanted, node, "etcd")
        assert own["initial-cluster"] == peers
        assert f"{own['name']}={own['initial-advertise-peer-urls']}" in peers.split(",")
        assert flags(wanted, node, "kube-apiserver")["etcd-servers"] == "https://127.0.0.1:2379"
        assert flags(wanted, node, "kube-apiserver")["advertise-address"] == node.address


def test_an_api_server_without_a_member_beside_it_goes_to_all() -> None:
    wanted = request(etcd={"members": 1})

    assert [control_plane.names(wanted, node)[0] for node in wanted.controls] == ["etcd", *["kube-apiserver"] * 2]
    assert flags(wanted, wanted.controls[0], "etcd")["initial-cluster"] == "cp1=https://198.18.0.10:2380"
    assert etcd.servers(wanted, wanted.controls[1]) == "https://198.18.0.10:2379"
    logs = [set(node["logs"]) for node in outputs(wanted, Path("/state"), port=1, pid=42, capabilities=[])["nodes"]]
    assert ["etcd" in names for names in logs] == [True, False, False, False]


def test_controllers_elect_a_leader_and_use_the_api_server_beside_them(certificates: Pki) -> None:
    wanted = request()
    node = wanted.controls[1]
    files = {file["path"]: file["text"] for file in control_plane.files(wanted, node, certificates)}

    for component in ("controller-manager", "scheduler"):
        assert flags(wanted, node, f"kube-{component}")["leader-elect"] == "true"
        (cluster,) = json.loads(files[f"/etc/kubernetes/{component}.conf"])["clusters"]
        assert cluster["cluster"]["server"] == "https://198.18.0.11:6443"
    (cluster,) = json.loads(files["/etc/kubernetes/admin.conf"])["clusters"]
    assert cluster["cluster"]["server"] == wanted.api_url


def test_more_members_than_control_planes_are_refused() -> None:
    with pytest.raises(ValueError, match="etcd has 4 members, and there are 3 control planes for them"):
        request(etcd={"members": 4})


def test_a_member_that_comes_to_others_is_told_so() -> None:
    argv = control_plane.services(request(), request().control, more=etcd.JOINING)["etcd"].argv

    assert argv[-1] == "--initial-cluster-state=existing"


EXTERNAL: dict[str, Any] = {
    "etcd": {"mode": "external", "fixtures": ["e1", "e2"]},
    "fixtures": [{"name": name, "kind": "host"} for name in ("c1", "e1", "e2")],
}


def test_an_external_etcd_is_on_fixtures_alone(certificates: Pki) -> None:
    wanted = request(**EXTERNAL)
    node, fixture = wanted.control, wanted.fixtures[1]

    assert "etcd" not in control_plane.services(wanted, node)
    assert flags(wanted, node, "kube-apiserver")["etcd-servers"] == "https://198.18.1.11:2379,https://198.18.1.12:2379"
    argv = control_plane.member(wanted, fixture).argv
    assert "--initial-cluster=e1=https://198.18.1.11:2380,e2=https://198.18.1.12:2380" in argv
    assert {"--client-cert-auth=true", "--peer-client-cert-auth=true", "--name=e1"} <= set(argv)
    assert {"198.18.1.11", "198.18.1.12"} <= set(wanted.etcd_names)
    assert wanted.etcd_address == "198.18.1.11"
    paths = {file["path"] for file in control_plane.files(wanted, node, certificates)}
    assert "/etc/kubernetes/pki/apiserver-etcd-client.crt" in paths
    assert "/etc/kubernetes/pki/etcd/server.key" not in paths


def test_its_logs_are_on_its_fixtures() -> None:
    values = outputs(request(**EXTERNAL), Path("/state"), port=1, pid=42, capabilities=[])

    check_outputs({**values, "cleanup": {"argv": ["koalesce"]}})
    assert not any("etcd" in node["logs"] for node in values["nodes"])
    init = ["cat", "/var/init.log"]
    logs = {"etcd": ["cat", "/var/log/koalesce/etcd.log"], "init": init}
    assert [fixture["logs"] for fixture in values["fixtures"]] == [{}, logs, logs]


def test_only_fixtures_with_a_member_have_what_it_needs(certificates: Pki, tmp_path: Path) -> None:
    wanted = request(**EXTERNAL)
    nowhere: dict[str, Any] = dict.fromkeys(LocalTools.__dataclass_fields__, tmp_path)
    tools = LocalTools(**nowhere | {"system": (), "images": {}})
    roots = {
        fixture.name: nodeplan.plan_fixture(
            wanted,
            fixture,
            tools,
            certificates,
            folder=tmp_path,
            layout=Layout((Hierarchy(tmp_path, 1, "pids"),)),
            cgroups=[],
        )["root"]
        for fixture in wanted.fixtures
    }

    assert [root["tmpfs"] for root in roots.values()] == [{}, {"/var/lib/etcd": 0}, {"/var/lib/etcd": 0}]
    secret = [any(file["path"].startswith("/etc/kubernetes/pki") for file in root["files"]) for root in roots.values()]
    assert secret == [False, True, True]


@pytest.mark.parametrize("fixtures", [[], ["e9"]])
def test_an_external_etcd_on_no_fixture_is_refused(fixtures: list[str]) -> None:
    with pytest.raises(ValueError, match="an external etcd is on fixtures, of which there are: c1, e1, e2"):
        request(**EXTERNAL | {"etcd": {"mode": "external", "fixtures": fixtures}})
