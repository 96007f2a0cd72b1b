from __future__ import annotations

import io
from pathlib import Path

import pytest

from koalesce.cli import exit_codes
from koalesce.cli.main import main


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("KOALESCE_REQUEST", raising=False)
    return tmp_path / "state"


def test_up_reads_its_request_from_the_environment_or_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("{"))
    assert main(["local", "up"]) == exit_codes.USAGE
    monkeypatch.setenv("KOALESCE_REQUEST", '{"name": "c1", "kubernetes_version": "1.37.2"}')
    assert main(["local", "up"]) == exit_codes.USAGE

    errors = capsys.readouterr().err
    assert "the request for a local cluster isn't valid" in errors
    assert "state_dir is missing" in errors


def test_down_needs_a_name_and_nothing_else(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "down"]) == exit_codes.USAGE
    assert "which cluster?" in capsys.readouterr().err
    assert main(["local", "down", "nobody"]) == exit_codes.PASSED
    assert not state.exists()


def test_certificates_for_nodes_with_their_addresses(tmp_path: Path) -> None:
    folder = tmp_path / "pki"

    assert (
        main(["pki", str(folder), "--node", "w1=192.0.2.1,192.0.2.2", "--node", "w2", "--api-name", "c.example"]) == 0
    )

    assert (folder / "kubelet" / "w1.crt").exists()
    assert (folder / "kubelet" / "w2.key").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_can_not_be_written_is_one_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pki", "/proc/nope"]) == exit_codes.ERROR

    assert (
        capsys.readouterr().err == "error: can't write the certificates below /proc/nope: No such file or directory\n"
    )
