"""What can be told from the pods of a cluster that others made, by what is known of it."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.providers import pod_probes

ALL = {"pod-probe", "probe-answers", "probe-icmp"}


def node(system: str = "linux", machine: str = "amd64") -> dict[str, Any]:
    return {"status": {"nodeInfo": {"operatingSystem": system, "architecture": machine}}}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_probes.platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize(
    ("settings", "version", "nodes", "told"),
    [
        ({}, "1.37.2", [node()], ALL),
        ({"pod_probes": "program"}, "1.30.0", [node(), node()], ALL),
        ({"pod_probes": "agnhost"}, "1.37.2", [node()], {"pod-probe"}),
        ({}, "1.29.5", [node()], {"pod-probe"}),
        ({}, "1.37.2", [node(), node(machine="arm64")], {"pod-probe"}),
        ({}, "1.37.2", [node(), node(system="windows")], {"pod-probe"}),
    ],
)
def test_less_is_told_where_the_program_can_not_be_put(
    settings: dict[str, str], version: str, nodes: list[dict[str, Any]], told: set[str]
) -> None:
    assert pod_probes.capabilities(settings, version, nodes) == told


@pytest.mark.parametrize(
    ("settings", "version", "rights", "problem"),
    [
        ({}, "1.37.2", {"patch", "get", "create"}, ""),
        ({"pod_probes": "none"}, "1.37.2", {"patch", "get", "create"}, "the setting pod_probes is none"),
        ({}, "1.24.9", {"patch", "get", "create"}, "Kubernetes 1.24.9 has no ephemeral containers"),
        ({}, "1.37.2", {"get"}, "the context may not patch pods/ephemeralcontainers, create pods/exec"),
    ],
)
def test_why_nothing_can_be_told_is_said(
    settings: dict[str, str], version: str, rights: set[str], problem: str
) -> None:
    assert pod_probes.problem(settings, version, may=lambda verb, _what: verb in rights) == problem
