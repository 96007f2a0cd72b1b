"""Which specs a cluster that is up will do for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.engine import joining
from koalesce.engine.joining import check_fits, unmet
from koalesce.errors import UsageError
from koalesce.local.ledger import Entry
from koalesce.providers.joining import Made
from koalesce.spec import LoadedSpec, load_all

VARIABLES: dict[str, Any] = {
    "nodes": [
        {"name": "control-plane", "role": "control-plane"},
        {"name": "worker-1", "role": "worker", "labels": {"disk": "ssd", "a": "b"}, "taints": [], "cpu": 2, "memory": 0},
    ],
    "network": "bridge", "dns": "coredns", "kube_proxy": "iptables", "pod_cidr": "10.244.0.0/16", "service_cidr": "10.96.0.0/16",
    "ip_families": ["IPv4"], "egress": "none", "etcd": {"mode": "process"}, "control_plane": "process",
    "feature_gates": {"A": True, "B": False}, "runtime_config": {}, "component_args": {"kubelet": {"v": "4"}},
}  # fmt: skip


def cluster(**session: str) -> Made:
    return Made(entry=Entry(name="dev", kubernetes="1.37.2", session=session), variables=VARIABLES)


def spec(tmp_path: Path, section: str, rest: str = "") -> LoadedSpec:
    path = tmp_path / "a.yaml"
    path.write_text(
        f"apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {{name: a}}\ncluster: {section}\n{rest}"
        "tests: [{name: t, steps: [{sleep: 1ms}]}]\n"
    )
    return load_all([path])[0]


@pytest.mark.parametrize(
    "section",
    [
        "{nodes: 0}",
        "{nodes: 1}",
        "{nodes: 2}",
        "{nodes: 2, kubernetes: '1.37', network: bridge, kubeProxy: iptables, featureGates: {A: true}}",
        "{nodes: [{role: control-plane}, {name: worker-1, labels: {disk: ssd}}], args: {kubelet: {v: 4}}}",
        "{nodes: [{role: control-plane}, {name: worker-1, cpu: 2}]}",
    ],
)
def test_it_has_what_is_asked_for(tmp_path: Path, section: str) -> None:
    assert unmet(spec(tmp_path, section), cluster()) == []


def test_fixtures_must_be_there_by_their_names(tmp_path: Path) -> None:
    wanted = spec(tmp_path, "{nodes: 1}", "fixtures: {c1: {host: {}}, c2: {host: {}}}\n")
    has_one = Made(entry=cluster().entry, variables={**VARIABLES, "fixtures": [{"name": "c1", "kind": "host"}]})

    assert unmet(wanted, cluster()) == ["it has no fixture c1, c2"]
    assert unmet(wanted, has_one) == ["it has no fixture c2, only c1"]


def test_machines_must_be_as_the_spec_says(tmp_path: Path) -> None:
    text = """fixtures:
  c1: {host: {}, subnet: 198.19.1.0/24}
  r1: {router: gobgpd, asn: 64513}
"""
    wanted = spec(tmp_path, "{nodes: 1}", text)
    there: list[dict[str, Any]] = [
        {"name": "c1", "kind": "host", "subnet": "198.19.2.0/24"},
        {"name": "r1", "kind": "router", "router": '{"program": "gobgpd", "asn": 64513, "peers": []}'},
    ]
    differs = [
        there[0] | {"subnet": "198.19.1.0/24"},
        there[1] | {"router": '{"program": "frr", "asn": 1, "peers": []}'},
    ]

    def has(fixtures: list[dict[str, Any]]) -> Made:
        return Made(entry=cluster().entry, variables={**VARIABLES, "fixtures": fixtures})

    assert unmet(wanted, has(there)) == ["its fixture c1 is in another subnet"]
    assert unmet(wanted, has(differs)) == ["its router r1 has other settings"]


@pytest.mark.parametrize(
    ("section", "lacking"),
    [
        ("{}", "it has no node worker-2, only control-plane, worker-1"),
        ("{nodes: 1, kubernetes: '1.34'}", "its kubernetes is 1.37.2, not 1.34"),
        ("{nodes: 1, network: none}", "its network is bridge, not none"),
        ("{nodes: 1, dns: none}", "its dns is coredns, not none"),
        ("{nodes: 1, kubeProxy: nftables}", "its kubeProxy is iptables, not nftables"),
        ("{nodes: 1, egress: host}", "its egress is none, not host"),
        ("{nodes: 1, podCIDR: 10.1.0.0/16}", "its podCIDR is 10.244.0.0/16, not 10.1.0.0/16"),
        ("{nodes: 1, featureGates: {B: true}}", 'its featureGates is {"A": true, "B": false}, not {"B": true}'),
        ("{nodes: 1, args: {kubelet: {v: 6}}}", 'its args is {"kubelet": {"v": "4"}}, not {"kubelet": {"v": "6"}}'),
        (
            "{nodes: [{role: control-plane}, {name: worker-1, labels: {disk: hdd}}]}",
            "its node worker-1 lacks labels of {'disk': 'hdd'}",
        ),
        (
            "{nodes: [{role: control-plane}, {name: worker-1, kubelet: {maxPods: 5}}]}",
            'its node worker-1 lacks settings of its kubelet: {"maxPods": 5}',
        ),
        ("{nodes: [{role: control-plane}, {name: worker-1, cpu: 1}]}", "its node worker-1 has cpu 2, not 1"),
        (
            "{nodes: [{role: control-plane}, {name: worker-1, memory: 1Gi}]}",
            "its node worker-1 has memory of all the machine, not 1073741824",
        ),
        (
            "{nodes: [{role: control-plane}, {name: worker-1, taints: [{key: a, effect: NoSchedule}]}]}",
            "its node worker-1 has other taints",
        ),
    ],
)
def test_it_lacks_what_is_asked_for(tmp_path: Path, section: str, lacking: str) -> None:
    assert unmet(spec(tmp_path, section), cluster()) == [lacking]


def test_addons_disks_and_registries_must_be_there(tmp_path: Path) -> None:
    user = "{username: ci, password: made-up}"
    wanted = spec(
        tmp_path,
        f"{{addons: [local-path, load-balancer], registries: {{a.example.com: {user}, b.example.com: {user}}}, "
        "nodes: [{role: control-plane, disks: [{path: /mnt/a, size: 1Mi}, {path: /mnt/b, size: 1Mi}]}]}",
    )
    volumes = {"path": "/var/local-path-provisioner", "size": 2**30}
    disks = [{"path": "/mnt/a", "size": 2**20}, {"path": "/mnt/b", "size": 4096}, volumes]
    registry = {"name": "a.example.com", "username": "ci", "password": "made-up"}
    has = {
        "nodes": [{"name": "control-plane", "role": "control-plane", "disks": disks}],
        "addons": ["local-path", "metrics-server"], "registries": [registry, {**registry, "name": "b.example.com", "password": "x"}],
    }  # fmt: skip

    assert unmet(wanted, Made(entry=cluster().entry, variables={**VARIABLES, **has})) == [
        "its node control-plane has a disk of 4096 bytes at /mnt/b, where the spec wants 1048576 bytes",
        "it lacks the addons load-balancer",
        "its registry b.example.com doesn't ask for the spec's user",
    ]
    assert "its node control-plane has no disk at /mnt/a, where the spec wants 1048576 bytes" in unmet(
        wanted, cluster()
    )


def test_files_of_the_api_server_must_be_the_same(tmp_path: Path) -> None:
    policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}"
    (tmp_path / "audit.yaml").write_text(policy)
    wanted = spec(tmp_path, "{nodes: 1, auditPolicy: audit.yaml}")
    same = Made(entry=cluster().entry, variables={**VARIABLES, "audit_policy": policy})

    assert unmet(wanted, cluster()) == ["its auditPolicy is another"]
    assert unmet(wanted, same) == []


ROUTER = "components: [{name: kube-router, manifests: [router.yaml]}]\n"


@pytest.mark.parametrize(
    ("notes", "lacking"),
    [
        ({"network": "kube-router"}, []),
        ({"network": "none"}, []),  # which it is installed on
        ({"network": "flannel"}, ["its network is flannel, not kube-router"]),
        ({}, ["its network is bridge, not kube-router"]),
    ],
)
def test_a_network_that_is_a_component(tmp_path: Path, notes: dict[str, str], lacking: list[str]) -> None:
    (tmp_path / "router.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")

    assert unmet(spec(tmp_path, "{nodes: 1, network: kube-router}", ROUTER), cluster(**notes)) == lacking


def test_all_that_is_lacking_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "made", lambda name: cluster())
    monkeypatch.chdir(tmp_path)
    fine = spec(tmp_path, "{nodes: 1}")
    check_fits("dev", [fine])
    bad = spec(tmp_path, "{nodes: 3, kubernetes: '1.34'}")

    with pytest.raises(UsageError) as caught:
        check_fits("dev", [fine, bad])

    assert caught.value.message == (
        "cluster dev isn't what the specs ask for\n"
        "  a.yaml: its kubernetes is 1.37.2, not 1.34; it has no node worker-2, only control-plane, worker-1"
    )
