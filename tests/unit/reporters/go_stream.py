"""The stream of `go test -json` of events, and what it says."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from koalesce.events import AnyEvent
from koalesce.reporters.go_test import GoTest
from koalesce.reporters.jsonl import read_events

RUNS = Path(__file__).parents[2] / "data" / "runs"


def stream(events: Iterable[AnyEvent]) -> str:
    written = io.StringIO()
    reporter = GoTest(written, io.StringIO())
    for event in events:
        reporter.handle(event)
    reporter.close()
    return written.getvalue()


def lines(events: Iterable[AnyEvent]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream(events).splitlines()]


def recorded(name: str) -> list[AnyEvent]:
    return list(read_events(RUNS / f"{name}.jsonl"))


def ends(found: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """What ended, and how; a package by its name, a test without."""
    return [
        (line.get("Test") or line["Package"], line["Action"])
        for line in found
        if line["Action"] in ("pass", "fail", "skip")
    ]
