"""HTTP requests and what must be answered."""

from __future__ import annotations

from dataclasses import dataclass, field
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
        ({"headers": {"x-missing": {"lines": {"count": 1}}}}, False),
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
        ({"data": "a", "dataJson": {}}, "say one of data, dataJson and dataFile"),
        ({"tls": {"cert": "a"}}, "cert and key go together"),
        ({"tls": {"ca": "a", "insecure": True}}, "exclude each other"),
        ({"json": {"a": {"matches": "("}}}, "regular expression"),
        ({"from": {"host": True, "pod": "a"}}, "found pod and host"),
        ({"maxTime": 5}, "not a duration"),
        ({"expect": "dropped", "status": 200}, "status is about an answer"),
        ({"expect": "refused", "json": {}}, "json is about an answer"),
        ({"expect": ["answer", "refused"]}, "answer can't stand beside others"),
        ({"mustFit": "any"}, "needs a count of 2 or more"),
        ({"time": {"total": "1s"}}, r"a time is compared, as in \{lt: 1s\}"),
        ({"tls": {"ca": {"secret": "a", "configMap": "b"}}}, "exactly one of secret and configMap"),
        ({"from": {"pod": "b"}, "via": {"proxy": {"pod": "a"}}}, "via is a way from this machine"),
        ({"from": "host", "via": {}}, "exactly one of portForward and proxy"),
        ({"from": "host", "via": {"proxy": {"deployment": "a"}}}, "not to a deployment"),
        ({"from": "host", "via": {"proxy": {"pod": "a"}}, "tls": {"insecure": True}}, "tls can't be said here"),
        ({"from": "host", "via": {"proxy": {"pod": "a"}}, "expect": "refused"}, "can't be seen through the proxy"),
        (
            {"from": "host", "via": {"portForward": {"pod": "a"}}, "expect": "dropped"},
            "can't be seen through a port-forward",
        ),
        ({"from": "host", "via": {"portForward": {"pod": "a"}}, "resolve": {"a": "b"}}, "resolve has no meaning here"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Curl.model_validate({"url": URL, **fields})


def test_bare_host() -> None:
    assert Curl.model_validate({"url": URL, "from": "host"}).from_.host is True
    assert Curl.model_validate({"url": URL}).from_.host is True


ENDS: dict[str, dict[str, Any]] = {
    "answer": answer(),
    "refused": {"outcome": "refused", "stage": "connect"},
    "rejected": {"outcome": "rejected", "stage": "connect"},
    "dropped": {"outcome": "dropped", "stage": "connect"},
    "timeout": {"outcome": "dropped", "stage": "answer"},
    "closed": {"outcome": "refused", "stage": "answer"},
    "tlsError": {"outcome": "allowed", "stage": "tls", "failure": "x509: unknown authority"},
    "nameError": {"outcome": "error", "stage": "resolve", "reason": "no such host"},
    "error": {"outcome": "error", "stage": "connect", "reason": "no route at the source"},
}


@pytest.mark.parametrize("seen", ENDS)
@pytest.mark.parametrize("expected", [end for end in ENDS if end != "error"])
def test_ends_are_never_taken_for_one_another(cluster: FakeCluster, wire: FakeWire, expected: str, seen: str) -> None:
    wire.rules["*", URL] = ENDS[seen]

    outcome = attempt(cluster, expect=expected)

    if expected == seen:
        assert isinstance(outcome, Passed)
    elif seen == "error" and expected != "answer":
        assert isinstance(outcome, Errored)
    else:
        assert isinstance(outcome, Failed)


def test_a_reset_inside_of_tls_is_no_tls_error(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", URL] = {"outcome": "refused", "stage": "tls"}

    assert isinstance(attempt(cluster, expect="closed"), Passed)


def test_silence_of_a_source_that_reaches_nothing_proves_nothing(cluster: FakeCluster, wire: FakeWire) -> None:
    wire.rules["*", URL] = wire.rules["*", "10.96.0.1:443"] = "dropped"

    assert isinstance(attempt(cluster, expect="dropped"), Errored)
    assert isinstance(attempt(cluster, expect="dropped", control={"ownNode": True}), Passed)


def test_several_requests(cluster: FakeCluster, wire: FakeWire) -> None:
    bodies = iter("ababaaaaabbb")

    class Changing(dict[tuple[str, str], Any]):
        def get(self, key: tuple[str, str], default: Any = None) -> Any:
            return answer(body=next(bodies)) if key == ("*", URL) else default

    wire.rules = Changing()

    both = attempt(cluster, count=4, distinct=2)
    assert isinstance(both, Passed)
    assert (both.message, len(both.value)) == (f"GET {URL}: 200 4 times", 4)
    one = attempt(cluster, count=4, distinct={"ge": 2})
    assert isinstance(one, Failed)
    assert one.message == f"GET {URL}: the number of different bodies is 1, expected ≥ 2"
    assert one.detail == "4 times: 'a'"
    assert isinstance(attempt(cluster, count=2, body="a", mustFit="any"), Passed)
    none = attempt(cluster, count=2, body="a", mustFit="any")
    assert isinstance(none, Failed)
    assert none.message == f'client-0: GET {URL}: body is "b", expected "a" (2 of 2 requests)'


def test_times(cluster: FakeCluster, wire: FakeWire) -> None:
    seen = answer()
    seen["http"]["timing"] = {"connect": 0.01, "firstByte": 0.2, "total": 0.3}
    wire.rules["*", URL] = seen

    assert isinstance(attempt(cluster, time={"connect": {"lt": "20ms"}, "total": {"le": "300ms"}}), Passed)
    slow = attempt(cluster, time={"firstByte": {"lt": "100ms"}})
    assert isinstance(slow, Failed)
    assert slow.message == f"client-0: GET {URL}: time.firstByte is 200ms, expected < 100ms"
    assert isinstance(attempt(cluster, time={"tls": {"lt": "1s"}}), Failed)


def test_certificates_of_secrets_and_configmaps(cluster: FakeCluster, wire: FakeWire) -> None:
    cluster.add(made("ConfigMap", "root", namespace="other", data={"ca.crt": "CA"}))
    cluster.add(made("Secret", "own", namespace="test-ns", data={"tls.crt": "Q0VSVA==", "other": "S0VZ"}))
    own = {"secret": "own"}

    attempt(
        cluster,
        tls={"ca": {"configMap": "root", "namespace": "other"}, "cert": own, "key": {**own, "key": "other"}},
    )

    assert wire.targets[-1]["http"]["tls"] == {
        "ca": "CA", "cert": "CERT", "key": "KEY", "insecure": False, "serverName": "",
    }  # fmt: skip
    lacking = attempt(cluster, tls={"cert": own, "key": own})
    assert isinstance(lacking, Failed)
    assert lacking.message == "tls: secret test-ns/own has no key tls.key; its keys: other, tls.crt"
    missing = attempt(cluster, tls={"ca": {"secret": "none"}})
    assert isinstance(missing, Failed)
    assert missing.message == "tls: secret test-ns/none does not exist"


def test_files_as_bodies(cluster: FakeCluster, wire: FakeWire, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("é")
    (tmp_path / "bytes").write_bytes(b"\xff\x00")

    attempt(cluster, root=tmp_path, method="PUT", dataFile="text")
    attempt(cluster, root=tmp_path, method="PUT", dataFile="bytes", followRedirects=3)

    text, binary = (target["http"] for target in wire.targets)
    assert (text["body"], binary["body"], binary["bodyBase64"]) == ("é", "", "/wA=")
    assert (text["redirects"], binary["redirects"]) == (0, 3)


@dataclass
class FakeAnswer:
    status: int
    body: bytes
    headers: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.01


def proxied(cluster: FakeCluster, answer: FakeAnswer, asked: list[tuple[Any, ...]], **fields: Any) -> Outcome:
    def exchange(method: str, path: str, *, body: bytes | None, headers: Any, timeout: float, cancel: Any) -> Any:
        asked.append((method, path, body, headers))
        return answer

    cluster.kube.exchange = exchange  # type: ignore[attr-defined]  # only these tests ask through the API server
    return attempt(cluster, **{"from": "host", **fields})


def test_through_the_api_servers_proxy(cluster: FakeCluster) -> None:
    asked: list[tuple[Any, ...]] = []
    given = FakeAnswer(200, b'{"a": 1}', {"content-type": ["application/json"]})

    outcome = proxied(
        cluster, given, asked, via={"proxy": {"service": "web"}}, url="https://web:8443/x?y=1", method="POST", data="d",
        requestHeaders={"X-N": 1, "Authorization": "mine"}, json={"a": 1}, headers={"Content-Type": {"contains": "json"}},
        time={"total": {"lt": "1s"}},
    )  # fmt: skip

    assert isinstance(outcome, Passed), outcome
    assert asked == [
        ("POST", "/api/v1/namespaces/test-ns/services/https:web:8443/proxy/x?y=1", b"d", {"Accept": "*/*", "X-N": "1"})
    ]


def test_what_the_api_server_says_itself_is_no_answer(cluster: FakeCluster) -> None:
    said = b'{"kind": "Status", "apiVersion": "v1", "message": "error trying to reach service: connection refused"}'
    via = {"proxy": {"pod": "web-0"}}

    own = proxied(cluster, FakeAnswer(503, said), [], via=via, url="http://web/", status=503)
    others = proxied(cluster, FakeAnswer(503, b"busy"), [], via=via, url="http://web/", status=503)

    assert isinstance(own, Failed)
    assert "the API server answered in its place: error trying to reach service" in own.message
    assert isinstance(others, Passed)


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        ({"outcome": "error", "stage": "resolve", "reason": "no such name"}, Errored),
        ({"outcome": "error", "stage": "connect", "reason": "no route at the source"}, Errored),
        ({"outcome": "refused", "stage": "connect"}, Failed),
        ({"outcome": "dropped", "stage": "connect"}, Failed),
    ],
)
def test_under_never_what_cannot_be_tried_is_no_absence_of_answers(
    cluster: FakeCluster, wire: FakeWire, observed: dict[str, Any], expected: type
) -> None:
    wire.rules["*", URL] = observed

    assert type(attempt(cluster, negated=True)) is expected
    assert isinstance(attempt(cluster), Failed)
