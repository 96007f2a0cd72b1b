"""A first spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from koalesce.cli.main import main
from koalesce.cli.settings import settings
from koalesce.spec import discover, load
from koalesce.spec.project import Project


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "My CNI").mkdir()
    monkeypatch.chdir(tmp_path / "My CNI")


def test_what_it_writes_is_valid_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--nodes", "3", "--ci", "both"]) == 0

    spec = load("specs/my-cni.yaml").spec
    assert (spec.metadata.name, len(spec.cluster.node_requests()), len(spec.tests)) == ("my-cni", 3, 2)
    assert discover([]) == [Path("specs/my-cni.yaml")]
    assert {each.name: each.shown for each in settings(Project.find(Path()), {})}["timeout"] == "20m00s"
    assert capsys.readouterr().out.splitlines()[-1] == "now: koalesce run specs/my-cni.yaml"


@pytest.mark.parametrize(
    ("ci", "files"),
    [
        ("github", [".github/workflows/koalesce.yaml"]),
        ("gitlab", [".gitlab-ci.yml"]),
        ("both", [".github/workflows/koalesce.yaml", ".gitlab-ci.yml"]),
        ("none", []),
    ],
)
def test_a_workflow_runs_the_specs(ci: str, files: list[str]) -> None:
    main(["init", "--ci", ci])

    there = [name for name in (".github/workflows/koalesce.yaml", ".gitlab-ci.yml") if Path(name).exists()]
    assert there == files
    for name in files:
        text = Path(name).read_text()
        assert "koalesce run specs/ --junit koalesce.xml" in text
        assert "@" not in text.replace("actions/checkout@v", "").replace("@v", "")
        assert isinstance(YAML(typ="safe").load(text), dict)


def test_nothing_is_overwritten_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    Path("koalesce.toml").write_text("# mine\n")

    assert main(["init"]) == 2
    assert "koalesce.toml: there already" in capsys.readouterr().err
    assert not Path("specs").exists()

    assert main(["init", "--force"]) == 0
    assert Path("koalesce.toml").read_text().startswith("# Settings")


def test_it_can_be_written_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "a b", "--name", "dns", "--ci", "none"]) == 0

    assert Path("a b/specs/dns.yaml").exists()
    assert capsys.readouterr().out.splitlines()[-1] == "now: cd 'a b' && koalesce run specs/dns.yaml"


def test_it_asks_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"name of the spec": "dns", "nodes of its cluster": "", "CI system (github, gitlab, both, none)": "none"}
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: answers.pop(prompt.split(" [")[0]))

    assert main(["init"]) == 0

    assert answers == {}
    assert len(load("specs/dns.yaml").spec.cluster.node_requests()) == 2


def test_it_asks_again_for_what_it_can_not_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter(["My CNI", "dns", "two", "3", "jenkins", "none"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _prompt: next(answers))

    assert main(["init"]) == 0

    assert len(load("specs/dns.yaml").spec.cluster.node_requests()) == 3
    said = capsys.readouterr().out
    assert "'My CNI' is no name of a spec" in said
    assert "'two' is not a whole number from 1" in said
    assert "'jenkins' is none of github" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "My_CNI"], "'My_CNI' is no name of a spec"),
        (["--name", "../x"], "'../x' is no name of a spec"),
        (["--nodes", "0"], "'0' is not a whole number from 1"),
        (["--ci", "jenkins"], "invalid choice: 'jenkins'"),
    ],
)
def test_bad_answers_are_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *words]) == 2

    assert message in capsys.readouterr().err
    assert list(Path().iterdir()) == []
