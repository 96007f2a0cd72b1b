"""The package of a new cluster provider: it keeps the contract, and Koalesce finds it by its entry point."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from koalesce import providers
from koalesce.cli.main import main
from koalesce.cluster_request import ClusterRequest, NodeRequest
from koalesce.errors import ProvisionError, UsageError
from koalesce.providers import provider
from koalesce.providers.cloud import CloudProvider
from koalesce.terraform import find_binary
from koalesce.terraform.contract import check_variables
from koalesce.terraform.keeping import problems
from koalesce.terraform.trying import tried

PACKAGE = Path("koalesce-acme-lab") / "koalesce_acme_lab"


@pytest.fixture(autouse=True)
def _written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What it writes, installed."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "provider", "acme-lab"]) == 0
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    found = [
        EntryPoint(name=name, value=value, group=providers.GROUP)
        for name, value in project["entry-points"][providers.GROUP].items()
    ]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: found)
    monkeypatch.syspath_prepend(str(tmp_path / PACKAGE.parent))
    providers._brought.cache_clear()
    yield
    providers._brought.cache_clear()
    sys.modules.pop("koalesce_acme_lab", None)


def test_its_root_keeps_the_contract() -> None:
    assert problems(PACKAGE / "terraform") == []


def test_terraform_finds_nothing_wrong_with_its_root(tmp_path: Path) -> None:
    try:
        terraform = find_binary()
    except ProvisionError as error:
        pytest.skip(error.message)

    assert tried(PACKAGE / "terraform", binary=terraform).problems == ()
    root = tmp_path / "root"
    shutil.copytree(PACKAGE / "terraform", root)
    (root / "terraform.tfvars-example").rename(root / "terraform.tfvars")
    for words in (["init", "-plugin-dir=/nonexistent"], ["plan"]):
        done = subprocess.run(
            [terraform, *words, "-input=false", "-no-color"], cwd=root, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "6 to add" in done.stdout


def test_koalesce_finds_it_and_it_says_what_is_missing() -> None:
    found = provider("acme-lab")
    assert isinstance(found, CloudProvider)
    assert (found.name, found.terraform_root.is_dir()) == ("acme-lab", True)

    request = found.resolve(_request({"allowedCIDRs": ["192.0.2.7/32"], "size": "large"}))

    with pytest.raises(UsageError, match="the provider acme-lab needs credentials: ACME_LAB_TOKEN isn't set"):
        found.confirm(request)
    with pytest.raises(UsageError, match=r"providers\.acme-lab\.size: must be a text"):
        found.resolve(_request({"size": 5}))


def test_its_settings_are_variables_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_LAB_TOKEN", "secret")
    monkeypatch.setattr(CloudProvider, "_tools", lambda *_, **__: {})
    found = provider("acme-lab")
    request = found.resolve(_request({"allowedCIDRs": ["192.0.2.7/32"], "size": "large"}))

    variables = found.variables(found.prepare(request, progress=print, cancel=None), Path("root"))

    check_variables(variables)
    assert variables["settings"]["size"] == "large"
    assert "secret" not in str(variables)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["provider", "local"], "Koalesce brings a provider local"),
        (["provider", "Acme"], '"Acme" can\'t be the name of a provider'),
        (["provider", "a--b"], '"a--b" can\'t be the name of a provider'),
        (["provider"], "what is it called?"),
        (["provider", "other", "--nodes", "3"], "there is no --nodes"),
        (["elsewhere", "other"], "one folder"),
        (["provider", "acme-lab"], "there already"),
    ],
)
def test_what_it_can_not_write_is_told(words: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *words]) == 2
    assert problem in capsys.readouterr().err


def _request(settings: dict[str, object]) -> ClusterRequest:
    nodes = (NodeRequest(name="control-plane", role="control-plane"),)
    return ClusterRequest(name="a-1", run_id="1", provider="acme-lab", kubernetes="", nodes=nodes, settings=settings)
