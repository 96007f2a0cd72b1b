"""What is expected of sessions and routes: as of other items, or all of them as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictStr, model_validator

from koalesce.matching.flaws import Flaw
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.operators import is_operators
from koalesce.matching.partial import Matching
from koalesce.steps.base import Failed, Passed
from koalesce.steps.objects.reading import shortened
from koalesce.steps.routing.speaker import (
    ROUTE_FIELDS,
    SESSION_FIELDS,
    STATES,
    UNORDERED,
    Family,
    in_order,
    network_of,
)
from koalesce.steps.routing.table import Row, drawn
from koalesce.steps.state.items import Items, Part, part_flaws
from koalesce.steps.state.view import Item, View
from koalesce.suggestions import closest


def _unasked(_text: str) -> list[Item]:
    raise TypeError("sessions and routes are read by their speaker, not out of a text")


SESSIONS = View("", _unasked, SESSION_FIELDS, "session", keys=("name", "peer"))
ROUTES = View("", _unasked, ROUTE_FIELDS, "route", keys=("prefix",))
_SHOWN = {"session": ("peer", "name", "state", "asn"), "route": ("prefix", "nextHops", "asPath")}


def _session_rows(value: Any) -> Any:
    """A text stands for the session with that address or name."""
    return _rows(value, lambda text: {"peer" if network_of(text) else "name": text})


def _route_rows(value: Any) -> Any:
    """A text stands for the route to that prefix."""
    return _rows(value, lambda text: {"prefix": text})


def _rows(value: Any, row: Callable[[str], Part]) -> Any:
    if not isinstance(value, list):
        return value
    return [row(each) if isinstance(each, str) else each for each in value]


Rows = Annotated[list[Part], Field(min_length=1)]


class Table(Items):
    """Which there must be: at least one, unless `count`, `all` or `exactly` say otherwise."""

    exactly: Rows | None = None
    """These and no others (that `where` leaves), as a list of what each is like."""

    @model_validator(mode="after")
    def _stands_alone(self) -> Table:
        if self.exactly is not None and (self.match or self.all_ or self.count is not None):
            raise ValueError("exactly says it all: match, all and count can't stand beside it, only where can")
        return self

    @property
    def fields(self) -> set[str]:
        """The fields that are asked for."""
        return {key for part in (self.where, self.match, *(self.exactly or ())) for key in part or {}}

    def flaws(self, view: View) -> list[Flaw]:
        """What no session or route can have."""
        found = [*super().flaws(view)]
        for index, row in enumerate(self.exactly or ()):
            found += [flaw.under("exactly", index) for flaw in part_flaws(row, view)]
            if not any(key in row for key in view.keys):
                said = f"say which {view.noun}: {' or '.join(view.keys)} is missing"
                found.append(Flaw(("exactly", index), said))
        places: list[tuple[tuple[str | int, ...], Part | None]] = [(("where",), self.where), (("match",), self.match)]
        places += [(("exactly", index), row) for index, row in enumerate(self.exactly or ())]
        for place, part in places:
            found += [Flaw((*place, key), said) for key, said in _impossible(part or {})]
        return found

    def judge(self, items: list[Item], view: View, *, may_not_exist: bool) -> Passed | Failed:
        """Whether these are as said; messages don't say where, details are tables."""
        meant = self.model_copy(update={"where": _in_form(self.where), "match": _in_form(self.match)})
        if self.exactly is not None:
            return meant._judge_all(items, view, [_in_form(row) or {} for row in self.exactly])
        outcome = super(Table, meant).judge(items, view, may_not_exist=may_not_exist)
        if isinstance(outcome, Passed):
            return outcome
        rows = [Row("expected", meant.match)] if meant.match else []
        rows += [Row("observed", item) for item in meant._left(items)]
        return self._failed_with(outcome.message, outcome.expected, outcome.actual, rows, view)

    def first(self, items: list[Item]) -> list[Item]:
        """All of them, those that `where` leaves before the others."""
        left = {id(item) for item in self.model_copy(update={"where": _in_form(self.where)})._left(items)}
        return sorted(items, key=lambda item: id(item) not in left)

    def _left(self, items: list[Item]) -> list[Item]:
        return [item for item in items if not Matching().members(self.where or {}, item)]

    def _judge_all(self, items: list[Item], view: View, wanted: list[Part]) -> Passed | Failed:
        """Each that is wanted is there, as it's wanted, and nothing else is."""
        left = self._left(items)
        rows: list[Row] = []
        said: list[str] = []
        expected: list[Item] = []
        for row in wanted:
            near = [item for item in left if not Matching().members(_key(row, view), item)]
            misses = [Matching().members(row, item) for item in near]
            good = [item for item, found in zip(near, misses, strict=True) if not found]
            expected += good or near
            if not good:
                said.append(f"{_name(row, view)} {_lack(misses)}")
                rows += [Row("expected", row), *(Row("observed", item) for item in near)]
        extra = [item for item in left if item not in expected]
        said += [f"{_name(item, view)} is not expected" for item in extra]
        rows += [Row("observed", item, "not expected") for item in extra]
        if not said:
            return Passed(f"{len(left)} {view.noun}{'' if len(left) == 1 else 's'}, exactly as expected", left)
        message = said[0] + (f", and {len(said) - 1} more differ" if len(said) > 1 else "")
        return self._failed_with(message, f"exactly {len(wanted)}", str(len(left)), rows, view)

    def _failed_with(
        self, message: str, expected: str | None, actual: str | None, rows: list[Row], view: View
    ) -> Failed:
        fields = [*dict.fromkeys([*_SHOWN[view.noun], *sorted(self.fields)])]
        return Failed(message, expected, actual, drawn(fields, rows))


class Sessions(Table):
    """Which sessions there must be: at least one, unless `count`, `all` or `exactly` say otherwise."""

    exactly: Annotated[Rows | None, BeforeValidator(_session_rows, json_schema_input_type=list[Part | StrictStr])] = (
        None
    )
    """These and no others (that `where` leaves): a list of what each is like, a text standing for the `peer` or `name`."""


class Routes(Table):
    """Which routes there must be: at least one, unless `count`, `all` or `exactly` say otherwise."""

    exactly: Annotated[Rows | None, BeforeValidator(_route_rows, json_schema_input_type=list[Part | StrictStr])] = None
    """These and no others (that `where` leaves): a list of what each is like, a text standing for the `prefix`."""

    family: Family = "IPv4"
    """The family of the prefixes."""

    received_from: StrictStr | None = None
    """Only what this peer (its address, or the name of a node or fixture) sent, before any choice."""

    sent_to: StrictStr | None = None
    """Only what is sent to this peer (its address, or the name of a node or fixture)."""

    @model_validator(mode="after")
    def _one_side(self) -> Routes:
        if self.received_from is not None and self.sent_to is not None:
            raise ValueError("say receivedFrom or sentTo, not both")
        return self

    def flaws(self, view: View) -> list[Flaw]:
        """What no route of the family can have."""
        found = [*super().flaws(view)]
        for index, row in enumerate(self.exactly or ()):
            network = network_of(row.get("prefix"))
            if network is not None and f"IPv{network.version}" != self.family:
                found.append(Flaw(("exactly", index, "prefix"), f"{network} is no prefix of {self.family}: say family"))
        return found


def _impossible(part: Part) -> Iterator[tuple[str, str]]:
    """Plain values that a field never has."""
    for key, value in part.items():
        if isinstance(value, dict) and key != "paths" and not is_operators(value):
            yield (
                key,
                f"it is no map, and there is no operator {' or '.join(value) or 'here'}: write {{notEquals: …}}, {{in: […]}} and the like",
            )
    state = part.get("state")
    if isinstance(state, str) and "${{" not in state and state not in STATES:
        near = closest(state, STATES)
        yield (
            "state",
            f'"{state}" is no state of a session; '
            + (f'did you mean "{near}"?' if near else f"there are: {', '.join(STATES)}"),
        )
    peer = part.get("peer")
    if isinstance(peer, str) and "${{" not in peer and network_of(peer) is None:
        yield "peer", f'"{peer}" is no address; say name for that of a node or fixture'
    prefix = part.get("prefix")
    if isinstance(prefix, str) and "${{" not in prefix and network_of(prefix) is None:
        yield "prefix", f'"{prefix}" is no prefix; write a network such as 10.244.1.0/24'


def _in_form(part: Part | None) -> Part | None:
    """A pattern with its plain values in the form that items have them in: an address is a prefix of its own, sets are in order."""
    if part is None:
        return None
    found = dict(part)
    network = network_of(found.get("prefix"))
    if network is not None:
        found["prefix"] = str(network)
    for key in UNORDERED & found.keys():
        if isinstance(found[key], list) and all(isinstance(each, str) for each in found[key]):
            found[key] = in_order(found[key])
    return found


def _key(row: Mapping[str, Any], view: View) -> Part:
    return {key: row[key] for key in view.keys if key in row}


def _name(row: Mapping[str, Any], view: View) -> str:
    return str(next((row[key] for key in view.keys if row.get(key)), view.noun))


def _lack(misses: list[list[Mismatch]]) -> str:
    """What is wrong with what comes nearest; it may not be there at all."""
    if not misses:
        return "is missing"
    return shortened(str(min(misses, key=len)[0]).lstrip("."))
