"""Questions to name servers, and what must be answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.dns import Dns
from tests.fakes import FakeCluster, FakeNode, FakeWire, context, made, running_pod

NAME = "web.test-ns.svc.cluster.local"


def record(data: str, kind: str = "A", ttl: int = 5) -> dict[str, Any]:
    return {"name": f"{NAME}.", "type": kind, "ttl": ttl, "data": data}


def answer(*records: dict[str, Any], rcode: str = "NOERROR", **flags: bool) -> dict[str, Any]:
    dns = {
        "server": "10.96.0.10:53", "transport": "udp", "name": f"{NAME}.", "asked": [f"{NAME}."], "rcode": rcode,
        "flags": {"aa": True, "tc": False, **flags}, "answers": list(records),
    }  # fmt: skip
    return {"outcome": "allowed", "seconds": 0.002, "dns": dns}


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire(rules={("*", NAME): answer(record("10.96.0.20"), record("10.96.0.21"))})


@pytest.fixture
def cluster(wire: FakeWire) -> FakeCluster:
    cluster = FakeCluster(
        running_pod("client-0", app="client"),
        running_pod("client-1", app="client"),
        running_pod("dns-0", address="10.244.1.53", namespace="kube-system", app="dns"),
        running_pod("dns-1", address="10.244.2.53", namespace="kube-system", app="dns"),
        nodes=[FakeNode("worker-1", answer=wire)],
    )
    cluster.add(
        made("Service", "kubernetes", namespace="default", spec={"clusterIP": "10.96.0.1", "ports": [{"port": 443}]})
    )
    spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}
    cluster.add(made("Service", "kube-dns", namespace="kube-system", spec=spec))
    return cluster


def attempt(cluster: FakeCluster, *, negated: bool = False, **fields: Any) -> Outcome:
    given = {"from": {"pod": "client-0"}, "name": NAME, **fields}
    return Dns.model_validate(given).attempt(context(cluster, negated=negated))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, None),
        ({"answers": ["10.96.0.21", "10.96.0.20"]}, None),
        ({"answers": {"all": {"inCIDR": "10.96.0.0/16"}}}, None),
        ({"answers": {"count": 2}, "ttl": {"le": 30}, "flags": {"aa": True, "tc": False}, "time": {"lt": "1s"}}, None),
        ({"rcode": ["NXDOMAIN", "NOERROR"]}, None),
        ({"answers": ["10.96.0.20"]}, 'expected exactly ["10.96.0.20"]: has "10.96.0.21", too'),
        ({"answers": ["10.96.0.20", "10.96.0.22"]}, 'lacks "10.96.0.22"'),
        ({"answers": {"contains": "10.96.0.9"}}, "answers"),
        ({"rcode": "NXDOMAIN"}, "rcode is NOERROR, expected NXDOMAIN"),
        ({"ttl": 30}, "ttl of 10.96.0.20 is 5, expected 30"),
        ({"flags": {"aa": False}}, "the flag aa is set"),
        ({"flags": {"ra": True}}, "the flag ra is not set"),
        ({"time": {"lt": "1ms"}}, "time is 2ms, expected < 1ms"),
        ({"type": "AAAA"}, "no record of type AAAA in the answer"),
        ({"type": "AAAA", "answers": {"none": "::1"}}, "no record of type AAAA in the answer"),
        ({"type": "AAAA", "answers": {"notContains": "::1"}}, "no record of type AAAA in the answer"),
        ({"type": "AAAA", "answers": {"count": 0}}, None),
        ({"type": "AAAA", "answers": []}, None),
        ({"type": "AAAA", "answers": {"none": "::1"}, "rcode": "NOERROR"}, None),
        ({"type": "AAAA", "ttl": 5, "rcode": "NOERROR"}, "there is no record that has one"),
    ],
)
def test_answers(cluster: FakeCluster, fields: dict[str, Any], message: str | None) -> None:
    outcome = attempt(cluster, **fields)

    assert type(outcome) is (Failed if message else Passed), outcome
    assert message is None or message in outcome.message  # type: ignore[union-attr]  # all but Hold have one


def test_a_failure_shows_the_answer_as_dig_does_and_how_to_ask_again(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, rcode="NXDOMAIN")

    assert outcome == Failed(
        f"client-0: A {NAME}: rcode is NOERROR, expected NXDOMAIN",
        expected="NXDOMAIN",
        actual="NOERROR",
        detail=f"NOERROR (aa) from 10.96.0.10:53 over UDP after 0.002s; asked for {NAME}.\n"
        f"  | {NAME}. 5 A 10.96.0.20\n  | {NAME}. 5 A 10.96.0.21\n"
        "see it with: koalesce ssh fake worker-1 -- "
        f"/opt/koalesce/bin/koalesce-probe -limit 2s -container id-client-0 dns {NAME} A",
    )


def test_names_are_alike_whatever_their_case_and_last_dot(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", NAME] = answer(record("0 50 80 Web.example.", "SRV"), record("x", "CNAME"))

    assert isinstance(attempt(cluster, type="SRV", answers=["0 50 80 web.EXAMPLE"]), Passed)


def test_what_is_asked(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", "10.0.96.10.in-addr.arpa"] = answer(record("web.", "PTR"))
    wire.rules["*", "web"] = answer(record("10.96.0.20"))

    attempt(cluster, name="web", search=True)
    attempt(cluster, name="10.96.0.10", type="PTR", transport="tcp", maxTime="1s")
    attempt(cluster, server="10.0.0.53")
    attempt(cluster, server={"service": "kube-dns", "namespace": "kube-system", "port": 53})
    attempt(cluster, **{"from": {"node": "worker-1"}})

    assert [(target["limit"], target["dns"]) for target in wire.targets] == [
        (2.0, {"name": "web", "type": "A", "search": True}),
        (1.0, {"name": "10.0.96.10.in-addr.arpa", "type": "PTR", "search": False, "transport": "tcp"}),
        (2.0, {"name": NAME, "type": "A", "search": False, "server": "10.0.0.53:53"}),
        (2.0, {"name": NAME, "type": "A", "search": False, "server": "10.96.0.10:53"}),
        (2.0, {"name": NAME, "type": "A", "search": False, "server": "10.96.0.10:53"}),
    ]


def test_each_of_several_servers_is_asked_from_each_source(cluster: FakeCluster, wire: FakeWire) -> None:
    server = {"pods": "app=dns", "namespace": "kube-system"}

    outcome = attempt(cluster, **{"from": {"pods": "app=client"}, "server": server, "answers": ["10.96.0.20"]})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(f"client-0 @kube-system/dns-0: A {NAME}: answers are")
    assert outcome.message.endswith("(4 of 4 answers)")
    assert {target["dns"]["server"] for target in wire.targets} == {"10.244.1.53:53", "10.244.2.53:53"}


def test_a_server_that_is_not_reached_is_no_answer(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", NAME] = {"outcome": "dropped", "reason": "nothing came back"}

    failed = attempt(cluster, rcode="NXDOMAIN")
    assert isinstance(failed, Failed)
    assert failed.message == f"client-0: A {NAME}: dropped (nothing came back)"
    assert isinstance(attempt(cluster, expect="dropped"), Passed)
    refused = attempt(cluster, expect="refused")
    assert isinstance(refused, Failed)
    assert refused.expected == "refused"


def test_silence_needs_a_control_and_what_cannot_be_asked_is_no_silence(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", NAME] = wire.rules["*", "10.96.0.1:443"] = "dropped"
    unproven = attempt(cluster, expect="dropped")

    wire.rules["*", NAME], wire.rules["*", "10.96.0.1:443"] = "error", "allowed"
    untried = attempt(cluster, expect="dropped")

    wire.rules["*", NAME] = {"outcome": "dropped", "stage": "answer", "reason": "connected, but no answer came"}
    connected = attempt(cluster, expect="dropped", transport="tcp")

    assert (type(unproven), type(untried), type(connected)) == (Errored, Errored, Failed)


def test_under_never_a_server_that_says_nothing_shows_nothing(cluster: FakeCluster, wire: FakeWire) -> None:
    seen = {}
    for outcome in ("dropped", "refused", "error"):
        wire.rules["*", NAME] = outcome
        seen[outcome] = attempt(cluster, negated=True)
    wire.rules["*", NAME] = answer(rcode="NXDOMAIN")
    answered = attempt(cluster, negated=True)

    assert isinstance(seen["error"], Errored)
    assert [getattr(seen[each], "saw_nothing", None) for each in ("dropped", "refused")] == [True, True]
    assert isinstance(answered, Failed)
    assert not answered.saw_nothing


def test_a_cluster_without_dns(cluster: FakeCluster) -> None:
    at = context(cluster)

    outcome = Dns.model_validate({"from": "host", "name": NAME}).attempt(
        replace(at, cluster=replace(at.cluster, dns_ip=""))
    )

    assert outcome == Errored("the cluster has no DNS of its own; say which server to ask", final=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a..b"}, '"a..b" is no domain name'),
        ({"type": "WKS"}, "Input should be"),
        ({"rcode": "nxdomain"}, "they are NOERROR, FORMERR, SERVFAIL, NXDOMAIN"),
        ({"search": True, "from": "host"}, "search needs the resolv.conf of a pod"),
        ({"expect": "dropped", "rcode": "NXDOMAIN"}, "rcode is about an answer"),
        ({"expect": ["answer", "dropped"]}, "answer can't stand beside others"),
        ({"server": {"service": "a", "node": "b"}}, "say exactly one of"),
        ({"answers": {"matches": "("}}, "matches"),
        ({"flags": {"xx": True}}, "flags"),
        ({"maxTime": "0s"}, "maxTime must be more than 0"),
    ],
)
def test_what_is_wrong_before_anything_runs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Dns.model_validate({"from": {"pod": "a"}, "name": "b", **fields})
