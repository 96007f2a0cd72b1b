from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from koalesce.cli.main import main
from koalesce.cli.report_files import sent_spans
from koalesce.errors import UsageError
from koalesce.events import RunStarted, SpecStarted, StepStarted, TestStarted
from koalesce.reporters import spans
from koalesce.reporters.jsonl import read_events

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel isn't installed")
RUNS = Path(__file__).parents[2] / "data" / "runs"
Span = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "TRACEPARENT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def of_file(path: Path) -> list[Span]:
    batches = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        span
        for batch in batches
        for resource in batch["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def made_of(name: str, tmp_path: Path) -> list[Span]:
    path = tmp_path / "spans.jsonl"
    assert main(["report", str(RUNS / f"{name}.jsonl"), "--spans", str(path)]) == 0
    return of_file(path)


def attributes(span: Span) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}


def path_of(span: Span, by_id: dict[str, Span]) -> list[str]:
    above = by_id.get(span.get("parentSpanId", ""))
    return [*(path_of(above, by_id) if above else []), span["name"]]


def test_a_run_is_a_tree_of_specs_tests_and_steps(tmp_path: Path) -> None:
    found = made_of("red", tmp_path)

    by_id = {span["spanId"]: span for span in found}
    paths = [path_of(span, by_id) for span in found]
    steps = [span for span in found if "koalesce.step.type" in attributes(span)]
    assert {span["traceId"] for span in found} == {found[0]["traceId"]}
    assert len(found[0]["traceId"]) == 32
    assert [path for path in paths if len(path) == 1] == [["koalesce run"]]
    assert steps
    assert all(
        path_of(step, by_id)[2]
        in {each.test for each in read_events(RUNS / "red.jsonl") if isinstance(each, TestStarted)}
        for step in steps
        if len(path_of(step, by_id)) == 4
    )
    assert all(
        int(span["startTimeUnixNano"]) >= int(by_id[span["parentSpanId"]]["startTimeUnixNano"])
        for span in found
        if span.get("parentSpanId")
    )


def test_what_failed_says_so_and_why(tmp_path: Path) -> None:
    events = list(read_events(RUNS / "red.jsonl"))
    found = made_of("red", tmp_path)

    for kind, name in (("TestFinished", "test.case.name"), ("StepFinished", "koalesce.step.type")):
        told = {each.message for each in events if type(each).__name__ == kind and each.status == "failed"}  # type: ignore[union-attr]
        seen = [
            span for span in found if name in attributes(span) and span["status"].get("code") == "STATUS_CODE_ERROR"
        ]
        assert told
        assert {span["status"]["message"] for span in seen if attributes(span)["error.type"] == "failed"} == told


def test_the_number_of_spans_is_that_of_what_began(tmp_path: Path) -> None:
    events = list(read_events(RUNS / "green.jsonl"))
    kinds = ("RunStarted", "SpecStarted", "PhaseStarted", "TestStarted", "StepStarted", "TeardownStarted")

    found = made_of("green", tmp_path)

    assert len(found) == sum(type(event).__name__ in kinds for event in events)
    assert all(span["status"] == {"code": "STATUS_CODE_OK"} for span in found)


def test_what_a_run_that_was_cut_had_begun_is_an_error(tmp_path: Path) -> None:
    made = spans.to_file(tmp_path / "spans.jsonl")
    place = {"spec": "a.yaml", "test": "t", "line": 1}
    for event in (
        RunStarted(run_id="r", version="1", specs=("a.yaml",), folder="f", at="2026-01-02T03:04:05.000+00:00"),
        SpecStarted(spec="a.yaml", name="a", tests=("t",), elapsed=1.0),
        TestStarted(**place, namespace="n", elapsed=2.0),
        StepStarted(**place, section="steps", index=0, type="sleep", title="sleep", timeout=1.0, elapsed=3.0),
    ):
        made.handle(event)
    made.close()

    found = of_file(tmp_path / "spans.jsonl")

    assert [span["name"] for span in found] == ["sleep", "t", "a", "koalesce run"]
    assert {span["status"]["message"] for span in found} == {"the run ended before it did"}
    assert {span["endTimeUnixNano"] for span in found} == {"1767323048000000000"}


def test_the_run_is_a_part_of_what_started_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")

    (run,) = (span for span in made_of("green", tmp_path) if span["name"] == "koalesce run")

    assert (run["traceId"], run["parentSpanId"]) == ("a" * 32, "b" * 16)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a collector, and what it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def report(made: spans.Spans | Any, name: str) -> None:
    for event in read_events(RUNS / f"{name}.jsonl"):
        made.handle(event)
    made.close()


def test_spans_go_to_the_collector_that_the_environment_names(
    collector: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    address, bodies = collector
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_SERVICE_NAME": "nightly"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    report(sent_spans(environ)["sent spans"], "green")

    requests = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resources = [resource for request in requests for resource in request.resource_spans]
    names = [span.name for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert "koalesce run" in names
    assert {each.value.string_value for each in resources[0].resource.attributes if each.key == "service.name"} == {
        "nightly"
    }
    assert capsys.readouterr().err == ""


def test_a_collector_that_is_not_there_fails_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    report(sent_spans(environ)["sent spans"], "green")

    assert capsys.readouterr().err.startswith("spans: not all spans were taken by the collector: ")


@pytest.mark.parametrize(
    ("environ", "is_told"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, True),
    ],
)
def test_nothing_is_sent_where_nobody_wants_it(
    environ: dict[str, str], is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sent_spans(environ) == {}
    assert bool(capsys.readouterr().err) == is_told


def test_without_the_libraries_a_file_is_refused_and_a_collector_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def require() -> None:
        raise UsageError(
            "OpenTelemetry spans need libraries that aren't installed", hint="pip install 'koalesce[otel]'"
        )

    monkeypatch.setattr(spans, "require", require)

    assert sent_spans({"OTEL_TRACES_EXPORTER": "otlp"}) == {}
    assert "pip install 'koalesce[otel]'" in capsys.readouterr().err
    assert main(["report", str(RUNS / "green.jsonl"), "--spans", str(tmp_path / "s")]) == 2
    assert "pip install 'koalesce[otel]'" in capsys.readouterr().err
