"""Credentials that are missing: asked for in a terminal, named elsewhere."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import pytest

from koalesce.cli import asking
from koalesce.cli.main import main

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: cloud}
cluster: {provider: aws, providers: {aws: {allowedCIDRs: [192.0.2.7/32]}}}
tests: [{name: a, steps: [{wait-for: {resource: node, all: true, condition: Ready}}]}]
"""


@pytest.fixture(autouse=True)
def _spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cloud.yaml").write_text(SPEC)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "before")  # so that it is put back
        monkeypatch.delenv(name)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What somebody at a terminal types."""
    typed: list[str] = []
    monkeypatch.setattr(asking, "is_there_anybody", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: typed.pop(0))
    return typed


def plan() -> int:
    return main(["plan", "cloud.yaml", "--no-terraform"])


def test_nobody_is_asked_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan() == 2

    err = capsys.readouterr().err
    assert "the provider aws needs credentials: AWS_ACCESS_KEY_ID isn't set: of an access key" in err
    assert "export AWS_ACCESS_KEY_ID=…; export AWS_SECRET_ACCESS_KEY=…" in err


def test_they_are_asked_for_in_a_terminal(answers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answers += ["key-id", "the-secret"]

    assert plan() == 0

    assert (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]) == ("key-id", "the-secret")
    captured = capsys.readouterr()
    assert "AWS_ACCESS_KEY_ID: of an access key" in captured.err
    assert "the-secret" not in captured.out + captured.err


def test_only_those_that_are_missing(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    answers += ["the-secret"]

    assert plan() == 0
    assert os.environ["AWS_ACCESS_KEY_ID"] == "mine"


def test_who_gives_none_stops(answers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    answers += [""]

    assert plan() == 2
    assert "needs credentials" in capsys.readouterr().err
