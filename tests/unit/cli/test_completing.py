"""What shells offer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from koalesce.cli.commands import COMMANDS
from koalesce.cli.completing import candidates
from koalesce.cli.main import main

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
tests:
  - {name: pods reach pods, steps: [{sleep: 1s}]}
  - {name: "GET /c?", matrix: {size: [1]}, steps: [{sleep: 1s}]}
"""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    Path("specs").mkdir()
    Path("specs/a.yaml").write_text(SPEC)
    Path("specs/b.yaml").write_text(SPEC.replace("pods", "nodes"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["va"], ["validate"]),
        (["--v"], ["--version"]),
        (["loc"], []),  # for Koalesce itself
        (["nothing", ""], []),
        (["run", "--keep"], ["--keep", "--keep-on-failure"]),
        (["run", ""], ["specs/a.yaml", "specs/b.yaml"]),
        (["run", "specs/a.yaml", "specs/b"], ["specs/b.yaml"]),
        (["run", "--parallel", ""], []),
        (["run", "--parallel", "2", "specs/a"], ["specs/a.yaml"]),
        (["run", "--run", "pods"], ["pods reach pods"]),
        (["run", "--run", "'pods"], ["pods reach pods"]),
        (["run", "specs/b.yaml", "--skip", ""], [r"GET /c\? \[size=1\]", "nodes reach nodes"]),
        (["run", "--cluster", ""], []),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["toolchain", "pr"], ["prepare"]),
        (["explain", "wait"], ["wait-for"]),
        (["explain", "clu"], ["cluster", "clusters"]),
        (["explain", "curl.met"], ["curl.method"]),
        (["explain", "curl.from.pods.sel"], ["curl.from.pods.selector"]),
        (["explain", "cluster.nod"], ["cluster.nodes"]),
        (["explain", "steps.ret"], ["steps.retry"]),
        (["explain", "tests.steps.ret"], ["tests.steps.retry"]),
        (["explain", "curl.nowhere."], []),
        (["explain", "nowhere."], []),
        (["ssh", "dev", "--", ""], []),
        (["help", "expl"], ["explain"]),
        (["up", "specs/a"], ["specs/a.yaml"]),
        (["up", "--name", ""], []),
    ],
    ids=" ".join,
)
def test_offers_what_may_stand_there(words: list[str], expected: list[str]) -> None:
    assert candidates(words) == expected


def test_what_is_offered_after_explain_can_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = candidates(["explain", ""])
    for depth in range(2):
        below = [word for each in waiting for word in candidates(["explain", f"{each}."])]
        assert len(below) > len(waiting) or depth
        for word in below:
            assert main(["explain", word]) == 0
            assert capsys.readouterr().out.startswith(f"{word}: ")
        waiting = below[::20]


def test_every_command_has_something_or_nothing_but_no_error() -> None:
    for name in COMMANDS:
        candidates([name, ""])
        assert "--help" in candidates([name, "--h"])


def test_a_broken_spec_has_no_tests_to_offer() -> None:
    Path("specs/a.yaml").write_text(SPEC.replace("steps", "stesp"))

    assert candidates(["run", "--run", ""]) == [r"GET /c\? \[size=1\]", "nodes reach nodes"]


def test_the_command_that_shells_call_prints_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complete", "--", "run", "sp"]) == 0

    assert capsys.readouterr().out == "specs/a.yaml\nspecs/b.yaml\n"


@pytest.mark.parametrize(
    ("typed", "offered", "found"),
    [
        ('""', r"pods reach pods\nother", "<pods reach pods><other>"),
        ('""', r"a \\$HOME\nother", r"<a\ \\\$HOME><other>"),  # bash itself quotes all but the dollar sign
        ("\\'a", r"a $HOME", "<a $HOME>"),
    ],
)
def test_bash_gets_whole_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: str, offered: str, found: str
) -> None:
    main(["completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    lines = [
        f"koalesce() {{ printf '{offered}\\n'; }}",
        f"source {script}",
        f"COMP_WORDS=(koalesce run --run {typed}) COMP_CWORD=3; _koalesce 2>/dev/null",
        "printf '<%s>' \"${COMPREPLY[@]}\"",
    ]

    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout == found


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_fish_offers_whole_names_and_files_where_there_are_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["completion", "fish"])
    (tmp_path / "koalesce.fish").write_text(capsys.readouterr().out)
    stub = tmp_path / "bin" / "koalesce"
    stub.parent.mkdir()
    stub.write_text('#!/bin/sh\nfor last; do :; done\ncase $last in "") printf "pods reach pods\\nother\\n";; esac\n')
    stub.chmod(0o755)
    (tmp_path / "values.yaml").touch()
    asked = "source koalesce.fish; complete -C 'koalesce run --run '; complete -C 'koalesce run --values val'"

    done = subprocess.run(
        ["fish", "--no-config", "-c", asked],
        cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path), "PATH": f"{stub.parent}:{os.environ['PATH']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.stdout.splitlines() == ["other", "pods reach pods", "values.yaml"]
