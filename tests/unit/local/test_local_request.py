from __future__ import annotations

import json
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.local.request import LocalRequest, parse

BASIS = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state"}
NODES = [{"name": "w1", "role": "worker"}, {"name": "cp", "role": "control-plane", "labels": {"zone": "a"}}]


def read(**changes: Any) -> LocalRequest:
    return parse(json.dumps({**BASIS, "nodes": NODES, **changes}))


def router(name: str, **settings: Any) -> dict[str, Any]:
    """A router among the fixtures."""
    return {"name": name, "kind": "router", "router": json.dumps({"program": "gobgpd", "asn": 64513, **settings})}


def test_the_control_plane_comes_first_and_each_node_has_addresses_of_its_own() -> None:
    request = read()

    assert [(node.name, node.address, *node.pod_cidrs) for node in request.nodes] == [
        ("cp", "198.18.0.10", "10.244.0.0/24"),
        ("w1", "198.18.0.11", "10.244.1.0/24"),
    ]
    assert request.control.labels == {"zone": "a"}
    assert request.api_url == "https://198.18.0.10:6443"


def test_services_begin_with_the_api_and_the_tenth_is_dns() -> None:
    request = read(service_cidr="10.32.0.0/24")

    assert (request.api_service_ip, request.dns_ip) == ("10.32.0.1", "10.32.0.10")
    assert "10.32.0.1" in request.api_names


def test_without_nodes_there_is_a_machine_for_the_control_plane_alone() -> None:
    request = read(nodes=[])

    assert not request.schedulable
    assert [node.name for node in request.nodes] == ["control-plane"]


def test_routers_know_their_peers_by_address_and_have_an_identifier() -> None:
    peers = [
        {"machine": "w1", "asn": 64512, "password": "x"},
        {"machine": "r2", "asn": 64514},
        {"address": "10.0.0.1", "asn": 1},
    ]
    request = read(fixtures=[router("r1", peers=peers), router("r2", program="frr", router_id="1.2.3.4", hold_time=30)])

    first, second = (fixture.router for fixture in request.fixtures)

    assert first is not None
    assert second is not None
    assert [(peer.address, peer.asn, peer.password) for peer in first.peers] == [
        ("198.18.0.11", 64512, "x"),
        ("198.18.1.11", 64514, ""),
        ("10.0.0.1", 1, ""),
    ]
    assert (first.router_id, first.port, first.hold_time, first.graceful_restart) == ("198.18.1.10", 179, 90, 0)
    assert (second.router_id, second.hold_time) == ("1.2.3.4", 30)
    assert request.routers == {"gobgpd", "frr"}


def test_machines_of_a_subnet_have_its_addresses_after_the_routers() -> None:
    far = "198.19.1.0/24"
    request = read(
        nodes=[{"name": "cp", "role": "control-plane"}, {"name": "w1", "subnet": far}, {"name": "w2", "subnet": far}],
        fixtures=[{"name": "c1", "kind": "host"}, {"name": "c2", "kind": "host", "subnet": far}],
    )

    assert [machine.address for machine in request.nodes] == ["198.18.0.10", "198.19.1.2", "198.19.1.3"]
    assert [machine.address for machine in request.fixtures] == ["198.18.1.10", "198.19.1.4"]
    assert request.subnets == (far,)


def test_fixtures_have_addresses_apart_from_the_nodes() -> None:
    request = read(fixtures=[{"name": "c1", "kind": "host"}, {"name": "c2", "kind": "host"}])

    assert [(fixture.name, fixture.kind, fixture.address) for fixture in request.fixtures] == [
        ("c1", "host", "198.18.1.10"),
        ("c2", "host", "198.18.1.11"),
    ]
    assert [node.name for node in request.nodes] == ["cp", "w1"]


def test_settings_of_the_provider() -> None:
    request = read(settings={"port": 16443, "timeout": 5, "tools": {"runc": "/runc"}, "image_store": "/images"})

    assert (request.port, request.timeout, request.tools) == (16443, 5.0, {"runc": "/runc"})
    assert str(request.image_store) == "/images"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Nope"}, "'Nope' is no name"),
        ({"name": "../x"}, "is no name"),
        ({"nodes": [{"name": "a/b", "role": "control-plane"}]}, "'a/b' is no name"),
        ({"nodes": [NODES[0]]}, "no node is of role control-plane"),
        ({"nodes": [NODES[1], NODES[1]]}, "two nodes have the same name"),
        ({"fixtures": [{"name": "w1", "kind": "host"}]}, "two fixtures, or a fixture and a node, have the same name"),
        (
            {"fixtures": [{"name": "c1", "kind": "host"}] * 2},
            "two fixtures, or a fixture and a node, have the same name",
        ),
        ({"fixtures": [{"name": "c1", "kind": "registry"}]}, "fixture 'registry' is none of host, router, resolver"),
        ({"fixtures": [{"name": "c1", "kind": "resolver"}]}, "zones is missing"),
        ({"fixtures": [{"name": "r1", "kind": "router"}]}, "program is missing"),
        ({"fixtures": [router("r1", program="bgpd")]}, "'bgpd' makes no router: there are bird, frr, gobgpd"),
        ({"fixtures": [router("r1", peers=[{"machine": "w9", "asn": 1}])]}, "there is no machine w9 to be a peer"),
        ({"fixtures": [{"name": f"c{n}", "kind": "host"} for n in range(101)]}, "more than the 100"),
        ({"nodes": [], "fixtures": [{"name": "control-plane", "kind": "host"}]}, "have the same name"),
        (
            {"fixtures": [{"name": "c1", "kind": "host", "subnet": "10.0.0.0/24"}]},
            "10.0.0.0/24 is not of 198.19.0.0/18",
        ),
        (
            {"fixtures": [{"name": f"c{n}", "kind": "host", "subnet": "198.19.0.0/30"} for n in range(2)]},
            "198.19.0.0/30 has no addresses for more than 1 machines",
        ),
        (
            {"fixtures": [{"name": f"c{n}", "kind": "host", "subnet": f"198.19.0.0/{n}"} for n in (24, 25)]},
            "the subnets 198.19.0.0/24 and 198.19.0.0/25 overlap",
        ),
        (
            {"fixtures": [{"name": "c1", "kind": "host", "subnet": "198.19.0.0/24"}], "ip_families": ["IPv4", "IPv6"]},
            "subnets are of IPv4",
        ),
        ({"pod_cidr": "10.96.0.0/12"}, "10.96.0.0/12 and 10.96.0.0/16 overlap"),
        ({"pod_cidr": "198.18.0.0/16"}, "198.18.0.0/16 and 198.18.0.0/15 overlap"),
        ({"pod_cidr": "10.244.0.0/24"}, "has no /24 for each of 2 nodes"),
        ({"pod_cidr": "pods"}, "pods"),
        ({"kube_proxy": "magic"}, "kube_proxy 'magic' is none of iptables, nftables, ipvs, none"),
        ({"egress": "all"}, "egress 'all' is none of none, host"),
        ({"kubernetes_version": None, "nodes": 3}, "isn't valid"),
    ],
)
def test_bad_requests_say_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(**changes)

    assert message in caught.value.message


def test_a_missing_field_is_named() -> None:
    with pytest.raises(UsageError, match="state_dir is missing"):
        parse(json.dumps({"name": "c1", "kubernetes_version": "1.37.2"}))


def test_no_json_is_an_error() -> None:
    with pytest.raises(UsageError, match="isn't valid"):
        parse("{")
