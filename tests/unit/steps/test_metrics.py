"""Values that programs tell of themselves."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import ApiError
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.metrics import Metrics
from tests.fakes import FakeCluster, FakeNode, FakeWire, api_error, context, running_pod

TEXT = """\
# HELP dns_requests_total Requests.
# TYPE dns_requests_total counter
dns_requests_total{type="A",zone="."} 10
dns_requests_total{type="A",zone="cluster.local."} 32
dns_requests_total{type="AAAA",zone="."} 4
# TYPE in_flight gauge
in_flight 2.5
# TYPE latency_seconds histogram
latency_seconds_bucket{le="0.1"} 50
latency_seconds_bucket{le="0.2"} 90
latency_seconds_bucket{le="+Inf"} 100
latency_seconds_sum 12.5
latency_seconds_count 100
"""
POD = {"pod": "dns-0", "port": 9153}
PATH = "/api/v1/namespaces/test-ns/pods/dns-0:9153/proxy/metrics"


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster(running_pod("dns-0", app="dns"), nodes=[FakeNode("worker-1"), FakeNode("worker-2")])
    found.kube.texts[PATH] = TEXT
    return found


def attempt(given: FakeCluster | StepContext, **fields: Any) -> Outcome:
    where = context(given) if isinstance(given, FakeCluster) else given
    places = {} if {"pods", "node", "nodes", "service", "apiServer", "url"} & set(fields) else POD
    return Metrics.model_validate({**places, **fields}).attempt(where)


def test_the_value_of_a_gauge(cluster: FakeCluster) -> None:
    samples = [{"source": "dns-0", "labels": {}, "value": 2.5}]

    assert attempt(cluster, name="in_flight", value={"le": 3}) == Passed(
        "dns-0: in_flight: 2.5", {"samples": samples, "value": 2.5}
    )
    assert attempt(cluster, name="in_flight", value=3) == Failed(
        "dns-0: in_flight is 2.5, expected 3", expected="3", actual="2.5"
    )


def test_series_by_their_labels(cluster: FakeCluster) -> None:
    name = "dns_requests_total"

    assert isinstance(
        attempt(cluster, name=name, labels={"type": "A", "zone": {"matches": "^cluster"}}, value=32), Passed
    )
    every = attempt(cluster, name=name, labels={"type": "A"}, value={"gt": 20})
    assert isinstance(every, Failed)
    assert every.message == 'dns-0: dns_requests_total{type="A", zone="."} is 10, expected > 20 (1 of 2 series)'
    assert isinstance(attempt(cluster, name=name, labels={"type": "A"}, value={"gt": 20}, any=True), Passed)
    assert isinstance(
        attempt(cluster, name=name, labels={"type": {"lines": {"contains": "B"}}}, value={"ge": 0}), Failed
    )
    assert isinstance(attempt(cluster, name=name, count=3), Passed)
    assert isinstance(attempt(cluster, name=name, count={"ge": 4}), Failed)


def test_sums(cluster: FakeCluster) -> None:
    assert isinstance(attempt(cluster, name="dns_requests_total", sum=True, value=46), Passed)
    by_type = attempt(cluster, name="dns_requests_total", sum=["type"], value={"gt": 5})
    assert isinstance(by_type, Failed)
    assert by_type.message == 'dns-0: dns_requests_total{type="AAAA"} is 4, expected > 5 (1 of 2 series)'


def test_what_is_not_there_fails_by_itself(cluster: FakeCluster) -> None:
    assert attempt(cluster, name="dns_request_total", value={"ge": 0}) == Failed(
        "dns-0: there is no metric dns_request_total; did you mean dns_requests_total?",
        expected="dns_request_total",
        actual="missing",
    )
    labels = attempt(cluster, name="dns_requests_total", labels={"typ": "A"}, value={"ge": 0})
    assert isinstance(labels, Failed)
    assert labels.message == (
        'dns-0: no series of dns_requests_total has typ "A"; it has no label typ, only type, zone'
    )
    assert 'dns_requests_total{type="A", zone="."}' in labels.detail
    given = context(cluster, may_not_exist=True)
    assert isinstance(attempt(given, name="errors_total", sum=True, value=0), Passed)
    assert isinstance(attempt(given, name="errors_total", sum=True, value=1), Failed)


def test_a_sum_by_a_label_that_no_series_has_fails_by_itself(cluster: FakeCluster) -> None:
    wrong = attempt(cluster, name="dns_requests_total", sum=["tpye"], value={"ge": 0})
    assert wrong == Failed(
        "dns-0: no series of dns_requests_total has the label tpye to sum up by; did you mean type?",
        expected="the label tpye",
        actual="missing",
    )
    assert wrong.saw_nothing
    plain = attempt(cluster, name="in_flight", sum=["code"], value={"ge": 0})
    assert isinstance(plain, Failed)
    assert plain.message.endswith("they have no labels at all")
    given = context(cluster, may_not_exist=True)
    assert isinstance(attempt(given, name="in_flight", sum=["code"], value=2.5), Passed)


def test_quantiles_of_a_histogram(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, name="latency_seconds", quantile=0.5, value={"le": 0.1})

    assert isinstance(outcome, Passed)
    assert outcome.value["value"] == pytest.approx(0.1)
    between = attempt(cluster, name="latency_seconds", quantile=0.7, value={"lt": 0.151, "gt": 0.149})
    assert isinstance(between, Passed)
    assert isinstance(
        attempt(cluster, name="latency_seconds", quantile=0.99, value=0.2), Passed
    )  # beyond the last bound
    cluster.kube.texts[PATH] = (
        TEXT.replace(" 50\n", " 0\n").replace(" 90\n", " 0\n").replace('"+Inf"} 100', '"+Inf"} 0')
    )
    nothing = attempt(cluster, name="latency_seconds", quantile=0.5, value={"le": 1})
    assert isinstance(nothing, Failed)
    assert "nothing was observed" in nothing.message


def test_the_change_since_the_tests_first_look(cluster: FakeCluster) -> None:
    first = context(cluster)
    assert isinstance(attempt(first, name="dns_requests_total", labels={"type": "A"}), Passed)
    cluster.kube.texts[PATH] = TEXT.replace(" 10\n", " 13\n") + 'dns_requests_total{type="MX",zone="."} 2\n'
    second = context(cluster, sightings=first.sightings)

    summed = attempt(second, name="dns_requests_total", sum=True, delta=5)
    single = attempt(second, name="dns_requests_total", labels={"type": "A", "zone": "."}, delta={"gt": 3})

    assert isinstance(summed, Passed)
    assert isinstance(single, Failed)
    assert single.message == 'dns-0: the change of dns_requests_total{type="A", zone="."} is 3, expected > 3'


def test_a_change_without_an_earlier_look_is_unknown(cluster: FakeCluster) -> None:
    given = context(cluster)

    for _ in range(2):
        outcome = attempt(given, name="dns_requests_total", sum=True, delta={"ge": 0})

        assert isinstance(outcome, Errored)
        assert outcome.final
        assert "no earlier step of this test has looked at dns_requests_total" in outcome.message


def test_the_change_since_the_step_began(cluster: FakeCluster) -> None:
    given = context(cluster)
    fields: dict[str, Any] = {
        "name": "dns_requests_total",
        "sum": True,
        "delta": {"ge": 2},
        "since": "step",
        "over": "2s",
    }

    early = attempt(given, **fields)
    cluster.scope.time = 2.0
    unchanged = attempt(given, **fields)
    cluster.kube.texts[PATH] = TEXT.replace(" 10\n", " 12\n")
    changed = attempt(given, **fields)

    assert isinstance(early, Failed)
    assert early.message == "dns-0: only 0ms have passed since the look to compare with"
    assert isinstance(unchanged, Failed)
    assert unchanged.message == "dns-0: the change of dns_requests_total is 0, expected ≥ 2"
    assert isinstance(changed, Passed)
    assert isinstance(attempt(context(cluster, lasts=True), **{**fields, "delta": 0, "over": "0s"}), Passed)


def test_rates(cluster: FakeCluster) -> None:
    given = context(cluster)
    attempt(given, name="dns_requests_total", sum=True, rate=3, since="step")
    cluster.scope.time = 10.0
    cluster.kube.texts[PATH] = TEXT.replace(" 10\n", " 40\n")

    assert isinstance(attempt(given, name="dns_requests_total", sum=True, rate=3, since="step"), Passed)
    over_time = attempt(context(cluster, lasts=True), name="dns_requests_total", rate=3, since="step")
    assert isinstance(over_time, Errored)


def test_a_counter_that_went_back(cluster: FakeCluster) -> None:
    first = context(cluster)
    attempt(first, name="dns_requests_total")
    attempt(first, name="in_flight")
    cluster.kube.texts[PATH] = TEXT.replace(" 10\n", " 1\n").replace("2.5", "1.5")
    second = context(cluster, sightings=first.sightings)

    outcome = attempt(second, name="dns_requests_total", sum=True, delta={"ge": 0})

    assert isinstance(outcome, Failed)
    assert 'dns_requests_total{type="A", zone="."} went back from 10 to 1' in outcome.message
    assert isinstance(attempt(second, name="in_flight", delta=-1), Passed)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ({"node": "worker-1"}, "/api/v1/nodes/worker-1/proxy/metrics"),
        ({"node": "worker-1", "path": "/metrics/cadvisor"}, "/api/v1/nodes/worker-1/proxy/metrics/cadvisor"),
        ({"node": "worker-1", "port": 9100}, "/api/v1/nodes/worker-1:9100/proxy/metrics"),
        ({"apiServer": True}, "/metrics"),
        ({"service": "dns", "port": "metrics"}, "/api/v1/namespaces/test-ns/services/dns:metrics/proxy/metrics"),
        (
            {"service": "dns", "namespace": "kube-system", "scheme": "https"},
            "/api/v1/namespaces/kube-system/services/https:dns:/proxy/metrics",
        ),
        ({"pods": "app=dns", "port": "web"}, "/api/v1/namespaces/test-ns/pods/dns-0:8080/proxy/metrics"),
    ],
)
def test_places_behind_the_api_server(cluster: FakeCluster, place: dict[str, Any], path: str) -> None:
    cluster.kube.texts[path] = TEXT

    assert isinstance(attempt(cluster, **place, name="in_flight", value=2.5), Passed)
    assert ("text", path) in cluster.kube.requests


def test_a_url_from_every_node(cluster: FakeCluster) -> None:
    url = "http://127.0.0.1:10249/metrics"
    answer = {"outcome": "allowed", "http": {"status": 200, "body": TEXT}}
    cluster.nodes[0].answer = FakeWire(rules={("*", url): answer, ("", url): answer})
    cluster.nodes[1].answer = FakeWire(rules={("", url): {**answer, "http": {"status": 200, "body": "in_flight 9\n"}}})

    outcome = attempt(cluster, url=url, **{"from": {"nodes": "all"}}, name="in_flight", value={"lt": 5})

    assert isinstance(outcome, Failed)
    assert outcome.message == f"worker-2, {url}: in_flight is 9, expected < 5 (1 of 2 series)"


def test_sources_that_do_not_answer(cluster: FakeCluster) -> None:
    cluster.kube.texts[PATH] = api_error(503, "connect: connection refused", reason="ServiceUnavailable")
    refused = attempt(cluster, name="in_flight")
    cluster.kube.texts[PATH] = api_error(0, "no answer in time", reason="Timeout")
    with pytest.raises(ApiError):
        attempt(cluster, name="in_flight")
    cluster.kube.texts[PATH] = "<html>not here</html>"

    assert refused == Failed(
        "dns-0: its metrics can't be read: connect: connection refused", expected="metrics", actual="no answer"
    )
    assert isinstance(attempt(cluster, name="in_flight"), Failed)
    assert isinstance(attempt(cluster, pods="app=none", port=1, name="in_flight"), Failed)
    assert isinstance(attempt(context(cluster, negated=True), pods="app=none", port=1, name="in_flight"), Errored)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "say exactly one of pod, pods, service, node, nodes, apiServer, url"),
        ({"pod": "a"}, "port is missing"),
        ({"node": "a", "port": "metrics"}, "a port of a node is a number"),
        ({"node": "a", "from": "host"}, "from and tls are for a url"),
        ({"url": "ftp://x/"}, "no http"),
        ({"url": "http://x/", "path": "/metrics"}, "has its path in it"),
        ({"apiServer": True, "namespace": "x"}, "namespace belongs to pods and Services, not to apiServer"),
        ({"node": "a", "value": 1, "delta": 1}, "say one of value, delta and rate"),
        ({"node": "a", "since": "step"}, "since and over are for delta and rate"),
        ({"node": "a", "delta": 1, "since": "5m"}, "since: test or since: step"),
        ({"node": "a", "quantile": 2}, "less than or equal to 1"),
        ({"node": "a", "quantile": 0.5, "rate": 1}, "quantile is of a histogram"),
        ({"node": "a", "labels": {"a": {"matches": "("}}}, "regular expression"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Metrics.model_validate({"name": "x", **fields})
