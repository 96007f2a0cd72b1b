"""YAML to nodes: values by both sets of rules, places, and limits."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.yaml import Limits, Node, Position, read

BOTH = pytest.mark.parametrize("pure", [False, True], ids=["C", "Python"])


def value(text: str, **options: Any) -> Any:
    documents, problems = read(text, "x.yaml", **options)
    assert problems == []
    assert len(documents) == 1
    return documents[0].value


def messages(text: str, **options: Any) -> list[str]:
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in read(text, "x.yaml", **options)[1]]


@BOTH
@pytest.mark.parametrize(
    ("text", "spec", "manifest"),
    [
        ("5", 5, 5),
        ("-5", -5, -5),
        ("0o17", 15, 15),
        ("0xff", 255, 255),
        ("010", None, 8),
        ("0644", None, 420),
        ("-010", None, -8),
        ("089", None, 89.0),
        ("1_000", "1_000", 1000),
        ("0b101", "0b101", 5),
        ("1.50", 1.5, 1.5),
        (".5", 0.5, 0.5),
        ("1e3", 1000.0, 1000.0),
        ("1e999", "1e999", "1e999"),
        ("12:30", "12:30", "12:30"),
        ("2026-11-22", "2026-11-22", "2026-11-22"),
        ("18446744073709551616", 18446744073709551616, 18446744073709551616.0),
        ("yes", "yes", True),
        ("NO", "NO", False),
        ("on", "on", True),
        ("y", "y", True),
        ("True", True, True),
        ("~", None, None),
        ("", None, None),
        ("'yes'", "yes", "yes"),
        ('"0644"', "0644", "0644"),
        ("1.2.3", "1.2.3", "1.2.3"),
        ("v1", "v1", "v1"),
        ("-", None, None),
    ],
)
def test_unquoted_scalars_by_yaml_1_2_and_as_kubectl_reads_them(
    text: str, spec: Any, manifest: Any, pure: bool
) -> None:
    if text == "-":
        return
    if not (text.lstrip("-").startswith("0") and spec is None):
        assert value(f"a: {text}", pure=pure) == {"a": spec}
    assert value(f"a: {text}", rules="manifest", pure=pure) == {"a": manifest}
    assert type(value(f"a: {text}", rules="manifest", pure=pure)["a"]) is type(manifest)


@BOTH
def test_a_leading_zero_is_refused_in_specs(pure: bool) -> None:
    assert messages("a: 010", pure=pure) == [
        "1:4: 010 is ambiguous: octal to some, decimal to others; quote it, or write it without the zero"
    ]


@BOTH
def test_places_of_keys_and_values(pure: bool) -> None:
    (document,), _ = read("a:\n  - {b: [1, 'two']}\n  - c: |\n      text\nd: \n", "x.yaml", pure=pure)

    assert document.locate(("a", 0, "b", 1)) == Position(2, 13, 5)
    assert document.locate(("a", 0, "b"), key=True) == Position(2, 6, 1)
    assert document.locate(("a", 1, "c")) == Position(3, 8, 1)
    assert document.locate(("a",)) == Position(1, 1, 1)
    assert document.locate(("d",)) == Position(5, 1, 1)


@BOTH
def test_the_place_of_what_is_missing_is_that_of_its_parent(pure: bool) -> None:
    (document,), _ = read("a:\n  b: {c: 1}\n", "x.yaml", pure=pure)

    assert document.locate(("a", "b", "x", 3)) == Position(2, 3, 1)
    assert document.locate(("x",)) == Position(1, 1, 1)


@BOTH
def test_aliases_and_merges(pure: bool) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\nmany: {<<: [*base, {c: 4}]}\nsame: *base\n"

    assert value(text, pure=pure) == {
        "base": {"a": 1, "b": 2},
        "more": {"a": 1, "b": 3},
        "many": {"a": 1, "b": 2, "c": 4},
        "same": {"a": 1, "b": 2},
    }


@BOTH
def test_an_alias_bomb_is_refused_before_it_goes_off(pure: bool) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for number in range(1, 9):
        text += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]\n"

    assert messages(text, pure=pure) == ["5:45: more than 100,000 values once aliases are written out"]


@BOTH
def test_depth_is_limited_through_aliases_too(pure: bool) -> None:
    assert messages("[" * 101 + "]" * 101, pure=pure) == ["1:101: nested more than 100 levels deep"]
    assert messages("[" * 5000, pure=pure) == ["1:101: nested more than 100 levels deep"]
    deep = "a: &a " + "[" * 60 + "]" * 60 + "\nb: " + "[" * 60 + "*a" + "]" * 60 + "\n"
    assert messages(deep, pure=pure) == ["2:64: nested more than 100 levels deep"]


def test_size_and_documents_are_limited() -> None:
    assert messages("a: " + "x" * 50, limits=Limits(size=20)) == [
        "1:1: the file has 53 characters; at most 20 are read"
    ]
    assert messages("a\n---\nb\n---\nc\n", limits=Limits(documents=2)) == ["4:1: the file has more than 2 documents"]


@BOTH
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1: the key stands here twice; the first is in line 1"),
        ("? [a]\n: b\n", "1:3: keys are texts, not lists or maps"),
        ("5: a\n", '1:1: keys are texts; quote this one: "5"'),
        ("a: !!python/object:os.system {}\n", "1:4: the tag !!python/object:os.system is not supported; quote what is a text"),
        ("a: &x [*x]\n", "1:8: the alias *x stands inside of what it refers to"),
        ("a:\tb\n", "1:3: a tab where YAML wants spaces"),
        ("a: 'open\n", "2:1: not valid YAML: while scanning a quoted scalar, found unexpected end of stream"),
        ("a: @b\n", "1:4: not valid YAML: while scanning for the next token, found character '@' that cannot start any token"),
    ],
)  # fmt: skip
def test_what_specs_may_not_have(text: str, message: str, pure: bool) -> None:
    assert messages(text, pure=pure) == [message]


@BOTH
def test_tabs_are_fine_inside_of_texts(pure: bool) -> None:
    assert value('a: "x\\ty\tz"\nb: |\n  if x\n  \tthen\n', pure=pure) == {"a": "x\ty\tz", "b": "if x\n\tthen\n"}


@BOTH
def test_manifests_may_have_typed_scalars_and_keys_that_are_numbers(pure: bool) -> None:
    text = "a: !!str 5\nb: !!int '5'\n7: seven\ntrue: yes\n1.5: x\n"

    assert value(text, rules="manifest", pure=pure) == {"a": "5", "b": 5, "7": "seven", "true": True, "1.5": "x"}


def test_a_node_walks_through_all_that_is_in_it() -> None:
    (document,), _ = read("a: [1, {b: 2}]\n", "x.yaml")

    def show(item: tuple[Any, Node]) -> tuple[Any, Any]:
        return item[0], item[1].value

    assert [show(item) for item in document.walk()] == [
        ((), {"a": [1, {"b": 2}]}),
        (("a",), [1, {"b": 2}]),
        (("a", 0), 1),
        (("a", 1), {"b": 2}),
        (("a", 1, "b"), 2),
    ]
