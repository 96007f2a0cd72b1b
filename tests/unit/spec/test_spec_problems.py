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


def test_an_expression_in_a_block_of_text_is_shown_at_its_own_place(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(
        "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: a}\ntests:\n- name: t\n  steps:\n"
        "  - script: |\n      echo one\n\n      echo ${{ vars.missing }}\n  - script: >-\n      ${{\n        vars.broken }}\n"
        "  - script: echo ${{ vars.broken }}\n"
    )

    with pytest.raises(InvalidSpecs) as caught:
        load(file, providers=["local"])

    found = [(problem.line, problem.column, problem.source_line.strip()) for problem in caught.value.problems]
    assert found == [
        (10, 16, "echo ${{ vars.missing }}"),
        (13, 9, "vars.broken }}"),
        (14, 13, "- script: echo ${{ vars.broken }}"),
    ]
