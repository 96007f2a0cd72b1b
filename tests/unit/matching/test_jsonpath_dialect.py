from __future__ import annotations

from typing import Any

import pytest

from koalesce.matching.jsonpath import compile_path

POD: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {"name": "p1", "labels": {"app": "x", "app.kubernetes.io/name": "n", "where": "here"}},
    "spec": {
        "hostNetwork": True,
        "containers": [
            {"name": "c1", "image": "i1", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 443}]},
            {"name": "c2", "image": "i2"},
            {"name": "c3", "image": "i1"},
        ],
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{.metadata.name}", ["p1"]),
        (".metadata.name", ["p1"]),
        ("metadata.name", ["p1"]),
        ("{$.metadata.name}", ["p1"]),
        ("{@.metadata.name}", ["p1"]),
        ("{ .metadata.name }", ["p1"]),
        ("{.spec.containers[*].name}", ["c1", "c2", "c3"]),
        ("{.metadata.labels.*}", ["x", "n", "here"]),
        ("{.metadata['name']}", ["p1"]),
        ('{.metadata["name"]}', ["p1"]),
        (r"{.metadata.labels.app\.kubernetes\.io/name}", ["n"]),
        (r"{.metadata.labels['app\.kubernetes\.io/name']}", ["n"]),
        ("{.metadata.labels['app.kubernetes.io/name']}", ["n"]),
        ("{.metadata['name','labels.app']}", ["p1", "x"]),
        ("{.metadata.labels.where}", ["here"]),
        ("{.spec.containers[-1].name}", ["c3"]),
        ("{.spec.containers[0:2].name}", ["c1", "c2"]),
        ("{.spec.containers[::2].name}", ["c1", "c3"]),
        ("{.spec.containers[-2:].name}", ["c2", "c3"]),
        ("{.spec.containers[0,2].name}", ["c1", "c3"]),
        ("{.spec.containers.[0].name}", ["c1"]),
        ("{..containerPort}", [80, 443]),
        ("{.spec..name}", ["c1", "http", "c2", "c3"]),
        ("{.spec.hostNetwork}", [True]),
        ("{.spec.containers[9].name}", []),
        ("{.nope.deeper}", []),
        ("{.metadata.name[0]}", []),
        ("[0]", []),
    ],
)
def test_finds_values_with_their_types(path: str, found: list[Any]) -> None:
    assert compile_path(path).find(POD) == found


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ('@.image=="i1"', ["c1", "c3"]),
        ("@.image == 'i1'", ["c1", "c3"]),
        ('@.image!="i1"', ["c2"]),
        ("@.ports", ["c1"]),
        ("!@.ports", ["c2", "c3"]),
        ('@.ports[0].name=="http"', ["c1"]),
        ("@.ports[*].containerPort>=443", ["c1"]),
        ('@.image=="i1" && @.name=="c3"', ["c3"]),
        ('@.name=="c2" || @.name=="c3"', ["c2", "c3"]),
        (r'@.name=~"^c\d{1}$"', ["c1", "c2", "c3"]),
        ('@.image=="it\'s"', []),
    ],
)
def test_filters_select_elements(condition: str, names: list[str]) -> None:
    assert compile_path(f"{{.spec.containers[?({condition})].name}}").find(POD) == names


def test_filters_find_keys_that_need_quoting() -> None:
    items = [
        {"labels": {"app.kubernetes.io/name": "a", "where": 1}},
        {"labels": {"app.kubernetes.io/name": "b", "where": "1"}},
    ]

    assert compile_path(r'{[?(@.labels.app\.kubernetes\.io/name=="b")].labels.where}').find(items) == ["1"]
    assert compile_path("{[?(@.labels.where==1)].labels.where}").find(items) == [1]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{range .spec.containers[*]}{.name}={.image}{"\\n"}{end}', "c1=i1\nc2=i2\nc3=i1\n"),
        ("name: {.metadata.name}!", "name: p1!"),
        ("{.metadata.name}{.kind}", "p1Pod"),
        ("{.spec.nodeName}x", "x"),
        ("{.spec.containers[*].name} of {.kind}", "c1 c2 c3 of Pod"),
        ("{range .spec.containers[0:2]}{.name}@{$.metadata.name} {end}", "c1@p1 c2@p1 "),
        ("{range .spec.containers[*]}{range .ports[*]}{.containerPort},{end}{end}", "80,443,"),
        ('{"{}"}', "{}"),
        ("{'a'}", "a"),
    ],
)
def test_templates_give_one_string(template: str, text: str) -> None:
    path = compile_path(template)

    assert path.is_template
    assert path.find(POD) == [text]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("", "the jsonpath is empty; write {.} for the whole object"),
        ("{.a", "jsonpath '{.a': a { has no }"),
        ("{.a[}", "jsonpath '{.a[}': a [ has no ]"),
        (".a[0", "jsonpath '.a[0': a [ has no ]"),
        ("{.a[x]}", "jsonpath '{.a[x]}': [x] is none of an index, a slice, *, a name in quotes, or a filter ?(…)"),
        (
            "{.a[0:1:0]}",
            "jsonpath '{.a[0:1:0]}': [0:1:0] is none of an index, a slice, *, a name in quotes, or a filter ?(…)",
        ),
        ("{range .a[*]}{.b}", "jsonpath '{range .a[*]}{.b}': {range …} without {end}"),
        ("{end}", "jsonpath '{end}': {end} without {range …}"),
        ("{.a .b}", "jsonpath '{.a .b}': ' ' can't stand here: ' .b'"),
        ("{.a.}", "jsonpath '{.a.}': a name is missing before ''"),
        ("{.a[?(@.b==@.c)]}", "jsonpath '{.a[?(@.b==@.c)]}': a filter compares with a value, not with another path"),
        (
            "{.a[?(@.b==$.c)]}",
            "jsonpath '{.a[?(@.b==$.c)]}': a filter looks at the element (@), not at the document ($)",
        ),
        ("{.a[?@.b]}", "jsonpath '{.a[?@.b]}': a filter is written [?(…)], not [?@.b]"),
        ("." + "a" * 2000, "a jsonpath has at most 2000 characters, this one has 2001"),
    ],
)
def test_bad_syntax_is_said_in_a_sentence(path: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        compile_path(path)

    assert str(raised.value) == sentence


def test_a_filter_that_the_library_refuses_is_named() -> None:
    with pytest.raises(ValueError, match=r"the filter \(@\.b==\) can't be read"):
        compile_path("{.a[?(@.b==)]}")


@pytest.mark.parametrize("pattern", ["(a+)+", "(", "a" * 1001])
def test_regular_expressions_in_filters_have_bounds(pattern: str) -> None:
    with pytest.raises(ValueError, match="regular expression"):
        compile_path(f"{{.a[?(@.b=~'{pattern}')]}}")


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("{.status.conditions}", "."),
        ("{.spec.containers[7].name}", ".spec.containers"),
        ("{.spec.containers[*].nope}", ".spec.containers[*]"),
        ("{.metadata.labels['a.b'].c}", ".metadata.labels"),
        ("{.metadata.name}", ".metadata.name"),
    ],
)
def test_the_nearest_prefix_that_exists_is_known(path: str, prefix: str) -> None:
    assert compile_path(path).nearest(POD) == prefix
