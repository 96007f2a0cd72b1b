"""The real gotestsum, built from its Go module, reads what `koalesce report --json` makes of recorded runs."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from koalesce.toolchain import recipes
from koalesce.toolchain.gobuild import GoMissing
from koalesce.toolchain.toolchain import Toolchain
from tests.unit.reporters.go_stream import RUNS, ends, lines, recorded

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def gotestsum() -> Path:
    """The program, in the cache; the first time it's built, which takes half a minute. Skips where there is no Go."""
    recipe = recipes.load(Path(__file__).parent / "gotestsum" / "gotestsum.recipe.toml")
    try:
        return Toolchain().build(recipe) / recipe.output
    except GoMissing as error:
        pytest.skip(error.message)


@pytest.mark.parametrize(
    ("run", "summary", "code"),
    [
        ("green", "DONE 7 tests, 1 skipped", 0),
        ("red", "DONE 11 tests, 2 skipped, 7 failures", 1),
        ("interrupted", "DONE 5 tests, 1 skipped, 2 failures", 1),
    ],
)
def test_gotestsum_reads_a_run(gotestsum: Path, run: str, summary: str, code: int, tmp_path: Path) -> None:
    report = f"{sys.executable} -m koalesce report {RUNS / run}.jsonl --json; exit {code}"  # as the run itself ended
    command = [gotestsum, "--format=testname", "--no-color", "--junitfile=junit.xml", "--raw-command", "--"]

    # Else it asks `go` for its version, which needn't be on PATH.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GOVERSION": "none"}
    done = subprocess.run(
        [*command, "sh", "-c", report],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip

    assert done.returncode == code, done.stdout + done.stderr
    assert summary in done.stdout
    assert done.stderr == ""
    cases = ET.parse(tmp_path / "junit.xml").getroot().iter("testcase")
    failed = {case.attrib["name"] for case in cases if case.find("failure") is not None}
    packages = {line["Package"] for line in lines(recorded(run))}
    assert failed == {name for name, end in ends(lines(recorded(run))) if end == "fail"} - packages
