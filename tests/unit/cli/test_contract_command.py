"""`koalesce contract`, on copies of a root that keeps it; what Terraform would say is a small program's."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from koalesce.assets import asset
from koalesce.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(asset("terraform", "local"), tmp_path / "acme"))


@pytest.fixture(autouse=True)
def _terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(tmp_path, monkeypatch, "case $1 in validate) echo '{}';; esac")


def says(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "terraform"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("KOALESCE_TERRAFORM", str(program))


def test_a_root_that_keeps_it_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", str(root)]) == 0

    assert capsys.readouterr().out == f"ok  {root}\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("versions.tf", ">= 1.5", ">= 1.4", 'versions.tf doesn\'t say required_version = ">= 1.5"'),
        ("README.md", "## Needs", "## Wants", 'README.md has no heading "## Needs"'),
        ("README.md", "| `dns` |", "| `DNS` |", "README.md isn't as the contract has it: koalesce contract --write"),
        ("README.md", "<!-- variables: ", "<!-- ", "README.md has no table of variables"),
        ("variables.tf", 'variable "dns"', 'variable "DNS"', "variable dns is missing"),
        ("variables.tf", 'variable "name" {', 'variable "name" {{', "variables.tf can't be read"),
        ("outputs.tf", 'output "dns_ip"', 'output "dnsIP"', "output dnsIP is not in the contract"),
    ],
)
def test_what_a_root_lacks_is_told(
    root: Path, file: str, old: str, new: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))

    assert main(["contract", str(root)]) == 1
    captured = capsys.readouterr()
    assert f"{root}: {problem}" in captured.err
    assert "ok" not in captured.out


def test_a_file_that_is_missing_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "terraform.tfvars-example").unlink()

    assert main(["contract", str(root)]) == 1
    assert f"{root}: terraform.tfvars-example is missing" in capsys.readouterr().err


def test_what_comes_from_the_contract_is_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = 'variable "settings" {\n  description = "What only this provider knows."\n  type = object({ size = string })\n  default = {}\n  nullable = false\n}\n'
    (root / "variables.tf").write_text(own)
    outputs = (root / "outputs.tf").read_text()
    (root / "outputs.tf").write_text(outputs.replace("Address of the cluster DNS Service.", "An address."))

    assert main(["contract", str(root), "--write"]) == 0

    written = (root / "variables.tf").read_text()
    assert "object({ size = string })" in written
    assert 'variable "kube_proxy"' in written
    assert (root / "outputs.tf").read_text() == outputs
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {root / 'outputs.tf'}", f"wrote {root / 'variables.tf'}", f"ok  {root}",
    ]  # fmt: skip


def test_plugins_that_are_not_there_are_a_skip_with_its_reason(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = "Could not retrieve the list of available versions for provider\nacme/acme: provider was not found"
    says(tmp_path, monkeypatch, f"case $1 in init) echo '{lacks}' >&2; exit 1;; esac")

    assert main(["contract", str(root), "--plugins", str(tmp_path / "mirror")]) == 0
    assert capsys.readouterr().out == (
        f"ok  {root}\n    skipped: terraform validate and test: acme/acme not in {tmp_path / 'mirror'}\n"
    )


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("case $1 in fmt) echo main.tf; exit 3;; validate) echo '{}';; esac", "main.tf isn't formatted: terraform fmt"),
        ("case $1 in init) echo 'Error: no such module' >&2; exit 1;; esac", "Error: no such module"),
        (
            """case $1 in validate) echo '{"diagnostics": [{"summary": "Bad", "detail": "a b", "range": {"filename": "main.tf", "start": {"line": 3}}}]}';; esac""",
            "main.tf:3: Bad: a b",
        ),
    ],
)
def test_what_terraform_finds_is_told(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    says(tmp_path, monkeypatch, script)

    assert main(["contract", str(root)]) == 1
    assert f"{root}: {problem}" in capsys.readouterr().err


def test_tests_of_the_root_are_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (
        "case $1 in version) echo '%s'; echo on linux_amd64;; validate) echo '{}';; test) echo 1 failed; exit 1;; esac"
    )
    (root / "tests").mkdir()
    (root / "tests" / "machines.tftest.hcl").touch()

    says(tmp_path, monkeypatch, script % "OpenTofu v1.8.0-rc1")
    assert main(["contract", str(root)]) == 1
    assert "terraform test: 1 failed" in capsys.readouterr().err

    for old, needed in (("Terraform v1.6.6", "1.7"), ("OpenTofu v1.7.3", "1.8")):
        says(tmp_path, monkeypatch, script % old)
        assert main(["contract", str(root)]) == 0
        reason = f"terraform test: {old.replace(' v', ' ')} has no mocks of providers, {needed} has"
        assert f"skipped: {reason}" in capsys.readouterr().out


def test_a_folder_without_a_root_is_an_error_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["contract", str(tmp_path)]) == 2
    assert "koalesce init provider NAME writes one" in capsys.readouterr().err
