"""`koalesce doctor --report`: a bug report in Markdown, to be looked through and pasted into an issue."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import koalesce
from koalesce.cli.anonymous import Anonymous
from koalesce.events import AnyEvent
from koalesce.reporters.markdown import lines, plain
from koalesce.reporters.record import RunRecord

if TYPE_CHECKING:
    from koalesce.local.health import Finding

_PACKAGES = (
    "kubernetes",
    "pydantic",
    "python-terraform",
    "ruamel.yaml",
    "rich",
    "tenacity",
    "jsonpath-ng",
    "cryptography",
)
_ROOM = 40_000  # bytes of failures: GitHub takes 65,536 characters in all
_WORDS = {"good": "", "noted": "**note** ", "lacking": "**lacking** "}


def bug_report(findings: Mapping[str, Sequence[Finding]], events: Iterable[AnyEvent]) -> str:
    """The report: versions, what the machine can do, and of a run what did not pass, without what is nobody's business."""
    anonymous = Anonymous(home=Path.home(), here=Path.cwd(), names=_names())
    # Names are taken out of what is told, before anything of it is escaped.
    run = RunRecord()
    for event in events:
        run.apply(anonymous.event(event))
    return "".join(f"{line}\n" for line in _lines(findings, run, anonymous))


def _lines(findings: Mapping[str, Sequence[Finding]], run: RunRecord, anonymous: Anonymous) -> Iterator[str]:
    yield "<!-- Look through it before you publish it. Names of hosts, home folders and secrets have been taken out, as far as they were recognized. -->"
    yield ""
    yield "### What happened\n\nWhat I did, what I expected, and what came instead:\n"
    yield "### Versions\n"
    yield from (f"- {name}: {value}" for name, value in _versions())
    yield "\n### This machine\n"
    for about, found in findings.items():
        for finding in sorted(found, key=lambda each: ("lacking", "noted", "good").index(each.state)):
            yield f"- {about}: {_WORDS[finding.state]}{plain(anonymous.text(finding.text))}"
    yield ""
    if not run.specs:
        yield "### The run\n\n(`koalesce run --events FILE` keeps what happens; `koalesce doctor --report FILE` tells of it here)"
        return
    yield "### Clusters of the run\n"
    yield from _clusters(run)
    yield "\n### The run\n"
    yield from (line.replace("## ", "#### ", 1) if line.startswith("## ") else line for line in lines(run, room=_ROOM))


def _versions() -> Iterator[tuple[str, str]]:
    yield "Koalesce", koalesce.__version__
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "system", f"{_distribution()}, {platform.system()} {platform.release()} {platform.machine()}"
    yield "Terraform", _terraform()
    for name in _PACKAGES:
        yield name, importlib.metadata.version(name)


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "an unknown distribution"


def _terraform() -> str:
    """Its own word for its version."""
    from koalesce import process
    from koalesce.errors import KoalesceError
    from koalesce.terraform.binary import find_binary

    try:
        said = process.run([str(find_binary()), "version"], timeout=20.0)
    except (KoalesceError, OSError) as error:
        return f"can't be told: {str(error).partition(chr(10))[0]}"
    return said.out.partition("\n")[0] or "says nothing"


def _clusters(run: RunRecord) -> Iterator[str]:
    found = [cluster for spec in run.specs.values() for cluster in spec.clusters.values() if not cluster.reused]
    if not found:
        yield "None came up."
    for cluster in found:
        can = ", ".join(sorted(cluster.capabilities)) or "none"
        yield f"- {plain(cluster.provider)}, Kubernetes {plain(cluster.kubernetes)}, nodes: {len(cluster.nodes)}; capabilities: {plain(can)}"


def _names() -> list[str]:
    """What this machine is called."""
    name = socket.gethostname()
    return [name, name.partition(".")[0]]
