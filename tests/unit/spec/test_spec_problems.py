"""What is said about specs that aren't valid: whole texts, each beside its spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.spec import InvalidSpecs, load, load_all
from koalesce.yaml import reader

INVALID = Path(__file__).parents[2] / "data" / "_invalid"
SPECS = sorted(path.name for path in INVALID.glob("*.yaml"))


def problems(name: str) -> str:
    with pytest.raises(InvalidSpecs) as caught:
        load(name, env={}, providers=["local"])
    return f"{caught.value}\n"


@pytest.mark.parametrize("name", SPECS)
def test_every_problem_is_said_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(INVALID)

    assert problems(name) == Path(name).with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SPECS)
def test_the_parser_in_python_says_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(INVALID)
    monkeypatch.setattr(reader, "_HAS_C", False)

    assert problems(name) == Path(name).with_suffix(".txt").read_text(encoding="utf-8")


def test_the_problems_of_several_specs_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(INVALID)

    with pytest.raises(InvalidSpecs) as caught:
        load_all(["empty.yaml", "tabs.yaml"])

    assert [problem.path for problem in caught.value.problems] == ["empty.yaml", "tabs.yaml"]
