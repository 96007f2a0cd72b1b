"""`koalesce validate` of a file that is no spec: of one that specs share, and of what is something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.cli.main import main

SHARED = """\
apiVersion: koalesce.dev/v1alpha1
kind: Steps
groups:
  print:
    params: {word: {}, times: {default: 2}}
    steps:
      - script: {run: "echo ${{ params.word }}", stdout: {contains: "${{ params.word }}"}}
      - sleep: 1ms
  twice:
    params: {word: {}}
    steps:
      - use: "#print"
        with: {word: "${{ params.word }}"}
"""
USING = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: using}
tests: [{name: t, steps: [{use: "steps.yaml#twice", with: {word: a}}]}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "koalesce.toml").write_text("")
    (tmp_path / "steps.yaml").write_text(SHARED)
    return tmp_path


def test_a_file_of_step_groups_is_checked_as_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "spec.yaml").write_text(USING)

    assert main(["validate", "steps.yaml", "spec.yaml"]) == 0
    assert capsys.readouterr().out == (
        "ok  steps.yaml  2 step groups; what depends on a spec is checked with those that use it\nok  spec.yaml  1 test\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("groups:", "gruops:", 'steps.yaml:3:1: gruops: unknown field; did you mean "groups"?'),
        ("sleep: 1ms", "slepe: 1ms", 'steps.yaml:8:9: groups.print.steps[1].slepe: unknown step type; did you mean "sleep"?'),
        ("sleep: 1ms", "sleep: soon", "steps.yaml:8:16: groups.print.steps[1].sleep: 'soon' is not a duration"),
        ("times: {", "word: {", 'steps.yaml:5:24: groups.print.params.word: the key stands here twice'),
        ("#print", "#pint", 'steps.yaml:12:14: groups.twice.steps[0].use: there is no group "pint" in this file; did you mean "print"?'),
        ("with: {word: ", "with: {wrod: ", 'groups.twice.steps[0].with.wrod: print has no parameter "wrod"; did you mean "word"?'),
    ],
)  # fmt: skip
def test_what_is_wrong_in_one_is_told_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    (folder / "steps.yaml").write_text(SHARED.replace(old, new, 1))

    assert main(["validate", "steps.yaml"]) == 2
    assert said in capsys.readouterr().err


def test_files_that_one_includes_must_be_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "steps.yaml").write_text(SHARED.replace("groups:", "include: [missing.yaml]\ngroups:"))

    assert main(["validate", "steps.yaml"]) == 2
    assert "steps.yaml:3:11: include[0]: missing.yaml: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "list"])
def test_other_commands_say_in_one_sentence_that_it_is_no_spec(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "steps.yaml"]) == 2
    assert capsys.readouterr().err.splitlines()[:2] == [
        "steps.yaml:2:7: kind: this is a file of step groups and no spec; specs take it by use or include; koalesce validate checks it as what it is",
        "  2 | kind: Steps",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: 1}\n",
            "a.yaml:2:7: kind: this is an object of Kubernetes (apps/v1, Deployment) and no spec; "
            "a spec begins with apiVersion: koalesce.dev/v1alpha1",
        ),
        (
            "apiVersion: koalesce.dev/v1alpha1\nkind: Image\nname: a\n",
            "a.yaml:2:7: kind: this describes an image and is no spec; koalesce image build takes it",
        ),
    ],
)
def test_what_is_something_else_is_told_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (folder / "a.yaml").write_text(text)

    assert main(["validate", "a.yaml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1], len(lines)) == (said, "1 problem in 1 of 1 spec", 4)


def test_a_misspelt_kind_is_a_problem_of_a_spec(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(USING.replace("kind: Spec", "kind: Spce"))

    assert main(["validate", "a.yaml"]) == 2
    assert 'a.yaml:2:7: kind: must be Spec, not "Spce"' in capsys.readouterr().err
