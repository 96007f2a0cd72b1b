"""`koalesce doctor`, with findings that are made up."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from koalesce.cli import exit_codes
from koalesce.cli.commands import doctor
from koalesce.cli.main import main
from koalesce.local import capabilities, health
from koalesce.local.health import Finding

RUNS = Path(__file__).parents[2] / "data" / "runs"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the machine has at first; tests add to it."""
    found = [Finding("system", "good", "Linux")]
    monkeypatch.setattr(health, "essentials", lambda folder: list(found))
    monkeypatch.setattr(health, "trials", list)
    monkeypatch.setattr(
        health, "circumstances", lambda folder: [Finding("memory", "noted", "little memory", "buy some")]
    )
    monkeypatch.setattr(doctor, "_kernel", list)
    monkeypatch.setattr(doctor, "_programs", lambda: [Finding("go", "good", "/bin/go")])
    monkeypatch.setattr(doctor, "_toolchain", list)
    return found


def test_a_machine_that_will_do_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == exit_codes.PASSED

    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["machine", "  ok    Linux", "  note  little memory", "        if that matters: buy some"]
    assert "a privileged pod is root on it" in lines[-2]


def test_what_is_lacking_comes_with_its_remedy_and_an_error(
    machine: list[Finding], capsys: pytest.CaptureFixture[str]
) -> None:
    machine.append(Finding("overlayfs", "lacking", "no overlays", "another kernel"))

    assert main(["doctor"]) == exit_codes.ERROR

    output = capsys.readouterr().out
    assert "  LACK  no overlays\n        do: another kernel\n" in output
    assert "little memory" not in output  # of no interest until then


def test_what_a_kernel_lacks_is_told_with_what_helps_and_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "_kernel", lambda: capabilities.findings(lambda words: "vxlan\nipset\n"))

    assert main(["doctor"]) == exit_codes.PASSED

    output = capsys.readouterr().out
    assert "\nkernel\n  ok    what specs may require: ipset, vxlan\n" in output
    lack = "  note  no ipvs: what requires it is skipped\n"
    assert f"{lack}        if that matters: modprobe ip_vs, or a kernel with CONFIG_IP_VS\n" in output
    assert "no netem (delay and loss on links)" in output


def test_programs_are_told_with_their_versions(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho Tool v2.7.1-rc.2, of today\n")
    program.chmod(0o755)
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)

    assert doctor._versioned(str(program), "version") == f"{program} 2.7.1"
    assert doctor._versioned(str(silent), "version") == str(silent)
    assert doctor._versioned(str(tmp_path / "none"), "version") == str(tmp_path / "none")


def test_what_is_refused_when_it_is_tried_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        health, "trials", lambda: [Finding("mounts", "lacking", "root is refused mounts", "unconfine it")]
    )

    assert main(["doctor"]) == exit_codes.ERROR


def test_a_missing_program_that_clusters_need_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_programs", lambda: [Finding("terraform", "lacking", "no Terraform", "get it")])

    assert main(["doctor"]) == exit_codes.ERROR


def test_programs_get_it_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == exit_codes.PASSED

    rows = json.loads(capsys.readouterr().out)
    assert rows[1] == {
        "about": "machine",
        "name": "memory",
        "state": "noted",
        "text": "little memory",
        "hint": "buy some",
    }


def test_a_report_is_ready_for_an_issue(
    machine: list[Finding], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.append(Finding("overlayfs", "lacking", f"no overlays below {tmp_path / 'home'}/state", "another kernel"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "gethostname", lambda: "build-7.corp.example")
    text = (RUNS / "red.jsonl").read_text()
    (tmp_path / "events.jsonl").write_text(
        text.replace("403 Forbidden", "refused by https://ada:hunter2@build-7.corp.example/x")
    )

    assert main(["doctor", "--report", str(tmp_path / "events.jsonl")]) == exit_codes.PASSED

    report = capsys.readouterr().out
    assert "- Koalesce: " in report
    assert "- machine: **lacking** no overlays below \\~/state" in report
    assert "- local, Kubernetes v1.37.2, nodes: 3; capabilities: ipvs, node-exec" in report
    assert "<b>pods reach each other</b> (failed)" in report
    assert "refused by https://***@HOST/x" in report
    assert not [secret for secret in ("build-7", "hunter2", "ada:", str(tmp_path)) if secret in report]
    assert len(report) < 65_536


def test_a_report_needs_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--report"]) == exit_codes.PASSED

    assert "`koalesce doctor --report FILE` tells of it here" in capsys.readouterr().out


def test_a_report_of_a_broken_file_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "events.jsonl").write_text("{oops\n")

    assert main(["doctor", "--report", str(tmp_path / "events.jsonl")]) == exit_codes.USAGE
    assert capsys.readouterr().out == ""
