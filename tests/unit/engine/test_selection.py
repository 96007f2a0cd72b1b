"""Which tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.engine.selection import check_trusted, select
from koalesce.errors import UsageError
from koalesce.spec import LoadedSpec, load, load_all

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: example}
tests:
  - {name: pods reach pods, steps: [{sleep: 1ms}]}
  - {name: nodes reach pods, steps: [{sleep: 1ms}]}
"""


@pytest.fixture
def spec(tmp_path: Path) -> LoadedSpec:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load(tmp_path / "spec.yaml", root=tmp_path)


def test_all_tests_run_unless_said_otherwise(spec: LoadedSpec) -> None:
    (selected,) = select([spec], None)

    assert [(test.name, line) for test, line in selected.tests] == [("pods reach pods", 5), ("nodes reach pods", 6)]


def test_a_pattern_picks_tests(spec: LoadedSpec) -> None:
    (selected,) = select([spec], "^nodes")

    assert [test.name for test, _ in selected.tests] == ["nodes reach pods"]


def test_a_spec_without_a_picked_test_is_left_out(spec: LoadedSpec) -> None:
    assert select([spec], "nothing like it") == []


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("size=1", ["t [size=1]", "t [size=1]"]),
        ("zone=a", ["t [size=1]", "t [size=2]"]),
        ("size=2.*zone=b", ["t [size=2]"]),
        (r"^t \[size=1\]$", ["t [size=1]", "t [size=1]"]),
    ],
)
def test_a_pattern_picks_cells_of_tests_and_of_specs(tmp_path: Path, pattern: str, names: list[str]) -> None:
    text = (
        SPEC.split("tests:")[0]
        + "matrix: {zone: [a, b]}\ntests: [{name: t, matrix: {size: [1, 2]}, steps: [{sleep: 1ms}]}]"
    )
    (tmp_path / "spec.yaml").write_text(text)

    selected = select(load_all([tmp_path / "spec.yaml"], root=tmp_path), pattern)

    assert [test.name for each in selected for test, _ in each.tests] == names


def test_a_bad_pattern_is_refused(spec: LoadedSpec) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        select([spec], "(")


def test_a_spec_from_elsewhere_needs_trust(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside of the project"):
        check_trusted([tmp_path / "foreign" / "spec.yaml"], tmp_path / "project")
