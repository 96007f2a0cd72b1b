"""What routers among the fixtures ask a provider for."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.cluster_request import FixtureRequest, NodeRequest
from koalesce.spec.machines import Fixture, fixture_requests

NODES = (NodeRequest(name="cp", role="control-plane"), NodeRequest(name="w1", role="worker"))


def requests(**fixtures: dict[str, Any]) -> tuple[FixtureRequest, ...]:
    return fixture_requests({name: Fixture.model_validate(each) for name, each in fixtures.items()}, NODES)


def test_what_is_said_is_asked_for_and_nothing_else() -> None:
    host, router = requests(c1={"host": {}}, r1={"router": "gobgpd", "asn": 64513})

    assert host == FixtureRequest(name="c1")
    assert router == FixtureRequest(name="r1", kind="router", router={"program": "gobgpd", "asn": 64513, "peers": []})


def test_a_resolver_takes_records_in_one_form() -> None:
    zones = {"Example.ORG.": ["www a  203.0.113.7", "@ 300 MX 10 mail", 'x TXT "a b" c'], "x": ["* AAAA ::1"]}
    (resolver,) = requests(d1={"resolver": {"zones": zones, "ttl": "1m"}, "subnet": "198.19.1.0/24"})

    known = {"example.org": ["www A 203.0.113.7", "@ 300 MX 10 mail", 'x TXT "a b" c'], "x": ["* AAAA ::1"]}
    assert resolver == FixtureRequest(
        name="d1", kind="resolver", subnet="198.19.1.0/24", resolver={"zones": known, "ttl": 60}
    )


@pytest.mark.parametrize(
    ("nodes", "names"), [("all", ["cp", "w1"]), ("workers", ["w1"]), ("controlPlane", ["cp"]), (["w1"], ["w1"])]
)
def test_nodes_are_a_peer_each(nodes: Any, names: list[str]) -> None:
    (router,) = requests(r1={"router": "frr", "asn": 1, "peers": [{"nodes": nodes, "asn": 64512, "password": "x"}]})

    assert router.router["peers"] == [{"machine": name, "asn": 64512, "password": "x", "port": 179} for name in names]


def test_a_router_says_its_own_number_unless_the_peer_thinks_of_another() -> None:
    first, second = requests(
        r1={"router": "frr", "asn": 1, "holdTime": "30s", "gracefulRestart": "2m", "peers": [{"fixture": "r2"}]},
        r2={"router": "gobgpd", "asn": 2, "peers": [{"fixture": "r1", "asn": 7, "port": 1790}]},
    )

    assert first.router["peers"] == [{"machine": "r2", "asn": 2, "port": 179}]
    assert (first.router["hold_time"], first.router["graceful_restart"]) == (30, 120)
    assert second.router["peers"] == [{"machine": "r1", "asn": 7, "port": 1790}]
