from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from koalesce.cli.main import main
from koalesce.cli.settings import SETTINGS


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOALESCE_STATE_DIR", "/somewhere")
    monkeypatch.setenv("KOALESCE_RUN_RERUNS", "2")
    Path("koalesce.toml").write_text('exclude = ["old", "new"]\n[run]\nparallel = 8\n')


def test_each_setting_is_told_with_its_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["config"]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["project", str(tmp_path), "default"] in rows
    assert ["exclude", "old,", "new", "koalesce.toml"] in rows
    assert ["state", "folder", "/somewhere", "KOALESCE_STATE_DIR"] in rows
    assert ["parallel", "8", "koalesce.toml"] in rows
    assert ["reruns", "2", "KOALESCE_RUN_RERUNS"] in rows
    assert ["timeout", "-", "default"] in rows


def test_as_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["parallel"] == {"value": "8", "source": "koalesce.toml"}


def test_a_setting_that_there_is_none_of_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("koalesce.toml").write_text("[run]\nparalel = 8\n")

    assert main(["config"]) == 2
    assert 'did you mean "parallel"?' in capsys.readouterr().err


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main(["config", "--help"])

    told = capsys.readouterr().out.partition("What [run] may have")[2].partition(":\n")[2]
    assert set(told.replace(",", " ").split()) == set(SETTINGS)
