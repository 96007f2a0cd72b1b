"""What the local provider makes of a request, and what it says of a machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from koalesce import providers
from koalesce.cluster import ClusterRequest, NodeRequest
from koalesce.errors import ProvisionError, UsageError
from koalesce.local import machine as local_machine
from koalesce.providers import local
from koalesce.providers.local import LocalProvider, machine_problems
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
        ({"control_plane": "static"}, 'the local provider has no controlPlane "static"; it has process'),
        ({"etcd": {"mode": "external"}}, 'the local provider has no etcd.mode "external"; it has process'),
        ({"ip_families": ("IPv6",)}, 'the local provider has no ipFamilies "IPv6"; it has IPv4'),
        ({"settings": {"size": 1}}, 'the local provider has no providers.local "size"'),
    ],
)
def test_what_no_local_cluster_can_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LocalProvider().resolve(request(**fields))

    assert caught.value.message == message


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

    variables = provider.variables(request(), tmp_path / "cluster")

    check_variables(variables)
    assert variables["name"] == "a-1"
    assert variables["nodes"][1] == {"name": "worker-1", "role": "worker", "labels": {}, "taints": []}
    assert variables["settings"]["tools"]["kubernetes"] == str(tmp_path / "kubernetes")


def test_variables_need_what_prepare_finds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prepare"):
        LocalProvider().variables(request(), tmp_path)


def test_a_machine_that_has_all_has_no_problems(machine: Path) -> None:
    assert machine_problems(machine) == []


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("proc/self/status", "CapEff:\t0000000000000000\n", "root lacks CAP_NET_ADMIN, CAP_SYS_CHROOT"),
        ("proc/self/ns/net", None, "the kernel has no namespaces of kind net"),
        ("proc/filesystems", "nodev\tsysfs\n", "the kernel has no overlay file system"),
    ],
)
def test_what_a_machine_lacks_is_named(machine: Path, path: str, text: str | None, problem: str) -> None:
    (machine / path).unlink()
    if text is not None:
        (machine / path).write_text(text)

    problems = machine_problems(machine)

    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_what_the_makers_of_nodes_miss_is_told_with_what_to_do(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: Path) -> None:
        raise ProvisionError("the cgroup controllers pids are missing on this machine", hint="enable them")

    monkeypatch.setattr(local_machine, "check", check)

    assert machine_problems(machine) == ["the cgroup controllers pids are missing on this machine (enable them)"]


def test_an_overlay_module_that_can_be_loaded_will_do(machine: Path) -> None:
    (machine / "proc/filesystems").write_text("nodev\tsysfs\n")
    modules = machine / "lib/modules" / os.uname().release
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("kernel/fs/overlayfs/overlay.ko.xz:\n")

    assert machine_problems(machine) == []


def test_without_root_nothing_else_is_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert machine_problems(machine) == [
        "local clusters need root (they make namespaces, mounts and network links); run koalesce with sudo"
    ]


def test_another_system_is_told_to_use_another_provider(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.platform, "system", lambda: "Darwin")

    assert machine_problems(machine) == ["local clusters need Linux; use another cluster provider on this machine"]


def test_a_missing_terraform_is_a_problem_too(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine))

    (problem,) = machine_problems(machine)
    assert problem.startswith("Terraform is missing: neither terraform nor tofu is on the PATH (install Terraform")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's files, with all that local clusters need."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "terraform").write_text("#!/bin/sh\n")
    (tmp_path / "terraform").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KOALESCE_TERRAFORM", raising=False)
    monkeypatch.setattr(local_machine, "check", lambda folder: None)
    (tmp_path / "root/proc/self/ns").mkdir(parents=True)
    for path, text in {
        "proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\n",
        "proc/filesystems": "nodev\tsysfs\nnodev\toverlay\n",
        **{f"proc/self/ns/{kind}": "" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "uts")},
    }.items():
        (tmp_path / "root" / path).write_text(text)
    return tmp_path / "root"


def _prepared(monkeypatch: pytest.MonkeyPatch, folder: Path) -> LocalProvider:
    tools = LocalTools(
        **{name: folder / name for name in ("kubernetes", "etcd", "containerd", "cni", "runc", "probe")},
        system=(folder / "system",),
        images={"pause": "koalesce.dev/pause:1"},
    )
    monkeypatch.setattr(Toolchain, "local_cluster", lambda self, version, *, dns: tools)
    provider = LocalProvider()
    provider.prepare(request(), progress=lambda line: None, cancel=None)
    return provider
