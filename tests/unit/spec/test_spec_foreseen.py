"""Which tests are skipped whatever their cluster will be like."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.spec import LoadedSpec
from koalesce.spec.foreseen import foreseen_skip
from koalesce.spec.loader import load_cells

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {{name: s}}
vars: {{to: v1, from: "${{{{ vars.to }}}}", hidden: 1}}
matrix: {{backend: [a, b]}}
setup: {{steps: [{{script: echo 1, outputs: {{x: {{regex: "1"}}}}}}]}}
tests:
  - name: t
    vars: {{own: 3, of: "${{{{ cluster.kubernetes }}}}", hidden: "${{{{ setup.outputs.x }}}}"}}
    {said}
    steps: [{{sleep: 1ms}}]
"""


def cells(tmp_path: Path, said: str) -> list[LoadedSpec]:
    (tmp_path / "koalesce.toml").write_text('env = ["SEEN", "UNSET"]\n')
    (tmp_path / "s.yaml").write_text(SPEC.format(said=said))
    return load_cells(tmp_path / "s.yaml", root=tmp_path, env={"SEEN": "yes", "OTHER": "yes"})


def reason(tmp_path: Path, said: str) -> str:
    """Why the test of the first cell is skipped."""
    first = cells(tmp_path, said)[0]
    return foreseen_skip(first, first.spec.tests[0])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("skip: not yet", "not yet"),
        ("if: {value: '${{ vars.to }}', notEquals: v1}", 'if: is "v1", expected anything but "v1"'),
        ("if: {value: '${{ vars.to }}', notEquals: '${{ vars.from }}'}", 'if: is "v1", expected anything but "v1"'),
        ("if: {value: '${{ matrix.backend }}', equals: b}", 'if: is "a", expected "b"'),
        ("if: {value: '${{ vars.own }}', gt: 3}", "if: is 3, expected > 3"),
        ("if: {value: '${{ env.SEEN }}', equals: no one}", 'if: is "yes", expected "no one"'),
        ("if: {value: 'x-${{ matrix.backend }}', in: [x-b]}", 'if: is "x-a", expected one of ["x-b"]'),
        ("if: {version: '>=1.30', capability: ipvs, value: 1, equals: 2}", "if: is 1, expected 2"),
        ("if: {version: '${{ vars.of }}', value: 1, equals: 2}", "if: is 1, expected 2"),
    ],
)
def test_what_is_known_beforehand_is_said(tmp_path: Path, said: str, why: str) -> None:
    assert reason(tmp_path, said) == why


@pytest.mark.parametrize(
    "said",
    [
        "description: no condition",
        "if: {value: '${{ vars.to }}', equals: v1}",
        "if: {version: '>=9.0'}",
        "if: {capability: ipvs}",
        "if: {value: '${{ cluster.kubernetes }}', equals: never}",
        "if: {value: '${{ vars.of }}', equals: never}",
        "if: {value: never, equals: '${{ vars.of }}'}",
        "if: {value: '${{ setup.outputs.x }}', equals: never}",
        "if: {value: '${{ vars.hidden }}', equals: never}",
        "if: {value: '${{ vars.to }}-${{ nodes[0].name }}', equals: never}",
        "if: {value: '${{ env.UNSET }}', equals: never}",
        "requires: [ipvs]",
    ],
)
def test_what_asks_the_cluster_or_other_steps_is_not(tmp_path: Path, said: str) -> None:
    assert reason(tmp_path, said) == ""


def test_each_cell_is_asked_for_itself(tmp_path: Path) -> None:
    found = cells(tmp_path, "if: {value: '${{ matrix.backend }}', equals: b}")

    assert [bool(foreseen_skip(each, each.spec.tests[0])) for each in found] == [True, False]


def test_each_cell_of_a_test_is_asked_for_itself(tmp_path: Path) -> None:
    first = cells(tmp_path, "matrix: {size: [1, 2]}\n    if: {value: '${{ matrix.size }}', equals: 2}")[0]

    assert [foreseen_skip(first, test) for test in first.spec.tests] == ["if: is 1, expected 2", ""]


def test_a_condition_that_can_not_be_is_left_to_the_test(tmp_path: Path) -> None:
    assert reason(tmp_path, "if: {value: '${{ vars.to.deep }}', equals: x}") == ""
