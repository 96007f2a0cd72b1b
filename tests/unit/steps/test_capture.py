"""The step `capture`: a look at packets that proves something only where packets could be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.errors import ClusterError
from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.capture import Capture
from tests.fakes import FakeCluster, FakeNode, context, result
from tests.unit.steps.test_pcap import RAW, file, ipv4, tcp, udp

WELL = "tcpdump: listening on any\n3 packets captured\n3 packets received by filter\n0 packets dropped by kernel\n"


class Machine(FakeNode):
    """A node whose tcpdump sees these packets: `seen` of the filter, `usual` of what goes by in any case."""

    def __init__(self, name: str, *seen: bytes, usual: Sequence[bytes] = (), err: str = WELL, code: int = 0) -> None:
        super().__init__(name)
        self.seen, self.usual, self.err, self.code = seen, usual, err, code
        self.words: list[list[str]] = []

    def run(self, command: Sequence[str], *, stdin: Any = None, **options: Any) -> Result:
        if command[-1] == "command -v tcpdump":
            return result(command, out="/usr/bin/tcpdump\n")
        self.words.append(list(command[4:]))
        if self.code == 0:
            options["stdout"].write(file(RAW, *(self.usual if command[6] == "1" else self.seen)))
            options["stdout"].flush()
            stdin.read()
        return result(command, err=self.err, code=self.code)


def captured(machine: Machine, folder: Path, **fields: Any) -> Outcome:
    step = Capture.model_validate({"id": "c", "node": machine.name, **fields})
    begun = step.start(context(FakeCluster(nodes=[machine]), artifacts=folder / "copied"))
    return begun if isinstance(begun, Failed | Errored) else begun.stop()


def test_packets_are_judged_as_items_are(tmp_path: Path) -> None:
    machine = Machine("one", ipv4(6, tcp()), ipv4(17, udp()))

    outcome = captured(machine, tmp_path, packets={"where": {"protocol": "tcp"}, "match": {"dport": 80}, "all": True})

    assert isinstance(outcome, Passed)
    assert (outcome.value["count"], [packet["place"] for packet in outcome.value["packets"]]) == (2, ["one", "one"])
    assert (tmp_path / "captures" / "c" / "one.pcap").stat().st_size > 24


def test_a_packet_that_must_not_be_fails_and_is_shown(tmp_path: Path) -> None:
    outcome = captured(Machine("one", ipv4(6, tcp())), tmp_path, packets={"count": 0})

    assert isinstance(outcome, Failed)
    packet = (
        "place=one family=inet protocol=tcp src=10.244.1.2 sport=40000 dst=10.96.0.1 dport=80 flags=['syn'] payload=0"
    )
    assert outcome.message == f"1 packets, expected 0: {packet}"
    assert outcome.detail == packet


def test_none_is_a_failure_where_nothing_is_said(tmp_path: Path) -> None:
    outcome = captured(Machine("one", usual=[ipv4(17, udp())]), tmp_path)

    assert isinstance(outcome, Failed)
    assert outcome.message == "0 packets, expected at least one"


def test_that_there_is_none_takes_some_other_packet(tmp_path: Path) -> None:
    assert isinstance(captured(Machine("one", usual=[ipv4(17, udp())]), tmp_path, packets={"count": 0}), Passed)

    outcome = captured(Machine("one"), tmp_path, packets={"count": 0}, sanity="udp")

    assert outcome == Errored(
        "one: no packet that is udp went by, so that it proves nothing that none was captured", final=True
    )


def test_packets_that_the_kernel_dropped_are_an_error(tmp_path: Path) -> None:
    lossy = Machine("one", ipv4(6, tcp()), err="9 packets dropped by kernel\n")

    assert captured(lossy, tmp_path) == Errored("one: 9 packets came too fast to be kept", final=True)


def test_a_tcpdump_that_does_not_begin_says_why(tmp_path: Path) -> None:
    broken = Machine("one", err="tcpdump: can't parse filter expression: syntax error", code=1)

    assert captured(broken, tmp_path, filter="tcp prt 80") == Errored(
        "one: tcpdump: can't parse filter expression: syntax error", final=True
    )


class Vanishing(Machine):
    """A node that vanishes while tcpdump runs there."""

    def run(self, command: Sequence[str], *, stdin: Any = None, **options: Any) -> Result:
        if command == ["true"]:
            raise ClusterError(f"{self.name} is off, or has ended: nothing can be run on it")
        done = super().run(command, stdin=stdin, **options)
        return done if command[-1] == "command -v tcpdump" else result(command, code=-9)


def test_a_capture_on_a_machine_that_vanishes_names_that(tmp_path: Path) -> None:
    assert captured(Vanishing("one", ipv4(6, tcp())), tmp_path) == Errored(
        "one: tcpdump was killed by signal 9 (one is off, or has ended: nothing can be run on it)", final=True
    )


def test_what_tcpdump_is_told(tmp_path: Path) -> None:
    machine = Machine("one", ipv4(6, tcp()))

    captured(machine, tmp_path, interface="eth0", filter="tcp port 80", sanity="ip")

    assert sorted(machine.words) == [["", "eth0", "1", "ip", ""], ["", "eth0", "100000", "tcp port 80", ""]]


def test_a_node_that_takes_no_commands_is_an_error(tmp_path: Path) -> None:
    machine = Machine("one")
    machine.exec = ()

    outcome = captured(machine, tmp_path)

    assert isinstance(outcome, Errored)
    assert "no way to run commands" in outcome.message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "say exactly one of pod, pods, node, nodes, fixture, fixtures"),
        ({"node": "one", "packets": {"match": {"sprt": 1}}}, 'a packet has no field "sprt"; did you mean "sport"'),
        ({"node": "one", "packets": {"match": {"sport": {"lte": 1}}}}, '"lte" is no operator'),
        ({"node": "one", "interface": "a b"}, '"a b" is no name of a link'),
    ],
)
def test_what_says_nothing_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Capture.model_validate(fields)
