"""The step type that docs/how-to/own-step.md shows is one: it looks as the page says, and its code passes our own checks."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Assertion, Failed, Outcome, Passed
from tests.doc_blocks import ROOT, blocks
from tests.fakes import FakeCluster, context, made

(BLOCK,) = (block for block in blocks(ROOT / "docs" / "how-to" / "own-step.md") if block.language == "python")


@pytest.fixture(scope="module")
def labelled() -> type[Assertion]:
    """The class, as a module of that text has it."""
    module: dict[str, Any] = {"__name__": "labelled"}
    exec(compile(BLOCK.text, str(BLOCK), "exec", dont_inherit=True), module)
    kind: type[Assertion] = module["Labelled"]
    return kind


def look(kind: type[Assertion], resource: str, label: str) -> Outcome:
    cluster = FakeCluster(made("Node", "worker-1", labels={"zone": "a"}))
    return kind.model_validate({"resource": resource, "label": label}).attempt(context(cluster))


def test_it_looks_as_the_page_says(labelled: type[Assertion]) -> None:
    assert look(labelled, "node/worker-1", "zone") == Passed("node/worker-1 has the label zone")
    assert look(labelled, "node/worker-1", "disk") == Failed("node/worker-1 has no label disk")
    assert look(labelled, "node/worker-2", "zone") == Failed("node/worker-2 does not exist")


def test_what_names_no_object_is_refused(labelled: type[Assertion]) -> None:
    with pytest.raises(ValidationError, match="nodes names no object; write KIND/NAME"):
        look(labelled, "nodes", "zone")


def test_its_code_passes_the_checks_of_this_repository() -> None:
    for command in (["check"], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--stdin-filename", "koalesce/steps/labelled.py", "-"],
            cwd=ROOT, input=BLOCK.text, text=True, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
