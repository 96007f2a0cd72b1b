"""Flags and files of the parts of a cluster."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from koalesce import pki
from koalesce.local import addons, control_plane, kubelet, network
from koalesce.local.outputs import control_machines, outputs
from koalesce.local.request import LocalRequest, from_mapping
from koalesce.pki import Pki, PkiRequest
from koalesce.terraform.contract import check_outputs

NODES = [
    {"name": "cp", "role": "control-plane"},
    {
        "name": "w1",
        "role": "worker",
        "labels": {"zone": "a", "node-role.kubernetes.io/edge": ""},
        "taints": [{"key": "only", "value": "me", "effect": "NoSchedule"}],
    },
]


def request(**changes: Any) -> LocalRequest:
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES}
    return from_mapping({**basis, **changes})


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    names = {node.name: [node.address] for node in request().nodes}
    return pki.create(tmp_path_factory.mktemp("pki"), PkiRequest(nodes=names, api_names=request().api_names))


def flags(wanted: LocalRequest, component: str) -> dict[str, str]:
    argv = control_plane.services(wanted, wanted.control)[component].argv
    return dict(word.removeprefix("--").split("=", 1) for word in argv[1:])


def test_arguments_of_the_request_win_under_either_name_of_a_component() -> None:
    wanted = request(
        component_args={"apiserver": {"v": "4"}, "kube-apiserver": {"allow-privileged": "false"}, "etcd": {"name": "x"}}
    )

    assert (flags(wanted, "kube-apiserver")["v"], flags(wanted, "kube-apiserver")["allow-privileged"]) == ("4", "false")
    assert flags(wanted, "etcd")["name"] == "x"
    assert "v" not in flags(wanted, "kube-scheduler")


def test_feature_gates_reach_every_component(certificates: Pki) -> None:
    wanted = request(feature_gates={"B": False, "A": True}, runtime_config={"api/alpha": "true"})

    for component in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert flags(wanted, component)["feature-gates"] == "A=true,B=false"
    assert flags(wanted, "kube-apiserver")["runtime-config"] == "api/alpha=true"
    files = kubelet.files(wanted, wanted.control, certificates, sandbox="pause:1", cgroup_version=2, reserved={})
    (text,) = [file["text"] for file in files if file["path"] == "/var/lib/kubelet/config.yaml"]
    assert json.loads(text)["featureGates"] == {"B": False, "A": True}
    assert "--feature-gates=A=true,B=false" in kubelet.services(wanted, wanted.control)["kube-proxy"].argv


def test_flags_of_kube_proxy_win_and_no_file_makes_it_ignore_them() -> None:
    wanted = request(
        kube_proxy="nftables",
        component_args={"kube-proxy": {"masquerade-all": "true", "iptables-min-sync-period": "5s"}},
    )

    argv = kubelet.services(wanted, wanted.control)["kube-proxy"].argv

    assert {"--proxy-mode=nftables", "--masquerade-all=true", "--iptables-min-sync-period=5s"} <= set(argv)
    assert not [word for word in argv if word.startswith("--config")]


def test_the_api_server_has_files_of_its_own_where_they_are_asked_for(certificates: Pki) -> None:
    wanted = request(audit_policy="kind: Policy", admission_configuration="kind: AdmissionConfiguration")
    api = flags(wanted, "kube-apiserver")
    texts = {file["path"]: file["text"] for file in control_plane.files(wanted, wanted.control, certificates)}

    assert texts[api["audit-policy-file"]] == "kind: Policy"
    assert texts[api["admission-control-config-file"]] == "kind: AdmissionConfiguration"
    control, worker = outputs(wanted, Path("/state"), port=1, pid=42, capabilities=[])["nodes"]
    assert control["logs"]["audit"] == ["cat", api["audit-log-path"]]
    assert "audit" not in worker["logs"]


def test_an_api_server_without_such_files_is_told_of_none(certificates: Pki) -> None:
    api = flags(request(), "kube-apiserver")
    paths = {file["path"] for file in control_plane.files(request(), request().control, certificates)}

    assert not {"audit-policy-file", "audit-log-path", "admission-control-config-file"} & set(api)
    assert not {"/etc/kubernetes/audit-policy.yaml", "/etc/kubernetes/admission.yaml"} & paths


@pytest.mark.parametrize("component", ["kube-controller-manager", "kube-scheduler"])
def test_controllers_are_given_what_they_serve_with(certificates: Pki, component: str) -> None:
    given = flags(request(), component)
    texts = {file["path"]: file["text"] for file in control_plane.files(request(), request().control, certificates)}

    assert texts[given["tls-cert-file"]] == certificates.text("controllers-server.crt")
    assert texts[given["tls-private-key-file"]] == certificates.text("controllers-server.key")


def test_authorization_is_as_upstream() -> None:
    api = flags(request(), "kube-apiserver")

    assert (api["authorization-mode"], api["enable-admission-plugins"]) == ("Node,RBAC", "NodeRestriction")
    assert api["client-ca-file"] != api["requestheader-client-ca-file"]


def test_cgroup_v1_is_allowed_only_where_it_is(certificates: Pki) -> None:
    def configuration(version: int) -> dict[str, Any]:
        wanted = request()
        files = kubelet.files(
            wanted, wanted.control, certificates, sandbox="pause:1", cgroup_version=version, reserved={}
        )
        (text,) = [file["text"] for file in files if file["path"] == "/var/lib/kubelet/config.yaml"]
        found: dict[str, Any] = json.loads(text)
        return found

    assert configuration(1)["failCgroupV1"] is False
    assert "failCgroupV1" not in configuration(2)


def test_settings_of_a_kubelet_are_laid_over_ours(certificates: Pki) -> None:
    settings = json.dumps({"maxPods": 5, "evictionHard": {"memory.available": "100Mi"}})
    wanted = request(nodes=[{**NODES[0], "kubelet": settings}, NODES[1]])

    def configuration(node: int) -> dict[str, Any]:
        files = kubelet.files(wanted, wanted.nodes[node], certificates, sandbox="p:1", cgroup_version=2, reserved={})
        found: dict[str, Any] = json.loads(
            next(file["text"] for file in files if file["path"] == "/var/lib/kubelet/config.yaml")
        )
        return found

    assert (configuration(0)["maxPods"], configuration(0)["cgroupDriver"]) == (5, "cgroupfs")
    assert configuration(0)["evictionHard"] == {"memory.available": "100Mi", **configuration(1)["evictionHard"]}
    assert "maxPods" not in configuration(1)


@pytest.mark.parametrize(
    ("disks", "kept"),
    [
        ({"/mnt/data": 1000}, {}),
        ({"/var/lib/kubelet": 1000}, {"nodefs.available": "100"}),
        ({"/var/lib/kubelet": 1000, "/var/lib/containerd": 2000}, {"nodefs.available": "100", "imagefs.available": "300"}),
    ],
)  # fmt: skip
def test_kubelets_keep_room_on_disks_of_their_own_alone(
    certificates: Pki, disks: dict[str, int], kept: dict[str, str]
) -> None:
    own = [{"path": path, "size": size} for path, size in disks.items()]
    wanted = request(nodes=[NODES[0], {**NODES[1], "disks": own}])
    files = kubelet.files(wanted, wanted.nodes[1], certificates, sandbox="p:1", cgroup_version=2, reserved={})
    found = json.loads(next(file["text"] for file in files if file["path"] == "/var/lib/kubelet/config.yaml"))

    nothing = {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"}
    assert found["evictionHard"] == {**nothing, **kept}
    assert found.get("evictionPressureTransitionPeriod") == ("5s" if kept else None)


def test_keys_are_for_root_only(certificates: Pki) -> None:
    wanted = request()
    files = [
        *control_plane.files(wanted, wanted.control, certificates),
        *kubelet.files(wanted, wanted.control, certificates, sandbox="pause:1", cgroup_version=2, reserved={}),
    ]

    secret = [file for file in files if "PRIVATE KEY" in file["text"] or "client-key-data" in file["text"]]
    assert len(secret) >= 10
    assert {file["mode"] for file in secret} == {0o600}


def test_a_worker_has_no_key_but_its_own(certificates: Pki) -> None:
    wanted = request()

    files = kubelet.files(wanted, wanted.nodes[1], certificates, sandbox="pause:1", cgroup_version=2, reserved={})

    keys = [file["path"] for file in files if "PRIVATE KEY" in file["text"]]
    assert keys == ["/etc/kubernetes/pki/kubelet.key"]


def test_a_node_is_known_before_its_kubelet_registers() -> None:
    key, value = kubelet.stored_node(request().nodes[1])
    node = json.loads(base64.b64decode(value))

    assert key == "/registry/minions/w1"
    assert node["metadata"]["labels"] == {
        "kubernetes.io/hostname": "w1", "zone": "a", "node-role.kubernetes.io/edge": "",
    }  # fmt: skip
    assert node["spec"]["podCIDR"] == "10.244.1.0/24"
    assert node["spec"]["taints"] == [
        {"key": "only", "value": "me", "effect": "NoSchedule"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
    ]
    _, control = kubelet.stored_node(request().control)
    assert json.loads(base64.b64decode(control))["metadata"]["labels"]["node-role.kubernetes.io/control-plane"] == ""


def test_a_kubelet_asks_for_no_label_that_it_may_not_have() -> None:
    wanted = request()

    argv = kubelet.services(wanted, wanted.nodes[1])["kubelet"].argv

    assert "--node-labels=zone=a" in argv
    assert "--register-with-taints=only=me:NoSchedule" in argv


def test_without_kube_proxy_there_is_none(certificates: Pki) -> None:
    wanted = request(kube_proxy="none")

    assert list(kubelet.services(wanted, wanted.control)) == ["containerd", "kubelet"]
    files = kubelet.files(wanted, wanted.control, certificates, sandbox="pause:1", cgroup_version=2, reserved={})
    assert not [file["path"] for file in files if "proxy" in file["path"]]


def test_the_built_in_network_routes_between_nodes_and_other_networks_start_bare() -> None:
    bridge, bare = request(), request(network="none")

    assert network.uplink(bridge, bridge.nodes[0])[-1] == "route add 10.244.1.0/24 via 198.18.0.11"
    assert "10.244" not in "".join(network.uplink(bare, bare.nodes[0]))
    assert network.cni_files(bare, bare.nodes[0]) == []
    (file,) = network.cni_files(bridge, bridge.nodes[1])
    plugin = json.loads(file["text"])["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert plugin["ipMasq"] is False


def test_only_what_leaves_the_cluster_is_masqueraded() -> None:
    ((command, rules),) = network.masquerading(request())
    lines = rules.splitlines()

    assert command == ["iptables-restore", "--noflush", "--wait"]
    returns = [line.split()[3] for line in lines if line.endswith("RETURN")]
    assert returns == ["10.244.0.0/16", "198.18.0.0/15", "224.0.0.0/4"]
    assert lines.index("-A KOALESCE-MASQUERADE -j MASQUERADE") > lines.index(
        "-A KOALESCE-MASQUERADE -d 224.0.0.0/4 -j RETURN"
    )


def test_coredns_gets_its_image_and_address() -> None:
    objects = {document["kind"]: (path, document) for path, document in addons.coredns("dns:1", "10.96.0.10")}

    assert objects["Service"][1]["spec"]["clusterIP"] == "10.96.0.10"
    assert objects["Deployment"][0] == "/apis/apps/v1/namespaces/kube-system/deployments"
    (container,) = objects["Deployment"][1]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dns:1"
    assert len(objects) == 6


def test_the_pod_of_coredns_is_as_its_controllers_would_make_it() -> None:
    documents = {document["kind"]: document for _, document in addons.coredns("dns:1", "10.96.0.10")}
    deployment = {**documents["Deployment"], "metadata": {**documents["Deployment"]["metadata"], "uid": "d1"}}

    place, replica_set = addons.replica_set(deployment)
    _, pod = addons.pod({**replica_set, "metadata": {**replica_set["metadata"], "uid": "r1"}}, "control")

    assert place == "/apis/apps/v1/namespaces/kube-system/replicasets"
    labels = pod["metadata"]["labels"]
    assert labels == replica_set["spec"]["selector"]["matchLabels"]
    assert set(labels) == {"k8s-app", "pod-template-hash"}
    assert [owner["uid"] for each in (replica_set, pod) for owner in each["metadata"]["ownerReferences"]] == [
        "d1",
        "r1",
    ]
    assert pod["spec"] == {**deployment["spec"]["template"]["spec"], "nodeName": "control"}


@pytest.mark.parametrize("nodes", [NODES, []])
def test_outputs_keep_the_contract(nodes: list[dict[str, Any]]) -> None:
    values = outputs(request(nodes=nodes), Path("/state"), port=16443, pid=42, capabilities=["b", "a"])

    check_outputs({**values, "cleanup": {"argv": ["koalesce"]}})
    assert values["capabilities"] == ["a", "b"]
    assert len(values["nodes"]) == len(nodes)


def test_a_control_plane_without_nodes_has_a_machine_with_logs() -> None:
    (machine,) = control_machines(request(nodes=[]), Path("/state"))

    assert set(machine["logs"]) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "init"}
    assert control_machines(request(nodes=NODES), Path("/state")) == []


def test_logs_are_those_of_what_runs_on_a_node() -> None:
    control, worker = outputs(request(), Path("/state"), port=1, pid=42, capabilities=[])["nodes"]

    assert set(worker["logs"]) == {"containerd", "kubelet", "kube-proxy", "init"}
    components = {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert set(control["logs"]) == {*worker["logs"], *components}
    assert worker["logs"]["kubelet"] == ["cat", "/var/log/koalesce/kubelet.log"]
