"""Terraform's plan of a request, by a fake Terraform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koalesce.assets import asset
from koalesce.cluster_request import ClusterRequest
from koalesce.providers.planning import planned_changes
from koalesce.terraform import TerraformEvent


class FakeTerraform:
    """Says what it was asked for; plans one resource."""

    def __init__(self, said: list[str], folder: Path, variables: Mapping[str, Any]) -> None:
        self.said = said
        self.folder = folder
        said.append(f"variables of {variables['name']}, {(folder / 'main.tf').exists()}")

    def init(self) -> None:
        self.said.append("init")

    def plan(self) -> list[TerraformEvent]:
        self.said += ["plan", str(self.folder)]
        return [TerraformEvent(type="planned_change", message="", resource="terraform_data.cluster", action="create")]


class FakeProvider:
    """Serves everything, without tools."""

    terraform_root = asset("terraform", "local")

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        return request

    def confirm(self, request: ClusterRequest) -> None:
        pass

    def prepare(self, request: ClusterRequest, **_more: Any) -> ClusterRequest:
        return request

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        return {"name": request.name}


def test_plans_in_a_folder_that_is_gone_afterwards(monkeypatch: Any) -> None:
    said: list[str] = []
    monkeypatch.setattr("koalesce.providers.planning.check_variables", lambda variables: None)
    request = ClusterRequest(name="plan", run_id="plan", provider="local", kubernetes="1.37.2", nodes=())

    changes = planned_changes(
        request,
        provider=FakeProvider(),  # type: ignore[arg-type]  # as much of one as is needed
        terraform=lambda folder, variables: FakeTerraform(said, folder, variables),  # type: ignore[arg-type,return-value]
    )

    assert changes == ["create terraform_data.cluster"]
    assert said[:3] == ["variables of plan, True", "init", "plan"]
    assert not Path(said[3]).exists()
