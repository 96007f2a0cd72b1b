"""What the local provider makes of a request, and what it says of a machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from koalesce import providers
from koalesce.cluster import ClusterRequest, DiskRequest, NodeRequest, RegistryRequest
from koalesce.errors import UsageError
from koalesce.providers.local import LocalProvider, machine_problems, missing_families
from koalesce.terraform.contract import check_variables
from koalesce.toolchain import LocalTools, Toolchain


def request(**fields: Any) -> ClusterRequest:
    nodes = (NodeRequest(name="control-plane", role="control-plane"), NodeRequest(name="worker-1", role="worker"))
    return ClusterRequest(
        **{"name": "a-1", "run_id": "1", "provider": "local", "kubernetes": "1.37.2", "nodes": nodes} | fields
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "calico"}, 'the local provider has no network "calico"; it has bridge, none'),
        ({"kube_proxy": "ebpf"}, 'the local provider has no kubeProxy "ebpf"; it has iptables, nftables, ipvs, none'),
        ({"dns": "kubedns"}, 'the local provider has no dns "kubedns"; it has coredns, none'),
        ({"egress": "nat"}, 'the local provider has no egress "nat"; it has none, host'),
        ({"control_plane": "vm"}, 'the local provider has no controlPlane "vm"; it has process, static'),
        ({"etcd": {"mode": "raft"}}, 'the local provider has no etcd.mode "raft"; it has process, static, external'),
        (
            {"ip_families": ("IPv6",), "egress": "host"},
            'the local provider has no egress "host" for clusters of IPv6 alone; the way out is one of IPv4',
        ),
        ({"settings": {"size": 1}}, 'the local provider has no providers.local "size"; it has timeout'),
        (
            {"settings": {"timeout": 600}},
            "providers.local.timeout: 600 is not a duration; write it with a unit, such as 30s, 2m or 250ms",
        ),
        (
            {"settings": {"timeout": "0s"}},
            "providers.local.timeout: a cluster takes some time; leave it out, or say 10m",
        ),
    ],
)
def test_what_no_local_cluster_can_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LocalProvider().resolve(request(**fields))

    assert caught.value.message == message


@pytest.mark.parametrize("families", [("IPv6",), ("IPv6", "IPv4"), ("IPv4", "IPv6")])
def test_a_local_cluster_can_have_either_family_and_both(families: tuple[str, ...]) -> None:
    assert LocalProvider().resolve(request(ip_families=families)).ip_families == families


def test_ipv6_needs_a_kernel_that_has_it(tmp_path: Path) -> None:
    assert missing_families(["IPv4"], tmp_path) == []
    (problem,) = missing_families(["IPv4", "IPv6"], tmp_path)
    assert problem.startswith("the kernel of this machine has no IPv6")
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/if_inet6").touch()
    assert missing_families(["IPv6"], tmp_path) == []


def test_a_minor_version_becomes_an_exact_one() -> None:
    assert LocalProvider().resolve(request(kubernetes="1.37")).kubernetes.startswith("1.37.")


def test_an_unsupported_version_is_refused_with_the_supported_ones() -> None:
    with pytest.raises(UsageError, match=r"1\.37"):
        LocalProvider().resolve(request(kubernetes="1.12"))


def test_an_unknown_provider_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match='unknown cluster provider "locla"; did you mean "local"'):
        providers.provider("locla")


def test_variables_keep_the_contract(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    provider = _prepared(monkeypatch, tmp_path)

    disks = (DiskRequest(path="/mnt/data", size=2**20),)
    wanted = request(
        nodes=(
            NodeRequest(name="control-plane", role="control-plane"),
            NodeRequest(name="worker-1", role="worker", disks=disks),
        ),
        addons=("local-path", "load-balancer"),
        registries=(RegistryRequest(name="registry.example.com", username="ci", password="made-up"),),
    )

    variables = provider.variables(wanted, tmp_path / "cluster")

    check_variables(variables)
    assert variables["name"] == "a-1"
    assert variables["nodes"][1] == {
        "name": "worker-1",
        "role": "worker",
        "labels": {},
        "taints": [],
        "cpu": 0,
        "memory": 0,
        "subnet": "",
        "kubelet": "",
        "disks": [{"path": "/mnt/data", "size": 2**20}],
        "spare": False,
    }
    assert variables["settings"]["tools"]["kubernetes"] == str(tmp_path / "kubernetes")
    assert variables["settings"]["timeout"] == 180


def test_a_slow_machine_may_take_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    provider = _prepared(monkeypatch, tmp_path, settings={"timeout": "10m"})

    assert provider.variables(request(), tmp_path)["settings"]["timeout"] == 600


def test_variables_need_what_prepare_finds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prepare"):
        LocalProvider().variables(request(), tmp_path)


def test_what_the_machine_and_its_programs_lack_are_problems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KOALESCE_TERRAFORM", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    root, terraform = machine_problems()

    assert (
        root
        == "local clusters need root: their nodes are namespaces, mounts and network links (run koalesce with sudo)"
    )
    assert terraform.startswith("Terraform is missing: neither terraform nor tofu is on the PATH (install Terraform")


def _prepared(monkeypatch: pytest.MonkeyPatch, folder: Path, **fields: Any) -> LocalProvider:
    tools = LocalTools(
        **{name: folder / name for name in ("kubernetes", "etcd", "containerd", "cni", "runc", "probe")},
        system=(folder / "system",),
        images={"pause": "koalesce.dev/pause:1"},
    )
    monkeypatch.setattr(
        Toolchain, "local_cluster", lambda self, version, *, dns, static, addons, routers, resolver: tools
    )
    provider = LocalProvider()
    provider.prepare(request(**fields), progress=lambda line: None, cancel=None)
    return provider


@pytest.mark.parametrize(
    ("fields", "static"),
    [
        ({}, ()),
        ({"etcd": {"mode": "static"}}, ("etcd",)),
        ({"control_plane": "static"}, ("kube-apiserver", "kube-controller-manager", "kube-scheduler")),
    ],
)
def test_images_are_made_of_what_runs_as_static_pods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, Any], static: tuple[str, ...]
) -> None:
    asked: list[tuple[str, ...]] = []

    def local_cluster(
        self: Toolchain,
        version: str,
        *,
        dns: str,
        static: tuple[str, ...],
        addons: tuple[str, ...],
        routers: set[str],
        resolver: bool,
    ) -> LocalTools:
        asked.append(static)
        paths: dict[str, Any] = dict.fromkeys(LocalTools.__dataclass_fields__, tmp_path)
        return LocalTools(**{**paths, "system": (), "images": {}, "routers": {}})

    monkeypatch.setattr(Toolchain, "local_cluster", local_cluster)

    LocalProvider().prepare(request(**fields), progress=lambda line: None, cancel=None)

    assert asked == [static]
