"""Connectivity: pairs, expectations, controls, and what a failure shows."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.events import Grid, PairKind
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.connectivity import Connectivity
from tests.fakes import FakeCluster, FakeNode, FakeWire, context, made, running_pod

API = "10.96.0.1:443"
CLIENTS = {"pods": {"selector": "app=client"}}
SERVERS = {"pods": {"selector": "app=server"}, "port": 8080}


def step(**fields: Any) -> Connectivity:
    return Connectivity.model_validate(fields)


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire()


@pytest.fixture
def cluster(wire: FakeWire) -> FakeCluster:
    nodes = [
        FakeNode("control-plane", role="control-plane", address="198.18.0.2", answer=wire),
        FakeNode("worker-1", address="198.18.0.3", answer=wire),
        FakeNode("worker-2", address="198.18.0.4", answer=wire),
    ]
    cluster = FakeCluster(
        running_pod("client-0", node="worker-1", address="10.244.1.2", app="client", role="good"),
        running_pod("client-1", node="worker-2", address="10.244.2.2", app="client", role="bad"),
        running_pod("server-0", node="worker-1", address="10.244.1.9", app="server"),
        running_pod("server-1", node="worker-2", address="10.244.2.9", app="server"),
        nodes=nodes,
    )
    service = {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "https", "port": 443}]}
    cluster.add(made("Service", "kubernetes", namespace="default", spec=service))
    web = {
        "clusterIP": "10.96.7.7",
        "ports": [
            {"name": "http", "port": 80, "nodePort": 30080},
            {"name": "dns", "port": 53, "protocol": "UDP"},
        ],
    }
    cluster.add(made("Service", "web", spec=web))
    cluster.add(made("Service", "headless", spec={"clusterIP": "None"}))
    return cluster


def attempt(cluster: FakeCluster, *, negated: bool = False, **fields: Any) -> Outcome:
    return step(**fields).attempt(context(cluster, negated=negated))


def test_every_source_tries_every_target_in_one_command_a_node(cluster: FakeCluster, wire: FakeWire) -> None:
    outcome = attempt(cluster, **{"from": CLIENTS, "to": SERVERS})

    assert isinstance(outcome, Passed)
    assert outcome.message == "4 pairs as expected: 4 allowed"
    assert sorted(wire.asked) == [
        ("id-client-0", "10.244.1.9:8080"),
        ("id-client-0", "10.244.2.9:8080"),
        ("id-client-1", "10.244.1.9:8080"),
        ("id-client-1", "10.244.2.9:8080"),
    ]
    assert [len(node.commands) for node in cluster.nodes] == [0, 1, 1]


def test_a_pair_that_differs_is_shown_with_the_command_that_reproduces_it(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.2.9:8080"] = {"outcome": "dropped", "reason": "nothing came back"}

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": SERVERS})

    said = "client-0 (10.244.1.2) → server-1 (10.244.2.9:8080): dropped (nothing came back), expected allowed"
    command = (
        "koalesce ssh fake worker-1 -- /opt/koalesce/bin/koalesce-probe"
        " -limit 1.5s -container id-client-0 tcp 10.244.2.9:8080"
    )
    assert outcome == Failed(
        f"1 of 2 pairs differ: {said}", expected="allowed", actual="dropped", detail=f"{said}\n    {command}"
    )


def test_a_grid_shows_only_rows_and_columns_that_differ(cluster: FakeCluster, wire: FakeWire) -> None:
    cluster.add(running_pod("server-2", node="worker-2", address="10.244.2.10", app="server"))
    for client in ("id-client-0", "id-client-1"):
        wire.rules[client, "10.244.2.9:8080"] = "refused"
    wire.rules["id-client-1", "10.244.1.9:8080"] = "dropped"

    outcome = attempt(cluster, **{"from": CLIENTS, "to": SERVERS})

    assert isinstance(outcome, Failed)
    assert outcome.detail.splitlines()[:3] == [
        "expected→observed  server-0         server-1",
        "client-0           .                allowed→refused",
        "client-1           allowed→dropped  allowed→refused",
    ]


def test_reports_are_given_all_pairs_as_a_grid(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-1", "10.244.2.9:8080"] = {"outcome": "dropped", "reason": "nothing came back"}

    outcome = attempt(cluster, **{"from": CLIENTS, "to": SERVERS})

    right = PairKind(expected="allowed", observed="allowed", is_right=True)
    wrong = PairKind(expected="allowed", observed="dropped", is_right=False, note="nothing came back")
    assert isinstance(outcome, Failed)
    assert outcome.grids == (
        Grid(
            title="", rows=("client-0", "client-1"), columns=("server-0", "server-1"), kinds=(right, wrong),
            cells=((0, 0), (0, 1)),
        ),
    )  # fmt: skip


def test_a_single_pair_is_no_grid_and_pairs_of_many_pods_are_cut_to_what_differs(
    cluster: FakeCluster, wire: FakeWire
) -> None:
    single = attempt(cluster, **{"from": {"pod": "client-0"}, "to": {"pod": "server-0", "port": 8080}})
    for number in range(120):
        cluster.add(running_pod(f"many-{number}", node="worker-1", address=f"10.244.3.{number}", app="many"))
    wire.rules["id-client-1", "10.244.3.77:8080"] = "dropped"
    many = attempt(cluster, **{"from": CLIENTS, "to": {"pods": {"selector": "app=many"}, "port": 8080}})

    assert isinstance(single, Passed)
    assert single.grids == ()
    assert isinstance(many, Failed)
    assert [(grid.rows, grid.columns, grid.cells) for grid in many.grids] == [
        (("client-0", "client-1"), ("many-77",), ((0,), (1,)))
    ]


def test_expectations_by_name_and_label_count_in_their_order(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-1", "10.244.1.9:8080"] = "rejected"
    wire.rules["id-client-1", "10.244.2.9:8080"] = "refused"
    cells = [
        {"from": {"selector": "role=bad"}, "to": "server-0", "expect": ["rejected", "dropped"]},
        {"from": "client-1", "to": "server-*", "expect": "refused"},
    ]

    outcome = attempt(cluster, **{"from": CLIENTS, "to": SERVERS, "expect": {"default": "allowed", "cells": cells}})

    assert isinstance(outcome, Passed)
    assert outcome.message == "4 pairs as expected: 2 allowed, 1 refused, 1 rejected"


@pytest.mark.parametrize("observed", ["refused", "rejected", "error", "allowed"])
def test_no_outcome_is_taken_for_another(cluster: FakeCluster, wire: FakeWire, observed: str) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = observed
    to = {"pod": "server-0", "port": 8080}

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": to, "expect": "dropped"})

    assert type(outcome) is (Errored if observed == "error" else Failed)


def test_an_error_where_allowed_was_expected_is_a_failure(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["", "10.244.1.9:8080"] = {"outcome": "error", "reason": "no route at the source"}

    outcome = attempt(cluster, **{"from": {"node": "worker-2"}, "to": {"pod": "server-0", "port": 8080}})

    assert isinstance(outcome, Failed)
    assert "error (no route at the source), expected allowed" in outcome.message


def test_silence_proves_nothing_without_a_positive_control(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "rejected"
    wire.rules["id-client-0", API] = "dropped"
    fields = {"from": {"pod": "client-0"}, "to": {"pod": "server-0", "port": 8080}, "expect": "rejected"}

    outcome = attempt(cluster, **fields)

    assert outcome == Errored(
        "client-0 has no positive control, default/kubernetes (10.96.0.1:443): dropped, so its silence proves nothing;"
        " name something that it may reach: control: {address: …, port: …}"
    )


def test_the_api_server_is_the_default_control(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "rejected"
    fields = {"from": {"pod": "client-0"}, "to": {"pod": "server-0", "port": 8080}, "expect": "rejected"}

    assert isinstance(attempt(cluster, **fields), Passed)
    assert ("id-client-0", API) in wire.asked


def test_an_allowed_pair_is_a_control(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "dropped"
    wire.rules["id-client-0", API] = "dropped"
    cells = [{"to": "server-0", "expect": "dropped"}]

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": SERVERS, "expect": {"cells": cells}})

    assert isinstance(outcome, Passed)


@pytest.mark.parametrize(("observed", "kind"), [("refused", Passed), ("allowed", Passed), ("dropped", Errored)])
def test_a_pod_that_may_reach_nothing_must_answer_its_own_node(
    cluster: FakeCluster, wire: FakeWire, observed: str, kind: type[Outcome]
) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "dropped"
    wire.rules["", "10.244.1.2:9"] = observed
    to = {"pod": "server-0", "port": 8080}

    outcome = attempt(
        cluster, **{"from": {"pod": "client-0"}, "to": to, "expect": "dropped", "control": {"ownNode": True}}
    )

    assert type(outcome) is kind
    assert ("", "10.244.1.2:9") in wire.asked


def test_a_named_control_must_be_reached_whatever_else_is(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "dropped"
    wire.rules["id-client-0", "192.0.2.1:80"] = "refused"
    fields = {
        "from": {"pod": "client-0"},
        "to": SERVERS,
        "expect": {"cells": [{"to": "server-0", "expect": "dropped"}]},
        "control": {"address": "192.0.2.1", "port": 80},
    }

    assert isinstance(attempt(cluster, **fields), Errored)


def test_under_never_each_source_needs_a_control(cluster: FakeCluster, wire: FakeWire) -> None:
    fields = {"from": {"pod": "client-0"}, "to": {"pod": "server-0", "port": 8080}}
    wire.rules["id-client-0", "10.244.1.9:8080"] = "dropped"

    assert isinstance(attempt(cluster, negated=True, **fields), Failed)
    wire.rules["id-client-0", API] = "dropped"
    assert isinstance(attempt(cluster, negated=True, **fields), Errored)


def test_under_never_what_cannot_be_tried_is_no_absence_of_traffic(cluster: FakeCluster, wire: FakeWire) -> None:
    fields = {"from": {"pod": "client-0"}, "to": {"pod": "server-0", "port": 8080}}
    wire.rules["id-client-0", "10.244.1.9:8080"] = "error"

    assert isinstance(attempt(cluster, negated=True, **fields), Errored)


def test_under_never_a_missing_pod_is_no_absence_of_traffic(cluster: FakeCluster) -> None:
    for fields in ({"from": {"pod": "gone"}, "to": SERVERS}, {"from": CLIENTS, "to": {"pod": "gone", "port": 1}}):
        assert isinstance(attempt(cluster, negated=True, **fields), Errored)


def test_a_pod_is_not_tried_from_itself_unless_told(cluster: FakeCluster, wire: FakeWire) -> None:
    servers = {"pods": {"selector": "app=server"}}

    attempt(cluster, **{"from": servers, "to": SERVERS})
    assert ("id-server-0", "10.244.1.9:8080") not in wire.asked

    attempt(cluster, **{"from": servers, "to": SERVERS, "self": "include"})
    assert ("id-server-0", "10.244.1.9:8080") in wire.asked


@pytest.mark.parametrize(
    ("placement", "targets"), [("sameNode", ["10.244.1.9:8080"]), ("otherNode", ["10.244.2.9:8080"])]
)
def test_placement(cluster: FakeCluster, wire: FakeWire, placement: str, targets: list[str]) -> None:
    attempt(cluster, **{"from": {"pod": "client-0"}, "to": SERVERS, "placement": placement})

    assert [where for _, where in wire.asked] == targets


def test_no_pair_is_a_failure(cluster: FakeCluster) -> None:
    to = {"pod": "server-1", "port": 8080}

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": to, "placement": "sameNode"})

    assert outcome == Failed(
        "there is no pair to try (sources: 1, targets: 1, placement: sameNode)",
        expected="at least one pair",
        actual="none",
    )


def test_no_pod_and_no_service_are_failures(cluster: FakeCluster) -> None:
    assert attempt(cluster, **{"from": {"pods": "app=none"}, "to": SERVERS}) == Failed(
        "there is no pod that matches app=none in namespace test-ns", expected="at least one pod", actual="none"
    )
    assert attempt(cluster, **{"from": CLIENTS, "to": {"service": "none", "port": 80}}) == Failed(
        "service test-ns/none does not exist", actual="missing"
    )


def test_a_rule_about_no_pair_is_a_failure(cluster: FakeCluster) -> None:
    expect = {"cells": [{"from": "clinet-0", "expect": "dropped"}]}

    outcome = attempt(cluster, **{"from": CLIENTS, "to": SERVERS, "expect": expect})

    assert outcome == Failed("the rule from clinet-0 is about no pair", expected="at least one pair", actual="none")


@pytest.mark.parametrize(
    ("to", "asked"),
    [
        ({"service": "web"}, ["10.96.7.7:80"]),
        ({"service": "web", "port": "http"}, ["10.96.7.7:80"]),
        ({"service": "web", "protocol": "UDP"}, ["10.96.7.7:53"]),
        ({"service": "web", "via": "serviceName"}, ["web.test-ns.svc:80"]),
        ({"service": "web", "via": "nodePort"}, ["198.18.0.2:30080", "198.18.0.3:30080", "198.18.0.4:30080"]),
        ({"service": "headless", "port": 81, "via": "serviceName"}, ["headless.test-ns.svc:81"]),
        ({"pod": "server-0", "port": "web"}, ["10.244.1.9:8080"]),
        ({"nodes": "workers", "port": 10250}, ["198.18.0.3:10250", "198.18.0.4:10250"]),
        ({"address": ["192.0.2.1", "example.com"], "port": 80}, ["192.0.2.1:80", "example.com:80"]),
    ],
)
def test_targets(cluster: FakeCluster, wire: FakeWire, to: dict[str, Any], asked: list[str]) -> None:
    attempt(cluster, **{"from": {"pod": "client-0"}, "to": to})

    assert [where for _, where in wire.asked] == asked
    assert wire.targets[0]["type"] == ("udp" if to.get("protocol") == "UDP" else "tcp")


def test_an_unknown_port_name_is_an_error_for_good(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, **{"from": CLIENTS, "to": {"service": "web", "port": "htpt"}})

    assert outcome == Errored('service web has no TCP port "htpt"; its ports: http 80/TCP, dns 53/UDP', final=True)


@pytest.mark.parametrize(
    ("to", "wanted"),
    [
        ({"port": 81}, "no TCP port 81"),
        ({"port": 81, "via": "nodePort"}, "no TCP port 81"),
        ({"port": 81, "via": "serviceName"}, "no TCP port 81"),
        ({"port": 80, "protocol": "UDP"}, "no UDP port 80"),
    ],
)
@pytest.mark.parametrize("expect", ["allowed", "refused", "rejected", "dropped"])
def test_a_port_that_a_service_does_not_have_shows_nothing(
    cluster: FakeCluster, wire: FakeWire, to: dict[str, Any], wanted: str, expect: str
) -> None:
    outcome = attempt(cluster, **{"from": CLIENTS, "to": {"service": "web", **to}, "expect": expect})

    assert outcome == Errored(
        f"service web has {wanted}; its ports: http 80/TCP, dns 53/UDP;"
        " to show that it serves nothing there, probe its cluster IP as an address",
        final=True,
    )
    assert not wire.asked


@pytest.mark.parametrize(
    ("source_ip", "seen", "problem"),
    [
        ("preserved", "10.244.1.2", None),
        ("preserved", "198.18.0.3", "seen as 198.18.0.3, expected 10.244.1.2"),
        ("node", "198.18.0.3", None),
        ("node", "10.244.1.1", None),
        ("node", "10.244.1.2", "seen as 10.244.1.2, expected an address of a node"),
        ("10.244.0.0/16", "10.244.9.9", None),
        ("10.244.0.0/16", "198.18.0.3", "seen as 198.18.0.3, expected 10.244.0.0/16"),
        ("preserved", "", "the target did not say which address it saw"),
    ],
)
def test_the_address_that_the_target_saw(
    cluster: FakeCluster, wire: FakeWire, source_ip: str, seen: str, problem: str | None
) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = {"seenSource": seen}
    wire.addresses = ("10.244.1.1", "127.0.0.1")
    to = {"pod": "server-0", "port": 8080}

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": to, "sourceIP": source_ip})

    assert wire.targets[0]["askSource"] is True
    if problem is None:
        assert isinstance(outcome, Passed)
    else:
        assert isinstance(outcome, Failed)
        assert outcome.message.endswith(f": {problem}")


def test_a_node_that_does_not_run_the_probe_is_an_error(cluster: FakeCluster) -> None:
    from koalesce.steps.wire.probing import ProbeError
    from tests.fakes import result

    cluster.nodes[1].answer = lambda command, stdin: result(command, code=127, err="no such file")

    with pytest.raises(ProbeError, match="worker-1: the probe ended with code 127: no such file"):
        attempt(cluster, **{"from": {"pod": "client-0"}, "to": SERVERS})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from": {"pod": "a", "node": "b"}}, "found pod and node"),
        ({"from": {}}, "none is there"),
        ({"to": {"pod": "a"}}, "port is missing"),
        ({"to": {"node": "a", "port": "web"}}, "a port of node is a number"),
        ({"to": {"address": "a", "port": 1, "namespace": "x"}}, "namespace belongs to pods and Services"),
        ({"to": {"pod": "a", "port": 1, "via": "nodePort"}}, "pod can't be reached via nodePort"),
        ({"to": {"service": "a", "port": 0}}, "greater than or equal to 1"),
        ({"expect": "blocked"}, "'allowed', 'refused', 'rejected' or 'dropped'"),
        ({"expect": "error"}, "'allowed', 'refused', 'rejected' or 'dropped'"),
        ({"sourceIP": "node", "expect": ["refused", "dropped"]}, "none is expected to be"),
        ({"sourceIP": "kept"}, "is none of preserved, node and a CIDR"),
        ({"to": {"address": "a", "port": 1}, "placement": "sameNode"}, "placement needs targets on nodes"),
        ({"from": {"pods": "app in"}}, "is not a label selector"),
        ({"maxTime": "0s"}, "more than 0"),
        ({"control": {"ownNode": True, "service": "x"}}, "found service and ownNode"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {"from": CLIENTS, "to": SERVERS}

    with pytest.raises(ValidationError, match=message):
        step(**{**valid, **fields})


def test_the_probe_gets_its_whole_limit_even_at_the_deadline(cluster: FakeCluster, wire: FakeWire) -> None:
    cluster.scope.seconds = 0.0

    attempt(cluster, **{"from": {"pod": "client-0"}, "to": SERVERS})

    assert {target["limit"] for target in wire.targets} == {1.5}


def test_an_address_that_no_target_has_seen_is_not_as_it_should_be(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", "10.244.1.9:8080"] = "refused"
    to = {"pod": "server-0", "port": 8080}

    outcome = attempt(
        cluster, **{"from": {"pod": "client-0"}, "to": to, "expect": ["allowed", "refused"], "sourceIP": "preserved"}
    )

    assert outcome == Failed(
        "1 pair as expected: 1 refused; none is allowed, so that no target has seen any address (sourceIP)",
        expected="an allowed pair",
        actual="none",
    )
    assert isinstance(outcome, Failed)
    assert outcome.saw_nothing


@pytest.mark.parametrize(
    ("to", "icmp", "observed"),
    [
        ({"service": "web", "port": 80}, True, "rejected"),
        ({"service": "web", "port": 80}, False, "refused"),
        ({"service": "web", "port": 53, "protocol": "UDP"}, True, "refused"),
        ({"address": "10.96.7.7", "port": 80}, True, "refused"),
    ],
)
def test_icmp_behind_a_service_is_a_filters(
    cluster: FakeCluster, wire: FakeWire, to: dict[str, Any], icmp: bool, observed: str
) -> None:
    seen = {"outcome": "refused", "icmp": {"type": 3, "code": 3, "from": "10.96.7.7"} if icmp else None}
    wire.rules["*", f"10.96.7.7:{to['port']}"] = seen

    outcome = attempt(cluster, **{"from": {"pod": "client-0"}, "to": to, "expect": ["refused", "rejected"]})

    assert isinstance(outcome, Passed)
    assert outcome.value["pairs"][0]["outcome"] == observed


def test_fixtures_are_sources_and_targets(cluster: FakeCluster, wire: FakeWire) -> None:
    cluster.fixtures = tuple(FakeNode(f"c{n}", address=f"198.18.1.{n}", answer=wire) for n in (1, 2))

    outcome = attempt(cluster, **{"from": {"fixtures": "all"}, "to": {"fixture": "c2", "port": 80}})

    assert isinstance(outcome, Passed)
    assert outcome.message == "1 pair as expected: 1 allowed"  # none from itself
    assert [len(fixture.commands) for fixture in cluster.fixtures] == [1, 0]


@pytest.mark.parametrize(
    ("said", "asked"),
    [({"ipFamily": "IPv4"}, ["198.18.1.1"]), ({"ipFamily": "IPv6"}, ["fd00::1"]), ({}, ["198.18.1.1"])],
)
def test_a_fixture_is_reached_by_the_family_that_is_said(
    cluster: FakeCluster, wire: FakeWire, said: dict[str, str], asked: list[str]
) -> None:
    cluster.fixtures = (FakeNode("c1", address="198.18.1.1", further=["fd00::1"], answer=wire),)

    outcome = attempt(cluster, **{"from": {"node": "worker-1"}, "to": {"fixture": "c1", "port": 80}, **said})

    assert isinstance(outcome, Passed)
    assert [target["host"] for target in wire.targets] == asked


def test_a_failure_from_a_fixture_shows_the_command_on_it(cluster: FakeCluster, wire: FakeWire) -> None:
    cluster.fixtures = (FakeNode("c1", address="198.18.1.1", answer=wire),)
    wire.rules["", "198.18.0.3:80"] = "refused"

    outcome = attempt(cluster, **{"from": {"fixture": "c1"}, "to": {"node": "worker-1", "port": 80}})

    assert isinstance(outcome, Failed)
    assert "koalesce ssh fake c1 -- /opt/koalesce/bin/koalesce-probe" in outcome.detail
