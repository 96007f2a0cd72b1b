"""When `koalesce run` uses results again, and how they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import koalesce.engine
from koalesce.cli.main import main
from koalesce.engine import RunOptions
from koalesce.engine.cached.store import Result, Results
from koalesce.events import AnyEvent, RunFinished


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[RunOptions]:
    """What the engine is asked for."""
    found: list[RunOptions] = []

    def run(options: RunOptions) -> Iterator[AnyEvent]:
        found.append(options)
        yield RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=0.1)

    monkeypatch.setattr(koalesce.engine, "run", run)
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    Path("specs/a.yaml").write_text("apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n")
    return found


@pytest.mark.parametrize(
    "words", [[], ["./..."], ["specs"], ["specs/*.yaml"], ["specs/..."], ["--short", "--failfast"]]
)
def test_specs_of_patterns_are_those_whose_results_are_used_again(asked: list[RunOptions], words: list[str]) -> None:
    assert main(["run", *words]) == 0

    assert [(each.cached, each.count) for each in asked] == [(True, 1)]


@pytest.mark.parametrize(
    "words",
    [
        ["specs/a.yaml"], ["specs", "specs/a.yaml"], ["--count", "1"], ["--count", "3", "specs"], ["--no-cache"],
    ],
)  # fmt: skip
def test_specs_that_are_named_and_runs_that_are_asked_for_always_run(asked: list[RunOptions], words: list[str]) -> None:
    assert main(["run", *words]) == 0

    assert [each.cached for each in asked] == [False]


def test_the_settings_turn_it_off(asked: list[RunOptions], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("koalesce.toml").write_text("[run]\ncached = false\n")
    main(["run"])
    monkeypatch.setenv("KOALESCE_RUN_CACHED", "true")
    main(["run"])

    assert [each.cached for each in asked] == [False, True]


def test_results_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOALESCE_CACHE_DIR", str(tmp_path))
    Results().keep("known", [], lambda _name: "", Result(at="", events=()))

    assert main(["clean", "--testcache"]) == 0
    assert main(["clean", "--testcache"]) == 0

    assert capsys.readouterr().out == "1 result forgotten\n0 results forgotten\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_to_go_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean"]) == 2
    assert "koalesce clean --testcache" in capsys.readouterr().err
