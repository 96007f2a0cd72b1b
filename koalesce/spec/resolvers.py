"""What a resolver among the fixtures knows: zones with their records, as zone files have them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictStr, model_validator

from koalesce.durations import Duration
from koalesce.models import Model
from koalesce.patterns import pattern
from koalesce.suggestions import closest

_LONGEST_TTL = 2**31 - 1  # RFC 2181 8
_LONGEST_NAME, _LONGEST_LABEL, _LONGEST_TEXT = 253, 63, 255
_LABEL = pattern(r"[A-Za-z0-9_*]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_TEXT = pattern(r'"(?:[^"\\]|\\.)*"|[^\s";]+')
_RECORD = pattern(r"(?P<name>\S+)\s+(?:(?P<ttl>\d+)\s+)?(?P<kind>[A-Za-z]+)\s+(?P<data>.+)")
_LARGEST = 65535


def _zone(name: str) -> str:
    """A zone's name, without a dot at its end."""
    bare = name.removesuffix(".")
    if not _is_name(bare):
        raise ValueError(f'"{name}" is no name of a zone; write example.org')
    return bare.lower()


def _is_name(name: str) -> bool:
    labels = name.removesuffix(".").split(".")
    return len(name) <= _LONGEST_NAME and all(
        len(label) <= _LONGEST_LABEL and _LABEL.fullmatch(label) for label in labels
    )


def _ttl(duration: Duration) -> Duration:
    if not 0 <= duration.seconds <= _LONGEST_TTL or duration.seconds % 1:
        raise ValueError("a time to live is whole seconds")
    return duration


def _ipv4(data: str) -> str:
    return "" if _is_address(data, ipaddress.IPv4Address) else "an IPv4 address"


def _ipv6(data: str) -> str:
    return "" if _is_address(data, ipaddress.IPv6Address) else "an IPv6 address"


def _is_address(text: str, kind: Callable[[str], Any]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _one_name(data: str) -> str:
    return "" if data == "@" or _is_name(data) else "a name"


def _numbers_and_name(count: int, what: str) -> Callable[[str], str]:
    def check(data: str) -> str:
        *numbers, name = data.split()
        are_good = len(numbers) == count and all(each.isdigit() and int(each) <= _LARGEST for each in numbers)
        return "" if are_good and not _one_name(name) else what

    return check


def _texts(data: str) -> str:
    found = _TEXT.findall(data)
    is_all = "".join(found).replace(" ", "") == data.replace(" ", "")
    return "" if is_all and all(len(each) <= _LONGEST_TEXT for each in found) else 'texts in quotes, such as "v=1"'


# What follows a record's type: a check that says, in words, what has to stand there instead.
_TYPES: Mapping[str, Callable[[str], str]] = {
    "A": _ipv4,
    "AAAA": _ipv6,
    "CNAME": _one_name,
    "MX": _numbers_and_name(1, "a preference and a name, such as 10 mail"),
    "NS": _one_name,
    "PTR": _one_name,
    "SRV": _numbers_and_name(3, "priority, weight, port and a name, such as 0 5 443 www"),
    "TXT": _texts,
}


def _record(text: str) -> str:
    """A record in its usual form, `NAME [TTL] TYPE DATA`; ValueError says what is wrong with it."""
    found = _RECORD.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'"{text}" is no record; write NAME TYPE DATA, such as: www A 203.0.113.7')
    name, ttl, kind, data = found["name"], found["ttl"] or "", found["kind"].upper(), found["data"]
    if name != "@" and not _is_name(name):
        raise ValueError(f'"{name}" is no name; write one below the zone, or @ for the zone itself')
    if int(ttl or 0) > _LONGEST_TTL:
        raise ValueError(f"a time to live is at most {_LONGEST_TTL} seconds")
    if kind not in _TYPES:
        near = closest(kind, _TYPES)
        hint = f'; did you mean "{near}"?' if near else f"; they are {', '.join(_TYPES)}"
        raise ValueError(f'"{found["kind"]}" is no type of a record that there can be{hint}')
    if wanted := _TYPES[kind](data):
        raise ValueError(f'"{data}" is nothing that {kind} can say: it takes {wanted}')
    return " ".join(filter(None, (name, ttl, kind, data)))


Zone = Annotated[StrictStr, AfterValidator(_zone)]
Record = Annotated[StrictStr, AfterValidator(_record)]


class Resolver(Model):
    """A DNS server with zones of its own. It refuses to answer for any other name, as it asks nobody else."""

    zones: Annotated[Mapping[Zone, Annotated[tuple[Record, ...], Field(min_length=1)]], Field(min_length=1)] = Field(
        examples=[{"example.org": ["www A 203.0.113.7"]}]
    )
    """Zones by name, each a list of records as zone files have them, `NAME [TTL] TYPE DATA`: `www A 203.0.113.7`, `@ 300 MX 10 mail`, `api CNAME www`. Names are
    below the zone (`@` is the zone itself, `*` any that isn't there) unless they end with a dot. Types are A, AAAA, CNAME, MX, NS, PTR, SRV and TXT."""

    ttl: Annotated[Duration, AfterValidator(_ttl)] = Duration(30.0)
    """The time to live of records that say none, and of the answer that there is no such name."""

    @model_validator(mode="after")
    def _check_zones(self) -> Resolver:
        for zone, records in self.zones.items():
            kinds: dict[str, set[str]] = {}
            for record in records:
                name, *rest = record.split()
                whole = name.removesuffix(".") if name.endswith(".") else zone if name == "@" else f"{name}.{zone}"
                if whole.lower() != zone and not whole.lower().endswith(f".{zone}"):
                    raise ValueError(f'"{name}" lies outside of the zone {zone}')
                kinds.setdefault(whole.lower(), set()).add(rest[1] if rest[0].isdigit() else rest[0])
            if mixed := next((name for name, found in kinds.items() if "CNAME" in found and len(found) > 1), None):
                raise ValueError(f"{mixed} is an alias (CNAME), and has other records beside (RFC 1034 3.6.2)")
            if zone in kinds and "CNAME" in kinds[zone]:
                raise ValueError(f"the zone {zone} itself can't be an alias (CNAME)")
        return self

    def request(self) -> dict[str, Any]:
        """The form that providers take."""
        return {"zones": {zone: list(records) for zone, records in self.zones.items()}, "ttl": int(self.ttl.seconds)}
