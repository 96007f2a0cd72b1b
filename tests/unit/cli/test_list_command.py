from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.cli.main import main

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
tests:
  - name: first
    steps: [{sleep: 1s}]
  - name: "[second]"
    skip: not yet
    steps: [{sleep: 1s}]
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    Path("specs/a.yaml").write_text(SPEC)


@pytest.mark.parametrize("words", [[], ["specs"], ["./..."], ["specs/a.yaml", "specs"]])
def test_lists_each_test_with_its_place(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "specs/a.yaml:5  first",
        "specs/a.yaml:7  [second]  (skipped: not yet)",
    ]


@pytest.mark.parametrize(("size", "said"), [("1", "  (skipped: if: is 1, expected > 1)"), ("2", "")])
def test_says_what_would_be_skipped_on_any_cluster(size: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    condition = 'vars: {size: 1}\ntests:\n  - if: {value: "${{ vars.size }}", gt: 1}\n    name: first'
    Path("specs/a.yaml").write_text(SPEC.replace("tests:\n  - name: first", condition))

    assert main(["list", "--set", f"size={size}"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"specs/a.yaml:6  first{said}"


def test_invalid_specs_are_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("specs/a.yaml").write_text(SPEC.replace("steps", "stesp"))

    assert main(["list"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 'specs/a.yaml:6:5: tests[0].stesp: unknown field; did you mean "steps"?' in err.splitlines()
    assert not [line for line in err.splitlines() if line.startswith("error:")]


def test_nothing_found_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()

    assert main(["list", "empty"]) == 2
    assert "no specs in empty" in capsys.readouterr().err


def test_lists_each_cell_of_a_matrix_with_the_values_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("specs/a.yaml").write_text(
        SPEC.replace("tests:", "vars: {sizes: [1]}\nmatrix: {zone: [a, b]}\ntests:").replace(
            "    steps", '    matrix: {size: "${{ vars.sizes }}"}\n    steps', 1
        )
    )

    assert main(["list", "--set", "sizes=[7]"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "specs/a.yaml:7 [zone=a]  first [size=7]",
        "specs/a.yaml:10 [zone=a]  [second]  (skipped: not yet)",
        "specs/a.yaml:7 [zone=b]  first [size=7]",
        "specs/a.yaml:10 [zone=b]  [second]  (skipped: not yet)",
    ]


@pytest.mark.parametrize("command", ["list", "validate"])
def test_a_value_for_a_variable_that_there_is_none_of_is_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("values.yaml").write_text("greetign: hi\n")
    Path("specs/a.yaml").write_text(SPEC.replace("tests:", "vars: {greeting: hello}\ntests:"))

    assert main([command, "--values", "values.yaml"]) == 2
    assert 'did you mean "greeting"?' in capsys.readouterr().err
