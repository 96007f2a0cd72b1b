from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from koalesce import pki
from koalesce.local import nodeplan
from koalesce.local.cgroups import Hierarchy, Layout
from koalesce.local.nodeinit import InitConfig
from koalesce.local.request import from_mapping
from koalesce.local.resources import Share
from koalesce.pki import PkiRequest
from koalesce.toolchain import LocalTools

ALL = Share()
NODES = [{"name": "cp", "role": "control-plane"}, {"name": "w1", "role": "worker"}]
LAYOUT = Layout((Hierarchy(Path("/sys/fs/cgroup/pids"), 1, "pids"),))


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> LocalTools:
    root = tmp_path_factory.mktemp("tools")
    for path in (
        "kubernetes/kubelet",
        "kubernetes/kube",
        "etcd/etcd",
        "containerd/ctr",
        "containerd/ls",
        "runc",
        "probe",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / "system/etc/alternatives").mkdir(parents=True)
    (root / "system/etc/alternatives/pager").symlink_to("/usr/bin/less")
    (root / "system/etc/services").write_text("domain 53/udp\n")
    folders = {name: root / name for name in ("kubernetes", "etcd", "containerd", "cni", "runc", "probe")}
    return LocalTools(**folders, system=(root / "system",), images={"pause": "pause:1"})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    names = {"cp": ["198.18.0.10"], "w1": ["198.18.0.11"]}
    return pki.create(tmp_path_factory.mktemp("pki"), PkiRequest(nodes=names, api_names=["127.0.0.1"]))


def plan(
    tools: LocalTools,
    certificates: pki.Pki,
    node: int = 1,
    *,
    on_disk: bool = True,
    share: Share = ALL,
    **changes: Any,
) -> InitConfig:
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES}
    request = from_mapping({**basis, **changes})
    return nodeplan.plan(
        request, request.nodes[node], tools, certificates,
        folder=Path("/state/w1"), layout=LAYOUT, cgroups=[Path("/cg/w1")], on_disk=on_disk, share=share,
    )  # fmt: skip


def texts(config: InitConfig) -> dict[str, str]:
    return {file["path"]: file["text"] for file in config["root"]["files"]}


def test_only_var_and_the_plugins_can_be_written_to(tools: LocalTools, certificates: pki.Pki) -> None:
    root = plan(tools, certificates)["root"]

    assert [bind["source"] for bind in root["binds"] if bind["writable"]] == ["/state/w1/var"]
    assert [overlay["target"] for overlay in root["overlays"]] == ["/opt/cni/bin"]
    assert root["usr"] == [str(tools.system[0] / "usr"), "/usr"]


def test_tools_are_linked_by_name(tools: LocalTools, certificates: pki.Pki) -> None:
    links = plan(tools, certificates)["root"]["links"]

    assert {path: target for path, target in links.items() if path.startswith("/opt")} == {
        "/opt/koalesce/bin/kubelet": "../kubernetes/kubelet",
        "/opt/koalesce/bin/etcd": "../etcd/etcd",
        "/opt/koalesce/bin/ctr": "../containerd/ctr",
        "/opt/koalesce/bin/runc": "../runc",
        "/opt/koalesce/bin/koalesce-probe": "../koalesce-probe",
    }
    assert links["/etc/alternatives/pager"] == "/usr/bin/less"


def test_users_and_names_are_the_nodes_own(tools: LocalTools, certificates: pki.Pki) -> None:
    files = texts(plan(tools, certificates))

    assert [line.split(":")[0] for line in files["/etc/passwd"].splitlines()] == ["root", "nobody"]
    assert "/etc/shadow" not in files
    assert "198.18.0.10 cp\n198.18.0.11 w1\n" in files["/etc/hosts"]
    assert files["/etc/services"] == "domain 53/udp\n"
    assert files["/etc/resolv.conf"] == "nameserver 198.18.0.1\n"


def test_no_two_nodes_have_the_same_identity(tools: LocalTools, certificates: pki.Pki) -> None:
    first, second = plan(tools, certificates), plan(tools, certificates)

    assert texts(first)["/etc/machine-id"] != texts(second)["/etc/machine-id"]
    boot = "/proc/sys/kernel/random/boot_id"
    assert first["root"]["masks"][boot] != second["root"]["masks"][boot]


def test_a_node_sees_its_share_of_the_machine(tools: LocalTools, certificates: pki.Pki) -> None:
    whole, part = (
        plan(tools, certificates, share=share) for share in (Share(), Share(cpu=0.5, processors=(1,), memory=2**30))
    )

    assert not {"/proc/meminfo", "/sys/devices/system/cpu/online"} & set(whole["root"]["masks"])
    assert part["root"]["masks"]["/sys/devices/system/cpu/online"] == "1\n"
    assert part["root"]["masks"]["/proc/meminfo"].startswith("MemTotal:        1048576 kB\n")
    kubelet = {path: json.loads(text) for path, text in texts(part).items() if path == "/var/lib/kubelet/config.yaml"}
    assert kubelet["/var/lib/kubelet/config.yaml"]["systemReserved"] == {"cpu": "500m"}


def test_keys_of_the_control_plane_are_on_its_node_only(tools: LocalTools, certificates: pki.Pki) -> None:
    control, worker = texts(plan(tools, certificates, 0)), texts(plan(tools, certificates, 1))

    assert {"/etc/kubernetes/pki/ca.key", "/etc/kubernetes/admin.conf"} <= set(control)
    assert not [path for path in worker if path.endswith((".key", "admin.conf")) and "kubelet" not in path]


def test_what_can_not_be_on_the_disk_is_kept_in_memory(tools: LocalTools, certificates: pki.Pki) -> None:
    assert plan(tools, certificates)["root"]["tmpfs"] == {}
    assert plan(tools, certificates, 0)["root"]["tmpfs"] == {"/var/lib/etcd": 0}
    assert "/var/lib/containerd" in plan(tools, certificates, on_disk=False)["root"]["tmpfs"]


def test_disks_are_file_systems_of_their_size(tools: LocalTools, certificates: pki.Pki) -> None:
    disks = [{"path": "/mnt/data", "size": 4096}, {"path": "/var/lib/etcd", "size": 8192}]
    nodes = [{"name": "cp", "role": "control-plane", "disks": disks}]

    planned = plan(tools, certificates, 0, nodes=nodes)["root"]["tmpfs"]

    assert planned == {"/mnt/data": 4096, "/var/lib/etcd": 8192}


def test_a_control_plane_without_nodes_has_no_kubelet(tools: LocalTools, certificates: pki.Pki) -> None:
    files = texts(plan(tools, certificates, 0, nodes=[]))

    assert "/etc/kubernetes/admin.conf" in files
    assert not [path for path in files if path.startswith(("/var/lib/kubelet", "/etc/containerd", "/etc/cni"))]


def test_a_fixture_is_a_machine_with_nothing_of_a_cluster_on_it(tools: LocalTools, certificates: pki.Pki) -> None:
    request = from_mapping(
        {
            "name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES,
            "fixtures": [{"name": "client", "kind": "host"}],
        }
    )  # fmt: skip
    config = nodeplan.plan_fixture(
        request, request.fixtures[0], tools, certificates,
        folder=Path("/state/client"), layout=LAYOUT, cgroups=[Path("/cg/client")],
    )  # fmt: skip
    root, files = config["root"], texts(config)

    assert (config["hostname"], config["cgroups"]) == ("client", ["/cg/client"])
    assert root["binds"][:2] == [
        {"source": "/state/client/var", "target": "/var", "writable": True},
        {"source": str(tools.probe), "target": "/opt/koalesce/koalesce-probe", "writable": False},
    ]
    assert [path for path in root["links"] if path.startswith("/opt")] == ["/opt/koalesce/bin/koalesce-probe"]
    assert root["links"]["/etc/alternatives/pager"] == "/usr/bin/less"
    assert (root["overlays"], root["tmpfs"]) == ([], {})
    assert not [path for path in files if "kube" in path or "cni" in path or "containerd" in path]
    assert "198.18.0.11 w1\n198.18.1.10 client\n" in files["/etc/hosts"]
    assert files["/etc/resolv.conf"] == "nameserver 127.0.0.1\n"
    assert root["sysctls"]["net/ipv4/ip_forward"] == "0"


@pytest.mark.parametrize(
    ("program", "path", "said"),
    [
        (
            "gobgpd",
            "/etc/gobgpd.toml",
            ['neighbor-address = "198.18.0.11"', "as = 64513", 'auth-password = "p\\"w"', "restart-time = 60"],
        ),
        (
            "frr",
            "/etc/frr/bgpd.conf",
            ["router bgp 64513", " neighbor 198.18.0.11 remote-as 64512", ' neighbor 198.18.0.11 password p"w'],
        ),
        (
            "bird",
            "/etc/bird/bird.conf",
            [
                " local port 179 as 64513;",
                " neighbor 198.18.0.11 port 179 as 64512;",
                " graceful restart time 60;",
                " direct;",
            ],
        ),
    ],
)
def test_a_router_has_its_program_and_its_configuration_to_itself(
    tools: LocalTools, certificates: pki.Pki, program: str, path: str, said: list[str]
) -> None:
    peers = [{"machine": "w1", "asn": 64512, "password": 'p"w'}]
    settings = {"program": program, "asn": 64513, "graceful_restart": 60, "peers": peers}
    fixtures = [{"name": "r1", "kind": "router", "router": json.dumps(settings)}]
    request = from_mapping(
        {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES, "fixtures": fixtures}
    )
    with_router = replace(tools, routers={program: "/cache/router"})

    config = nodeplan.plan_fixture(
        request,
        request.fixtures[0],
        with_router,
        certificates,
        folder=Path("/state/r1"),
        layout=LAYOUT,
        cgroups=[Path("/cg/r1")],
    )

    root = config["root"]
    assert root["usr"] == ["/cache/router/usr", str(tools.system[0] / "usr"), "/usr"]
    assert root["sysctls"]["net/ipv4/ip_forward"] == "1"
    assert [line for line in said if line not in texts(config)[path].splitlines()] == []
    assert next(file["mode"] for file in root["files"] if file["path"] == path) == 0o600
    assert plan(with_router, certificates, fixtures=fixtures)["root"]["usr"] == [str(tools.system[0] / "usr"), "/usr"]


def test_a_resolver_has_its_zones_and_is_whom_nodes_and_hosts_ask(tools: LocalTools, certificates: pki.Pki) -> None:
    resolver = json.dumps({"zones": {"example.org": ["www A 203.0.113.7"]}, "ttl": 60})
    fixtures = [{"name": "c1", "kind": "host"}, {"name": "d1", "kind": "resolver", "resolver": resolver}]
    request = from_mapping(
        {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES, "fixtures": fixtures}
    )
    with_coredns = replace(tools, resolver=Path("/cache/coredns/coredns"))

    host, server = (
        nodeplan.plan_fixture(
            request, fixture, with_coredns, certificates, folder=Path("/state/x"), layout=LAYOUT, cgroups=[]
        )
        for fixture in request.fixtures
    )

    files = texts(server)
    assert "    file /etc/coredns/example.org.zone example.org\n" in files["/etc/coredns/Corefile"]
    assert files["/etc/coredns/example.org.zone"].splitlines()[:2] == ["$ORIGIN example.org.", "$TTL 60"]
    assert files["/etc/coredns/example.org.zone"].splitlines()[-1] == "www A 203.0.113.7"
    assert {bind["target"]: bind["source"] for bind in server["root"]["binds"]}[
        "/opt/koalesce/coredns"
    ] == "/cache/coredns/coredns"
    asked = [texts(each)["/etc/resolv.conf"] for each in (server, host, plan(tools, certificates, fixtures=fixtures))]
    assert asked == ["nameserver 127.0.0.1\n", "nameserver 198.18.1.11\n", "nameserver 198.18.1.11\n"]
    assert "/etc/coredns/Corefile" not in texts(host)


def test_nodes_know_nothing_of_fixtures(tools: LocalTools, certificates: pki.Pki) -> None:
    files = texts(plan(tools, certificates, fixtures=[{"name": "client", "kind": "host"}]))

    assert "client" not in files["/etc/hosts"]
