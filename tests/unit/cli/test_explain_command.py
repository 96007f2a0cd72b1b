"""`koalesce explain`."""

from __future__ import annotations

import pytest

from koalesce.cli.main import main


def test_a_step_type_is_explained_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "sleep"]) == 0

    out = capsys.readouterr().out
    assert out.startswith("Let time pass.")
    assert out.endswith("fields:\n  duration: duration (required)\n      How long: `5s`.\n")


def test_a_field_is_explained_with_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "curl.tls.insecure"]) == 0
    assert capsys.readouterr().out == "curl.tls.insecure: true or false (default: false)\n  Accept any certificate.\n"


def test_what_is_to_be_copied_is_never_broken(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "curl.from"]) == 0

    assert "kubectl.kubernetes.io/default-container" in capsys.readouterr().out


def test_sections_and_common_fields_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "tests.steps.within"]) == 0
    assert main(["explain", "steps.within"]) == 0

    first, _, second = capsys.readouterr().out.partition("\nsteps.within")
    assert first.removeprefix("tests.steps.within") == second.rstrip("\n")


def test_without_a_name_everything_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0

    out = capsys.readouterr().out
    assert "  wait-for " in out
    assert "  components " in out


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (
            "crul",
            '"crul" is neither a step type nor a section of a spec; did you mean "curl"?\n  hint: koalesce explain lists them\n',
        ),
        (
            "curl.form",
            '"form" is not a field of curl; did you mean "from"?\n  hint: koalesce explain curl lists its fields\n',
        ),
        (
            "cluster.etcd.mod",
            '"mod" is not a field of cluster.etcd; did you mean "mode"?\n  hint: koalesce explain cluster.etcd lists its fields\n',
        ),
    ],
)
def test_an_unknown_name_is_told_with_a_suggestion(what: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", what]) == 2
    assert capsys.readouterr().err == f"error: {said}"
