"""The README of an evidence folder: what failed, the lines that matter, and what lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koalesce.events import StepFinished

_MOST = 30
_PLACES = (
    ("looked-at/", "what the failed step looked at, as it was when it failed"),
    ("onFailure/", "what the steps under `onFailure` found"),
    ("background/", "how what went on in the background ended"),
    ("copied/", "what steps have copied out of the cluster"),
    ("namespaces/*/describe.txt", "pods and workloads, each in a few lines with its events"),
    ("namespaces/*/events.txt", "events in the order of time"),
    ("namespaces/*/logs/", "logs of containers (the last lines); `.previous.log` of their run before"),
    ("namespaces/*/objects/", "every object of the namespace as YAML; values of Secrets are left out"),
    ("namespaces/*/*.txt", "what `kubectl get` prints"),
    ("cluster/", "the nodes"),
    (
        "nodes/*/*.log",
        "logs of the node's own components (the last of each, behind the lines that matter): kubelet, containerd, …",
    ),
    ("nodes/*/network.txt", "addresses, routes, rules, packet filter, sockets, connections and processes of the node"),
    (
        "fixtures/*/*.log",
        "logs of what runs on machines outside of the cluster: a member of etcd, what makes a router one",
    ),
    ("fixtures/*/network.txt", "the same of such a machine"),
    ("not-collected.txt", "what could not be had, and why"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What the evidence is of: the test, the step that failed (None: it wasn't a step), and what that had looked at."""

    test: str = ""
    message: str = ""
    step: StepFinished | None = None
    looked_at: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def index(folder: Path, failure: Failure, unready: Sequence[str], warnings: Sequence[str]) -> str:
    """The text of the README; it lists only what is there."""
    parts = [f"# {failure.test or 'The cluster'}", *_failed(failure)]
    parts += _listed("Not ready", unready)
    parts += _listed("Last warnings", warnings[-_MOST:])
    there = [f"`{place}`: {what}" for place, what in _PLACES if any(folder.glob(place.rstrip("/")))]
    parts += _listed("What lies where", there)
    return "\n\n".join(parts) + "\n"


def _failed(failure: Failure) -> list[str]:
    step = failure.step
    if step is None:
        return [_quoted(failure.message)] if failure.message else []
    said = [step.message]
    said += [f"{word} {value}" for word, value in (("expected:", step.expected), ("actual:  ", step.actual)) if value]
    said += [step.detail] if step.detail else []
    attempts = "1 attempt" if step.attempts == 1 else f"{step.attempts} attempts"
    head = f"Step `{step.title}` ({step.type}, {step.spec}:{step.line}): {step.status} after {step.seconds:.1f}s, {attempts}."
    return [head, _quoted("\n".join(said))]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []


def _quoted(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
