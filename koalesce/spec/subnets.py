"""What is wrong with the subnets of machines: networks that local clusters can't have, that overlap, or that are too small."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.addresses import SUBNETS
from koalesce.spec.checks import items, text_at
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem

_TAKEN = 3  # of its addresses: its own, the router's, and that for all


def subnet_problems(data: Mapping[str, Any], source: Source) -> Iterator[Problem]:
    """Every problem of the subnets of a spec's only cluster and its fixtures; what is no network is said elsewhere."""
    section = data.get("cluster") if isinstance(data.get("cluster"), dict) else {}
    if not isinstance(section, dict) or section.get("provider", "local") != "local":
        return
    found = list(_written(data, section))
    if found and "IPv6" in (section.get("ipFamilies") or ()):
        message = "subnets are of IPv4: a local cluster with them has no other addresses"
        yield source.problem_at(("cluster", "ipFamilies"), message)
    machines = Counter(subnet for _, subnet, count in found for _ in range(count))
    known: dict[ipaddress.IPv4Network, Path] = {}
    for where, subnet, _ in found:
        if subnet in known:
            continue
        if not subnet.subnet_of(SUBNETS):
            yield source.problem_at(where, f"{subnet} is not of {SUBNETS}, where subnets of local clusters are from")
        elif other := next((each for each in known if each.overlaps(subnet)), None):
            yield source.problem_at(where, f"the subnets {other} and {subnet} overlap")
        elif machines[subnet] > subnet.num_addresses - _TAKEN:
            yield source.problem_at(where, f"{subnet} has no addresses for {machines[subnet]} machines")
        known[subnet] = where


def _written(data: Mapping[str, Any], section: Mapping[str, Any]) -> Iterator[tuple[Path, ipaddress.IPv4Network, int]]:
    """The subnets of nodes and fixtures that can be read, each with its place and for how many machines it stands there."""
    places: list[tuple[Path, str | None, int]] = [
        (("cluster", "nodes", index, "subnet"), text_at(node, "subnet"), node.get("count", 1))
        for index, node in items(section, "nodes")
    ]
    fixtures = data.get("fixtures")
    for name, fixture in fixtures.items() if isinstance(fixtures, dict) else ():
        places.append((("fixtures", name, "subnet"), text_at(fixture, "subnet"), 1))
    for where, text, count in places:
        try:
            if text is not None:
                yield where, ipaddress.IPv4Network(text), count if isinstance(count, int) else 1
        except ValueError:
            continue
