"""Addresses of Services of type LoadBalancer: who gets which, where they lead, and what the router is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from koalesce.addresses import Family
from koalesce.errors import ProvisionError
from koalesce.kube import Kube, View
from koalesce.local import balancer, netns, network
from koalesce.local.balancer import Balancer, Router, Routes
from koalesce.local.controlling import Events
from koalesce.local.request import from_mapping
from tests.fakes import FakeKube, FakeView, api_error

BOTH = ("198.18.0.10", "198.18.0.11")


class World:
    """A cluster of two nodes with addresses of both families, and the routes that its router was given last."""

    def __init__(self, *families: Family) -> None:
        self.kube = FakeKube()
        self.kube.add(node("w1", "198.18.0.10", "fd4b:6f61:6c65::10"), node("w2", "198.18.0.11", "fd4b:6f61:6c65::11"))
        self.routes: dict[str, tuple[str, ...]] = {}
        kube = cast("Kube", self.kube)
        self.balancer = Balancer(kube, families or ("IPv4",), self._lead, Events(kube))

    def _lead(self, routes: Routes) -> None:
        self.routes = dict(routes)

    def look(self) -> None:
        self.balancer.look(cast("View", FakeView(self.kube)))

    def ingress(self, name: str) -> Any:
        found = self.kube.get(self.kube.resource("services"), name, "test")
        assert found is not None
        return found.get("status", {}).get("loadBalancer", {}).get("ingress")

    def addresses(self, name: str) -> list[str]:
        return [entry["ip"] for entry in self.ingress(name) or ()]

    def warnings(self) -> list[str]:
        return [event["message"] for event in self.kube.list(self.kube.resource("events"))]


@pytest.fixture
def world() -> World:
    return World()


def node(name: str, *addresses: str, ready: str = "True", labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in addresses),
                {"type": "Hostname", "address": name},
            ],
        },
    }


def service(name: str, created: int = 0, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "test", "creationTimestamp": f"2026-01-01T00:00:0{created}Z"},
        "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], **spec},
    }


def endpoints(name: str, *nodes: tuple[str, bool]) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-x", "namespace": "test", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": [{"nodeName": node, "conditions": {"ready": ready}} for node, ready in nodes],
    }


def test_a_service_gets_an_address_that_leads_to_all_nodes(world: World) -> None:
    world.kube.add(service("web"))

    world.look()

    assert world.ingress("web") == [{"ip": "198.19.128.1", "ipMode": "VIP"}]
    assert world.routes == {"198.19.128.1": BOTH}
    assert world.kube.requests[0][1]["subresource"] == "status"


def test_it_keeps_its_address_and_others_get_others(world: World) -> None:
    world.kube.add(service("first", 1), service("second", 2))
    world.look()
    world.kube.remove("services", "first", "test")
    world.look()

    assert (world.addresses("second"), set(world.routes)) == (["198.19.128.2"], {"198.19.128.2"})
    requests = len(world.kube.requests)
    world.look()
    assert len(world.kube.requests) == requests

    world.kube.add(service("third", 3))
    world.look()
    assert world.addresses("third") == ["198.19.128.1"]


@pytest.mark.parametrize(
    "other",
    [service("a", type="ClusterIP"), service("a", type="NodePort"), service("a", loadBalancerClass="example.com/x")],
)
def test_services_of_others_get_none(world: World, other: dict[str, Any]) -> None:
    world.kube.add(other)

    world.look()

    assert (world.ingress("a"), world.routes) == (None, {})


def test_each_family_has_an_address_in_the_order_of_the_service() -> None:
    world = World("IPv4", "IPv6")
    world.kube.add(service("web", ipFamilies=["IPv6", "IPv4"]), service("six", 1, ipFamilies=["IPv6"]))

    world.look()

    assert world.addresses("web") == ["fd4b:6f61:6c65:1::1", "198.19.128.1"]
    assert world.addresses("six") == ["fd4b:6f61:6c65:1::2"]
    assert world.routes["fd4b:6f61:6c65:1::1"] == ("fd4b:6f61:6c65::10", "fd4b:6f61:6c65::11")
    assert world.routes["198.19.128.1"] == BOTH


def test_a_service_that_wants_an_address_gets_it(world: World) -> None:
    world.kube.add(service("a"), service("b", 1, loadBalancerIP="198.19.130.7"))

    world.look()

    assert world.addresses("b") == ["198.19.130.7"]
    assert world.warnings() == []


@pytest.mark.parametrize(
    ("wanted", "why"),
    [("10.0.0.1", "10.0.0.1 is not of 198.19.128.0/17"), ("198.19.128.1", "198.19.128.1 is another Service's")],
)
def test_an_address_that_is_not_to_be_had_is_told_once(world: World, wanted: str, why: str) -> None:
    world.kube.add(service("a"), service("b", 1, loadBalancerIP=wanted))
    world.look()
    world.look()

    (warning,) = world.warnings()
    assert why in warning
    assert (world.ingress("b"), set(world.routes)) == (None, {"198.19.128.1"})


def test_two_that_tell_of_the_same_address_do_not_both_keep_it(world: World) -> None:
    same = {"status": {"loadBalancer": {"ingress": [{"ip": "198.19.128.9", "ipMode": "VIP"}]}}}
    world.kube.add({**service("old", 1), **same}, {**service("new", 2), **same})

    world.look()

    assert (world.addresses("old"), world.addresses("new")) == (["198.19.128.9"], ["198.19.128.1"])


def test_what_stays_local_leads_to_nodes_with_pods_of_it(world: World) -> None:
    world.kube.add(
        service("web", externalTrafficPolicy="Local"), endpoints("web", ("w1", False), ("w2", True)), endpoints("b", ("w1", True))
    )  # fmt: skip
    world.look()
    assert world.routes == {"198.19.128.1": ("198.18.0.11",)}

    world.kube.add(endpoints("web"))
    world.look()
    assert world.routes == {"198.19.128.1": ()}


@pytest.mark.parametrize(
    "other",
    [
        node("w2", "198.18.0.11", ready="Unknown"),
        node("w2", "198.18.0.11", labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""}),
    ],
)
def test_nodes_that_take_nothing_are_left_out(world: World, other: dict[str, Any]) -> None:
    world.kube.add(service("web"), other)

    world.look()

    assert world.routes == {"198.19.128.1": ("198.18.0.10",)}


def test_a_service_that_has_gone_meanwhile_is_no_error(world: World) -> None:
    world.kube.add(service("web"))
    world.kube.fail("patch", api_error(404, "gone", reason="NotFound"))

    world.look()


def test_the_router_is_told_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(netns, "ip", lambda *lines: told.extend(lines))
    router = Router()

    router.lead({"198.19.128.1": BOTH, "198.19.128.2": ()})
    router.lead({"198.19.128.1": BOTH, "198.19.128.2": ()})
    router.lead({"198.19.128.1": BOTH[:1]})
    router.lead({"198.19.128.1": ()})

    assert told == [
        "route replace 198.19.128.1 nexthop via 198.18.0.10 nexthop via 198.18.0.11",
        "route replace 198.19.128.1 nexthop via 198.18.0.10",
        "route del 198.19.128.1",
    ]


def test_a_kernel_without_several_ways_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def ip(line: str) -> None:
        if "nexthop" in line:
            raise ProvisionError("Error: Operation not supported.")
        told.append(line)

    monkeypatch.setattr(netns, "ip", ip)
    Router().lead({"198.19.128.1": BOTH})

    assert told == ["route replace 198.19.128.1 via 198.18.0.10"]


def test_what_leads_nowhere_does_not_leave_the_cluster() -> None:
    assert balancer.unassigned(["IPv4", "IPv6"]) == [
        "route add unreachable 198.19.128.0/17",
        "route add unreachable fd4b:6f61:6c65:1::/64",
    ]


def test_what_the_watch_has_not_told_yet_is_known(world: World) -> None:
    world.kube.add(service("old", 1), service("new", 2))
    world.look()
    world.kube.remove("services", "old", "test")
    world.look()
    world.kube.add({**service("new", 2), "status": {}})  # as it was before it was told its address

    world.look()

    assert world.addresses("new") == ["198.19.128.2"]


@pytest.mark.parametrize(
    ("addons", "routes"), [([], []), (["load-balancer"], ["route add 198.19.128.0/17 via 198.18.0.1"])]
)
def test_fixtures_send_what_is_balanced_to_the_router(addons: list[str], routes: list[str]) -> None:
    fixtures = [{"name": "c1", "kind": "host"}]
    request = from_mapping(
        {"name": "c", "kubernetes_version": "1.37.2", "fixtures": fixtures, "addons": addons, "state_dir": "/s"}
    )

    found = network.fixture_uplink(request, request.fixtures[0])

    assert [line for line in found if line.startswith("route")] == routes
