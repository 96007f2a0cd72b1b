"""Upstream's test program: built by the toolchain, asked for its tests, run for some of them, its report read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.errors import ProvisionError
from koalesce.process import Cancel
from koalesce.toolchain import recipes
from koalesce.toolchain.toolchain import Toolchain

HERE = Path(__file__).parent
_MINUTES = 15  # for each test; the slowest takes eight
_PASSED, _SKIPPED = "passed", "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a test ended: passed, failed, skipped (by itself), or error: it never ran."""

    name: str
    status: str
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The test program, and the kubectl that it calls."""

    program: Path
    kubectl: Path

    @classmethod
    def build(cls, toolchain: Toolchain) -> Suite:
        """Both, built if they aren't kept."""
        program, kubectl = (
            toolchain.build(recipe) / recipe.output
            for recipe in (recipes.load(HERE / "module" / f"{name}.recipe.toml") for name in ("e2e", "kubectl"))
        )
        return cls(program=program, kubectl=kubectl)

    def offered(self) -> set[str]:
        """The names of all its conformance tests."""
        listed = process.run([self.program, "--list-tests"], timeout=300, cap=64 << 20).check().out
        # Each line is `PATH:LINE: NAME`.
        names = (line.partition(": ")[2] for line in listed.splitlines())
        return {name for name in names if "[Conformance]" in name}

    def run(self, name: str, kubeconfig: str, folder: Path, *, cancel: Cancel | None = None) -> Result:
        """Run one of its tests; its output and report are kept in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / "report.json"
        report.unlink(missing_ok=True)
        command = [
            str(self.program),
            f"--kubeconfig={kubeconfig}",
            f"--kubectl-path={self.kubectl}",
            "--provider=skeleton",
            f"--ginkgo.focus={focus(name)}",
            f"--ginkgo.json-report={report}",
            f"--ginkgo.timeout={_MINUTES}m",
            "--ginkgo.v",
            "--ginkgo.no-color",
            "--ginkgo.silence-skips",
            "--test.timeout=0",
        ]
        environment = {**os.environ, "KUBE_TEST_REPO_LIST": str(HERE / "registries.yaml")}
        with (folder / "output.log").open("wb") as log:
            done = process.run(
                command,
                stdout=log,
                env=environment,
                timeout=60 * (_MINUTES + 3),
                cancel=cancel,
                dies_with_us=True,
            )
        if not report.is_file():
            raise ProvisionError(f"the test program ended with {done.code} and left no report: see {folder}/output.log")
        return read_report(json.loads(report.read_bytes()), name)


def focus(name: str) -> str:
    """A pattern that matches this test only; the program matches it with `SUITE NAME`."""
    return f" {re.escape(name)}$"


def read_report(report: list[dict[str, Any]], name: str) -> Result:
    """How a test ended, by a report in Ginkgo's JSON."""
    specs = [spec for suite in report for spec in suite["SpecReports"] or ()]
    tests = [spec for spec in specs if spec["LeafNodeType"] == "It" and _name(spec) == name]
    if not tests:
        return Result(name=name, status="error", message="the test program has no such test")
    state, message, seconds = tests[0]["State"], _message(tests[0]), tests[0]["RunTime"] / 1e9
    if state == _SKIPPED and not message:
        around = [_message(spec) for spec in specs if spec["LeafNodeType"] != "It" and spec["State"] != _PASSED]
        reasons = [reason for suite in report for reason in suite["SpecialSuiteFailureReasons"] or ()]
        why = "\n".join(filter(None, [*around, *reasons]))
        return Result(name=name, status="error", message=why or "it was not run, and nothing says why")
    status = state if state in (_PASSED, _SKIPPED) else "failed"
    return Result(name=name, status=status, seconds=seconds, message=message)


def _name(spec: dict[str, Any]) -> str:
    return " ".join(filter(None, [*(spec["ContainerHierarchyTexts"] or ()), spec["LeafNodeText"]]))


def _message(spec: dict[str, Any]) -> str:
    """Why it failed or was skipped; empty otherwise."""
    return str((spec.get("Failure") or {}).get("Message", ""))
