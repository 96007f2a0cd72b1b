"""The step `capture`: which packets go by while other steps run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr, model_validator

from koalesce.matching.flaws import refuse
from koalesce.records import dataclass
from koalesce.steps.base import Background, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, seconds_left, select
from koalesce.steps.state.items import Items
from koalesce.steps.state.view import Item, View
from koalesce.steps.vantage import ENTERED, Machines, taken_on_wire
from koalesce.steps.wire.pcap import FIELDS, packets
from koalesce.steps.wire.recording import MOST, Recorded, Recording, brought

_PACKETS = View(
    "",
    lambda text: [],
    FIELDS,
    "packet",
    ("place", "family", "protocol", "src", "sport", "dst", "dport", "flags", "type", "operation", "payload"),
    maps=frozenset(("inner",)),
)
_GIVEN = 100  # packets in outputs


def _is_an_interface(name: str) -> str:
    if "${{" not in name and not re.fullmatch(r"[^\s/]{1,15}", name):
        raise ValueError(f'"{name}" is no name of a link')
    return name


class Capture(Machines, Background, key="capture"):
    """Capture packets by tcpdump on nodes, fixtures, or in pods' networks, until a `stop` with its `id` (or the test's end), and say which there must have been.

    The step is over as soon as all that comes is seen. What must be there is judged at the `stop`, of all places together, whose packets have their `place`; there must be
    at least one packet, unless `packets` says otherwise. A capture that has seen none at all of what `sanity` says could not have seen anything: that's
    an error, never a pass. So is one that the kernel or a limit of 100000 packets has cut short. The files are kept with the test's evidence. A machine that has no tcpdump is
    brought that of this one, or of Debian. Packets that are forwarded by a node go by on each of its links: choose one by `interface`, or count by a filter.
    """

    filter: StrictStr = ""
    """Which packets: an expression as in pcap-filter(7), such as `tcp dst port 80 and host ${{ outputs.ip }}`; default: all."""

    interface: Annotated[StrictStr, AfterValidator(_is_an_interface)] = "any"
    """The link to look at: `eth0`."""

    sanity: StrictStr = ""
    """What goes by in any case, as a filter: where no packet was captured, there must have been one of these. Default: any packet of the same interface."""

    packets: Items = Field(default_factory=Items)
    """Which there must be, as items in `node-state`: `{count: 0}`, `{match: {src: {inCIDR: 10.244.0.0/16}}, all: true}`. Their fields are `place`, `time` (seconds since 1970), `length`, `family` (`inet`, `inet6`, `arp`),
    `protocol` (`tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, `ipip` …), `src`, `dst`, `sport`, `dport`, `ttl`, `df`, `flags` (a list of `syn`, `ack`, `rst` …), `mss`, `payload` (bytes), `type` and `code` (of ICMP), `operation` (of ARP),
    `srcMAC`, `dstMAC`, and `inner` (the packet in a tunnel's)."""

    @model_validator(mode="after")
    def _check_packets(self) -> Capture:
        refuse([flaw.under("packets") for flaw in self.packets.flaws(_PACKETS)], self)
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the networks of nodes and of pods."""
        return taken_on_wire(written, pods=ENTERED)

    def title(self) -> str:
        """What is captured, and where."""
        what = f"{self.filter} " if self.filter else ""
        return f"capture {what}({self.place()}{'' if self.interface == 'any' else f' {self.interface}'})"

    def start(self, context: StepContext) -> Capturing | Failed | Errored:
        """Begin everywhere; each place also looks for what must go by in any case."""
        sources = select(self, context)
        if not isinstance(sources, list):
            return sources
        for source in sources:
            if not (source.machine and source.machine.exec):
                return Errored(f"the cluster gives no way to run commands on the node of {source.name}", final=True)
            if source.kind == "pod" and not source.container_id:
                return Errored(f"{source.name}: the container's ID is not known, so that its network can't be entered")
        if context.artifacts is None:
            return Errored("there is no place here to keep the packets", final=True)
        folder = context.artifacts.parent / "captures" / (self.id or "unnamed")
        folder.mkdir(parents=True, exist_ok=True)
        spots = [Spot(source.name) for source in sources]
        try:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(max_workers=len(sources)) as pool:
                list(pool.map(lambda source, spot: self._begin(source, spot, folder, context), sources, spots))
            began = [
                each.await_begun(context.scope.cancel, seconds_left(context.scope))
                for spot in spots
                for each in spot.recordings
            ]
        except BaseException:
            _end(spots)
            raise
        if problems := [problem for problem in began if problem]:
            _end(spots)
            return problems[0]
        return Capturing(self, spots, may_not_exist=context.may_not_exist)

    def _begin(self, source: Source, spot: Spot, folder: Path, context: StepContext) -> None:
        name = re.sub(r"[^\w.-]", "_", source.name)
        wishes = (f"{name}.pcap", MOST, self.filter), (f"{name}.sanity.pcap", 1, self.sanity)
        for file, most, wanted in wishes:
            words = [self.interface, str(most), wanted, brought(source, context)]
            spot.recordings.append(Recording(source, folder / file, words))


@dataclass(frozen=True, slots=True)
class Spot:
    """A place where packets are captured: those that are asked for, then one of those that go by in any case."""

    name: str
    recordings: list[Recording] = field(default_factory=list)


class Capturing:
    """A capture that goes on."""

    def __init__(self, step: Capture, spots: list[Spot], *, may_not_exist: bool) -> None:
        self._step, self._spots, self._may_not_exist = step, spots, may_not_exist

    @property
    def value(self) -> Mapping[str, Any]:
        """Where."""
        return {"places": [spot.name for spot in self._spots]}

    def stop(self) -> Outcome:
        """End it, and judge what was seen."""
        found: list[Item] = []
        problems = []
        for spot, (capture, sanity) in zip(self._spots, _end(self._spots), strict=True):
            if capture.problem or sanity.problem:
                problems.append(f"{spot.name}: {capture.problem or sanity.problem}")
                continue
            seen = [{"place": spot.name, **packet} for packet in packets(capture.data)]
            if len(seen) >= MOST:
                problems.append(
                    f"{spot.name}: there were {MOST} packets, and more weren't looked at; narrow the filter"
                )
            if not seen and not packets(sanity.data):
                what = f"that is {self._step.sanity}" if self._step.sanity else "at all"
                problems.append(
                    f"{spot.name}: no packet {what} went by, so that it proves nothing that none was captured"
                )
            found += seen
        if problems:
            return Errored(problems[0], "\n".join(problems[1:]), final=True)
        outcome = self._step.packets.judge(found, _PACKETS, may_not_exist=self._may_not_exist)
        if isinstance(outcome, Failed):
            return outcome
        return Passed(outcome.message, {**self.value, "count": len(found), "packets": found[:_GIVEN]})


def _end(spots: list[Spot]) -> list[list[Recorded]]:
    """All of them at the same time: each takes a moment for what is under way."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=2 * len(spots)) as pool:
        ended = [[pool.submit(each.end) for each in spot.recordings] for spot in spots]
        return [[each.result() for each in pair] for pair in ended]
