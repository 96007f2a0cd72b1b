"""What is known of a spec's result before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.engine import RunOptions
from koalesce.engine.cached.identity import refusal
from koalesce.spec import load
from tests.unit.engine.test_case import HEAD


def refused(tmp_path: Path, text: str = "", **options: Any) -> str:
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"{HEAD}{text}\ntests: [{{name: t, steps: [{{sleep: 1ms}}]}}]\n")
    return refusal(load(spec), RunOptions(**options))


def test_a_local_cluster_of_its_own_is_no_reason(tmp_path: Path) -> None:
    assert refused(tmp_path) == ""


@pytest.mark.parametrize("provider", ["kubeconfig", "hcloud"])
def test_other_providers_are_a_reason(tmp_path: Path, provider: str) -> None:
    assert refused(tmp_path, provider=provider) == (
        f"clusters of the provider {provider} aren't made of what is on this machine"
    )


def test_one_cluster_of_several_is_enough(tmp_path: Path) -> None:
    clusters = "clusters: {east: {}, west: {egress: host}}"

    assert refused(tmp_path, clusters) == "its cluster reaches what lies outside (egress: host)"


def test_a_cluster_that_is_up_is_a_reason(tmp_path: Path) -> None:
    assert refused(tmp_path, cluster="dev") == "--cluster dev: a cluster that stays may be as others have left it"
