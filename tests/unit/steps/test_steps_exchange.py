"""`tcp` and `udp`: what is sent, and what must come back."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.tcp import Tcp
from koalesce.steps.udp import Udp
from tests.fakes import FakeCluster, FakeNode, FakeWire, context, made, running_pod

WHERE = "10.96.0.20:80"
BASE: dict[str, Any] = {"from": {"pod": "client-0"}, "to": {"service": "web"}}


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire(rules={("*", WHERE): {"outcome": "allowed", "reply": "ok\n", "seconds": 0.01}})


@pytest.fixture
def cluster(wire: FakeWire) -> FakeCluster:
    cluster = FakeCluster(
        running_pod("client-0", app="client"),
        running_pod("client-1", app="client"),
        nodes=[FakeNode("worker-1", answer=wire)],
    )
    cluster.add(
        made("Service", "kubernetes", namespace="default", spec={"clusterIP": "10.96.0.1", "ports": [{"port": 443}]})
    )
    ports = [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}]
    cluster.add(made("Service", "web", namespace="test-ns", spec={"clusterIP": "10.96.0.20", "ports": ports}))
    return cluster


def attempt(cluster: FakeCluster, kind: type[Tcp] | type[Udp] = Tcp, **fields: Any) -> Outcome:
    return kind.model_validate({**BASE, **fields}).attempt(context(cluster))


def test_what_is_sent(cluster: FakeCluster, wire: FakeWire) -> None:
    attempt(cluster, send="ping", source={"port": 40000}, maxTime="2s")
    attempt(cluster, Udp, send="ping", ipFamily="IPv4", source={"address": "10.244.1.2"})
    attempt(cluster, reply={"matches": "^o"})

    assert wire.targets == [
        {
            "id": "0", "type": "tcp", "host": "10.96.0.20", "port": 80, "limit": 2.0, "payload": "ping", "readReply": True,
            "bind": "0.0.0.0:40000",
        },
        {
            "id": "0", "type": "udp", "host": "10.96.0.20", "port": 80, "limit": 1.5, "payload": "ping", "family": "IPv4",
            "bind": "10.244.1.2:0",
        },
        {"id": "0", "type": "tcp", "host": "10.96.0.20", "port": 80, "limit": 1.5, "readReply": True},
    ]  # fmt: skip


def test_the_reply_is_an_output(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, Udp, reply="ok")

    assert isinstance(outcome, Passed)
    assert (outcome.value["outcome"], outcome.value["reply"]) == ("allowed", "ok\n")


def test_a_wrong_reply(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, reply={"contains": "pong"})

    assert isinstance(outcome, Failed)
    assert outcome.message == 'client-0 (10.244.1.2) → web (10.96.0.20:80): reply is "ok", expected to contain "pong"'
    assert (outcome.expected, outcome.actual) == ('to contain "pong"', '"ok"')


def test_a_slow_reply(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, time={"lt": "5ms"})

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith("time is 10ms, expected < 5ms")
    assert isinstance(attempt(cluster, time={"le": "10ms", "gt": "1ms"}), Passed)


def test_a_handshake_is_no_answer(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", WHERE] = {"outcome": "allowed", "failure": "connected, but closed without an answer"}

    assert isinstance(attempt(cluster), Passed)
    outcome = attempt(cluster, send="ping")

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith("connected, but closed without an answer")


@pytest.mark.parametrize("seen", ["refused", "rejected", "dropped", "error"])
@pytest.mark.parametrize("expected", ["allowed", "refused", "rejected", "dropped"])
def test_outcomes_are_never_taken_for_one_another(
    cluster: FakeCluster, wire: FakeWire, expected: str, seen: str
) -> None:
    wire.rules["*", WHERE] = seen

    outcome = attempt(cluster, expect=expected)

    if expected == seen:
        assert isinstance(outcome, Passed)
    elif seen == "error" and expected != "allowed":
        assert isinstance(outcome, Errored)
    else:
        assert isinstance(outcome, Failed)


def test_silence_of_a_source_that_reaches_nothing_proves_nothing(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", WHERE] = wire.rules["*", "10.96.0.1:443"] = "dropped"

    outcome = attempt(cluster, expect="dropped")

    assert isinstance(outcome, Errored)
    assert "proves nothing" in outcome.message


def test_all_of_several_tries_or_any(cluster: FakeCluster, wire: FakeWire) -> None:
    answers = iter(["a", "b", "a", "b", "b", "b"])

    class Changing(dict[tuple[str, str], Any]):
        def get(self, key: tuple[str, str], default: Any = None) -> Any:
            return {"outcome": "allowed", "reply": next(answers)} if key == ("*", WHERE) else default

    wire.rules = Changing()

    mixed = attempt(cluster, count=2, reply="a")
    assert isinstance(mixed, Failed)
    assert mixed.message.endswith('reply is "b", expected "a" (1 of 2 tries)')
    assert isinstance(attempt(cluster, count=2, reply="a", mustFit="any"), Passed)
    assert isinstance(attempt(cluster, count=2, reply="a", mustFit="any"), Failed)


def test_every_source_counts_and_none_is_a_failure(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-1", WHERE] = "refused"

    some = attempt(cluster, **{"from": {"pods": "app=client"}})
    none = attempt(cluster, **{"from": {"pods": "app=nobody"}})

    assert isinstance(some, Failed)
    assert "client-1" in some.message
    assert none == Failed(
        "there is no pod that matches app=nobody in namespace test-ns", expected="at least one pod", actual="none"
    )


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Tcp, {"expect": "dropped", "send": "x"}, "send needs a connection"),
        (Udp, {"expect": "dropped", "reply": "x"}, "reply and time are about an answer"),
        (Tcp, {"to": {"service": "web", "protocol": "UDP"}}, "this step is about TCP"),
        (Tcp, {"count": 2, "source": {"port": 5}}, "one port can't be sent from several times at once"),
        (Tcp, {"source": {"address": "x"}}, '"x" is no IP address'),
        (Tcp, {"source": {}}, "say address, port, or both"),
        (Udp, {"mustFit": "any"}, "needs a count"),
        (Tcp, {"maxTime": "0s"}, "maxTime must be more than 0"),
        (Tcp, {"time": "5ms"}, r"a time is compared, as in \{lt: 5ms\}"),
        (Tcp, {"time": {}}, "a time needs at least one of"),
        (Tcp, {"to": {"pod": "a"}}, "port is missing"),
    ],
)
def test_what_is_wrong_before_anything_runs(kind: type[Tcp] | type[Udp], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind.model_validate({**BASE, **fields})
