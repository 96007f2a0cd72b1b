"""A spec of one step, for a cluster that is up."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.providers.joining import made
from koalesce.yaml import InvalidDocument, Problem

_FILE_PREFIX, _FILE_SUFFIX = ".koalesce-step-", ".yaml"
_PLACE = "tests[0].steps[0]"
_STEP = "\n      - "  # what comes before it


@contextlib.contextmanager
def spec_of(step: str, cluster: str, *, namespace: str | None = None, disruptive: bool = False) -> Iterator[Path]:
    """A file with the spec, in the working folder, so that paths in the step are those that one types; it is gone afterwards.

    UsageError for a cluster that can't be used, or a folder that can't be written to. What is found to be wrong with the step has its
    place in the step as it was given.
    """
    variables = made(cluster).variables
    text = _text(step, _cluster(variables), _fixtures(variables), namespace, disruptive=disruptive)
    try:
        descriptor, name = tempfile.mkstemp(prefix=_FILE_PREFIX, suffix=_FILE_SUFFIX, dir=Path.cwd())
    except OSError as error:
        raise UsageError(
            f"{Path.cwd()}: can't be written to: {error.strerror}", hint="run it in another folder"
        ) from error
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path.relative_to(Path.cwd())
    except InvalidDocument as error:
        line = text.split(_STEP)[0].count("\n") + 1
        told = InvalidDocument([_as_typed(problem, line) for problem in error.problems])
        told.hint = error.hint
        raise told from error
    finally:
        path.unlink(missing_ok=True)


def with_timeout(step: str, timeout: Duration) -> str:
    """The step with this time for it; UsageError for a form that nothing can be added to."""
    text = step.strip()
    if text.startswith("{"):
        raise UsageError(
            "--timeout can't be added to a step in braces", hint="say timeout: in them, or leave the braces out"
        )
    return f"{text}\ntimeout: {timeout}"


def _text(step: str, cluster: str, fixtures: str, namespace: str | None, *, disruptive: bool) -> str:
    import json

    place = f"    namespace: {{name: {json.dumps(namespace)}}}\n" if namespace else ""
    flags = "    disruptive: true\n" if disruptive else ""
    first, *rest = step.strip("\n").splitlines() or [""]
    lines = [f"{_STEP}{first}", *(f"        {line}" for line in rest)]
    return (
        "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: step}\n"
        f"cluster: {cluster}\nfixtures: {fixtures}\n"
        f"tests:\n  - name: step\n{place}{flags}    steps:" + "\n".join(lines) + "\n"
    )


def _as_typed(problem: Problem, before: int) -> Problem:
    """A problem of a step with its place in that alone, which begins so many lines below the begin of the spec."""
    if not problem.where.startswith(_PLACE):
        return problem
    where, indent = problem.where.removeprefix(_PLACE).removeprefix("."), len(_STEP) - 1
    return replace(
        problem, path="step", line=problem.line - before, column=problem.column - indent, where=where, source_line=problem.source_line[indent:]
    )  # fmt: skip


def _cluster(variables: Mapping[str, Any]) -> str:
    """The cluster as it is, as far as steps can name parts of it."""
    import json

    return json.dumps({"nodes": [_node(node) for node in variables["nodes"]] or 0})


def _node(node: Mapping[str, Any]) -> dict[str, Any]:
    disks = [{"path": disk["path"], "size": str(disk["size"])} for disk in node.get("disks") or ()]
    same = {key: node.get(key) for key in ("name", "role", "taints", "subnet", "spare")}
    return {key: value for key, value in {**same, "disks": disks}.items() if value}


def _fixtures(variables: Mapping[str, Any]) -> str:
    """The hosts outside of it. Routers and resolvers have settings that only the spec which made them says."""
    import json

    hosts: Sequence[Mapping[str, Any]] = [each for each in variables.get("fixtures") or () if each["kind"] == "host"]
    return json.dumps(
        {each["name"]: {"host": {}} | ({"subnet": each["subnet"]} if each.get("subnet") else {}) for each in hosts}
    )
