"""Handing batches to the probe: one command a machine, and nothing is believed but a whole answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.probing import Batch, ProbeError, Target, probe, reproduce
from tests.fakes import FakeCluster, FakeNode, FakeWire, context, result

TARGET = Target(type="tcp", host="10.0.0.1", port=80)


def source(name: str, node: FakeNode | None, *, container: str = "") -> Source:
    kind = "pod" if container else "node"
    return Source(kind=kind, name=name, node=node, container_id=container)  # type: ignore[arg-type]  # a fake node


def given(*nodes: FakeNode) -> StepContext:
    return context(FakeCluster(nodes=nodes))


def test_sources_of_a_node_share_a_command_and_answers_keep_their_order() -> None:
    wires = [FakeWire(), FakeWire()]
    one, two = (FakeNode(f"worker-{number}", answer=wire) for number, wire in enumerate(wires, 1))
    wires[0].rules["b", "10.0.0.1:80"] = "refused"
    wires[1].rules["c", "10.0.0.1:80"] = "dropped"
    sources = [
        source("c", two, container="c"),
        source("a", one, container="a"),
        source("b", one, container="b"),
        source("worker-2", two),
    ]

    seen = probe([Batch(source=each, targets=[TARGET]) for each in sources], given(one, two))

    assert [answer.results[0].outcome for answer in seen] == ["dropped", "allowed", "refused", "allowed"]
    assert [len(node.commands) for node in (one, two)] == [1, 1]
    assert one.commands[0][0] == ["/opt/koalesce/bin/koalesce-probe"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "can't be read"),
        ("[]", "can't be read"),
        ('{"sources": []}', "can't be read"),
        ('{"sources": [{"id": "0", "error": "no process"}]}', "the probe could not look from here: no process"),
        ('{"sources": [{"id": "0", "results": []}]}', "0 answers to 1 targets"),
    ],
)
def test_half_an_answer_is_none(answer: str, message: str) -> None:
    node = FakeNode("worker-1", answer=lambda command, stdin: result(command, out=answer))

    with pytest.raises(ProbeError, match=message):
        probe([Batch(source=source("a", node, container="a"), targets=[TARGET])], given(node))


def test_a_source_whose_network_cannot_be_entered_is_never_taken_for_its_node() -> None:
    node, closed = FakeNode("worker-1"), FakeNode("worker-2")
    closed.exec = ()  # type: ignore[assignment]  # as a provider without access to nodes gives it
    unknown = replace(source("a", node, container="a"), container_id="")

    for wrong in (unknown, source("a", None, container="a"), source("worker-2", closed)):
        with pytest.raises(ProbeError):
            probe([Batch(source=wrong, targets=[TARGET])], given(node, closed))
    assert (node.commands, closed.commands) == ([], [])


def test_this_machine_looks_from_where_the_cluster_can_be_reached(tmp_path: Path) -> None:
    answer = {"sources": [{"id": "0", "addresses": [], "results": [{"outcome": "refused", "local": "[fd00::1]:4"}]}]}
    (tmp_path / "answer").write_text(json.dumps(answer))
    at = context(FakeCluster())
    # The prefix stands in for the probe: it prints an answer, and its own argument for the program is the path's last part.
    prefix = ("sh", "-c", f'cat >{tmp_path}/asked; echo "$0" >{tmp_path}/ran; cat {tmp_path}/answer')
    at = replace(at, cluster=replace(at.cluster, host_exec=prefix, probe=Path("/x/koalesce-probe")))

    seen = probe([Batch(source=Source(kind="host", name="host"), targets=[TARGET])], at)

    assert (seen[0].results[0].outcome, seen[0].results[0].local) == ("refused", "fd00::1")
    assert (tmp_path / "ran").read_text() == "/x/koalesce-probe\n"
    assert json.loads((tmp_path / "asked").read_text())["sources"][0]["targets"][0]["host"] == "10.0.0.1"


def test_a_program_that_is_not_there_is_an_error() -> None:
    at = context(FakeCluster())
    at = replace(at, cluster=replace(at.cluster, probe=Path("/nonexistent/koalesce-probe")))

    with pytest.raises(ProbeError, match="this machine: can't run /nonexistent/koalesce-probe"):
        probe([Batch(source=Source(kind="host", name="host"), targets=[TARGET])], at)


def test_commands_for_people() -> None:
    node = FakeNode("worker-1")
    at = given(node)
    at = replace(at, cluster=replace(at.cluster, host_exec=("nsenter", "--net=/run/x")))
    v6 = Target(type="udp", host="fd00::1", port=53, payload="a b")

    assert reproduce(source("worker-1", node), v6, at) == (
        "koalesce ssh fake worker-1 -- /opt/koalesce/bin/koalesce-probe -limit 1.5s -payload 'a b' udp '[fd00::1]:53'"
    )
    assert reproduce(Source(kind="host", name="host"), TARGET, at) == (
        "nsenter --net=/run/x koalesce-probe -limit 1.5s tcp 10.0.0.1:80"
    )
