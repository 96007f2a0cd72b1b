"""The step `node-state`: items compared, counted, and never judged by what nobody could have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.node_state import NodeState
from tests.fakes import FakeCluster, FakeNode, context, result

ROUTES = [
    {"dst": "default", "gateway": "198.18.0.1", "dev": "eth0", "protocol": "boot"},
    {"dst": "10.244.1.0/24", "gateway": "198.18.0.11", "dev": "eth0", "protocol": "17"},
    {"dst": "10.244.2.0/24", "gateway": "198.18.0.12", "dev": "tun-2", "protocol": "17"},
]


def cluster(out: str = json.dumps(ROUTES), *, code: int = 0, err: str = "") -> FakeCluster:
    def answer(command: Sequence[str], stdin: bytes | None) -> Result:
        return result(command, out=out, code=code, err=err)

    return FakeCluster(nodes=[FakeNode("one", answer=answer), FakeNode("two", answer=answer)])


def attempt(on: FakeCluster, *, may_not_exist: bool = False, **fields: Any) -> Outcome:
    place = {} if {"node", "nodes"} & fields.keys() else {"node": "one"}
    return NodeState.model_validate(place | fields).attempt(context(on, may_not_exist=may_not_exist))


def test_one_item_that_matches_is_enough() -> None:
    outcome = attempt(cluster(), routes={"match": {"dst": "10.244.1.0/24", "protocol": "17"}})

    assert isinstance(outcome, Passed)
    assert [route["gateway"] for route in outcome.value] == ["198.18.0.11"]


def test_none_is_a_failure_that_shows_the_nearest() -> None:
    outcome = attempt(cluster(), routes={"match": {"dst": "10.244.1.0/24", "dev": "tun-1"}})

    assert isinstance(outcome, Failed)
    assert outcome.message == (
        "one: 0 of 3 routes matching, expected at least one; nearest: "
        'table=main dst=10.244.1.0/24 gateway=198.18.0.11 dev=eth0 protocol=17 family=inet: .dev is "eth0", expected "tun-1"'
    )


@pytest.mark.parametrize(("count", "passes"), [(2, True), (3, False), ({"ge": 1}, True), ({"lt": 2}, False)])
def test_items_are_counted(count: Any, passes: bool) -> None:
    outcome = attempt(cluster(), routes={"match": {"protocol": "17"}, "count": count})

    assert isinstance(outcome, Passed if passes else Failed)


def test_of_too_many_those_are_shown_that_match() -> None:
    outcome = attempt(cluster(), routes={"match": {"protocol": "17"}, "count": 0})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("one: 2 of 3 routes matching, expected 0: ")
    assert outcome.message.endswith("protocol=17 family=inet (and 1 more)")
    assert len(outcome.detail.splitlines()) == 2
    assert all("protocol=17" in line for line in outcome.detail.splitlines())


def test_all_that_are_meant_must_match() -> None:
    meant = {"where": {"protocol": "17"}, "all": True}

    assert isinstance(attempt(cluster(), routes={**meant, "match": {"gateway": {"matches": r"^198\.18\."}}}), Passed)
    outcome = attempt(cluster(), routes={**meant, "match": {"dev": "eth0"}})
    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("one: 1 of 2 routes matching, expected all; nearest: ")
    outcome = attempt(cluster(), routes={"where": {"protocol": "bird"}, "all": True, "match": {"dev": "eth0"}})
    assert isinstance(outcome, Failed)
    assert outcome.message == "one: 0 routes matching, expected at least one"


def test_every_node_must_be_as_said() -> None:
    outcome = attempt(cluster(), nodes="all", routes={"match": {"dst": "10.9.0.0/16"}})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("one: 0 of 3 routes matching")
    assert outcome.message.endswith("(2 of 2 places)")
    assert "two: 0 of 3 routes matching" in outcome.detail


def test_what_is_not_there_can_be_said_of_known_fields() -> None:
    assert isinstance(attempt(cluster(""), ipsets={"where": {"name": {"matches": "^KUBE"}}, "count": 0}), Passed)


def test_a_misspelt_field_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ValidationError, match='a route has no field "gatway"; did you mean "gateway"'):
        NodeState.model_validate({"node": "one", "routes": {"where": {"gatway": "x"}, "count": 0}})


def test_a_field_that_no_item_has_proves_nothing() -> None:
    objects = json.dumps({"nftables": [{"table": {"family": "ip", "name": "filter"}}]})
    none = {"match": {"nmae": "kube-proxy"}, "count": 0}

    outcome = attempt(cluster(objects), nftables=none)

    assert outcome == Failed("one: no object has a field nmae", "a field that they have", "unknown", saw_nothing=True)
    assert isinstance(attempt(cluster(objects), may_not_exist=True, nftables=none), Passed)
    assert isinstance(attempt(cluster(objects), nftables={"match": {"name": "kube-proxy"}, "count": 0}), Passed)


def test_settings_are_numbers_or_texts() -> None:
    on = cluster("1\n==\n0 1\t2\n==\n")

    both = {"net.ipv4.ip_forward": 1, "net.ipv4.tcp_rmem": "0 1 2"}
    assert isinstance(attempt(on, sysctls=both), Passed)
    (command,) = [command[-1] for command, _ in on.nodes[0].commands]
    assert "'/proc/sys/net/ipv4/ip_forward' '/proc/sys/net/ipv4/tcp_rmem'" in command
    outcome = attempt(on, sysctls={"net.ipv4.ip_forward": "0", "net.ipv4.tcp_rmem": "0 1 2"})
    assert isinstance(outcome, Failed)
    assert outcome.message == 'one: net.ipv4.ip_forward is "1", expected "0"'


def test_a_setting_that_there_is_not_is_missing() -> None:
    outcome = attempt(cluster("\n==\n"), sysctls={"net.ipv4.no_such": {"ge": 0}})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("one: net.ipv4.no_such is missing")


def test_a_link_with_a_dot_in_its_name() -> None:
    on = cluster("1500\n==\n")

    assert isinstance(attempt(on, sysctls={"net.ipv6.conf.eth0/7.mtu": 1500}), Passed)
    assert "'/proc/sys/net/ipv6/conf/eth0.7/mtu'" in on.nodes[0].commands[0][0][-1]


def test_a_tool_that_fails_is_an_error() -> None:
    outcome = attempt(cluster(code=127, err="sh: nft: not found"), nftables={"count": 0})

    assert outcome == Errored("one: nft -j list ruleset: sh: nft: not found")


def test_an_answer_that_can_not_be_read_is_an_error_for_good() -> None:
    outcome = attempt(cluster("no JSON"), routes={"count": 0})

    assert isinstance(outcome, Errored)
    assert outcome.final


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"routes": {}}, "say exactly one of node, nodes, fixture, fixtures; found none"),
        ({"node": "one"}, "say exactly one of routes, rules"),
        ({"node": "one", "routes": {}, "links": {}}, "found routes and links"),
        ({"node": "one", "routes": {"all": True}}, "all needs match"),
        ({"node": "one", "routes": {"match": {"dst": {"matches": "("}}}}, "regular expression"),
        ({"node": "one", "sysctls": {}}, "at least 1 item"),
    ],
)
def test_what_says_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NodeState.model_validate(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"routes": {"match": {"metric": {"ne": 1}}}}, '"ne" is no operator; did you mean the operator notEquals'),
        ({"routes": {"match": {"dst": {"text": "a"}}}}, '"text" is no operator; there are: '),
        ({"routes": {"where": {"metric": {"gt": 1, "lte": 5}}}}, '"lte" is no operator; did you mean the operator le'),
        ({"routes": {"match": {"dst": {"anyOf": [{"regex": "^10"}, "default"]}}}}, '"regex" is no operator'),
        ({"links": {"match": {"mtu": {"min": 1500}}}}, '"min" is no operator; did you mean the operator ge'),
        ({"nftables": {"match": {"name": {"ne": "a"}}}}, '"ne" is no operator'),
    ],
)
def test_what_is_no_operator_is_refused_as_it_would_match_nothing(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NodeState.model_validate({"node": "one", **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"connections": {"match": {"reply": {"src": "10.96.0.1"}}}},
        {"links": {"match": {"linkinfo": {"info_kind": "vxlan", "info_data": {"id": 1}}}}},
        {"ipsets": {"match": {"header": {"maxelem": "9"}}}},
        {"nftables": {"match": {"type": {"typeof": {"payload": {"field": "saddr"}}}}}},
        {"routes": {"match": {"via": {"family": "inet6", "host": "fe80::1"}}}},
    ],
)
def test_maps_that_items_have_are_no_operators(fields: dict[str, Any]) -> None:
    NodeState.model_validate({"node": "one", **fields})


def on_this_machine() -> FakeCluster:
    """A node whose shell is this machine's."""

    def answer(command: Sequence[str], stdin: bytes | None) -> Result:
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        return result(command, out=done.stdout.decode(), code=done.returncode, err=done.stderr.decode())

    return FakeCluster(nodes=[FakeNode("one", answer=answer)])


def test_files_are_looked_at_with_all_that_is_in_folders(tmp_path: Path) -> None:
    (tmp_path / "net.d").mkdir()
    (tmp_path / "net.d" / "10-x.conflist").write_text("same\n")
    (tmp_path / "net.d" / "10-x.conflist").chmod(0o600)
    place = {"at": str(tmp_path)}
    there = on_this_machine()

    found = attempt(there, files={**place, "match": {"path": {"matches": "conflist$"}, "mode": "600", "type": "file"}})
    other = attempt(there, files={**place, "match": {"mode": "644", "type": "file"}})
    nothing = attempt(there, files={"at": f"{tmp_path}/nowhere", "count": 0})
    counted = attempt(there, files={"at": [f"{tmp_path}/net.d"], "where": {"type": "file"}, "count": 1})

    assert isinstance(found, Passed)
    assert isinstance(other, Failed)
    assert ".mode is" in other.message
    assert isinstance(nothing, Passed)
    assert isinstance(counted, Passed)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"at": "etc"}, '"etc" must begin with /'),
        ({"match": {"mode": "600"}}, "Field required"),
        ({"at": "/etc", "match": {"mod": "600"}}, 'a file has no field "mod"; did you mean "mode"'),
    ],
)
def test_files_say_where_and_what(files: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        NodeState.model_validate({"node": "one", "files": files})
