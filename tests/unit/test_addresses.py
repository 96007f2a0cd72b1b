from __future__ import annotations

import pytest

from koalesce.addresses import PODS, Family, family_of, ranges


@pytest.mark.parametrize(
    ("families", "written", "found"),
    [
        (("IPv4",), (), ("10.244.0.0/16",)),
        (("IPv6", "IPv4"), (), ("fd00:10:244::/56", "10.244.0.0/16")),
        (("IPv4", "IPv6"), ("fd01::/56",), ("10.244.0.0/16", "fd01::/56")),
        (("IPv4", "IPv6"), ("fd01::/56", "10.1.0.0/16"), ("10.1.0.0/16", "fd01::/56")),
    ],
)
def test_there_is_a_range_of_each_family_in_their_order(
    families: tuple[Family, ...], written: tuple[str, ...], found: tuple[str, ...]
) -> None:
    assert ranges(families, written, PODS) == found


@pytest.mark.parametrize(
    ("text", "family"), [("10.0.0.1", "IPv4"), ("10.0.0.0/8", "IPv4"), ("::1", "IPv6"), ("fd00::/8", "IPv6")]
)
def test_addresses_and_networks_have_a_family(text: str, family: str) -> None:
    assert family_of(text) == family
