"""Connectivity: payloads of a size, who answers behind an address, and targets on several ports, protocols and families."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.connectivity import Connectivity
from tests.fakes import NAMESPACE, FakeCluster, FakeNode, FakeWire, context, made, running_pod

CLIENT = {"pod": "client-0"}
WEB = {"service": "web"}


class Answering(FakeWire):
    """A wire on which servers take turns to say their names."""

    names: Iterator[str]

    def _result(self, container: str, target: dict[str, Any]) -> dict[str, Any]:
        result = super()._result(container, target)
        if "payload" not in target:
            return result
        name = next(self.names)
        reply = name if target["type"] != "tcp" else f"HTTP/1.0 200 OK\r\nDate: today\r\n\r\n{name}"
        return {"reply": reply, **result}


@pytest.fixture
def wire() -> Answering:
    wire = Answering()
    wire.names = cycle(["web-0", "web-1"])
    return wire


@pytest.fixture
def cluster(wire: Answering) -> FakeCluster:
    web = running_pod("web-0", address="10.244.1.9", app="web")
    web["spec"]["containers"][0]["ports"][0]["hostPort"] = 8888
    web["status"]["podIPs"].append({"ip": "fd00:1::9"})
    cluster = FakeCluster(
        running_pod("client-0", address="10.244.1.2", app="client"),
        web,
        running_pod("web-1", address="10.244.1.8", app="web"),
        nodes=[FakeNode("worker-1", address="198.18.0.3", answer=wire)],
    )
    ports = [
        {"name": "http", "port": 80},
        {"name": "udp", "port": 80, "protocol": "UDP"},
        {"name": "sctp", "port": 9, "protocol": "SCTP"},
    ]
    spec = {"clusterIP": "10.96.7.7", "clusterIPs": ["10.96.7.7"], "externalIPs": ["192.0.2.9"], "ports": ports}
    given = {"loadBalancer": {"ingress": [{"ip": "192.0.2.10"}, {"hostname": "example.com"}]}}
    cluster.add(made("Service", "web", spec=spec, status=given))
    cluster.add(made("Service", "inner", spec={**spec, "externalIPs": []}))
    cluster.add(
        made(
            "EndpointSlice", "web-abc", api="discovery.k8s.io/v1", namespace=NAMESPACE,
            labels={"kubernetes.io/service-name": "web"},
            endpoints=[
                {"targetRef": {"kind": "Pod", "name": "web-0"}, "conditions": {"ready": True}},
                {"targetRef": {"kind": "Pod", "name": "web-1"}},
                {"targetRef": {"kind": "Pod", "name": "web-9"}, "conditions": {"ready": False}},
            ],
        )
    )  # fmt: skip
    cluster.add(
        made(
            "Service", "kubernetes", namespace="default",
            spec={"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"port": 443}]},
        )
    )  # fmt: skip
    return cluster


def attempt(cluster: FakeCluster, **fields: Any) -> Outcome:
    return Connectivity.model_validate({"from": CLIENT, **fields}).attempt(context(cluster))


def test_a_packet_of_a_size_is_sent_whole(cluster: FakeCluster, wire: Answering) -> None:
    to = {"pod": "web-0", "port": 8080, "protocol": "UDP"}

    assert isinstance(attempt(cluster, to=to, payload={"size": 1500, "df": True}), Passed)

    target = wire.targets[0]
    assert (target["type"], target["size"], target["whole"]) == ("udp", 1500, True)
    assert "payload" not in target


def test_a_packet_that_is_too_long_is_rejected_with_the_mtu_and_not_dropped(
    cluster: FakeCluster, wire: Answering
) -> None:
    reason = "too long: ICMP fragmentation needed from 10.0.0.1, which passes on 1400 bytes"
    wire.rules["id-client-0", "10.244.1.9:8080"] = {"outcome": "rejected", "reason": reason, "mtu": 1400}
    fields = {"to": {"pod": "web-0", "port": 8080, "protocol": "UDP"}, "payload": {"size": 1401, "df": True}}

    rejected = attempt(cluster, **fields, expect="rejected")
    dropped = attempt(cluster, **fields, expect="dropped")

    assert isinstance(rejected, Passed)
    assert rejected.value["pairs"][0]["mtu"] == 1400
    assert isinstance(dropped, Failed)
    assert reason in dropped.message
    assert "-bytes 1401 -whole udp 10.244.1.9:8080" in dropped.detail


def test_bulk_that_the_server_does_not_take_is_no_way_through(cluster: FakeCluster, wire: Answering) -> None:
    said = "the server answered 404 Not Found to 100000 bytes (POST /echo)"
    wire.rules["id-client-0", "10.244.1.9:8080"] = {"outcome": "allowed", "failure": said}

    outcome = attempt(cluster, to={"pod": "web-0", "port": 8080}, payload={"size": 100_000})

    assert isinstance(outcome, Failed)
    assert said in outcome.message


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_each_ready_pod_must_answer(cluster: FakeCluster, wire: Answering, protocol: str) -> None:
    to = {**WEB, "protocol": protocol}

    both = attempt(cluster, to=to, distribution={}, samples=10)
    wire.names = cycle(["web-0"])
    one = attempt(cluster, to=to, distribution={}, samples=10)
    wire.names = cycle(["web-0", "web-1", "web-9"])
    strange = attempt(cluster, to=to, distribution={}, samples=9)

    assert isinstance(both, Passed), both
    assert isinstance(one, Failed)
    assert "answers of web-0 10; none of web-1" in one.message
    assert isinstance(strange, Failed)
    assert "web-9 is no ready pod of the Service" in strange.message


@pytest.mark.parametrize(
    ("distribution", "problem"),
    [
        ({"min": "25%"}, ""),
        ({"min": 0.25, "max": 0.75}, ""),
        ({"min": "26%"}, "answers of web-0 3, web-1 1; expected at least 26% of web-1"),
        ({"max": 0.7}, "answers of web-0 3, web-1 1; expected at most 70% of web-0"),
        ({"backends": 2}, ""),
        ({"backends": 3}, "answers of web-0 3, web-1 1; expected 3 different ones"),
        ({"backends": 1}, "answers of web-0 3, web-1 1; expected 1 different ones"),
    ],
)
def test_shares_of_answers(cluster: FakeCluster, wire: Answering, distribution: dict[str, Any], problem: str) -> None:
    wire.names = cycle(["web-0", "web-0", "web-0", "web-1"])

    outcome = attempt(cluster, to=WEB, distribution=distribution, samples=4)

    if problem:
        assert isinstance(outcome, Failed)
        assert problem in outcome.message
    else:
        assert isinstance(outcome, Passed), outcome


def test_a_client_stays_with_one_server(cluster: FakeCluster, wire: Answering) -> None:
    moving = attempt(cluster, to=WEB, sticky=True)
    wire.names = cycle(["web-1"])
    staying = attempt(cluster, to=WEB, sticky=True)

    assert len(wire.targets) == 2 * 60
    assert isinstance(moving, Failed)
    assert "answers of web-0 30, web-1 30; expected all of the same one" in moving.message
    assert isinstance(staying, Passed)


def test_a_server_that_says_no_name_shows_nothing(cluster: FakeCluster, wire: Answering) -> None:
    wire.names = cycle([""])

    outcome = attempt(cluster, to=WEB, sticky=True)

    assert isinstance(outcome, Failed)
    assert "the target did not say its name" in outcome.message


def test_tries_that_end_in_different_ways_are_not_as_expected(cluster: FakeCluster, wire: Answering) -> None:
    class Flapping(Answering):
        outcomes = cycle(["allowed", "dropped"])

        def _result(self, container: str, target: dict[str, Any]) -> dict[str, Any]:
            return {**super()._result(container, target), "outcome": next(self.outcomes)}

    flapping = Flapping()
    flapping.names = cycle(["web-0"])
    cluster.nodes[0].answer = flapping

    strict = attempt(cluster, to=WEB, sticky=True, samples=4)
    loose = attempt(
        cluster, to=WEB, sticky=True, samples=4, expect=["allowed", "dropped"],
        control={"address": "10.0.0.1", "port": 1},
    )  # fmt: skip

    assert isinstance(strict, Failed)
    assert "dropped, expected allowed" in strict.message
    assert isinstance(loose, Failed)
    assert "of 4 tries 2 allowed, 2 dropped" in loose.message


def test_where_nobody_answers_nobody_is_distributed(cluster: FakeCluster, wire: Answering) -> None:
    wire.rules["id-client-0", "10.96.7.7:80"] = {"outcome": "refused"}

    outcome = attempt(cluster, to=WEB, sticky=True, expect=["allowed", "refused"])

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith("none is allowed, so that nobody has answered (sticky)")


@pytest.mark.parametrize(
    ("to", "asked"),
    [
        ({"service": "web", "via": "externalIP"}, ["192.0.2.9:80", "192.0.2.10:80"]),
        ({"pod": "web-0", "port": "web", "via": "hostPort"}, ["198.18.0.3:8888"]),
        ({"pod": "web-0", "port": 8080, "via": ["podIP", "hostPort"]}, ["10.244.1.9:8080", "198.18.0.3:8888"]),
        ({"pod": "web-0", "ports": [8080, 8081]}, ["10.244.1.9:8080", "10.244.1.9:8081"]),
        ({"pod": "web-0", "ports": ["web", 81]}, ["10.244.1.9:8080", "10.244.1.9:81"]),
        ({"service": "web", "protocols": ["TCP", "UDP"]}, ["10.96.7.7:80", "10.96.7.7:80"]),
    ],
)
def test_targets(cluster: FakeCluster, wire: Answering, to: dict[str, Any], asked: list[str]) -> None:
    assert isinstance(attempt(cluster, to=to), Passed)
    assert [where for _, where in wire.asked] == asked


def test_each_port_protocol_and_family_is_a_target_of_its_own(cluster: FakeCluster, wire: Answering) -> None:
    to = {"pod": "web-0", "ports": [8080, 8081], "protocols": ["TCP", "UDP"]}
    wire.rules["*", "10.244.1.9:8081"] = "refused"
    wire.rules["*", "fd00:1::9:8081"] = "refused"
    cells = [{"to": "*:8081*", "expect": "refused"}, {"to": "web-0", "expect": "allowed"}]

    outcome = attempt(
        cluster, to=to, ipFamilies=["IPv4", "IPv6"], expect={"default": "dropped", "cells": cells},
    )  # fmt: skip

    assert isinstance(outcome, Passed), outcome
    assert [pair["to"] for pair in outcome.value["pairs"]][:4] == [
        "web-0:8080 TCP IPv4", "web-0:8080 TCP IPv6", "web-0:8080 UDP IPv4", "web-0:8080 UDP IPv6",
    ]  # fmt: skip
    assert [(each["type"], each["family"]) for each in wire.targets[:4]] == [
        ("tcp", "IPv4"), ("tcp", "IPv6"), ("udp", "IPv4"), ("udp", "IPv6"),
    ]  # fmt: skip


def test_a_way_that_is_not_there(cluster: FakeCluster) -> None:
    port = attempt(cluster, to={"pod": "web-1", "port": 8080, "via": "hostPort"})
    address = attempt(cluster, to={"service": "inner", "via": "externalIP"})

    said = "pod web-1 has no host port for port 8080; its host ports: none"
    assert port == Errored(said, final=True)
    assert address == Failed("service inner has no external IP address (yet)", expected="an address", actual="none")


@pytest.mark.parametrize("icmp", [True, False])
def test_icmp_behind_a_host_port_is_a_filters(cluster: FakeCluster, wire: Answering, icmp: bool) -> None:
    seen = {"outcome": "refused", "icmp": {"type": 3, "code": 3, "from": "198.18.0.3"} if icmp else None}
    wire.rules["*", "198.18.0.3:8888"] = seen
    to = {"pod": "web-0", "port": 8080, "via": "hostPort"}

    outcome = attempt(cluster, to=to, expect=["refused", "rejected"])

    assert isinstance(outcome, Passed)
    assert outcome.value["pairs"][0]["outcome"] == ("rejected" if icmp else "refused")


POD = {"pod": "a", "port": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"to": POD, "payload": {"size": 1500, "df": True}}, "payload: df is for UDP"),
        ({"to": {**POD, "protocol": "UDP"}, "payload": {"size": 53}}, "54 to 65535 bytes with its headers, not 53"),
        ({"to": {**POD, "protocol": "UDP"}, "payload": {"size": 65536}}, "not 65536"),
        ({"to": POD, "payload": {"size": 8388609}}, "at most 8388608 bytes"),
        ({"to": {"pod": "a", "port": 1, "protocols": ["TCP", "UDP"]}, "payload": {"size": 9, "df": True}}, "payload"),
        ({"to": {**POD, "protocol": "SCTP"}, "payload": {"size": 9}}, "a size is for UDP and TCP"),
        ({"to": POD, "payload": {"size": 0}}, "greater than or equal to 1"),
        ({"to": POD, "payload": {"size": 5}, "sourceIP": "node"}, "sourceIP asks its own question; leave payload out"),
        ({"to": WEB, "sticky": True, "distribution": {}}, "distribution asks its own question; leave sticky out"),
        ({"to": POD, "sticky": True}, "behind one address: a service, or an address"),
        ({"to": {"address": "10.0.0.1", "port": 1}, "distribution": {}}, "say how many backends"),
        ({"to": WEB, "samples": 5}, "samples is for distribution or sticky"),
        ({"to": WEB, "sticky": True, "expect": "dropped"}, "sticky is about connections that are allowed"),
        ({"to": WEB, "distribution": {"min": "60%", "max": "50%"}}, "min is 60%, more than max, which is 50%"),
        ({"to": WEB, "distribution": {"backends": 3, "min": "40%"}}, "3 backends can't each give 40%"),
        ({"to": WEB, "distribution": {"backends": 3, "max": "30%"}}, "don't make all of the answers"),
        ({"to": WEB, "distribution": {"min": "400%"}}, "less than or equal to 1"),
        ({"to": {**POD, "ports": [1, 2]}}, "say port or ports, not both"),
        ({"to": {"pod": "a", "ports": [1, 1]}}, "ports: each is said once"),
        ({"to": {**POD, "protocol": "TCP", "protocols": ["TCP", "UDP"]}}, "say protocol or protocols, not both"),
        ({"to": POD, "ipFamily": "IPv4", "ipFamilies": ["IPv4", "IPv6"]}, "leave ipFamily out"),
        ({"to": POD, "ipFamilies": ["IPv4", "IPv4"]}, "ipFamilies are IPv4 and IPv6"),
        ({"to": {"node": "a", "ports": ["http", 2]}}, "a port of node is a number"),
        ({"to": {"pod": "a", "port": 1, "via": "externalIP"}}, "it takes podIP, hostPort"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Connectivity.model_validate({"from": CLIENT, **fields})


@pytest.mark.parametrize(("icmp", "observed"), [(True, "rejected"), (False, "refused")])
def test_of_sctp_an_icmp_error_behind_a_service_is_a_filters(
    cluster: FakeCluster, wire: Answering, icmp: bool, observed: str
) -> None:
    seen = {"outcome": "refused", "icmp": {"type": 3, "code": 3, "from": "10.96.7.7"} if icmp else None}
    wire.rules["*", "10.96.7.7:9"] = seen

    outcome = attempt(cluster, to={**WEB, "port": 9, "protocol": "SCTP"}, expect=["refused", "rejected"])

    assert isinstance(outcome, Passed), outcome
    assert outcome.value["pairs"][0]["outcome"] == observed
    assert wire.targets[0]["type"] == "sctp"


def test_who_answers_is_asked_over_sctp_as_over_udp(cluster: FakeCluster, wire: Answering) -> None:
    outcome = attempt(cluster, to={**WEB, "port": 9, "protocol": "SCTP"}, distribution={}, samples=4)

    assert isinstance(outcome, Passed), outcome
    assert {each["payload"] for each in wire.targets} == {"hostname"}


def test_a_pair_of_sctp_is_told_as_such(cluster: FakeCluster, wire: Answering) -> None:
    wire.rules["*", "10.96.7.7:9"] = "dropped"

    outcome = attempt(cluster, to={**WEB, "port": 9, "protocol": "SCTP"})

    assert isinstance(outcome, Failed)
    assert outcome.message == "client-0 (10.244.1.2) → web (10.96.7.7:9)/SCTP: dropped, expected allowed"
    assert "sctp 10.96.7.7:9" in outcome.detail  # the command that shows it again


@pytest.mark.parametrize("field", ["sticky", "distribution"])
def test_who_answers_is_not_asked_in_the_background(field: str) -> None:
    step = Connectivity.model_validate({"from": CLIENT, "to": WEB, field: True if field == "sticky" else {}})

    assert step.not_continuous() == field
