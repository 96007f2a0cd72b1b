from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Failed, Passed
from tests.fakes import FakeCluster, FakeFiles, context, made, step


def node(name: str, **spec: Any) -> dict[str, Any]:
    return made("Node", name, spec=spec, status={"conditions": [{"type": "Ready", "status": "True"}]})


def nodes() -> FakeCluster:
    return FakeCluster(
        node("a", podCIDR="10.244.0.0/24"), node("b", podCIDR="10.244.1.0/24"), node("c", podCIDR="10.244.2.0/24")
    )


@pytest.mark.parametrize(
    "text",
    [
        'jsonpath: {resource: nodes, path: "{.items[*].spec.podCIDR}", count: 3, unique: true}',
        'jsonpath: {resource: nodes, path: "{.items[*].spec.podCIDR}", all: {matches: "^10\\\\.244\\\\."}}',
        'jsonpath: {resource: nodes, path: "{.items[*].spec.podCIDR}", contains: 10.244.1.0/24}',
        'jsonpath: {resource: nodes, path: "{.items[*].metadata.name}", equals: [a, b, c]}',
        'jsonpath: {resource: nodes, path: "{.items[*].spec.taints}", count: 0}',
        'jsonpath: {resource: nodes, path: "{.items}", count: 3}',
        'jsonpath: {resource: node/a, path: "{.spec.podCIDR}", equals: 10.244.0.0/24}',
        'jsonpath: {resource: node/a, path: "{.spec.podCIDR}"}',
        'jsonpath: {resource: node/a, path: "{.spec.taints}", exists: false}',
        'jsonpath: {resource: node/a, path: \'{.status.conditions[?(@.type=="Ready")].status}\', equals: "True"}',
        "jsonpath: {resource: node/a, path: '{.status.conditions[?(@.type==\"Ready\")]}', count: 1}",
        'jsonpath: {resource: node/a, path: "name={.metadata.name}", equals: name=a}',
    ],
)
def test_complies(text: str) -> None:
    assert isinstance(step(text).attempt(context(nodes())), Passed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{resource: nodes, path: "{.items[*].spec.podCIDR}", count: 4}', "nodes: {.items[*].spec.podCIDR} has 3 elements, expected 4 elements"),
        ('{resource: nodes, path: "{.items[*].kind}", unique: true}', 'nodes: {.items[*].kind} is ["Node", "Node", "Node"], expected distinct elements'),
        ('{resource: nodes, path: "{.items[*].spec.podCIDR}", all: {contains: ".1."}}', 'nodes: {.items[*].spec.podCIDR} [0] is "10.244.0.0/24", expected to contain ".1."'),
        ('{resource: node/a, path: "{.spec.podCIDR}", equals: x}', 'node/a: {.spec.podCIDR} is "10.244.0.0/24", expected "x"'),
        ('{resource: node/a, path: "{.spec.nope.deeper}", equals: x}', "node/a: {.spec.nope.deeper} matched nothing; nearest existing prefix is .spec"),
        ('{resource: node/a, path: "{.spec.nope}", notEquals: x}', "node/a: {.spec.nope} matched nothing; nearest existing prefix is .spec"),
        ('{resource: nodes, path: "{.items[*].spec.nope}", none: x}', "nodes: {.items[*].spec.nope} matched nothing; nearest existing prefix is .items[*].spec"),
        ('{resource: nodes, path: "{.items[*].spec.nope}"}', "nodes: {.items[*].spec.nope} matched nothing; nearest existing prefix is .items[*].spec"),
        ("{resource: nodes, path: '{.items[?(@.kind==\"Node\")].kind}', equals: Node}", 'nodes: {.items[?(@.kind=="Node")].kind} leads to 3 values, ["Node", "Node", "Node"]; say all: or any:'),
        ("{resource: node/zzz, path: '{.kind}'}", "node/zzz does not exist"),
        ("{resource: pods, path: '{.items[*].kind}', all: Pod}", "there are no pods; say mayNotExist: true if there may be none"),
    ],
)  # fmt: skip
def test_says_what_is_there_instead(text: str, message: str) -> None:
    outcome = step(f"jsonpath: {text}").attempt(context(nodes()))

    assert isinstance(outcome, Failed)
    assert outcome.message == message


def test_nothing_is_fine_where_the_author_says_so() -> None:
    allowed = context(nodes(), may_not_exist=True)

    assert isinstance(step("jsonpath: {resource: node/a, path: '{.spec.nope}', equals: x}").attempt(allowed), Passed)
    assert isinstance(step("jsonpath: {resource: node/zzz, path: '{.kind}'}").attempt(allowed), Passed)
    assert isinstance(step("jsonpath: {resource: node/a, path: '{.kind}', equals: x}").attempt(allowed), Failed)


def test_null_is_no_value() -> None:
    cluster = FakeCluster(node("a", podCIDR=None))

    outcome = step("jsonpath: {resource: node/a, path: '{.spec.podCIDR}'}").attempt(context(cluster))

    assert outcome == Failed("node/a: {.spec.podCIDR} is null", "a value", "null")


@pytest.mark.parametrize("path", ["{.spec.podCIDRs}", "{.spec.podCIDRs[*]}"])
def test_a_null_list_has_no_elements(path: str) -> None:
    cluster = FakeCluster(node("a", podCIDRs=None))

    def look(count: int) -> Any:
        return step(f"jsonpath: {{resource: node/a, path: '{path}', count: {count}}}").attempt(context(cluster))

    assert isinstance(look(0), Passed)
    assert isinstance(look(1), Failed)


def test_the_document_is_the_value_for_outputs() -> None:
    outcome = step("jsonpath: {resource: nodes, path: '{.items[*].kind}', all: Node}").attempt(context(nodes()))

    assert isinstance(outcome, Passed)
    assert [item["metadata"]["name"] for item in outcome.value["items"]] == ["a", "b", "c"]


def test_one_value_of_many_needs_a_quantifier() -> None:
    problems = step("jsonpath: {resource: nodes, path: '{.items[*].kind}', equals: Node, gt: 3}").static_problems(
        FakeFiles()
    )

    assert problems == [
        "{.items[*].kind} can lead to several values, of which equals says nothing; write all: {equals: …} or any: {equals: …}",
        "{.items[*].kind} can lead to several values, of which gt says nothing; write all: {gt: …} or any: {gt: …}",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jsonpath: {resource: nodes, path: '{.a[}'}", "a [ has no ]"),
        ("jsonpath: {resource: nodes}", "Field required"),
        ("jsonpath: {path: '{.a}'}", "Field required"),
        ("jsonpath: {resource: nodes, path: '{.a}', matches: '('}", "matches\n  regular expression '('"),
        ("jsonpath: {resource: nodes, path: '{.a}', equal: 1}", "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{resource: node/a, path: '{.spec.zzz}', exists: false}", "there is no such field .spec.zzz, so this proves nothing"),
        ("{resource: nodes, path: '{.items[*].spec.zzz}', count: 0}", "there is no such field .items[*].spec.zzz"),
        ("{resource: node/a, path: '{.status.images[*].names}', absent: true}", "matched nothing; nearest existing prefix is .status, so this proves nothing"),
        ("{resource: pods, path: '{.items[*].spec.nodeName}', count: 0}", "there are no pods; say mayNotExist"),
        ("{resource: nods/a, path: '{.spec}', exists: false}", 'nods/a: the server has no kind "nods", so there is nothing to look at'),
    ],
)  # fmt: skip
def test_a_path_that_looks_at_nothing_proves_nothing(text: str, message: str) -> None:
    looked = step(f"jsonpath: {text}")

    outcome = looked.attempt(context(nodes()))

    assert isinstance(outcome, Failed)
    assert message in outcome.message
    assert outcome.saw_nothing
    assert isinstance(looked.attempt(context(nodes(), may_not_exist=True)), Passed)


def test_what_may_not_exist_does_not_hold_where_it_is_never_to() -> None:
    negated = context(nodes(), may_not_exist=True, negated=True)

    assert isinstance(step("jsonpath: {resource: node/zzz, path: '{.kind}'}").attempt(negated), Failed)
    assert isinstance(step("jsonpath: {resource: node/a, path: '{.spec.taints}', equals: x}").attempt(negated), Failed)


def test_all_means_each_element() -> None:
    cluster = FakeCluster(node("a", podCIDR="10.244.0.0/24"), node("b"))
    every = step("jsonpath: {resource: nodes, path: '{.items[*].spec.podCIDR}', all: {inCIDR: 10.244.0.0/16}}")
    taints = step("jsonpath: {resource: nodes, path: '{.items[*].status.conditions[*].type}', all: Ready}")

    assert every.attempt(context(cluster)).message == (
        "nodes: {.items[*].spec.podCIDR} leads to a value in 1 of 2 elements only, all needs one in each"
    )
    assert isinstance(every.attempt(context(cluster, may_not_exist=True)), Passed)
    assert isinstance(taints.attempt(context(cluster)), Passed)


def test_a_filter_about_a_field_that_nothing_has_shows_nothing() -> None:
    cluster = nodes()
    cluster.kube.define("Widget", "widgets", group="example.com")
    for name in ("one", "two"):
        widget = made(
            "Widget", name, api="example.com/v1", namespace="test-ns", labels={"app": name}, spec={"color": "red"}
        )
        cluster.add(widget)

    def look(path: str, resource: str = "widgets.example.com", *, more: str = "count: 0", may: bool = False) -> Any:
        at = context(cluster, may_not_exist=may)
        return step(f"jsonpath: {{resource: {resource}, path: '{path}', {more}}}").attempt(at)

    mistyped = '{.items[?(@.spec.colour=="blue")]}'
    outcome = look(mistyped)
    assert isinstance(outcome, Failed)
    assert outcome.saw_nothing
    assert outcome.message == (
        f"widgets.example.com: {mistyped} leads to nothing, as none of 2 elements has .spec.colour, of which its filter"
        ' [?(@.spec.colour=="blue")] speaks, so this proves nothing; say mayNotExist: true if that is meant'
    )
    assert isinstance(look(mistyped, may=True), Passed)
    for nowhere in (
        "{.items[?(@.metadata.labels.ap==\"x\")]}", "{.items[?(@.spec.color==\"blue\" && @.spec.size>3)]}",
        "{.items[?(@.spec.colour!=\"red\")]}", "{.items[?(@.sepc.color)]}", "{.items[?(\"blue\"==@.spec.colour)].metadata.name}",
    ):  # fmt: skip
        assert isinstance(look(nowhere), Failed), nowhere
    for seen in (
        "{.items[?(@.spec.color==\"blue\")]}", "{.items[?(@.metadata.labels.app==\"x\")].spec}", "{.items[?(@.spec.size)]}",
        "{.items[?(@.spec.color!=\"red\")]}",
    ):  # fmt: skip
        assert isinstance(look(seen), Passed), seen
    # of built-in kinds it's known which fields there are
    assert isinstance(look("{.items[?(@.spec.unschedulable==true)]}", "nodes"), Passed)
    stranger = look('{.items[?(@.metadata.zzz=="a")]}', "nodes")
    assert "there is no such field .items[*].metadata.zzz" in stranger.message


def test_what_follows_a_filter_must_have_what_holds_it() -> None:
    cluster = FakeCluster()
    cluster.kube.define("Widget", "widgets", group="example.com")
    cluster.add(made("Widget", "x", api="example.com/v1", namespace="test-ns", list=[{"type": "A", "is": {"so": 1}}]))
    at = context(cluster)

    def look(path: str) -> Any:
        return step(f"jsonpath: {{resource: widgets.example.com/x, path: '{path}', absent: true}}").attempt(at)

    assert isinstance(look('{.list[?(@.type=="A")].is.not}'), Passed)
    assert isinstance(look('{.list[?(@.type=="B")].si.not}'), Passed)
    assert isinstance(look('{.list[?(@.type=="A")].si.not}'), Failed)


@pytest.mark.parametrize("more", ['equals: ""', "notContains: x", "absent: true", "count: 0", "exists: false"])
@pytest.mark.parametrize(
    "path", ["{range .items[*]}{.metadata.nme}{end}", "{range .itms[*]}{.metadata.name} {end}", "{.kid}{.apiVersoin}"]
)
def test_a_text_of_which_no_path_leads_anywhere_shows_nothing(path: str, more: str) -> None:
    outcome = step(f"jsonpath: {{resource: nodes, path: '{path}', {more}}}").attempt(context(nodes()))

    assert isinstance(outcome, Failed)
    assert "no path leads to anything" in outcome.message
    assert outcome.saw_nothing
