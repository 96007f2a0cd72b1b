"""What is put on a machine that becomes a node."""

from __future__ import annotations

import io
import json
import tarfile
from typing import Any

import pytest

from koalesce import pki
from koalesce.local.node import Service
from koalesce.machines import layout, request
from koalesce.machines.delivery import write_archive
from koalesce.machines.description import Description, describe, unit
from koalesce.machines.request import MachinesRequest
from koalesce.pki import Pki, PkiRequest
from koalesce.toolchain import LocalTools


def wanted(**changes: Any) -> MachinesRequest:
    data = {
        "name": "c1",
        "kubernetes_version": "1.37.2",
        "state_dir": "/state",
        "nodes": [
            {"name": "cp", "role": "control-plane"},
            {"name": "w", "role": "worker", "kubelet": '{"maxPods": 7}'},
        ],
        "settings": {"known_hosts": "/known", "machines": [{"host": "192.0.2.10"}, {"host": "192.0.2.11"}]},
        **changes,
    }
    return request.parse(json.dumps(data))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    names = {node.name: node.addresses for node in wanted().cluster.nodes}
    return pki.create(tmp_path_factory.mktemp("pki"), PkiRequest(nodes=names, api_names=wanted().cluster.api_names))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> LocalTools:
    root = tmp_path_factory.mktemp("tools")
    for path in (
        "kubernetes/kube",
        "etcd/etcd",
        "etcd/etcdctl",
        "containerd/containerd",
        "containerd/ctr",
        "cni/bridge",
        "runc",
        "probe",
    ):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(path)
    (root / "kubernetes/kubelet").symlink_to("kube")
    return LocalTools(
        kubernetes=root / "kubernetes", etcd=root / "etcd", containerd=root / "containerd", cni=root / "cni", system=(),
        runc=root / "runc", probe=root / "probe", images={"pause": "registry.k8s.io/pause:3.10"},
    )  # fmt: skip


def described(name: str, tools: LocalTools, certificates: Pki, **changes: Any) -> Description:
    asked = wanted(**changes)
    return describe(asked, asked.node(name), tools, certificates, cgroup_version=2, resolver="/run/resolv.conf")


def test_a_worker_has_no_part_of_the_control_plane_and_none_of_its_keys(tools: LocalTools, certificates: Pki) -> None:
    found = described("w", tools, certificates)

    assert found.services == ("network", "containerd", "kubelet", "kube-proxy")
    assert [file["path"] for file in found.files if file["path"].endswith(".key")] == [
        "/etc/kubernetes/pki/kubelet.key"
    ]
    assert not any("etcd" in path for path in (*found.programs, *found.links))


def test_a_control_plane_has_its_parts_and_a_kubelet(tools: LocalTools, certificates: Pki) -> None:
    found = described("cp", tools, certificates)

    assert found.services == (
        "network", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "containerd", "kubelet", "kube-proxy",
    )  # fmt: skip
    assert "/opt/koalesce/etcd" in found.programs


@pytest.mark.parametrize("name", ["cp", "w"])
def test_everything_lies_where_it_is_removed_from(name: str, tools: LocalTools, certificates: Pki) -> None:
    found = described(name, tools, certificates)

    for path in (*(file["path"] for file in found.files), *found.links, *found.programs):
        is_unit = path.startswith(f"{layout.UNITS}/{layout.UNIT_PREFIX}")
        assert is_unit or any(path == place or path.startswith(f"{place}/") for place in layout.PLACES), path


@pytest.mark.parametrize("name", ["cp", "w"])
def test_keys_are_for_root_alone(name: str, tools: LocalTools, certificates: Pki) -> None:
    for file in described(name, tools, certificates).files:
        if "PRIVATE KEY" in file["text"] or "client-key-data" in file["text"]:
            assert file["mode"] == 0o600, file["path"]


def test_a_kubelet_has_the_resolver_of_its_machine_unless_its_spec_says_another(
    tools: LocalTools, certificates: Pki
) -> None:
    nodes = [
        {"name": "cp", "role": "control-plane", "kubelet": '{"resolvConf": "/mine"}'},
        {"name": "w", "role": "worker"},
    ]
    found = [_kubelet(described(name, tools, certificates, nodes=nodes))["resolvConf"] for name in ("cp", "w")]

    assert found == ["/mine", "/run/resolv.conf"]


def _kubelet(description: Description) -> Any:
    return json.loads(_text(description, "/var/lib/kubelet/config.yaml"))


def _text(description: Description, path: str) -> str:
    return next(file["text"] for file in description.files if file["path"] == path)


def test_machines_have_routes_to_the_pods_of_others_and_hide_pods_from_what_is_outside_alone(
    tools: LocalTools, certificates: Pki
) -> None:
    script = _text(described("w", tools, certificates), "/opt/koalesce/network.sh")

    assert [line for line in script.splitlines() if line.startswith("ip route")] == [
        "ip route replace 10.244.0.0/24 via 192.0.2.10"
    ]
    for network in ("10.244.0.0/16", "192.0.2.10", "192.0.2.11"):
        assert f"-A KOALESCE-MASQUERADE -d {network} -j RETURN\n" in script


def test_machines_of_a_cloud_reach_the_pods_of_others_by_a_tunnel(tools: LocalTools, certificates: Pki) -> None:
    settings = {"known_hosts": "/known", "machines": [{"host": "192.0.2.10"}, {"host": "192.0.2.11"}], "overlay": True}
    found = described("w", tools, certificates, settings=settings)
    script = _text(found, "/opt/koalesce/network.sh")

    assert "ip link add koalesce type vxlan id 5737 local 192.0.2.11 dstport 4789\n" in script
    assert "bridge fdb append 00:00:00:00:00:00 dev koalesce dst 192.0.2.10\n" in script
    assert [line for line in script.splitlines() if line.startswith(("ip route", "ip addr"))] == [
        "ip addr replace 10.244.1.0/32 dev koalesce",
        "ip route replace 10.244.0.0/24 via 192.0.2.10 dev koalesce onlink",
    ]
    assert "-A KOALESCE-MASQUERADE -d 192.0.2.10 -j RETURN" not in script
    network = json.loads(_text(found, "/etc/cni/net.d/10-koalesce.conflist"))
    assert network["plugins"][0]["mtu"] == 1400


def test_where_a_component_is_the_network_there_are_no_routes_and_no_configuration_of_it(
    tools: LocalTools, certificates: Pki
) -> None:
    found = described("w", tools, certificates, network="none")

    assert "ip route" not in _text(found, "/opt/koalesce/network.sh")
    assert not any(file["path"].startswith("/etc/cni") for file in found.files)


def test_images_are_pulled_from_where_they_say(tools: LocalTools, certificates: Pki) -> None:
    assert not any("hosts.toml" in file["path"] for file in described("w", tools, certificates).files)


def test_a_unit_runs_its_service_with_every_word_as_it_is() -> None:
    text = unit("c1", Service(name="kubelet", argv=["/bin/x", "--a=b c", '--d="e"', "--f=$G%h\\"]))

    assert 'ExecStart="/bin/x" "--a=b c" "--d=\\"e\\"" "--f=$$G%%h\\\\"\n' in text
    assert "Restart=always\n" in text
    assert "KillMode=process\n" in text
    assert "StandardOutput=append:/var/log/koalesce/kubelet.log\n" in text


def test_a_service_that_only_sets_something_is_not_started_again() -> None:
    text = unit("c1", Service(name="network", argv=["/bin/x"], restart=False))

    assert "Type=oneshot\n" in text
    assert "Restart=" not in text
    assert "After=network-online.target\n" in text


def test_programs_keep_links_beside_each_other(tools: LocalTools, certificates: Pki) -> None:
    stream = io.BytesIO()
    write_archive(stream, described("w", tools, certificates))
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        members = {member.name: member for member in archive}

    assert members["opt/koalesce/kubernetes/kubelet"].linkname == "kube"
    assert members["opt/koalesce/bin/kubelet"].linkname == "../kubernetes/kubelet"
    assert members["opt/koalesce/runc"].mode == 0o755
    assert members["etc/kubernetes/pki/kubelet.key"].mode == 0o600
    assert members["opt/cni/bin/bridge"].size == len("cni/bridge")
