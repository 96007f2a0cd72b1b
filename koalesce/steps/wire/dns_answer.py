"""The answer to a DNS question as the probe brought it, and what it must be like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from koalesce.matching.diff import render
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch
from koalesce.records import dataclass
from koalesce.steps.base import StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.destination import Endpoint
from koalesce.steps.wire.lasting import Lasting
from koalesce.steps.wire.probing import Observed, Target, reproduce

RecordType = Literal["A", "AAAA", "ANY", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"]
Flag = Literal["aa", "tc", "rd", "ra", "ad", "cd"]
_MOST_RECORDS = 20


def as_list(value: Any) -> Any:
    """One as a list of one."""
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """A question. `server` is None where the source's own resolv.conf names it."""

    source: Source
    server: Endpoint | None
    target: Target


@dataclass(frozen=True, slots=True)
class SeenAnswer:
    """What came of a question."""

    lookup: Lookup
    observed: Observed

    @property
    def where(self) -> str:
        """Who asked whom, where that doesn't go without saying."""
        source, server = self.lookup.source, self.lookup.server
        parts = [source.name] if source.kind != "host" else []
        if server is not None and server.kind != "address":
            parts.append(f"@{server.name}")
        return f"{' '.join(parts)}: " if parts else ""

    @property
    def response(self) -> Mapping[str, Any]:
        """The probe's fields of an answer; empty if there was none."""
        return self.observed.dns or {}

    def records(self, kind: str) -> list[Mapping[str, Any]]:
        """The records of the answer that are of the type (those of other types lead to them)."""
        found: Sequence[Mapping[str, Any]] = self.response.get("answers") or ()
        return [record for record in found if kind in ("ANY", record["type"])]

    def summary(self, kind: str) -> str:
        """The answer in a few words."""
        if self.observed.dns is None:
            return str(self.observed)
        data = sorted(record["data"] for record in self.records(kind))
        return ", ".join(data) or str(self.response["rcode"])

    def to_value(self, kind: str) -> dict[str, Any]:
        """What outputs read: `answers` are data only, `records` are whole."""
        response = self.response
        return {
            "from": self.lookup.source.name, "outcome": self.observed.outcome, "seconds": self.observed.seconds,
            "server": response.get("server"), "transport": response.get("transport"), "name": response.get("name"),
            "asked": response.get("asked"), "rcode": response.get("rcode"), "flags": response.get("flags"),
            "answers": [record["data"] for record in self.records(kind)],
            "records": list(response.get("answers") or ()), "authority": list(response.get("authority") or ()),
        }  # fmt: skip

    def lines(self, context: StepContext) -> Iterator[str]:
        """The answer as `dig` shows it, and the command that asks again."""
        response = self.response
        if response:
            flags = " ".join(name for name, is_set in sorted((response.get("flags") or {}).items()) if is_set)
            over = f"{response.get('server')} over {str(response.get('transport', '')).upper()}"
            asked = ", ".join(response.get("asked") or ())
            yield f"{response['rcode']} ({flags}) from {over} after {self.observed.seconds:.3f}s; asked for {asked}"
        records = [*(response.get("answers") or ()), *(response.get("authority") or ())]
        for record in records[:_MOST_RECORDS]:
            yield f"  | {record['name']} {record['ttl']} {record['type']} {record['data']}"
        if len(records) > _MOST_RECORDS:
            yield f"  | … and {len(records) - _MOST_RECORDS} more"
        yield f"see it with: {reproduce(self.lookup.source, self.lookup.target, context)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedAnswer:
    """What an answer must be like."""

    type: str
    ends: tuple[str, ...]
    rcode: Sequence[str] | None
    answers: Sequence[str] | Matcher | None
    ttl: Matcher | None
    flags: Mapping[Flag, bool]
    time: Lasting | None

    def look(self, seen: SeenAnswer) -> Mismatch | None:
        """The first thing that isn't as it must be, or None."""
        observed = seen.observed
        if self.ends != ("answer",):
            wanted = " or ".join(self.ends)
            if observed.outcome in self.ends and observed.stage != "answer":
                return None  # a connection that was made, and then silent, is no silence of the network
            said = f"an answer ({seen.summary(self.type)})" if observed.dns is not None else str(observed)
            return Mismatch("", wanted, said, f"{said}, expected {wanted}")
        if observed.dns is None:
            return Mismatch("", "an answer", observed.outcome, str(observed))
        return next((found for found in self._looks(seen) if found is not None), None)

    def _looks(self, seen: SeenAnswer) -> Iterator[Mismatch | None]:
        records = seen.records(self.type)
        yield self._look_at_rcode(seen)
        yield self._look_at_data([record["data"] for record in records])
        if self.rcode is None and not records and not self._speaks_of_none():
            yield Mismatch("", f"a record of type {self.type}", "none", f"no record of type {self.type} in the answer")
        if self.ttl is not None:
            yield from (self._look_at_ttl(self.ttl, record) for record in records)
            if not records:
                yield Mismatch("", "a record with a ttl", "none", "ttl: there is no record that has one")
        for name, wanted in self.flags.items():
            if bool((seen.response.get("flags") or {}).get(name)) is not wanted:
                words = {True: "set", False: "not set"}
                yield Mismatch("", words[wanted], words[not wanted], f"the flag {name} is {words[not wanted]}")
        if self.time is not None and (slow := self.time.check(seen.observed.seconds)) is not None:
            yield Mismatch("", slow.expected, slow.actual, f"time {slow.message}")

    def _speaks_of_none(self) -> bool:
        """Whether it's said what there is to be when there are no records: so many, or exactly these."""
        if isinstance(self.answers, Matcher):
            return bool({"count", "equals"} & self.answers.operators().keys())
        return self.answers is not None

    def _look_at_rcode(self, seen: SeenAnswer) -> Mismatch | None:
        wanted, code = self.rcode or ("NOERROR",), str(seen.response["rcode"])
        if code in wanted:
            return None
        expected = " or ".join(wanted)
        return Mismatch("", expected, code, f"rcode is {code}, expected {expected}")

    def _look_at_data(self, data: list[str]) -> Mismatch | None:
        if self.answers is None:
            return None
        if isinstance(self.answers, Matcher):
            found = self.answers.check(data)
            return found and Mismatch(found.path, found.expected, found.actual, f"answers{found.path} {found.message}")
        wanted, actual = sorted(map(_plain, self.answers)), sorted(map(_plain, data))
        if wanted == actual:
            return None
        parts = [
            *(f"lacks {render(one)}" for one in wanted if one not in actual),
            *(f"has {render(one)}, too" for one in actual if one not in wanted),
        ] or ["some are there more or less often"]
        expected, shown = render(sorted(self.answers)), render(sorted(data))
        return Mismatch("", expected, shown, f"answers are {shown}, expected exactly {expected}: {', '.join(parts)}")

    def _look_at_ttl(self, matcher: Matcher, record: Mapping[str, Any]) -> Mismatch | None:
        found = matcher.check(record["ttl"])
        return found and Mismatch("", found.expected, found.actual, f"ttl of {record['data']} {found.message}")


def _plain(data: str) -> str:
    """Names don't differ by case, nor by the dot at their end."""
    return data.lower().removesuffix(".")
