"""The step `snapshot`: note what nodes are like, for a later look whether anything is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictStr, model_validator

from koalesce.matching.flaws import Flaw, refuse
from koalesce.matching.mismatch import and_more
from koalesce.matching.partial import match_members
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.identifier import Identifier
from koalesce.steps.inside.places import Source
from koalesce.steps.state.differences import differences
from koalesce.steps.state.items import Part, part_flaws
from koalesce.steps.state.kept import Paths, files
from koalesce.steps.state.lasting import LASTING, Lasting
from koalesce.steps.state.machines import OnMachines, asked, everywhere
from koalesce.steps.state.view import Item

Kind = Literal[
    "addresses", "chains", "ipsets", "iptables", "ipvs", "links", "listeners", "mounts", "neighbours", "nftables", "processes", "routes", "rules", "sysctls",
]  # fmt: skip
_USUAL: tuple[Kind, ...] = (
    "routes",
    "rules",
    "links",
    "addresses",
    "iptables",
    "chains",
    "nftables",
    "ipsets",
    "ipvs",
    "sysctls",
)
_SEEN = "snapshot"
_MOST = 60
State = Mapping[str, list[Item]]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What machines were like: their items by kind, by the machine's name. `step` says how they are looked at."""

    step: Snapshot
    states: Mapping[str, State]


class Snapshot(OnMachines, Assertion, key="snapshot"):
    """Note what nodes or fixtures are like. A later `node-state: {unchanged: ID}` says that they are so again: that nothing is left of what was removed.

    Only `setup` and a test that says `disruptive: true` can have it: others change nodes meanwhile. What is noted there can be compared in later tests
    as well, if they run alone (`serial` or `disruptive`), and in the spec's `cleanup`. What passes by itself doesn't count: counters, timers, handles,
    process ids, numbers of links, states of neighbours. Settings of a link that isn't there both times go with it. With
    `stableFor: 2s` it waits until nothing of this has changed for so long, and notes that.
    """

    polls = True
    short_field = "id"

    id: Identifier
    """Its name, for `node-state`."""

    of: Annotated[list[Kind], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    """Kinds of state, as in `node-state`; `sysctls` are all that can be set of the network. Default: `routes`, `rules`, `links`, `addresses`, `iptables`, `chains`, `nftables`,
    `ipsets`, `ipvs` and `sysctls`, or none of them where `files` are said. There are also `mounts`, `listeners`, `processes` and `neighbours` (those that somebody made)."""

    files: Paths | None = None
    """Files and folders with all that is in them, on the same file system: `[/etc/cni/net.d]`. Type, mode, owner, target and content count. One that isn't there must not be there later."""

    except_: dict[StrictStr, Annotated[list[Part], BeforeValidator(_as_list), Field(min_length=1)]] = Field(
        default_factory=dict, alias="except"
    )
    """What doesn't count, by kind: items that match, as in `node-state`: `{links: {ifname: {matches: ^veth}}, files: [{path: /etc/cni/net.d/lock}]}`."""

    @model_validator(mode="after")
    def _check_form(self) -> Snapshot:
        if len(self.places) > 1:
            raise ValueError(f"say at most one of node, nodes, fixture, fixtures; found {' and '.join(self.places)}")
        refuse(self._flaws(), self)
        return self

    def _flaws(self) -> Iterator[Flaw]:
        known = self.kinds
        for kind, parts in self.except_.items():
            if kind not in known:
                yield Flaw(("except", kind), f"it notes no {kind}; it notes {', '.join(known)}")
                continue
            for index, part in enumerate(parts):
                yield from (flaw.under("except", kind, index) for flaw in part_flaws(part, known[kind].view))

    @property
    def kinds(self) -> dict[str, Lasting]:
        """What is looked at, by name."""
        usual = () if self.files else _USUAL
        found = {str(kind): LASTING[kind] for kind in (self.of if self.of is not None else usual)}
        return {**found, **({"files": Lasting(files(self.files), ("path",))} if self.files else {})}

    def title(self) -> str:
        """Its name, and where."""
        return f"snapshot {self.id} ({self.place() or 'nodes all'})"

    def attempt(self, context: StepContext) -> Outcome:
        """Look everywhere, and note it."""
        sources = (self if self.places else self.model_copy(update={"nodes": "all"})).sources(context)
        noted = self.look(sources, context) if isinstance(sources, list) else sources
        if isinstance(noted, Errored):
            return noted
        before: Noted | None = context.memory.get(_SEEN)
        context.memory[_SEEN] = noted
        for memory in (context.sightings.marks, context.sightings.lasting):
            memory[mark_of(self.id, context)] = noted
        if context.lasts and before is not None and (problem := compared(before, noted, "the look before")):
            return problem
        counts = {name: {kind: len(items) for kind, items in state.items()} for name, state in noted.states.items()}
        total = sum(number for each in counts.values() for number in each.values())
        return Passed(f"{total} items of {len(counts)} {'place' if len(counts) == 1 else 'places'}", counts)

    def look(self, sources: list[Source], context: StepContext) -> Noted | Errored:
        """What these machines are like now."""
        states = everywhere(lambda source: self._state(source, context), sources)
        if broken := [state for state in states if isinstance(state, Errored)]:
            return broken[0]
        found = {source.name: state for source, state in zip(sources, states, strict=True)}
        return Noted(step=self, states={name: state for name, state in found.items() if not isinstance(state, Errored)})

    def _state(self, source: Source, context: StepContext) -> State | Errored:
        state: dict[str, list[Item]] = {}
        for kind, lasting in self.kinds.items():
            items = asked(source, lasting.view.command, context, lasting.view.read)
            if isinstance(items, Errored):
                return items
            ignored = self.except_.get(kind, ())
            state[kind] = [
                item for item in lasting.of(items) if not any(not match_members(part, item) for part in ignored)
            ]
        return state


def mark_of(name: str, context: StepContext) -> tuple[str, str, str]:
    """Under which key a snapshot is noted."""
    return (_SEEN, context.cluster.name, name)


def compared(before: Noted, now: Noted, since: str) -> Failed | None:
    """What differs on the machines of the later look; None if nothing does."""
    found = [
        (name, kind, line)
        for name, state in now.states.items()
        for kind, lasting in before.step.kinds.items()
        for line in differences(lasting, before.states[name][kind], state[kind])
    ]
    if not found:
        return None
    name, _, first = found[0]
    lines = [f"{name}: {kind}: {line}" for name, kind, line in found[:_MOST]]
    lines += [f"… and {len(found) - _MOST} more differences"] if len(found) > _MOST else []
    said = f"{name}: {first}{and_more(len(found) - 1, 'difference')}"
    number = f"{len(found)} {'difference' if len(found) == 1 else 'differences'}"
    return Failed(said, f"as in {since}", number, "\n".join(lines))
