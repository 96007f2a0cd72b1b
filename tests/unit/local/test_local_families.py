"""Clusters of IPv6, alone and beside IPv4: what each part is told."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any

import pytest

from koalesce import pki
from koalesce.errors import UsageError
from koalesce.local import addons, control_plane, kubelet, network
from koalesce.local.netns import NetNamespace
from koalesce.local.outputs import outputs
from koalesce.local.request import LocalRequest, from_mapping, parse
from koalesce.pki import Pki, PkiRequest

NODES = [{"name": "cp", "role": "control-plane"}, {"name": "w1", "role": "worker"}]


def request(*families: str, **changes: Any) -> LocalRequest:
    basis = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "nodes": NODES}
    return parse(json.dumps({**basis, "ip_families": families, **changes}))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    wanted = request("IPv4", "IPv6")
    names = {node.name: node.addresses for node in wanted.nodes}
    return pki.create(tmp_path_factory.mktemp("pki"), PkiRequest(nodes=names, api_names=wanted.api_names))


def flags(wanted: LocalRequest, component: str) -> dict[str, str]:
    argv = control_plane.services(wanted, wanted.control)[component].argv
    return dict(word.removeprefix("--").split("=", 1) for word in argv[1:])


def configuration(wanted: LocalRequest, certificates: Pki, path: str) -> dict[str, Any]:
    files = kubelet.files(wanted, wanted.control, certificates, sandbox="pause:1", cgroup_version=2, reserved={})
    (text,) = [file["text"] for file in files if file["path"] == path]
    found: dict[str, Any] = json.loads(text)
    return found


def test_nodes_and_fixtures_have_an_address_of_each_family_the_primary_one_first() -> None:
    wanted = request("IPv6", "IPv4", fixtures=[{"name": "f1", "kind": "host"}])

    assert [(node.addresses, node.pod_cidrs) for node in wanted.nodes] == [
        (("fd4b:6f61:6c65::10", "198.18.0.10"), ("fd00:10:244::/64", "10.244.0.0/24")),
        (("fd4b:6f61:6c65::11", "198.18.0.11"), ("fd00:10:244:1::/64", "10.244.1.0/24")),
    ]
    assert wanted.fixtures[0].addresses == ("fd4b:6f61:6c65::1:10", "198.18.1.10")
    assert (wanted.dns_ip, wanted.api_service_ip) == ("fd00:10:96::a", "fd00:10:96::1")
    assert (wanted.api_url, wanted.mirror_url) == (
        "https://[fd4b:6f61:6c65::10]:6443",
        "http://[fd4b:6f61:6c65::1]:5000",
    )


def test_a_range_of_one_family_leaves_the_other_its_default() -> None:
    wanted = request("IPv4", "IPv6", pod_cidr="fd01::/56", service_cidr="10.5.0.0/16")

    assert (wanted.pod_cidrs, wanted.service_cidrs) == (
        ("10.244.0.0/16", "fd01::/56"),
        ("10.5.0.0/16", "fd00:10:96::/112"),
    )


@pytest.mark.parametrize(
    ("families", "changes", "message"),
    [
        (["IPv4", "IPv4"], {}, "each is one of IPv4, IPv6, and there only once"),
        (["IPv5"], {}, "each is one of IPv4, IPv6, and there only once"),
        (["IPv4"], {"pod_cidr": "fd01::/56"}, "pod_cidr: fd01::/56 is not of IPv4"),
        (["IPv6"], {"service_cidr": "10.0.0.0/16"}, "service_cidr: 10.0.0.0/16 is not of IPv6"),
        (["IPv6"], {"pod_cidr": "fd01::/64"}, "has no /64 for each of 2 nodes"),
        (["IPv6"], {"pod_cidr": "fd4b:6f61:6c65::/56"}, "fd4b:6f61:6c65::/56 and fd4b:6f61:6c65::/48 overlap"),
        (["IPv4", "IPv6"], {"service_cidr": "fd00:10:244::/112"}, "fd00:10:244::/56 and fd00:10:244::/112 overlap"),
        (["IPv6"], {"service_cidr": "fd01::/126"}, "has less than 16 addresses"),
    ],
)
def test_what_can_not_be(families: list[str], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        request(*families, **changes)

    assert message in caught.value.message


def test_the_parts_of_the_control_plane_know_both_families() -> None:
    wanted = request("IPv4", "IPv6")
    api, controllers = flags(wanted, "kube-apiserver"), flags(wanted, "kube-controller-manager")

    assert api["service-cluster-ip-range"] == "10.96.0.0/16,fd00:10:96::/112"
    assert api["advertise-address"] == "198.18.0.10"
    assert controllers["cluster-cidr"] == "10.244.0.0/16,fd00:10:244::/56"
    assert (controllers["node-cidr-mask-size-ipv4"], controllers["node-cidr-mask-size-ipv6"]) == ("24", "64")
    assert "node-cidr-mask-size" not in controllers  # which clusters of both families may not have
    assert {"::1", "127.0.0.1", "198.18.0.10", "fd4b:6f61:6c65::10"} <= set(wanted.api_names)


def test_a_cluster_of_one_family_has_the_one_flag_that_people_set() -> None:
    assert flags(request("IPv6"), "kube-controller-manager")["node-cidr-mask-size"] == "64"
    assert flags(request("IPv4"), "kube-controller-manager")["node-cidr-mask-size"] == "24"


def test_kubelet_and_proxy_know_both_families(certificates: Pki) -> None:
    wanted = request("IPv4", "IPv6")

    assert "--node-ip=198.18.0.10,fd4b:6f61:6c65::10" in kubelet.services(wanted, wanted.control)["kubelet"].argv
    assert (
        "--cluster-cidr=10.244.0.0/16,fd00:10:244::/56" in kubelet.services(wanted, wanted.control)["kube-proxy"].argv
    )
    assert "address" not in configuration(wanted, certificates, "/var/lib/kubelet/config.yaml")
    assert configuration(request("IPv6"), certificates, "/var/lib/kubelet/config.yaml")["address"] == "::"


def test_the_node_that_is_there_from_the_start_has_both_families() -> None:
    _, value = kubelet.stored_node(request("IPv6", "IPv4").nodes[1])
    node = json.loads(base64.b64decode(value))

    assert node["spec"]["podCIDR"] == "fd00:10:244:1::/64"
    assert node["spec"]["podCIDRs"] == ["fd00:10:244:1::/64", "10.244.1.0/24"]
    assert [entry["address"] for entry in node["status"]["addresses"]] == ["fd4b:6f61:6c65::11", "198.18.0.11", "w1"]


def test_nodes_are_joined_by_both_families() -> None:
    wanted = request("IPv4", "IPv6")

    assert network.uplink(wanted, wanted.nodes[0]) == [
        "link set lo up",
        "addr add 198.18.0.10/16 dev eth0",
        "addr add fd4b:6f61:6c65::10/64 dev eth0 nodad",
        "link set eth0 up",
        "route add default via 198.18.0.1",
        "route add default via fd4b:6f61:6c65::1",
        "route add 10.244.1.0/24 via 198.18.0.11",
        "route add fd00:10:244:1::/64 via fd4b:6f61:6c65::11",
    ]
    assert "addr add fd4b:6f61:6c65::1/64 dev fabric nodad" in network.fabric(wanted.families)
    assert network.fabric_sysctls(wanted.families)["net/ipv6/conf/all/forwarding"] == "1"
    assert not [line for line in network.fabric(["IPv4"]) if "fd4b" in line]


def test_pods_get_an_address_of_each_family(certificates: Pki) -> None:
    wanted = request("IPv6", "IPv4")
    (file,) = network.cni_files(wanted, wanted.control)
    ipam = json.loads(file["text"])["plugins"][0]["ipam"]

    assert ipam["ranges"] == [[{"subnet": "fd00:10:244::/64"}], [{"subnet": "10.244.0.0/24"}]]
    assert ipam["routes"] == [{"dst": "::/0"}, {"dst": "0.0.0.0/0"}]


def test_what_leaves_is_masqueraded_in_each_family() -> None:
    (first, _), (second, rules) = network.masquerading(request("IPv4", "IPv6"))

    assert (first[0], second[0]) == ("iptables-restore", "ip6tables-restore")
    returns = [line.split()[3] for line in rules.splitlines() if line.endswith("RETURN")]
    assert returns == ["fd00:10:244::/56", "fd4b:6f61:6c65::/48", "ff00::/8"]


@pytest.mark.parametrize(
    ("families", "command", "rule"),
    [
        (["IPv4"], "iptables-restore", "-s 10.244.0.0/16 -d 10.96.0.1 -p tcp --dport 443 -j DNAT --to-destination 198.18.0.10:6443"),
        (["IPv6", "IPv4"], "ip6tables-restore", "-s fd00:10:244::/56 -d fd00:10:96::1 -p tcp --dport 443 -j DNAT --to-destination [fd4b:6f61:6c65::10]:6443"),
    ],
)  # fmt: skip
def test_the_first_way_to_the_api_server_is_closed_as_it_was_opened(
    families: list[Any], command: str, rule: str
) -> None:
    opened, closed = (network.first_way(request(*families), opened=each) for each in (True, False))

    assert opened[0] == closed[0] == [command, "--noflush", "--wait"]
    assert opened[1] == f"*nat\n-I PREROUTING {rule}\nCOMMIT\n"
    assert closed[1] == f"*nat\n-D PREROUTING {rule}\nCOMMIT\n"


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_the_service_of_the_api_server_is_there_before_anybody_asks_for_its_address(family: Any) -> None:
    wanted = request(family)

    given = addons.stored_api_service(wanted.api_service_ip, wanted.control.address)

    found = {key: json.loads(base64.b64decode(value)) for key, value in given.items()}
    service = found["/registry/services/specs/default/kubernetes"]
    assert service["spec"]["clusterIPs"] == [wanted.api_service_ip]
    assert service["spec"]["ipFamilies"] == [family]
    address = found[f"/registry/ipaddresses/{wanted.api_service_ip}"]
    assert address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == family
    assert address["spec"]["parentRef"] == {
        "group": "", "resource": "services", "name": "kubernetes", "namespace": "default",
    }  # fmt: skip
    endpoints = found["/registry/endpointslices/default/kubernetes"]
    assert (endpoints["addressType"], endpoints["endpoints"][0]["addresses"]) == (family, [wanted.control.address])
    assert len({each["metadata"]["uid"] for each in found.values()}) == 3


def test_outputs_tell_all_addresses(tmp_path: Any) -> None:
    wanted = request("IPv4", "IPv6", fixtures=[{"name": "f1", "kind": "host"}])
    values = outputs(wanted, tmp_path, port=1, pid=42, capabilities=[])

    node, fixture = values["nodes"][1], values["fixtures"][0]
    assert (node["address"], node["addresses"]) == ("198.18.0.11", ["198.18.0.11", "fd4b:6f61:6c65::11"])
    assert (node["pod_cidr"], node["pod_cidrs"]) == ("10.244.1.0/24", ["10.244.1.0/24", "fd00:10:244:1::/64"])
    assert fixture["addresses"] == ["198.18.1.10", "fd4b:6f61:6c65::1:10"]


@pytest.mark.parametrize(("address", "kind"), [("127.0.0.1", 1), ("::1", 28)])
def test_dns_is_asked_for_an_address_of_its_own_family(
    address: str, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    asked: list[int] = []

    class Asking(socket.socket):
        def sendto(self, data: bytes, *where: Any) -> int:
            asked.append(int.from_bytes(data[-4:-2], "big"))
            return len(data)

        def recv(self, size: int, flags: int = 0) -> bytes:
            assert self.family == family
            return bytes.fromhex("4b4f8180000100010000000000000000")

    monkeypatch.setattr(addons.socket, "socket", Asking)
    here = NetNamespace.of_process("self")

    assert addons.answers(here, address)
    assert asked == [kind]
    here.close()


def test_a_router_joins_subnets_and_knows_where_their_pods_are() -> None:
    wanted = from_mapping(
        {
            "name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state",
            "nodes": [{"name": "cp", "role": "control-plane"}, {"name": "far", "subnet": "198.19.1.0/24"}],
            "fixtures": [{"name": "c1", "kind": "host"}, {"name": "c2", "kind": "host", "subnet": "198.19.1.0/24"}],
        }
    )  # fmt: skip

    assert network.subnets(wanted) == [
        "link add fabric1 type bridge forward_delay 0",
        "addr add 198.19.1.1/24 dev fabric1",
        "link set fabric1 up",
        "route add 10.244.0.0/24 via 198.18.0.10",
        "route add 10.244.1.0/24 via 198.19.1.2",
    ]
    assert network.uplink(wanted, wanted.nodes[1]) == [
        "link set lo up",
        "addr add 198.19.1.2/24 dev eth0",
        "link set eth0 up",
        "route add default via 198.19.1.1",
    ]
    assert network.fixture_uplink(wanted, wanted.fixtures[0])[-1] == "route add 198.19.1.0/24 via 198.18.0.1"
    assert network.fixture_uplink(wanted, wanted.fixtures[1])[-1] == "route add 198.18.0.0/16 via 198.19.1.1"
    assert (network.bridge_of("198.19.1.0/24", wanted), network.bridge_of("", wanted)) == ("fabric1", "fabric")
