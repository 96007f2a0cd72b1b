"""What went wrong as GitHub shows it beside the lines of specs.

See https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions#setting-an-error-message.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from koalesce.reporters.cases import BAD, Case, cases_of
from koalesce.reporters.record import RunRecord
from koalesce.reporters.text import clean, one_line, shorten, split_cell

_MOST = 10  # of each kind: GitHub shows no more of a step's
_MESSAGE = 2000  # characters


def annotate(record: RunRecord, here: Path, workspace: Path | None) -> Iterator[str]:
    """A command for each case that did not pass (`error`), and for each that passed only when it was run again (`warning`).

    Specs' paths are seen from `here`; GitHub sees files from `workspace`, and isn't told of those outside it.
    """
    cases = [(path, case) for path, spec in record.specs.items() for case in cases_of(record, spec)]
    kinds = {
        "error": [(path, case) for path, case in cases if case.status in BAD],
        "warning": [(path, case) for path, case in cases if case.is_flaky],
    }
    for kind, found in kinds.items():
        shown = found if len(found) <= _MOST else found[: _MOST - 1]
        yield from (_one(kind, case, path, _file(path, here, workspace)) for path, case in shown)
        if left := len(found) - len(shown):
            yield command(kind, f"{left} more did not pass" if kind == "error" else f"{left} more are flaky", {})


def command(name: str, message: str, properties: dict[str, str]) -> str:
    """A workflow command, in which nothing ends a value before its end (actions/toolkit, packages/core/src/command.ts)."""
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items() if value)
    return f"::{name} {told}::{_data(message)}" if told else f"::{name}::{_data(message)}"


def _one(kind: str, case: Case, path: str, file: str) -> str:
    cell = split_cell(path)[1]
    title = " ".join([one_line(case.name) or "setup", *([one_line(cell)] if cell else [])])
    told = {"error": f"{title} (error)" if case.status == "error" else title, "warning": f"{title} (flaky)"}[kind]
    message = case.message or (case.tries[-1].message if case.tries else "")
    properties = {"file": file, "line": str(case.line) if file and case.line else "", "title": told}
    return command(kind, shorten(clean(message).strip(), _MESSAGE) or told, properties)


def _file(spec: str, here: Path, workspace: Path | None) -> str:
    """The spec's file as GitHub knows it; empty where it isn't of the repository."""
    path = (here / split_cell(spec)[0]).resolve()
    root = (workspace or here).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ""


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(clean(text)).replace(":", "%3A").replace(",", "%2C")
