"""CTRF, the common test report format: one JSON file (https://ctrf.io, version 1.0.0 of its schema).

It knows `passed`, `failed`, `skipped`, `pending` and `other`: an error is `other`, so that it is never taken for a failure, and `rawStatus` says so.
"""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.events import Status
from koalesce.reporters.cases import Case, cases_of
from koalesce.reporters.narration import step_title
from koalesce.reporters.record import RunRecord, SpecRecord
from koalesce.reporters.text import clean, shorten, split_cell
from koalesce.reporters.whole_file import WholeFile

_STATUSES: Mapping[Status, str] = {"passed": "passed", "failed": "failed", "error": "other", "skipped": "skipped"}
_TEXT = 65536  # characters of one text


class Ctrf(WholeFile):
    """One JSON document."""

    def content(self) -> bytes:
        """The report of what is known so far."""
        text = json.dumps(document(self._record), ensure_ascii=False, indent=1) + "\n"
        return text.encode("utf-8", errors="replace")


def document(record: RunRecord) -> dict[str, Any]:
    """The report of a run as far as it is known."""
    tests = [_test(spec, case) for spec in record.specs.values() for case in cases_of(record, spec)]
    counts = Counter(test["status"] for test in tests)
    start = _milliseconds(record.started.at) if record.started else 0
    seconds = record.finished.seconds if record.finished else record.elapsed
    summary = {
        "tests": len(tests), **{name: counts[name] for name in ("passed", "failed", "skipped", "pending", "other")},
        "flaky": sum(test.get("flaky", False) for test in tests), "suites": len(record.specs),
        "start": start, "stop": start + round(seconds * 1000),
    }  # fmt: skip
    tool = {"name": "koalesce", **({"version": record.started.version} if record.started else {})}
    results = {"tool": tool, "summary": summary, "tests": tests, **_environment(record)}
    return {"reportFormat": "CTRF", "specVersion": "1.0.0", "generatedBy": "koalesce", "results": results}


def _environment(record: RunRecord) -> dict[str, Any]:
    if record.started is None:
        return {}
    extra = {"run": record.started.run_id, "artifacts": record.started.folder, **record.started.machine}
    clusters = [cluster for spec in record.specs.values() for cluster in spec.clusters.values()]
    versions = list(dict.fromkeys(cluster.kubernetes for cluster in clusters))
    return {"environment": {"extra": {**extra, "kubernetes": versions}}}


def _test(spec: SpecRecord, case: Case) -> dict[str, Any]:
    """A case, with what its schema has a place for."""
    test: dict[str, Any] = {
        "name": _text(case.name or "setup"), "status": _STATUSES[case.status], "duration": round(case.seconds * 1000),
        "suite": [_text(spec.started.spec)], "rawStatus": case.status, "filePath": _text(split_cell(spec.started.spec)[0]),
    }  # fmt: skip
    if case.line:
        test["line"] = case.line
    if case.message:
        test["message"] = _text(case.message)
    if case.text:
        test["trace"] = _text(case.text)
    if case.type:
        test["labels"] = {"step": case.type}
    if case.tries:
        test |= {"retries": len(case.tries), "flaky": case.is_flaky}
    if steps := list(_steps(case)):
        test["steps"] = steps
    extra = {"evidence": _text(case.evidence), "cached": spec.started.cached}
    if any(extra.values()):
        test["extra"] = {name: value for name, value in extra.items() if value}
    return test


def _steps(case: Case) -> Iterator[dict[str, Any]]:
    for end in (step.finished for step in case.steps if step.finished):
        yield {"name": _text(step_title(end)), "status": _STATUSES[end.status]}


def _milliseconds(at: str) -> int:
    try:
        return round(datetime.datetime.fromisoformat(at).timestamp() * 1000)
    except ValueError:
        return 0


def _text(text: str) -> str:
    return shorten(clean(text), _TEXT)
