"""TAP, the test anything protocol, in its version 14 (https://testanything.org/tap-version-14-specification.html)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from koalesce.reporters.cases import BAD, Case, cases_of
from koalesce.reporters.record import RunRecord, SpecRecord
from koalesce.reporters.text import clean, one_line, shorten
from koalesce.reporters.whole_file import WholeFile

_TEXT = 65536  # characters of one text


class Tap(WholeFile):
    """Lines of the protocol."""

    def content(self) -> bytes:
        """The report of what is known so far."""
        return "".join(f"{line}\n" for line in lines(self._record)).encode("utf-8", errors="replace")


def lines(record: RunRecord) -> Iterator[str]:
    """A subtest for each spec. A run that did not end bails out, so that nobody takes it for a whole one."""
    yield "TAP version 14"
    yield f"1..{len(record.specs)}"
    for number, spec in enumerate(record.specs.values(), start=1):
        yield from _spec(record, spec, number)
    if record.finished is None:
        yield "Bail out! the run did not end"


def _spec(record: RunRecord, spec: SpecRecord, number: int) -> Iterator[str]:
    cases = list(cases_of(record, spec))
    name = _name(spec.started.spec)
    yield f"# Subtest: {name}"
    if spec.is_cached:
        yield f"    # (cached): passed at {one_line(spec.started.cached)}"
    yield f"    1..{len(cases)}"
    for index, case in enumerate(cases, start=1):
        for line in _case(case, index):
            yield f"    {line}"
    is_bad = spec.finished is None or spec.finished.status in BAD or any(case.status in BAD for case in cases)
    skipped = bool(cases) and all(case.status == "skipped" for case in cases)
    reason = one_line(spec.finished.message) if spec.finished else ""
    directive = f" # SKIP {reason}".rstrip() if skipped and not is_bad else ""
    yield f"{'not ok' if is_bad else 'ok'} {number} - {name}{directive}"


def _case(case: Case, index: int) -> Iterator[str]:
    result = "not ok" if case.status in BAD else "ok"
    directive = f" # SKIP {one_line(case.message)}".rstrip() if case.status == "skipped" else ""
    yield f"{result} {index} - {_name(case.name or 'setup')}{directive}"
    diagnostic: dict[str, str | int] = {
        "duration_ms": round(case.seconds * 1000),
        **({"flaky": True} if case.is_flaky else {}),
    }
    if case.status in BAD:
        severity = "fail" if case.status == "failed" else "error"
        diagnostic |= {
            "severity": severity, "message": case.message, "at": case.line, "evidence": case.evidence, "text": case.text,
        }  # fmt: skip
    yield "  ---"
    # JSON is YAML, and leaves no line that could be taken for one of the protocol.
    yield from (f"  {key}: {_value(value)}" for key, value in diagnostic.items() if value != "")
    yield "  ..."


def _name(text: str) -> str:
    """A name in which nothing is a directive."""
    return one_line(text).replace("\\", "\\\\").replace("#", "\\#")


def _value(value: object) -> str:
    return json.dumps(shorten(clean(value), _TEXT) if isinstance(value, str) else value, ensure_ascii=False)
