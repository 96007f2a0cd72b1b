"""HTTP requests and what must be answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.curl import Curl
from tests.fakes import FakeCluster, FakeFiles, FakeNode, FakeWire, context, made, running_pod

URL = "http://web.test-ns.svc:8080/"


def answer(status: int = 200, body: str = "ok\n", **headers: str) -> dict[str, Any]:
    fields = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return {"outcome": "allowed", "http": {"status": status, "url": URL, "headers": fields, "body": body}}


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire(rules={("*", URL): answer()})


@pytest.fixture
def cluster(wire: FakeWire) -> FakeCluster:
    cluster = FakeCluster(
        running_pod("client-0", app="client"),
        running_pod("client-1", app="client"),
        nodes=[FakeNode("worker-1", answer=wire)],
    )
    spec = {"clusterIP": "10.96.0.1", "ports": [{"port": 443}]}
    cluster.add(made("Service", "kubernetes", namespace="default", spec=spec))
    return cluster


def attempt(cluster: FakeCluster, *, root: Path | None = None, negated: bool = False, **fields: Any) -> Outcome:
    given = {"from": {"pod": "client-0"}, "url": URL, **fields}
    return Curl.model_validate(given).attempt(context(cluster, root=root, negated=negated))


def test_any_status_from_200_to_299_will_do(cluster: FakeCluster, wire: FakeWire) -> None:
    assert isinstance(attempt(cluster), Passed)

    wire.rules["*", URL] = answer(status=302, body="")
    outcome = attempt(cluster)

    assert isinstance(outcome, Failed)
    assert outcome.message == f"client-0: GET {URL}: status is 302, expected 200 to 299"
    assert (outcome.expected, outcome.actual) == ("200 to 299", "302")


def test_a_failure_shows_the_answer_and_the_command(cluster: FakeCluster) -> None:
    outcome = attempt(cluster, status=404)

    assert outcome == Failed(
        f"client-0: GET {URL}: status is 200, expected 404",
        expected="404",
        actual="200",
        detail="status 200 after 0.001s\nbody:\n  | ok\nsee it with: koalesce ssh fake worker-1 -- "
        f"/opt/koalesce/bin/koalesce-probe -limit 5s -container id-client-0 http {URL}",
    )


@pytest.mark.parametrize(
    ("fields", "holds"),
    [
        ({"status": 200, "body": "ok"}, True),
        ({"body": {"matches": "^o"}}, True),
        ({"body": {"contains": "no"}}, False),
        ({"status": {"in": [200, 204]}}, True),
        ({"status": {"lt": 200}}, False),
        ({"headers": {"content-type": {"contains": "text"}}}, True),
        ({"headers": {"Content-Type": "text/html"}}, False),
        ({"headers": {"x-missing": {"exists": False}}}, True),
        ({"headers": {"x-missing": {"contains": "a"}}}, False),
        ({"headers": {"x-missing": {"json": {}}}}, False),
        ({"json": {}}, False),
    ],
)
def test_matchers(cluster: FakeCluster, wire: FakeWire, fields: dict[str, Any], holds: bool) -> None:
    wire.rules["*", URL] = answer(Content_Type="text/plain")

    assert type(attempt(cluster, **fields)) is (Passed if holds else Failed)


def test_json_is_matched_in_part(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", URL] = answer(body='{"peers": 2, "state": "up"}')

    assert isinstance(attempt(cluster, json={"peers": {"ge": 2}}), Passed)
    outcome = attempt(cluster, json={"peers": 3})
    assert isinstance(outcome, Failed)
    assert outcome.message == f"client-0: GET {URL}: json.peers is 2, expected 3"


def test_every_source_must_be_answered(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-1", URL] = {"outcome": "refused", "reason": "connection refused"}

    outcome = attempt(cluster, **{"from": {"pods": "app=client"}})

    assert isinstance(outcome, Failed)
    assert outcome.message == f"client-1: GET {URL}: refused (connection refused) (1 of 2 sources)"
    assert outcome.actual == "refused"


def test_outputs(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", URL] = answer(body='{"a": 1}', X_Id="7")

    outcome = attempt(cluster)

    assert isinstance(outcome, Passed)
    assert outcome.value["json"] == {"a": 1}
    assert outcome.value["headers"] == {"x-id": "7"}
    assert outcome.value["status"] == 200


def test_what_is_sent(cluster: FakeCluster, wire: FakeWire, tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text(name.upper())
    url = "https://web.example/api"
    wire.rules["*", url] = answer()

    attempt(
        cluster,
        root=tmp_path,
        url=url,
        method="POST",
        dataJson={"a": [1]},
        requestHeaders={"X-N": 1, "Host": "other"},
        resolve={"web.example": "10.96.0.7"},
        followRedirects=True,
        maxTime="2s",
        tls={"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem", "serverName": "sni"},
    )

    assert wire.targets == [
        {
            "id": "0",
            "type": "http",
            "limit": 2.0,
            "http": {
                "method": "POST",
                "url": url,
                "headers": {"X-N": ["1"], "Host": ["other"], "Content-Type": ["application/json"]},
                "body": '{"a": [1]}',
                "resolve": {"web.example:443": "10.96.0.7"},
                "redirects": 10,
                "deny": [],
                "tls": {"ca": "CA.PEM", "cert": "CERT.PEM", "key": "KEY.PEM", "insecure": False, "serverName": "sni"},
            },
        }
    ]


def test_under_never_silence_needs_a_control(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["id-client-0", URL] = "dropped"
    assert isinstance(attempt(cluster, negated=True), Failed)

    wire.rules["id-client-0", "10.96.0.1:443"] = "dropped"
    assert isinstance(attempt(cluster, negated=True), Errored)

    wire.rules["id-client-0", URL] = "refused"
    assert isinstance(attempt(cluster, negated=True), Failed)


def test_only_what_changes_nothing_is_repeated() -> None:
    assert Curl.model_validate({"url": URL}).is_retried()
    assert not Curl.model_validate({"url": URL, "method": "POST"}).is_retried()


def test_missing_files_are_told_before_anything_runs(tmp_path: Path) -> None:
    given = Curl.model_validate({"url": "https://a/", "tls": {"ca": "ca.pem"}})

    assert given.static_problems(FakeFiles(tmp_path)) == ["tls: ca.pem: no such file"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "file:///etc/passwd"}, "is no http:// or https:// URL"),
        ({"url": "web:8080/"}, "is no http:// or https:// URL"),
        ({"method": "BREW"}, "'GET'"),
        ({"data": "a", "dataJson": {}}, "one of data and dataJson"),
        ({"tls": {"cert": "a"}}, "cert and key go together"),
        ({"tls": {"ca": "a", "insecure": True}}, "exclude each other"),
        ({"json": {"a": {"matches": "("}}}, "regular expression"),
        ({"from": {"host": True, "pod": "a"}}, "found pod and host"),
        ({"maxTime": 5}, "not a duration"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Curl.model_validate({"url": URL, **fields})


def test_bare_host() -> None:
    assert Curl.model_validate({"url": URL, "from": "host"}).from_.host is True
    assert Curl.model_validate({"url": URL}).from_.host is True
