"""Where spans go: to a collector, as the standard OTEL_* variables say, or into a file, a line of OTLP/JSON for each batch."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from google.protobuf.json_format import MessageToDict
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_BINARY = ("traceId", "spanId", "parentSpanId")  # which OTLP/JSON has in hexadecimal


class Kept(logging.Handler, SpanExporter):  # type: ignore[misc]  # the library counts as untyped
    """Hands spans on, and remembers why some could not be taken; the libraries would only log that."""

    def __init__(self, exporter: SpanExporter) -> None:
        logging.Handler.__init__(self, logging.WARNING)
        self.problem = ""
        self._said = ""
        self._exporter = exporter
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what a library says."""
        self._said = record.getMessage()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand them on."""
        try:
            result = self._exporter.export(spans)
        except OSError as error:
            result, self._said = SpanExportResult.FAILURE, str(error.strerror or error)
        if result is not SpanExportResult.SUCCESS:
            self.problem = self.problem or self._said or "it doesn't say why"
        return result

    def shutdown(self) -> None:
        """Nothing more comes."""
        self._logger.removeHandler(self)
        self._logger.propagate = True
        self._exporter.shutdown()


class SpanFile(SpanExporter):  # type: ignore[misc]  # likewise
    """Writes spans into a file, as the collector's `otlpjsonfile` receiver reads them."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write a line."""
        request = MessageToDict(encode_spans(spans))
        self._file.write(json.dumps(_in_hexadecimal(request), separators=(",", ":")) + "\n")
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close it."""
        self._file.close()


def collector() -> SpanExporter:
    """To the collector of the environment (OTEL_EXPORTER_OTLP_ENDPOINT …)."""
    return OTLPSpanExporter()


def provider(exporter: SpanExporter, version: str) -> TracerProvider:
    """What makes spans, each of which goes to the exporter; its name and more may come from OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES."""
    ours = Resource({"service.name": "koalesce", "service.version": version})
    made = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1 << 16))
    return made


def parent(environ: Mapping[str, str]) -> Context:
    """The span that we are a part of, where whoever starts us says so in TRACEPARENT (https://www.w3.org/TR/trace-context/)."""
    carrier = {name.lower(): environ[name] for name in ("TRACEPARENT", "TRACESTATE") if environ.get(name)}
    return TraceContextTextMapPropagator().extract(carrier, context=Context())


def _in_hexadecimal(value: Any) -> Any:
    """The same with identifiers as OTLP/JSON writes them (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding)."""
    match value:
        case dict():
            return {
                key: base64.b64decode(each).hex() if key in _BINARY else _in_hexadecimal(each)
                for key, each in value.items()
            }
        case list():
            return [_in_hexadecimal(each) for each in value]
        case _:
            return value
