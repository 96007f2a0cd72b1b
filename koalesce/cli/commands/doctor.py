"""`koalesce doctor`: what this machine can do, and what to do about the rest."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from koalesce.local.health import Finding

_TRIAL_PATIENCE = 30.0
NAME = "doctor"
HELP = "tell what this machine has and lacks for local clusters"
_MARKS = {"good": "ok  ", "noted": "note", "lacking": "LACK"}
_EXAMPLES = """\
examples:
  koalesce doctor
  koalesce run specs/a.yaml --events events.jsonl; koalesce doctor --report events.jsonl > issue.md

A report names no hosts, home folders or secrets, as far as they can be recognized: look through it before you publish it.
"""
_TRUST = """\
A local cluster shares this machine's kernel. Ordinary pods see nothing of the machine, but a privileged pod is root on it:
run changes that you don't trust on a machine that you can throw away."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How to print."""
    parser.epilog = _EXAMPLES
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--report", metavar="EVENTS", nargs="?", const="", default=None,
        help="print a bug report in Markdown, ready for an issue; of a run's failures, too, by the file that its --events wrote",
    )  # fmt: skip
    how.add_argument("--json", action="store_true", help="print JSON: a list of {about, name, state, text, hint}")


def run(args: argparse.Namespace) -> int:
    """Look and print; an error's code if no local cluster can be made here (a report is made anywhere)."""
    import dataclasses
    import json
    from pathlib import Path

    from koalesce.assets import state_dir
    from koalesce.cli import exit_codes
    from koalesce.local import health
    from koalesce.reporters.jsonl import read_events

    events = list(read_events(Path(args.report))) if args.report else []
    folder = state_dir() / "clusters"
    machine = health.essentials(folder)
    if can_be_made := not any(finding.state == "lacking" for finding in machine):
        machine += [*health.trials(), *health.circumstances(folder)]
        can_be_made = not any(finding.state == "lacking" for finding in machine)
    kernel = _kernel() if can_be_made else []
    found = {"machine": machine, "kernel": kernel, "programs": _programs(), "toolchain": _toolchain()}
    if args.report is not None:
        from koalesce.cli.bug_report import bug_report

        print(bug_report(found, events), end="")
        return exit_codes.PASSED
    if args.json:
        rows = [{"about": about, **dataclasses.asdict(finding)} for about in found for finding in found[about]]
        print(json.dumps(rows, indent=2))
    else:
        print("\n".join(_section(about, findings) for about, findings in found.items() if findings))
        print(_TRUST)
    can_be_made = can_be_made and not any(finding.state == "lacking" for finding in found["programs"])
    return exit_codes.PASSED if can_be_made else exit_codes.ERROR


def _section(about: str, findings: Iterable[Finding]) -> str:
    lines = [about]
    for finding in findings:
        lines.append(f"  {_MARKS[finding.state]}  {finding.text}")
        if finding.hint:
            lines.append(f"        {'do' if finding.state == 'lacking' else 'if that matters'}: {finding.hint}")
    return "\n".join(lines) + "\n"


def _kernel() -> list[Finding]:
    """What nodes can do here, tried in a network of its own with the commands that nodes have."""
    from koalesce.local import capabilities
    from koalesce.local.health import Finding
    from koalesce.providers.local_commands import runner
    from koalesce.toolchain.system import missing_packages

    if run := runner():
        return capabilities.findings(run)
    missing = ", ".join(sorted(missing_packages()))
    text = f"what the kernel can do is tried with commands of {missing}, which aren't here yet"
    return [Finding("kernel", "noted", text, "koalesce toolchain prepare unpacks them")]


def _programs() -> list[Finding]:
    import shutil

    from koalesce.errors import ProvisionError
    from koalesce.local.health import Finding
    from koalesce.terraform.binary import find_binary
    from koalesce.toolchain.gobuild import find_go

    found = []
    try:
        terraform = str(find_binary())
        found.append(Finding("terraform", "good", f"{_versioned(terraform, 'version')} makes clusters"))
    except ProvisionError as error:
        found.append(Finding("terraform", "lacking", error.message, error.hint or ""))
    go = find_go()
    uses = {
        "go": (go, ["version"], "builds what can't be downloaded"),
        "kubectl": (
            shutil.which("kubectl"), ["version", "--client"], "is for `script` steps that call it, and for kustomizations",
        ),
        "helm": (shutil.which("helm"), ["version", "--short"], "renders charts"),
        "ssh": (shutil.which("ssh"), ["-V"], "reaches machines that clusters are made on (provider ssh)"),
    }  # fmt: skip
    for name, (path, words, use) in uses.items():
        if path:
            found.append(Finding(name, "good", f"{_versioned(str(path), *words)} {use}"))
        else:
            found.append(Finding(name, "noted", f"there is no {name}, which {use}", f"install {name}"))
    return found


def _versioned(path: str, *words: str) -> str:
    """A program with the version that it tells, if it does."""
    from koalesce import process
    from koalesce.errors import KoalesceError

    try:
        told = process.run([path, *words], timeout=_TRIAL_PATIENCE)
    except KoalesceError:
        return path
    found = re.search(r"\d+\.\d+(\.\d+)?\w*", told.out + told.err)
    return f"{path} {found[0]}" if found else path


def _toolchain() -> list[Finding]:
    from koalesce.addons import ADDONS
    from koalesce.local.health import Finding
    from koalesce.toolchain import Toolchain

    toolchain = Toolchain()
    version = toolchain.resolve_version("")
    missing = [state.tool for state in toolchain.states(version) if not state.folder and state.tool not in ADDONS]
    if missing:
        text = f"{', '.join(missing)} will be downloaded or built when Kubernetes {version} is first needed"
        return [Finding("tools", "noted", text, "koalesce toolchain prepare does it now")]
    return [Finding("tools", "good", f"everything is there for Kubernetes {version}")]
