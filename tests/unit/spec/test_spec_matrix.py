"""The same test, or the same spec, once for each combination of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.spec import InvalidSpecs, LoadedSpec
from koalesce.spec.loader import load_cells

HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\n"
TEST = "tests:\n- name: t\n  matrix: {MATRIX}\n  steps: [{sleep: 1ms}]\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cells(project: Path, text: str, **options: Any) -> list[LoadedSpec]:
    (project / "s.yaml").write_text(HEAD + text)
    return load_cells(Path("s.yaml"), root=project, **{"env": {}, **options})


def names(project: Path, matrix: str, **options: Any) -> list[str]:
    (spec,) = cells(project, TEST.replace("{MATRIX}", matrix), **options)
    return [test.name for test in spec.spec.tests]


def refused(project: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidSpecs) as caught:
        cells(project, text, **options)
    return [problem.headline for problem in caught.value.problems]


def test_each_combination_is_a_test_of_its_own(project: Path) -> None:
    assert names(project, "{ip: [4, 6], proxy: [iptables, ipvs]}") == [
        "t [ip=4, proxy=iptables]",
        "t [ip=4, proxy=ipvs]",
        "t [ip=6, proxy=iptables]",
        "t [ip=6, proxy=ipvs]",
    ]


def test_some_are_left_out_and_others_added(project: Path) -> None:
    matrix = "{a: [1, 2], b: [x, y], exclude: [{a: 2}, {a: 1, b: y}], include: [{b: z, a: 3}]}"

    assert names(project, matrix) == ["t [a=1, b=x]", "t [a=3, b=z]"]


def test_a_list_of_cells_alone_is_enough(project: Path) -> None:
    assert names(project, "{include: [{a: 1, b: x}, {a: 2, b: y}]}") == ["t [a=1, b=x]", "t [a=2, b=y]"]


def test_a_map_is_shown_by_its_name(project: Path) -> None:
    assert names(project, "{image: [{name: new, ref: a}, {name: old, ref: b}], exclude: [{image: old}]}") == [
        "t [image=new]"
    ]


def test_values_may_come_from_variables(project: Path) -> None:
    text = "vars: {sizes: [1, 2]}\n" + TEST.replace("{MATRIX}", '{size: "${{ vars.sizes }}"}')

    (spec,) = cells(project, text, variables={"sizes": "[7]"})

    assert [test.name for test in spec.spec.tests] == ["t [size=7]"]


def test_steps_and_fields_of_a_cell_have_its_values(project: Path) -> None:
    (spec,) = cells(
        project,
        """
tests:
- name: before
  steps: [{sleep: 1ms}]
- name: t
  matrix: {time: [2s, 3s]}
  timeout: ${{ matrix.time }}
  vars: {pause: "${{ matrix.time }}"}
  namespace: {labels: {pause: "${{ vars.pause }}"}}
  steps: [{sleep: "${{ vars.pause }}"}]
""",
    )

    _, short, long = spec.spec.tests
    assert (str(short.timeout), str(long.timeout)) == ("2s", "3s")
    assert (dict(short.namespace.labels), dict(long.namespace.labels)) == ({"pause": "2s"}, {"pause": "3s"})
    assert (spec.test_line(1), spec.test_line(2)) == (8, 8)
    assert [spec.test_variables(test, {}) for test in (short, long)] == [{"pause": "2s"}, {"pause": "3s"}]
    assert [spec.test_matrix(test) for test in (short, long)] == [{"time": "2s"}, {"time": "3s"}]


def test_each_cell_of_a_spec_is_a_spec(project: Path) -> None:
    old, new = cells(
        project,
        """
matrix: {workers: [1, 2]}
vars: {size: "${{ matrix.workers }}"}
cluster: {nodes: {workers: "${{ vars.size }}"}}
tests: [{name: t, matrix: {b: [x]}, steps: [{sleep: 1ms}]}]
""",
    )

    assert (old.shown, new.shown) == ("s.yaml [workers=1]", "s.yaml [workers=2]")
    assert [len(each.request("c", "r").nodes) for each in (old, new)] == [2, 3]
    assert new.test_matrix(new.spec.tests[0]) == {"workers": 2, "b": "x"}


def test_what_is_wrong_with_one_cell_is_said_with_the_cell(project: Path) -> None:
    (problem,) = refused(
        project, 'matrix: {kubernetes: ["1.37", "1.99"]}\ncluster: {kubernetes: "${{ matrix.kubernetes }}"}\n'
    )

    assert problem.startswith("s.yaml:5:23: cluster.kubernetes: ")
    assert "1.99" in problem
    assert "(with kubernetes=1.99)" in problem


def test_what_is_wrong_with_all_cells_is_said_once(project: Path) -> None:
    assert refused(project, "matrix: {a: [1, 2]}\ncluster: {nodes: -1}\n") == [
        "s.yaml:5:18: cluster.nodes: must be at least 0"
    ]


def test_what_is_wrong_in_a_cell_of_a_test_has_the_place_in_the_file(project: Path) -> None:
    text = "tests:\n- {name: a, matrix: {x: [1, 2]}, steps: [{sleep: 1ms}]}\n- name: b\n  matrix: {time: [1s, soon]}\n"

    (problem,) = refused(project, f"{text}  steps: [{{sleep: '${{{{ matrix.time }}}}'}}]\n")

    assert problem.startswith("s.yaml:8:19: tests[1].steps[0].sleep: ")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{a: []}", "tests[0].matrix.a: an axis without values: nothing would run"),
        ("{}", "tests[0].matrix: a matrix without an axis; write {axis: [value, …]}"),
        ("{a: [1, 1]}", "tests[0].matrix.a[1]: 1 is there twice"),
        ("{a: 1}", "tests[0].matrix.a: expected a list or a text, found the number 1"),
        ("{a: b}", "tests[0].matrix.a: expected a list of values"),
        ("{a: [[1]]}", "tests[0].matrix.a[0]: a list can't be shown in reports"),
        ("{a: [{b: 1}]}", "tests[0].matrix.a[0]: a map is shown by its name in reports: give it a name"),
        ("{a: [1], exclude: [{a: 2}]}", "exclude[0]: no combination is like this: it excludes nothing"),
        ("{a: [1], exclude: [{a: 1}]}", "tests[0].matrix: every combination is excluded: nothing would run"),
        ("{abc: [1], exclude: [{abd: 1}]}", 'exclude[0].abd: no axis of this matrix; did you mean "abc"?'),
        ("{a: [1], b: [1], include: [{a: 2}]}", "an included cell has a value for each axis; b is missing"),
        ("{a: [1], include: [{a: 1}]}", "include[0]: this combination is there already"),
        ("{a: ['${{ env.X }}', 1], b: '${{ vars.none }}'}", 'vars.none: there is no variable "none"'),
    ],
)
def test_a_matrix_that_would_run_nothing_or_lie_is_refused(project: Path, matrix: str, message: str) -> None:
    assert any(message in problem for problem in refused(project, TEST.replace("{MATRIX}", matrix)))


def test_too_many_combinations_are_refused(project: Path) -> None:
    many = str(list(range(17)))

    (problem,) = refused(project, TEST.replace("{MATRIX}", f"{{a: {many}, b: {many}}}"))

    assert problem.endswith("289 combinations; at most 256 are run")


def test_an_axis_has_one_meaning(project: Path) -> None:
    problems = refused(project, "matrix: {a: [1]}\n" + TEST.replace("{MATRIX}", "{a: [2]}"))

    assert problems == [
        's.yaml:7:12: tests[0].matrix.a: the spec\'s own matrix has an axis "a"; call this one otherwise'
    ]


def test_an_axis_that_there_is_none_of_is_said(project: Path) -> None:
    text = "tests: [{name: t, matrix: {size: [1]}, steps: [{script: 'echo ${{ matrix.sise }}'}]}]\n"

    (problem,) = refused(project, text)

    assert problem.endswith('matrix.sise: there is no axis "sise"; did you mean "size"?')
    (problem,) = refused(project, "tests: [{name: t, steps: [{script: 'echo ${{ matrix.x }}'}]}]\n")
    assert problem.endswith('matrix.x: there is no axis "x"; there is no matrix here')


def test_two_tests_never_have_one_name(project: Path) -> None:
    text = "tests:\n- {name: t, matrix: {a: [1]}, steps: [{sleep: 1ms}]}\n- {name: 't [a=1]', steps: [{sleep: 1ms}]}\n"

    (problem,) = refused(project, text)

    assert 'there is another test named "t [a=1]"' in problem
