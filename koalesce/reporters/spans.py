"""A run as OpenTelemetry spans: run → spec → phases, tests → steps. They are made of events, so that an event file gives the same ones.

The libraries are those of the extra `otel`. Names of attributes are OpenTelemetry's where it has some (https://opentelemetry.io/docs/specs/semconv/registry/attributes/:
test, code, k8s, error), and `koalesce.…` for the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from koalesce.errors import UsageError
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
    StepAttempted,
    StepFinished,
    StepStarted,
    TeardownFinished,
    TeardownStarted,
    TestFinished,
    TestRerun,
    TestStarted,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

    from koalesce.reporters.span_export import Kept

_LONGEST = 4096  # characters of a message: collectors drop spans that are too large
_RESULTS: Mapping[Status, str] = {"passed": "pass", "failed": "fail", "error": "fail"}  # test.case.result.status
_Key = tuple[Any, ...]


def require() -> None:
    """Raise UsageError where the libraries aren't installed."""
    try:
        import koalesce.reporters.span_export  # noqa: F401 - whether what it imports is there
    except ImportError as error:
        raise UsageError(
            "OpenTelemetry spans need libraries that aren't installed", hint="pip install 'koalesce[otel]'"
        ) from error


def to_file(path: Path) -> Spans:
    """Into a file; OSError at the end where it couldn't be written."""

    def made() -> SpanExporter:
        from koalesce.reporters.span_export import SpanFile

        return SpanFile(path)

    def refuse(problem: str) -> None:
        raise OSError(None, problem)

    return Spans(made, refuse)


def to_collector(tell: Callable[[str], None]) -> Spans:
    """To the collector that the environment names; `tell` gets a sentence at the end where that didn't take them all."""

    def made() -> SpanExporter:
        from koalesce.reporters.span_export import collector

        return collector()

    return Spans(made, lambda problem: tell(f"not all spans were taken by the collector: {problem}"))


def is_collected(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)."""
    chosen = environ.get("OTEL_TRACES_EXPORTER", "")
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or (chosen and "otlp" not in chosen.split(",")):
        return False
    return bool(
        chosen or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )


class Spans:
    """Makes spans of events and hands them to an exporter once they have ended; `tell` gets why it couldn't take some."""

    def __init__(self, exporter: Callable[[], SpanExporter], tell: Callable[[str], None]) -> None:
        require()
        self._exporter = exporter
        self._tell = tell
        self._provider: TracerProvider | None = None
        self._kept: Kept
        self._tracer: Tracer
        self._open: dict[_Key, list[Span]] = {}
        self._began = 0.0  # wall clock of the run's begin, in seconds
        self._elapsed = 0.0
        self._cached: set[str] = set()

    def handle(self, event: AnyEvent) -> None:
        """Begin or end what the event tells of."""
        self._elapsed = max(self._elapsed, event.elapsed)
        if self._is_earlier(event):
            return
        match event:
            case RunStarted():
                self._begin_run(event)
            case RunFinished():
                self._end((), event.status, event.elapsed, {
                    "koalesce.passed": event.passed, "koalesce.failed": event.failed, "koalesce.error": event.error,
                    "koalesce.skipped": event.skipped, "koalesce.interrupted": event.interrupted,
                })  # fmt: skip
            case SpecStarted() | PhaseStarted() | PhaseProgress() | PhaseFinished() | ClusterReady() | SpecFinished():
                self._of_spec(event)
            case TeardownStarted() | TeardownFinished():
                self._of_teardown(event)
            case TestStarted() | TestRerun() | TestFinished():
                self._of_test(event)
            case StepStarted() | StepAttempted() | StepFinished():
                self._of_step(event)
            case _:
                assert_never(event)

    def _is_earlier(self, event: AnyEvent) -> bool:
        """Whether it's told again of an earlier run: when that was, and how long, is in the spans of that run."""
        if isinstance(event, SpecStarted) and event.cached:
            self._cached.add(event.spec)
        if isinstance(event, RunStarted | RunFinished | SpecStarted | SpecFinished):
            return False
        return event.spec in self._cached

    def close(self) -> None:
        """End what is still open as an error, and see that everything has been taken."""
        if self._provider is None:
            return
        for key in sorted(self._open, key=len, reverse=True):
            while self._open.get(key):
                self._end(key, "error", self._elapsed, {}, "the run ended before it did")
        self._provider.shutdown()
        if self._kept.problem:
            self._tell(self._kept.problem)

    def _begin_run(self, event: RunStarted) -> None:
        from koalesce.reporters.span_export import Kept, parent, provider

        self._kept = Kept(self._exporter())
        self._provider = provider(self._kept, event.version)
        self._tracer = self._provider.get_tracer("koalesce", event.version)
        self._began = datetime.fromisoformat(event.at).timestamp() - event.elapsed
        span = self._tracer.start_span(
            "koalesce run", context=parent(os.environ), start_time=self._time(event.elapsed),
            attributes={"koalesce.run.id": event.run_id, "koalesce.specs": list(event.specs)},
        )  # fmt: skip
        self._open[()] = [span]

    def _of_spec(
        self, event: SpecStarted | PhaseStarted | PhaseProgress | PhaseFinished | ClusterReady | SpecFinished
    ) -> None:
        span = self._spec(event.spec, event.elapsed)
        match event:
            case SpecStarted():
                span.update_name(event.name)
                span.set_attributes({"test.suite.name": event.name, "koalesce.tests": len(event.tests)})
                if event.cached:
                    span.set_attribute("koalesce.cached", event.cached)
            case PhaseStarted():
                self._begin((event.spec, event.phase), f"phase {event.phase}", event.elapsed, {})
            case PhaseProgress():
                for phase in self._open.get((event.spec, event.phase), ())[-1:]:
                    phase.add_event(event.message[:_LONGEST], timestamp=self._time(event.elapsed))
            case PhaseFinished():
                self._end((event.spec, event.phase), event.status, event.elapsed, {}, event.message)
            case ClusterReady():
                span.set_attributes({
                    "k8s.cluster.name": event.cluster, "koalesce.provider": event.provider,
                    "koalesce.kubernetes": event.kubernetes, "koalesce.nodes": len(event.nodes),
                    "koalesce.capabilities": list(event.capabilities),
                })  # fmt: skip
            case SpecFinished():
                result = {
                    "test.suite.run.status": {"passed": "success", "skipped": "skipped"}.get(event.status, "failure")
                }
                self._end((event.spec,), event.status, event.elapsed, result, event.message)
            case _:
                assert_never(event)

    def _of_teardown(self, event: TeardownStarted | TeardownFinished) -> None:
        key = (event.spec, "teardown", event.cluster)
        if isinstance(event, TeardownStarted):
            self._begin(key, "teardown", event.elapsed, {"k8s.cluster.name": event.cluster})
        else:
            status: Status = "error" if event.message else "passed"
            self._end(key, status, event.elapsed, {"koalesce.kept": event.kept}, event.message)

    def _of_test(self, event: TestStarted | TestRerun | TestFinished) -> None:
        key = (event.spec, "test", event.test)
        match event:
            case TestStarted():
                self._begin(key, event.test, event.elapsed, {
                    "test.suite.name": event.spec, "test.case.name": event.test, "k8s.namespace.name": event.namespace,
                    "code.file.path": event.spec, "code.line.number": event.line, "koalesce.rerun": event.rerun,
                })  # fmt: skip
            case TestRerun():
                self._end(key, "failed", event.elapsed, {"test.case.result.status": "fail"}, event.message)
            case TestFinished():
                result = {"test.case.result.status": _RESULTS[event.status]} if event.status in _RESULTS else {}
                self._end(key, event.status, event.elapsed, {**result, "koalesce.flaky": event.flaky}, event.message)
            case _:
                assert_never(event)

    def _of_step(self, event: StepStarted | StepAttempted | StepFinished) -> None:
        key = (event.spec, "test", event.test, event.section, event.index)
        match event:
            case StepStarted():
                self._begin(key, event.title, event.elapsed, {
                    "koalesce.step.type": event.type, "koalesce.step.section": event.section,
                    "koalesce.step.index": event.index, "koalesce.step.timeout": event.timeout,
                    "code.file.path": event.spec, "code.line.number": event.line,
                })  # fmt: skip
            case StepAttempted():
                for span in self._open.get(key, ())[-1:]:
                    told = {"koalesce.attempt": event.attempt, "koalesce.outcome": event.outcome}
                    span.add_event(event.message[:_LONGEST], told, timestamp=self._time(event.elapsed))
            case StepFinished():
                settled = {} if event.settled is None else {"koalesce.step.settled": event.settled}
                self._end(
                    key,
                    event.status,
                    event.elapsed,
                    {"koalesce.step.attempts": event.attempts, **settled},
                    event.message,
                )
            case _:
                assert_never(event)

    def _spec(self, spec: str, elapsed: float) -> Span:
        """The span of a spec, begun when it is first heard of: its cluster may be made ahead."""
        if (spec,) not in self._open:
            self._begin((spec,), spec, elapsed, {"code.file.path": spec, "test.suite.name": spec})
        return self._open[(spec,)][-1]

    def _begin(self, key: _Key, name: str, elapsed: float, attributes: Mapping[str, Any]) -> None:
        """Begin a span below the nearest one that is open."""
        from opentelemetry.trace import set_span_in_context

        above = next(
            self._open[key[:length]][-1] for length in reversed(range(len(key))) if self._open.get(key[:length])
        )
        span = self._tracer.start_span(
            name, context=set_span_in_context(above), start_time=self._time(elapsed), attributes=attributes
        )
        self._open.setdefault(key, []).append(span)

    def _end(self, key: _Key, status: Status, elapsed: float, attributes: Mapping[str, Any], message: str = "") -> None:
        """End what began last of this key, if anything did: an event file may begin in the middle."""
        from opentelemetry.trace import StatusCode

        spans = self._open.get(key)
        if not spans:
            return
        span = spans.pop()
        if not spans:
            del self._open[key]
        span.set_attributes({**attributes, "koalesce.status": status})
        if status in ("failed", "error"):
            span.set_attribute("error.type", status)
            span.set_status(StatusCode.ERROR, message[:_LONGEST] or status)
        elif status == "passed":
            span.set_status(StatusCode.OK)
        elif message:
            span.set_attribute("koalesce.reason", message[:_LONGEST])
        span.end(self._time(elapsed))

    def _time(self, elapsed: float) -> int:
        """Nanoseconds since 1970."""
        return int((self._began + elapsed) * 1e9)
