"""The step `snapshot`, and what compares with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.node_state import NodeState
from koalesce.steps.sightings import Sightings
from koalesce.steps.snapshot import Snapshot
from tests.fakes import FakeCluster, FakeNode, context, result

RULES = [{"priority": 0, "table": "local"}, {"priority": 7, "table": "77"}]


class World:
    """Two nodes with policy routing rules; `rules` are what each has, `broken` what fails."""

    def __init__(self) -> None:
        self.rules: dict[str, list[dict[str, Any]]] = {"one": list(RULES), "two": list(RULES)}
        self.broken = ""
        nodes = [FakeNode(name, answer=self._answer(name)) for name in self.rules]
        self.cluster = FakeCluster(nodes=nodes)
        self.context = context(self.cluster)

    def _answer(self, name: str) -> Any:
        def answer(command: Sequence[str], stdin: bytes | None) -> Result:
            if name == self.broken:
                return result(command, code=1, err="no such command")
            return result(command, out=json.dumps(self.rules[name]))

        return answer

    def snapshot(self, given: StepContext | None = None, **fields: Any) -> Outcome:
        return Snapshot.model_validate({"id": "before", "of": "rules", **fields}).attempt(given or self.context)

    def unchanged(self, **fields: Any) -> Outcome:
        return NodeState.model_validate({"unchanged": "before", **fields}).attempt(self.context)


@pytest.fixture
def world() -> World:
    return World()


def test_all_nodes_are_noted_unless_others_are_said(world: World) -> None:
    both: Mapping[str, Any] = {"one": {"rules": 2}, "two": {"rules": 2}}

    assert world.snapshot() == Passed("4 items of 2 places", both)
    assert world.snapshot(node="two") == Passed("2 items of 1 place", {"two": {"rules": 2}})


def test_what_is_as_it_was_passes(world: World) -> None:
    world.snapshot()
    world.rules["two"].reverse()

    assert world.unchanged() == Passed("2 places: as in snapshot before")


def test_what_is_left_fails_and_is_named(world: World) -> None:
    world.snapshot()
    world.rules["two"].append({"priority": 9, "table": "99"})
    world.rules["two"].append({"priority": 10, "table": "99"})

    assert world.unchanged() == Failed(
        "two: rule has come: priority=9 table=99 family=inet (and 1 more difference)",
        "as in snapshot before",
        "2 differences",
        "two: rules: rule has come: priority=9 table=99 family=inet\ntwo: rules: rule has come: priority=10 table=99 family=inet",
    )
    assert isinstance(world.unchanged(node="one"), Passed)


def test_what_has_gone_is_a_difference_too(world: World) -> None:
    world.snapshot()
    world.rules["one"].pop()

    outcome = world.unchanged()

    assert isinstance(outcome, Failed)
    assert outcome.message == "one: rule has gone: priority=7 table=77 family=inet"


def test_what_is_excepted_does_not_count(world: World) -> None:
    world.snapshot(**{"except": {"rules": {"priority": {"ge": 9}}}})
    world.rules["one"].append({"priority": 9, "table": "99"})
    assert isinstance(world.unchanged(), Passed)

    world.rules["one"].append({"priority": 8, "table": "99"})
    assert isinstance(world.unchanged(), Failed)


def test_what_can_not_be_looked_at_is_an_error_and_no_pass(world: World) -> None:
    world.broken = "two"
    assert isinstance(world.snapshot(), Errored)
    assert world.unchanged() == Errored(
        "no snapshot before was noted: the step that does so has not run, or could not look", final=True
    )

    world.broken = ""
    world.snapshot()
    world.broken = "one"
    assert isinstance(world.unchanged(), Errored)


def test_a_machine_that_was_not_noted_is_an_error(world: World) -> None:
    world.snapshot(node="one")

    assert world.unchanged(node="two") == Errored("the snapshot before is not of two, but of one", final=True)


def test_it_waits_for_rest_where_it_must_last(world: World) -> None:
    lasting = context(world.cluster, lasts=True, sightings=world.context.sightings)
    assert isinstance(world.snapshot(lasting), Passed)
    world.rules["one"].append({"priority": 9, "table": "99"})

    outcome = world.snapshot(lasting)

    assert isinstance(outcome, Failed)
    assert outcome.expected == "as in the look before"
    assert isinstance(world.snapshot(lasting), Passed)
    assert isinstance(world.unchanged(), Passed)  # the last look is what is noted


def test_files_alone_are_no_other_kinds() -> None:
    assert list(Snapshot.model_validate({"id": "a", "files": "/etc/cni"}).kinds) == ["files"]
    assert list(Snapshot.model_validate({"id": "a", "of": ["links"], "files": ["/etc"]}).kinds) == ["links", "files"]
    assert "sysctls" in Snapshot.model_validate({"id": "a"}).kinds


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"node": "one", "nodes": "all"}, "at most one of node, nodes, fixture, fixtures"),
        ({"of": ["connections"]}, "of"),
        ({"of": []}, "at least 1"),
        ({"files": "etc/cni"}, '"etc/cni" must begin with /'),
        ({"of": "rules", "except": {"links": {"ifname": "a"}}}, "it notes no links; it notes rules"),
        ({"of": "rules", "except": {"rules": {"prio": 1}}}, 'a rule has no field "prio"; did you mean "priority"'),
        ({"of": "rules", "except": {"rules": {"priority": {"ne": 1}}}}, '"ne" is no operator'),
    ],
)
def test_what_says_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Snapshot.model_validate({"id": "a", **fields})


def test_what_an_earlier_test_has_noted_is_there_for_later_ones(world: World) -> None:
    world.snapshot()
    later = Sightings(world.context.sightings.lasting)
    world.context = replace(world.context, sightings=later)
    assert world.unchanged() == Passed("2 places: as in snapshot before")

    world.rules["two"].append({"priority": 9, "table": "99"})
    assert isinstance(world.unchanged(), Failed)

    world.snapshot()  # its own goes first
    assert isinstance(world.unchanged(), Passed)


def test_another_spec_knows_nothing_of_it(world: World) -> None:
    world.snapshot()
    world.context = replace(world.context, sightings=Sightings())

    assert isinstance(world.unchanged(), Errored)
