"""Which tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.engine.name_patterns import NamePattern, TestName, split_levels
from koalesce.engine.options import RunOptions
from koalesce.engine.selection import Selected, check_trusted, select
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
    (selected,) = select([spec], RunOptions())

    assert [(test.name, line) for test, line in selected.tests] == [("pods reach pods", 5), ("nodes reach pods", 6)]


def test_a_pattern_picks_tests(spec: LoadedSpec) -> None:
    (selected,) = select([spec], RunOptions(select="^nodes"))

    assert [test.name for test, _ in selected.tests] == ["nodes reach pods"]


def test_a_spec_without_a_picked_test_is_left_out(spec: LoadedSpec) -> None:
    assert select([spec], RunOptions(select="nothing like it")) == []


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

    selected = select(load_all([tmp_path / "spec.yaml"], root=tmp_path), RunOptions(select=pattern))

    assert [test.name for each in selected for test, _ in each.tests] == names


def test_a_bad_pattern_is_refused(spec: LoadedSpec) -> None:
    with pytest.raises(UsageError, match="not a regular expression"):
        select([spec], RunOptions(select="("))


def test_a_spec_from_elsewhere_needs_trust(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside of the project"):
        check_trusted([tmp_path / "foreign" / "spec.yaml"], tmp_path / "project")


MANY = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: many, labels: {component: dns}}
tests:
  - {name: a, labels: {tier: smoke}, matrix: {size: [1, 2]}, steps: [{sleep: 1ms}]}
  - {name: b, labels: {tier: full, slow: "true"}, steps: [{sleep: 1ms}]}
  - {name: GET /c, disruptive: true, steps: [{sleep: 1ms}]}
"""


@pytest.fixture
def many(tmp_path: Path) -> LoadedSpec:
    (tmp_path / "many.yaml").write_text(MANY)
    return load(tmp_path / "many.yaml", root=tmp_path)


def names(selected: list[Selected]) -> list[str]:
    return [test.name for each in selected for test, _ in each.tests]


ALL = ["a [size=1]", "a [size=2]", "b", "GET /c"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (RunOptions(skip="^a"), ["b", "GET /c"]),
        (RunOptions(select="size", skip="size=2"), ["a [size=1]"]),
        (RunOptions(select="a/size=2"), ["a [size=2]"]),
        (RunOptions(select="b/size=2"), []),
        (RunOptions(select="/size=1"), ["a [size=1]"]),
        (RunOptions(skip="/size=1"), ["a [size=2]", "b", "GET /c"]),
        (RunOptions(select="GET /c"), ["GET /c"]),
        (RunOptions(select="[/]c"), ["GET /c"]),
        (RunOptions(labels=("tier=smoke",)), ["a [size=1]", "a [size=2]"]),
        (RunOptions(labels=("component=dns", "!tier")), ["GET /c"]),
        (RunOptions(labels=("tier in (full, other)",)), ["b"]),
        (RunOptions(start_at="size=2"), ["a [size=2]", "b", "GET /c"]),
        (RunOptions(only={}), []),
        (RunOptions(select="^b$", count=2), ["b [run=1]", "b [run=2]"]),
    ],
)
def test_what_is_asked_for_is_what_runs(many: LoadedSpec, options: RunOptions, expected: list[str]) -> None:
    assert names(select([many], options)) == expected


def test_only_those_that_failed_of_a_spec(many: LoadedSpec) -> None:
    assert names(select([many], RunOptions(only={many.shown: {"b", "a [size=1]"}}))) == ["a [size=1]", "b"]


def test_a_repeated_test_keeps_its_line_and_its_values(many: LoadedSpec) -> None:
    (selected,) = select([many], RunOptions(select="size=2", count=2))

    assert [(line, selected.loaded.test_matrix(test)) for test, line in selected.tests] == [(5, {"size": 2})] * 2


def test_a_start_that_there_is_none_of_is_refused_with_the_name_that_was_meant(many: LoadedSpec) -> None:
    with pytest.raises(UsageError, match=r"--start-at GTE /c: no test") as refused:
        select([many], RunOptions(start_at="GTE /c"))

    assert refused.value.hint == 'did you mean "GET /c"?'


@pytest.mark.parametrize("of", [1, 2, 3, 4, 7])
def test_shards_are_all_of_the_tests_each_in_one_of_them(many: LoadedSpec, spec: LoadedSpec, of: int) -> None:
    parts = [names(select([many, spec], RunOptions(shard=(number, of)))) for number in range(1, of + 1)]

    assert [name for part in parts for name in part] == [*ALL, "pods reach pods", "nodes reach pods"]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_shuffle_is_the_same_for_its_seed_and_another_for_others(many: LoadedSpec) -> None:
    orders = [tuple(names(select([many], RunOptions(shuffle=seed)))) for seed in range(20)]

    assert orders == [tuple(names(select([many], RunOptions(shuffle=seed)))) for seed in range(20)]
    assert len(set(orders)) > 1
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted(ALL))}


def test_a_short_run_tells_why_it_skips(many: LoadedSpec) -> None:
    (selected,) = select([many], RunOptions(short=True))

    assert selected.skipped == {"b": "--short: it is labelled slow", "GET /c": "--short: it is disruptive"}


@pytest.mark.parametrize(("to", "skipped"), [(1, ["a"]), (2, ["a", "b"])])
def test_what_is_skipped_on_any_cluster_is_known_beforehand(tmp_path: Path, to: int, skipped: list[str]) -> None:
    (tmp_path / "spec.yaml").write_text(
        SPEC.split("tests:")[0]
        + "vars: {to: 1}\ntests: [{name: a, skip: not yet, steps: [{sleep: 1ms}]}, {name: b, if: {value: '${{ vars.to }}', equals: 1}, steps: [{sleep: 1ms}]}]"
    )

    (selected,) = select([load(tmp_path / "spec.yaml", root=tmp_path, variables={"to": to})], RunOptions())

    assert list(selected.skipped) == skipped
    assert selected.is_all_skipped is (to == 2)


def test_a_spec_without_tests_is_not_one_whose_tests_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC.split("tests:")[0])

    (selected,) = select([load(tmp_path / "spec.yaml", root=tmp_path)], RunOptions())

    assert not selected.is_all_skipped


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("a/b", ["a", "b"]),
        ("a/b/c", ["a", "b", "c"]),
        ("[/]a", ["[/]a"]),
        ("(a/b)c", ["(a/b)c"]),
        (r"a\/b", [r"a\/b"]),
    ],
)
def test_a_pattern_is_split_outside_of_brackets(text: str, parts: list[str]) -> None:
    assert split_levels(text) == parts


def test_a_pattern_whose_sides_cant_stand_alone_is_taken_as_a_whole() -> None:
    assert NamePattern("a/+b", "--run").finds(TestName(written="a//b"))
