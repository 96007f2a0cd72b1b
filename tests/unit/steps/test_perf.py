"""The step `perf`: figures are medians, ratios are of what was measured in turn, and what doesn't get through isn't slow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.perf import Perf
from tests.fakes import FakeCluster, FakeNode, context, made, result, running_pod

NODE, POD = "198.18.0.3", "10.244.1.2"


class Machine(FakeNode):
    """A node whose measurements give what `found` says of an address, round by round; it listens on port 4000 where it may choose."""

    def __init__(self, name: str, address: str, found: Mapping[str, Sequence[dict[str, Any]]] | None = None) -> None:
        super().__init__(name, address=address)
        self.found = {host: list(rounds) for host, rounds in (found or {}).items()}
        self.taken: set[str] = set()
        self.listened: list[str] = []
        self.asked: list[list[str]] = []

    def run(self, command: Sequence[str], *, stdin: Any = None, stdout: Any = None, **_options: Any) -> Result:
        words = list(command[1:])
        if "listen" in words:
            port = words[-1]
            if port in self.taken:
                return result(command, code=1, err=f"koalesce-probe: something listens on port {port} already")
            self.listened.append(" ".join(words))
            stdout.write(json.dumps({"port": int(port) or 4000}).encode() + b"\n")
            stdout.flush()
            stdin.read()
            return result(command)
        self.asked.append(words)
        rounds = self.found[words[-1].rpartition(":")[0]]
        return result(command, out=json.dumps(rounds.pop(0) if len(rounds) > 1 else rounds[0]))


def went(count: int, seconds: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"outcome": "allowed", "seconds": seconds, "count": count, **more}


def cluster(client: Machine, server: Machine) -> FakeCluster:
    return FakeCluster(
        running_pod("client", node=client.name, address="10.244.0.2"),
        running_pod("server", node=server.name, address=POD, app="server"),
        nodes=[client, server],
    )


def measured(client: Machine, server: Machine, *more: dict[str, Any], **fields: Any) -> Outcome:
    written = {"from": {"pod": "client"}, "to": {"pod": "server", "port": 5201}, "rounds": 1, **fields}
    fake = cluster(client, server)
    for obj in more:
        fake.add(obj)
    return Perf.model_validate(written).attempt(context(fake))


def one_and_two(**found: Sequence[dict[str, Any]]) -> tuple[Machine, Machine]:
    """The client's machine, from which is measured, and the server's."""
    hosts = {"pod": POD, "node": NODE, "service": "10.96.0.7"}
    return Machine("one", "198.18.0.2", {hosts[name]: rounds for name, rounds in found.items()}), Machine("two", NODE)


def test_a_figure_is_the_median_of_its_rounds() -> None:
    machines = one_and_two(pod=[went(1000), went(9000), went(2000)])

    outcome = measured(*machines, throughput={"rate": {"ge": "16k"}}, rounds=3)

    assert isinstance(outcome, Passed)
    assert outcome.message == "client → server (10.244.1.2:5201): 16 kbit/s"
    assert outcome.value == {
        "pairs": [
            {"pair": "client → server (10.244.1.2:5201)", "throughput": {"rate": 16000, "rounds": [8000, 72000, 16000]}}
        ]
    }


def test_what_is_told_to_the_probe() -> None:
    client, server = one_and_two(pod=[went(10)])

    measured(client, server, requests={}, streams=4, size=64, duration="200ms", ipFamily="IPv4")

    assert client.asked == [
        ["-container", "id-client", "-limit", "0.2s", "-streams", "4", "-size", "64", "-family", "IPv4", "requests", f"{POD}:5201"]
    ]  # fmt: skip
    assert server.listened == ["-container id-server listen 5201"]


def test_a_ratio_is_of_node_to_node_in_turn() -> None:
    client, server = one_and_two(pod=[went(50), went(60), went(70)], node=[went(100), went(300), went(100)])

    outcome = measured(client, server, requests={"ratio": {"ge": 0.5}}, rounds=3)

    assert isinstance(outcome, Passed)
    assert outcome.value["pairs"][0]["requests"] == {
        "rate": 60, "rounds": [50, 60, 70], "ratio": 0.6, "baseline": [100, 300, 100],
    }  # fmt: skip
    assert [words[-1] for words in client.asked] == [f"{NODE}:4000", f"{POD}:5201"] * 3
    assert sorted(server.listened) == ["-container id-server listen 5201", "listen 0"]


def test_a_ratio_below_its_limit_fails_at_once_and_shows_all() -> None:
    machines = one_and_two(pod=[went(40)], node=[went(100)])

    outcome = measured(*machines, connections={"ratio": {"ge": 0.5}})

    assert outcome == Failed(
        "client → server (10.244.1.2:5201): connections.ratio is 0.4, expected ≥ 0.5", "≥ 0.5", "0.4",
        "client → server (10.244.1.2:5201): 40 connections/s, 0.4 of the baseline", final=True,
    )  # fmt: skip


def test_a_baseline_of_ones_own() -> None:
    client, server = one_and_two(pod=[went(40)], service=[went(20)])
    given = {"from": {"pod": "client"}, "to": {"pod": "server", "port": 5202}}

    outcome = measured(
        client, server, *service(), to={"service": "server"}, connections={"ratio": {"ge": 0.5}}, baseline=given
    )

    assert isinstance(outcome, Passed)
    assert [words[-1] for words in client.asked] == [f"{POD}:5202", "10.96.0.7:80"]
    assert sorted(server.listened) == ["-container id-server listen 5201", "-container id-server listen 5202"]


def service(**conditions: bool) -> list[dict[str, Any]]:
    slices = {
        "ports": [{"name": "", "port": 5201, "protocol": "TCP"}],
        "endpoints": [
            {"addresses": [POD], "conditions": conditions, "targetRef": {"kind": "Pod", "name": "server"}},
        ],
    }
    labels = {"kubernetes.io/service-name": "server"}
    return [
        made("Service", "server", namespace="test-ns", spec={"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}),
        made("EndpointSlice", "server-1", api="discovery.k8s.io/v1", namespace="test-ns", labels=labels, **slices),
    ]


def test_a_service_without_ready_pods_is_waited_for() -> None:
    outcome = measured(*one_and_two(), *service(ready=False), to={"service": "server"}, requests={})

    assert outcome == Failed("service server has no ready endpoint that is a pod", "an endpoint", "none")


def test_latency_is_of_each_request() -> None:
    late = went(100, latency={"p50": 0.001, "p90": 0.002, "p99": 0.03, "max": 0.4})

    outcome = measured(*one_and_two(pod=[late]), requests={"latency": {"p50": {"lt": "2ms"}, "p99": {"lt": "20ms"}}})

    assert isinstance(outcome, Failed)
    assert outcome.message == "client → server (10.244.1.2:5201): requests.latency.p99 is 30ms, expected < 20ms"
    assert outcome.detail == "client → server (10.244.1.2:5201): 100 requests/s, p99 30ms"


def test_what_does_not_get_through_is_not_slow() -> None:
    shut = {"outcome": "rejected", "reason": "ICMP from 10.244.1.1", "seconds": 0, "count": 0}

    outcome = measured(*one_and_two(pod=[shut]), throughput={})

    assert isinstance(outcome, Failed)
    assert outcome.message == ("client → server (10.244.1.2:5201): rejected (ICMP from 10.244.1.1), expected allowed")
    assert not outcome.final


def test_connections_that_fail_are_told() -> None:
    outcome = measured(*one_and_two(pod=[went(98, failed=2, reason="nothing came back")]), connections={})

    assert isinstance(outcome, Failed)
    assert outcome.message == "client → server (10.244.1.2:5201): 2 of 100 connections failed (nothing came back)"


def test_what_breaks_off_or_carries_nothing_is_an_error() -> None:
    broken = {"outcome": "error", "reason": "sending: reset", "seconds": 1, "count": 0}

    for found, said in ((broken, "could not be measured (sending: reset)"), (went(0), "nothing went through")):
        outcome = measured(*one_and_two(pod=[found]), throughput={})
        assert isinstance(outcome, Errored)
        assert said in outcome.message


def test_a_port_that_is_taken_is_an_error_for_good() -> None:
    client, server = one_and_two(pod=[went(1)])
    server.taken = {"5201"}

    outcome = measured(client, server, throughput={})

    assert outcome == Errored(
        "server: something listens on port 5201 already; this step listens there itself: say a port that is free",
        final=True,
    )


def test_more_than_there_is_time_for_is_an_error() -> None:
    outcome = measured(*one_and_two(pod=[went(1)]), throughput={"ratio": {"gt": 0}}, rounds=100, duration="10s")

    assert isinstance(outcome, Errored)
    assert "1 pairs take 33m20s at least, longer than the step has" in outcome.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "say at least one of throughput, requests and connections"),
        ({"throughput": {}, "to": {"address": "10.0.0.1", "port": 1}}, "which it can't do at an address"),
        ({"throughput": {}, "to": {"pod": "a", "port": 1, "protocol": "UDP"}}, "only TCP can be measured"),
        ({"throughput": {}, "duration": "0s"}, "duration must be more than 0"),
        ({"throughput": {"latency": {"p99": {"lt": "1s"}}}}, "Extra inputs are not permitted"),
        ({"throughput": {"rate": {"equals": "100M"}}}, "can't match here: this is a number"),
        ({"throughput": {"rate": {"ge": 1}}, "baseline": {"from": {"pod": "a"}, "to": {"pod": "b", "port": 1}}}, "baseline is for ratio"),
        ({"throughput": {}, "streams": 0}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Perf.model_validate({"from": {"pod": "client"}, "to": {"pod": "server", "port": 5201}, **fields})


def test_what_it_takes() -> None:
    assert Perf.takes({"from": {"pod": "a"}, "to": {"pod": "b"}}) == {"node-exec"}
    assert Perf.takes({"from": {"fixture": "a"}, "to": {"service": "b"}}) == {"node-exec"}
    assert Perf.takes({"from": {"fixture": "a"}, "to": {"fixture": "b"}}) == set()
