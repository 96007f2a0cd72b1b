"""The shipped table of built-in kinds against a real API server."""

from __future__ import annotations

from typing import Any

from koalesce.kube import builtin
from koalesce.matching.shapes import Shape
from tests.contract.api_server import VERSION, ApiServer
from tests.contract.builtin_table import Table

# Alpha fields of older versions that the newest has no more, or otherwise.
_GONE = {
    "PodSpec": frozenset({"workloadRef"}),
    "PodStatus": frozenset({"nodeAllocatableResourceClaimStatuses"}),
    "Device": frozenset({"nodeAllocatableResourceMappings"}),
}


def test_the_table_knows_every_kind_that_a_server_has(api_server: ApiServer) -> None:
    served = {
        (r.api_version, r.kind, r.plural, r.singular, r.namespaced, r.short_names)
        for r in api_server.kube.resources()
        if not r.group.endswith(".example.com")
    }
    known = {(r.api_version, r.kind, r.plural, r.singular, r.namespaced, r.short_names) for r in builtin.resources()}

    assert len(served) > 50
    assert served <= known


def test_the_table_knows_the_fields_that_a_server_has(api_server: ApiServer) -> None:
    made: dict[str, Any] = Table(api_server.kube, skip=(".example.com",)).make()
    looked: set[str] = set()
    told: list[str] = []

    for row in made["kinds"]:
        (
            api_version,
            kind,
            *_,
        ) = row.split(" ")
        name = row.split(" ")[5]
        told += differences(Shape(made["types"], name), builtin.shape_of(api_version, kind), looked, exact=not VERSION)

    assert not told, "\n".join(told)
    assert len(looked) > 300


def differences(theirs: Shape, ours: Shape, looked: set[str], *, exact: bool) -> list[str]:
    """Fields that aren't of the same type in both; if not `exact`, ours may have more: those of a newer version."""
    if theirs.text in looked:
        return []
    looked.add(theirs.text)
    if (theirs.is_list, theirs.keys, theirs.is_set, theirs.is_open) != (
        ours.is_list,
        ours.keys,
        ours.is_set,
        ours.is_open,
    ):
        return [f"{theirs.text} is {ours.text}"]
    if theirs.is_list or theirs.is_open:
        mine, yours = (theirs.element, ours.element) if theirs.is_list else (theirs.field("x"), ours.field("x"))
        return [] if mine is None or yours is None else differences(mine, yours, looked, exact=exact)
    here, known = theirs.names or frozenset(), ours.names or frozenset()
    here = here if exact else here - _GONE.get(theirs.text, frozenset())
    if here != known if exact else not here <= known:
        return [f"{theirs.text}: {here ^ known if exact else here - known}"]
    found = []
    for name in here:
        mine, yours = theirs.field(name), ours.field(name)
        assert mine is not None
        found += (
            differences(mine, yours, looked, exact=exact) if yours is not None else [f"{theirs.text}.{name} is missing"]
        )
    return found
