"""What the command line says instead of a spec's variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.spec import load
from koalesce.spec.values import check_settable, overrides

HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\n"
SPEC = """\
vars: {replicas: 2, version: "1.37", image: {name: web, tag: v1}, more: {}, list: [1]}
tests: [{name: t, vars: {own: 1, replicas: 5}, steps: [{sleep: 1ms}]}]
"""


def values(tmp_path: Path, *files: str, words: Any = (), texts: Any = ()) -> dict[str, Any]:
    """The spec's variables, with what a command line says instead."""
    (tmp_path / "s.yaml").write_text(HEAD + SPEC)
    paths = []
    for number, text in enumerate(files):
        paths.append(tmp_path / f"values-{number}.yaml")
        paths[-1].write_text(text)
    given = overrides(paths, words, texts)
    spec = load(tmp_path / "s.yaml", root=tmp_path, variables=given, env={})
    check_settable([spec], given)
    return spec.test_variables(spec.spec.tests[0], {}) | {"spec": spec.variables["replicas"]}


def test_set_wins_over_files_and_later_files_over_earlier_ones(tmp_path: Path) -> None:
    found = values(tmp_path, "replicas: 3\nimage: {tag: v2}\n", "image: {name: db}\n", words=[("replicas", "4")])

    assert (found["spec"], found["image"]) == (4, {"name": "db", "tag": "v2"})


def test_the_command_line_wins_over_a_tests_own(tmp_path: Path) -> None:
    assert values(tmp_path, words=[("own", "7"), ("replicas", "9")])["own"] == 7
    assert values(tmp_path, words=[("own", "7"), ("replicas", "9")])["replicas"] == 9


def test_a_part_of_a_map_is_set_by_its_path(tmp_path: Path) -> None:
    found = values(tmp_path, words=[("image.tag", "v3"), ("more.a.b", "true")])

    assert (found["image"], found["more"]) == ({"name": "web", "tag": "v3"}, {"a": {"b": True}})


def test_a_word_is_what_yaml_takes_it_for_but_where_a_text_stands(tmp_path: Path) -> None:
    found = values(tmp_path, words=[("version", "1.10"), ("replicas", "0x10"), ("list", "[a, 2]")])

    assert (found["version"], found["spec"], found["list"]) == ("1.10", 16, ["a", 2])


def test_a_text_stays_a_text_where_one_says_so(tmp_path: Path) -> None:
    assert values(tmp_path, texts=[("replicas", "3")])["spec"] == "3"
    assert values(tmp_path, "replicas: '3'\nlist: ['1']\n")["spec"] == "3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([("replica", "3")], 'no spec of this run has a variable "replica"\n  hint: did you mean "replicas"?'),
        ([("image.tga", "v2")], '--set image.tga: image has no "tga"\n  hint: did you mean "tag"?'),
        ([("replicas.x", "1")], "--set replicas.x: replicas is no map, so nothing in it can be set"),
        ([("image..tag", "1")], "image..tag is no name"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(tmp_path: Path, words: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        values(tmp_path, words=words)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a\n", "not one map of variables"), ("a: 1\na: 2\n", "values-0.yaml:2:1"), ("a: [\n", "values-0.yaml:")],
)
def test_a_file_that_is_no_map_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        values(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read: No such file"):
        overrides([tmp_path / "none.yaml"], [])


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert values(tmp_path, "# nothing\n")["spec"] == 2
