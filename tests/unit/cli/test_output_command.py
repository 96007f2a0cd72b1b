"""What `koalesce output` shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from koalesce.cli.main import main
from koalesce.local.ledger import Entry, Ledger

OUTPUTS = {"contract": 1, "kubeconfig_path": "/run/kubeconfig", "capabilities": ["ipvs", "node-exec"]}


@pytest.fixture(autouse=True)
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "outputs.json").write_text(json.dumps(OUTPUTS))
    Ledger().begin(Entry(name="dev", folder=str(tmp_path), keep=True))


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["kubeconfig_path"], "/run/kubeconfig\n"),
        (["kubeconfig_path", "--json"], '"/run/kubeconfig"\n'),
        (["contract"], "1\n"),
        (["capabilities"], '[\n  "ipvs",\n  "node-exec"\n]\n'),
        (
            [],
            'capabilities = [\n  "ipvs",\n  "node-exec"\n]\ncontract = 1\nkubeconfig_path = "/run/kubeconfig"\n',
        ),
    ],
)
def test_outputs_are_shown(words: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["output", "dev", *words]) == 0

    assert capsys.readouterr().out == printed


def test_all_of_them_are_one_json_value(capsys: pytest.CaptureFixture[str]) -> None:
    main(["output", "dev", "--json"])

    assert json.loads(capsys.readouterr().out) == OUTPUTS


def test_one_that_is_not_there_is_told_with_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["output", "dev", "node"]) == 2

    assert "there are: capabilities, contract, kubeconfig_path" in capsys.readouterr().err
