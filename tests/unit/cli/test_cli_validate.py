"""`koalesce validate` and `koalesce schema`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from koalesce.cli.main import main
from koalesce.spec.schema import schema_text
from koalesce.steps import _PLACES
from tests.benchmarks.validating import SMALL

SPEC = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\ntests: [{name: t, steps: [sleep: '${{ vars.t }}']}]\nvars: {t: 1s}\n"
FOR_RUNS = (
    "engine",
    "reporters",
    "terraform",
    "cluster",
    "process",
    "kube.client",
    "local",
    "toolchain.images",
    "spec.schema",
    "spec.shared_models",
)
FOR_ATTEMPTS = ("subprocess", "logging", "concurrent.futures", "tempfile", "queue", "socket", "koalesce.kube.client")
HEAVY = ("kubernetes", "rich", "tenacity", "python_terraform", "jsonpath_ng", "cryptography")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "koalesce.toml").write_text("")
    return tmp_path


def test_valid_specs_are_one_line_each(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(SPEC)
    (folder / "b").mkdir()
    (folder / "b/c.yaml").write_text(SPEC)

    assert main(["validate"]) == 0
    assert capsys.readouterr() == ("ok  a.yaml  1 test\nok  b/c.yaml  1 test\n", "")


def test_problems_are_all_told_and_the_code_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(SPEC)
    (folder / "b.yaml").write_text(SPEC.replace("tests:", "tsets:"))

    assert main(["validate", "a.yaml", "b.yaml"]) == 2

    output = capsys.readouterr()
    assert output.out == "ok  a.yaml  1 test\n"
    assert output.err.splitlines() == [
        'b.yaml:4:1: tsets: unknown field; did you mean "tests"?',
        "  4 | tsets: [{name: t, steps: [sleep: '${{ vars.t }}']}]",
        "    | ^~~~~",
        "1 problem in 1 of 2 specs",
    ]


def test_variables_can_be_set(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yaml").write_text(SPEC)

    assert main(["validate", "--set", "t=soon"]) == 2
    assert "'soon' is not a duration" in capsys.readouterr().err


def test_no_specs_and_missing_files_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate"]) == 2
    assert main(["validate", "missing.yaml"]) == 2
    assert "missing.yaml: no such file or folder" in capsys.readouterr().err


def loaded_by_validating(path: str) -> set[str]:
    """The modules that `koalesce validate` has loaded at its end."""
    code = (
        "import sys; from koalesce.cli.main import main; code = main(['validate', sys.argv[1]]);"
        "print(*sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.splitlines()[-1].split())


def test_validation_loads_nothing_that_only_a_run_needs(folder: Path) -> None:
    (folder / "a.yaml").write_text(SPEC)

    loaded = loaded_by_validating("a.yaml")

    assert loaded.isdisjoint(HEAVY)
    assert {name.partition(".")[2] for name in loaded if name.startswith("koalesce.")}.isdisjoint(FOR_RUNS)


def test_validation_loads_only_the_step_types_that_a_spec_has(folder: Path) -> None:
    (folder / "a.yaml").write_text(SMALL)

    loaded = loaded_by_validating("a.yaml")

    modules = {
        name.rpartition(".")[2] for name in loaded if name.startswith("koalesce.steps.") and name.count(".") == 2
    }
    assert {module for module, _ in _PLACES.values()} & modules == {"apply", "assert_", "wait_for"}
    assert {f"koalesce.{name}" for name in ("steps.workloads.readiness", "spec.names", "spec.faults")}.isdisjoint(
        loaded
    )
    assert loaded.isdisjoint({*FOR_ATTEMPTS, "importlib.metadata", "difflib"})


@pytest.mark.parametrize("module", sorted({module for module, _ in _PLACES.values()}))
def test_no_step_type_loads_what_only_its_attempts_need(module: str) -> None:
    code = f"import sys, koalesce.steps.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert set(done.stdout.split()).isdisjoint({*FOR_ATTEMPTS, *HEAVY})


def test_data_classes_of_what_validation_loads_write_no_functions_at_the_start(folder: Path) -> None:
    (folder / "a.yaml").write_text(SMALL)
    code = (
        "import dataclasses, sys; from koalesce.cli.main import main; main(['validate', sys.argv[1]]);"
        "found = [name for name, module in list(sys.modules.items()) if name.startswith('koalesce.')"
        " and getattr(module, 'dataclass', None) is dataclasses.dataclass];"
        "print(); print(*found)"
    )

    done = subprocess.run([sys.executable, "-c", code, "a.yaml"], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "", "koalesce.records has a dataclass that costs less to load"


def test_a_command_that_only_looks_ends_with_its_code_and_all_of_its_output(folder: Path) -> None:
    for number in range(200):
        (folder / f"{number}.yaml").write_text(SPEC)
    (folder / "bad.yaml").write_text(SPEC.replace("tests:", "tsets:"))

    done = subprocess.run([sys.executable, "-m", "koalesce", "validate"], capture_output=True, text=True, check=False)

    assert (done.returncode, len(done.stdout.splitlines())) == (2, 200)
    assert done.stderr.endswith("1 problem in 1 of 201 specs\n")


def test_the_schema_is_printed_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == schema_text()

    assert main(["schema", "--output", "s.json"]) == 0
    assert (folder / "s.json").read_text() == schema_text()
    assert main(["schema", "--output", "no/such/folder/s.json"]) == 2
