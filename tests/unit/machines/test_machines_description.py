"""What is put on a machine that becomes a node."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from koalesce import pki
from koalesce.local.node import Service
from koalesce.machines import layout, request
from koalesce.machines.delivery import write_archive
from koalesce.machines.description import Description, describe, release, unit
from koalesce.machines.request import MachinesRequest
from koalesce.pki import Pki, PkiRequest
from koalesce.toolchain import LocalTools

STATIC = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


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
        runc=root / "runc", probe=root / "probe", images={role: f"registry.k8s.io/{role}:1" for role in ("pause", *STATIC)},
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


def test_static_pods_lie_beside_the_kubelets_folder_of_them_until_they_are_released(
    tools: LocalTools, certificates: Pki
) -> None:
    found = described("cp", tools, certificates, control_plane="static", etcd={"mode": "static"})

    pods = {file["path"]: json.loads(file["text"]) for file in found.files if "/manifests/" in file["path"]}
    assert list(pods) == [f"/etc/kubernetes/manifests/.{name}.yaml" for name in STATIC]
    assert [pod["spec"]["containers"][0]["image"] for pod in pods.values()] == [
        f"registry.k8s.io/{name}:1" for name in STATIC
    ]
    assert found.services == ("network", "containerd", "kubelet", "kube-proxy")
    assert not any("etcd" in path for path in (*found.programs, *found.links))
    assert release("etcd") == "mv /etc/kubernetes/manifests/.etcd.yaml /etc/kubernetes/manifests/etcd.yaml"


def test_components_on_machines_that_are_slow_may_be_silent_for_longer(tools: LocalTools, certificates: Pki) -> None:
    asked = wanted(control_plane="static", etcd={"mode": "static"})

    def failures(slowness: float) -> list[tuple[int, ...]]:
        slow = dataclasses.replace(asked, slowness=slowness)
        found = describe(slow, slow.node("cp"), tools, certificates, cgroup_version=2, resolver="/run/resolv.conf")
        pods = [json.loads(file["text"]) for file in found.files if "/manifests/" in file["path"]]
        containers = [pod["spec"]["containers"][0] for pod in pods]
        names = ("startupProbe", "livenessProbe", "readinessProbe")
        return [tuple(each[name]["failureThreshold"] for name in names) for each in containers]

    assert failures(1.0) == [(250, 8, 3)] * len(STATIC)
    assert failures(20.0) == [(5000, 160, 3)] * len(STATIC)


def test_etcd_is_reached_at_its_machines_address_with_a_client_certificate(
    tools: LocalTools, certificates: Pki
) -> None:
    text = _text(described("cp", tools, certificates), "/etc/systemd/system/koalesce-etcd.service")

    assert '"--listen-client-urls=https://127.0.0.1:2379,https://192.0.2.10:2379"' in text
    assert '"--client-cert-auth=true"' in text
    assert '"--listen-peer-urls=https://127.0.0.1:2380"' in text


def test_an_etcd_that_is_there_gets_a_part_of_its_own_and_nothing_of_ours_is_made(
    tools: LocalTools, certificates: Pki, tmp_path: Path
) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"the {name}")
    files = {name: str(tmp_path / name) for name in ("ca", "cert", "key")}
    etcd = {"mode": "external", "endpoints": ["https://e1:2379", "https://e2:2379"], **files}

    found = described("cp", tools, certificates, etcd=etcd)
    unit_text = _text(found, "/etc/systemd/system/koalesce-kube-apiserver.service")
    (prefix,) = re.findall(r'"--etcd-prefix=(/koalesce/c1-[0-9a-f]{16})"', unit_text)
    (removal,) = [file for file in found.files if file["path"] == "/opt/koalesce/datastore.json"]
    (target, _) = json.loads(removal["text"])["sources"][0]["targets"]
    keys = {name: base64.b64decode(value).decode() for name, value in json.loads(target["http"]["body"]).items()}

    assert "etcd" not in found.services
    assert '"--etcd-servers=https://e1:2379,https://e2:2379"' in unit_text
    assert _text(found, "/etc/kubernetes/pki/etcd/ca.crt") == "the ca"
    assert _text(found, "/etc/kubernetes/pki/apiserver-etcd-client.key") == "the key"
    assert removal["mode"] == 0o600
    assert target["http"]["url"] == "https://e1:2379/v3/kv/deleterange"
    assert keys == {"key": f"{prefix}/", "range_end": f"{prefix}0"}
    assert target["http"]["tls"] == {name: f"the {name}" for name in ("ca", "cert", "key")}


def test_an_etcd_without_tls_is_asked_without_certificates(tools: LocalTools, certificates: Pki) -> None:
    etcd = {"mode": "external", "endpoints": ["http://e1:2379"]}

    text = _text(described("cp", tools, certificates, etcd=etcd), "/etc/systemd/system/koalesce-kube-apiserver.service")

    assert "--etcd-cafile" not in text


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


def test_a_machine_that_boots_gets_its_routes_once_it_has_its_address(
    tools: LocalTools, certificates: Pki, tmp_path: Path
) -> None:
    first, wait, *others = _text(described("w", tools, certificates), "/opt/koalesce/network.sh").splitlines()
    (tmp_path / "ip").write_text('#!/bin/sh\ncat "$LINKS"; echo "$@" >>"$LINKS.asked"\n')
    (tmp_path / "sleep").write_text('#!/bin/sh\necho "2: eth0    inet 192.0.2.11/24 scope global eth0" >>"$LINKS"\n')
    for program in ("ip", "sleep"):
        (tmp_path / program).chmod(0o755)
    links = tmp_path / "links"
    links.write_text("2: eth0    inet 192.0.2.110/24 scope global eth0\n3: eth1    inet 1.192.0.2.11/24\n")
    around = {"PATH": f"{tmp_path}:/usr/bin:/bin", "LINKS": str(links)}

    subprocess.run(["sh", "-c", f"{first}\n{wait}"], env=around, check=True, timeout=60)

    assert first == "set -e"
    assert (tmp_path / "links.asked").read_text().splitlines() == ["-o addr show up"] * 2
    assert any(line.startswith("ip route") for line in others)


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
