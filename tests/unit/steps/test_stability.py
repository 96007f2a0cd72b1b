"""The step `stability`: what varies doesn't grow, what grows is told, and what nobody could see proves nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.node_state import VIEWS
from koalesce.steps.stability import Stability
from koalesce.steps.state.growth import Course
from koalesce.steps.state.sampling import Sampler, Track
from koalesce.steps.state.watched import Kind
from tests.fakes import FakeCluster, FakeNode, context, made, result

SAVED = "== inet\n*filter\n:INPUT ACCEPT [0:0]\n{chains}COMMIT\n== inet6\n"


def course(*values: int) -> Course:
    return Course(name="chains", place="one", values=values)


@pytest.mark.parametrize(
    ("values", "growth"),
    [
        ([5, 5, 5, 5], 0),
        ([5, 9, 9, 5], 0),
        ([1, 2, 3, 4], 3),
        ([4, 3, 2, 1], -3),
        ([10, 10, 10, 10, 99, 10, 10, 11], 0.5),
        ([1, 1, 50, 1, 1, 1, 1, 1, 1, 1, 50, 1], 0),
    ],
)
def test_growth_is_of_the_last_quarter_over_the_first(values: list[int], growth: float) -> None:
    assert course(*values).growth == growth


def test_many_samples_are_drawn_at_equal_distances() -> None:
    drawn = course(*range(100)).drawn()

    assert drawn.startswith("one: chains: 0 5 10 ")
    assert drawn.endswith(" 95 99")


class Machine(FakeNode):
    """A node whose looks give these numbers one after the other, and the last one from then on."""

    def __init__(self, name: str, draw: Callable[[int], str | None], numbers: Sequence[int]) -> None:
        super().__init__(name)
        self.draw, self.numbers, self.looks = draw, list(numbers), 0

    def run(self, command: Sequence[str], **_options: Any) -> Result:
        number = self.numbers[min(self.looks, len(self.numbers) - 1)]
        self.looks += 1
        out = self.draw(number)
        return result(command, code=1, err="away") if out is None else result(command, out=out)


def chains(number: int) -> str | None:
    return SAVED.format(chains="".join(f":C{n} - [0:0]\n" for n in range(number))) if number >= 0 else None


def processes(kib: int) -> str | None:
    return f"7 {kib} 3 12\n" if kib else ""


def watched(machine: Machine, *things: dict[str, Any], may_not_exist: bool = False) -> Outcome:
    step = Stability.model_validate({"id": "s", "every": "50ms", "of": list(things)})
    begun = step.start(context(FakeCluster(nodes=[machine]), may_not_exist=may_not_exist))
    return begun if isinstance(begun, Failed | Errored) else begun.stop()


OWN = {"state": {"node": "one", "kind": "chains", "where": {"policy": "-"}}}


def test_what_only_varies_passes() -> None:
    outcome = watched(Machine("one", chains, [3, 9, 2, 3]), OWN)

    assert isinstance(outcome, Passed)
    assert outcome.value["samples"] == 4
    assert outcome.value["items"] == [
        {
            "name": "chains where policy", "place": "one", "first": 3, "last": 3, "lowest": 2, "highest": 9, "growth": 0,
            "values": [3, 9, 2, 3],
        }
    ]  # fmt: skip


def test_what_grows_fails_with_its_course() -> None:
    outcome = watched(Machine("one", chains, [3, 4, 5, 6]), OWN)

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("one: chains where policy: growth is 3, expected ≤ 0: 3 → 6, 4 samples in ")
    assert outcome.detail == "one: chains where policy: 3 4 5 6"


def test_a_limit_lets_it_grow_so_far() -> None:
    assert isinstance(watched(Machine("one", chains, [3, 4, 5, 6]), {**OWN, "growth": {"le": 3}}), Passed)

    outcome = watched(Machine("one", chains, [3, 9, 3, 3]), {**OWN, "highest": {"lt": 9}})

    assert isinstance(outcome, Failed)
    assert "highest is 9, expected < 9" in outcome.message


def test_nothing_at_any_time_proves_nothing() -> None:
    outcome = watched(Machine("one", chains, [0]), OWN)

    assert isinstance(outcome, Failed)
    assert "there was none of it at any time" in outcome.message
    assert isinstance(watched(Machine("one", chains, [0]), OWN, may_not_exist=True), Passed)


def test_a_look_that_comes_to_nothing_is_left_out_and_many_are_an_error() -> None:
    machine = Machine("one", chains, [3, -1, 3])

    outcome = watched(machine, OWN)

    assert isinstance(outcome, Errored)
    assert "one: chains where policy: 3 samples in " in outcome.message
    assert "1 could not be taken: one: away" in outcome.message


def test_memory_is_of_the_processes_together() -> None:
    memory = {"memory": {"node": "one", "process": "kube-router"}, "growth": {"le": "1Mi"}}

    assert isinstance(watched(Machine("one", processes, [1000, 1000, 1100, 1200, 2000]), memory), Passed)

    outcome = watched(Machine("one", processes, [1000, 1000, 1100, 1200, 9000]), memory)

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith(
        "one: memory of kube-router: growth is 8192000, expected ≤ 1Mi: 1024000 → 9216000"
    )


def test_a_process_that_ends_fails() -> None:
    memory = {"memory": {"node": "one", "process": "kube-router"}, "growth": {"le": "1Mi"}}

    outcome = watched(Machine("one", processes, [1000, 1000, 1000, 0]), memory)

    assert isinstance(outcome, Failed)
    assert "process 7 (kube-router) of one has ended while it was watched" in outcome.message


def test_a_process_that_is_not_there_is_waited_for() -> None:
    outcome = watched(Machine("one", processes, [0]), {"threads": {"node": "one", "process": "none"}, "highest": 1})

    assert isinstance(outcome, Failed)
    assert outcome.message == "there is no process none in one"
    assert not outcome.final


def test_objects_are_counted() -> None:
    cluster = FakeCluster(made("ConfigMap", "a"), made("ConfigMap", "b"))
    step = Stability.model_validate({"id": "s", "every": "50ms", "of": [{"objects": {"resource": "configmaps"}}]})

    begun = step.start(context(cluster))
    assert not isinstance(begun, Failed | Errored)
    outcome = begun.stop()

    assert isinstance(outcome, Passed)
    assert outcome.value["items"][0]["values"] == [2, 2, 2, 2]


def test_samples_go_on_until_they_are_to_end() -> None:
    seen: list[int] = []
    six = threading.Event()

    def look() -> int:
        seen.append(1)
        if len(seen) == 6:
            six.set()
        return len(seen)

    track = Track("n", "", look)
    sampler = Sampler([track], 0.05)
    assert six.wait(60)

    assert sampler.end()
    assert track.values == list(range(1, sampler.rounds + 1))


def test_kinds_of_state_are_those_of_node_state() -> None:
    assert set(get_args(Kind)) == set(VIEWS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"of": [OWN]}, "say exactly one of id, with a stop later on, and for"),
        ({"id": "a", "for": "9s", "of": [OWN]}, "say exactly one of id, with a stop later on, and for"),
        ({"for": "2s", "of": [OWN]}, "there must be 4 samples"),
        ({"id": "a", "of": []}, "at least 1 item"),
        ({"id": "a", "every": "1ms", "of": [OWN]}, "must be 50ms or more"),
        ({"id": "a", "of": [{"growth": 1}]}, "say exactly one of objects, state, memory, threads, openFiles"),
        ({"id": "a", "of": [{"memory": {"node": "one"}}]}, "always moves a little: say growth or highest"),
        ({"id": "a", "of": [{"objects": {"resource": "pod/web"}}]}, "pod/web is one object"),
        ({"id": "a", "of": [{"state": {"kind": "chains"}}]}, "say exactly one of node, nodes, fixture, fixtures"),
        ({"id": "a", "of": [{"state": {"nodes": "all", "kind": "chains", "where": {"tabel": "nat"}}}]}, "did you mean"),
        ({"id": "a", "of": [{**OWN, "growth": {"matches": "1"}}]}, "matches can't hold here"),
    ],
)
def test_what_says_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Stability.model_validate(fields)
