"""Functions that Kubernetes adds to CEL, on plain values: a quantity is a number; an address, a network and a version are texts.

https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-cel-libraries
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from koalesce.matching.quantity import quantity
from koalesce.matching.versions import parse_version


@dataclass(frozen=True, slots=True)
class Function:
    """One form of a function: what it takes and gives, and what it does. A member is called on its first argument."""

    name: str
    takes: tuple[str, ...]
    gives: str
    run: Callable[..., Any]
    is_member: bool = False


def _quantity(text: str) -> float:
    found = quantity(text)
    if found is None:
        raise ValueError(f"'{text}' is no quantity")
    return float(found)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def _cidr(text: str) -> str:
    if not _is_cidr(text):
        raise ValueError(f"'{text}' is no network such as 10.0.0.0/8")
    return text


def _contains_ip(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(_cidr(network), strict=False)


def _contains_cidr(network: str, inner: str) -> bool:
    outer, other = (ipaddress.ip_network(_cidr(text), strict=False) for text in (network, inner))
    return outer.version == other.version and outer.supernet_of(other)  # type: ignore[arg-type]  # of one version


def _semver(text: str) -> str:
    if parse_version(text) is None:
        raise ValueError(f"'{text}' is no version such as 1.2.3")
    return text


def _compared(left: str, right: str) -> int:
    one, other = parse_version(_semver(left)), parse_version(_semver(right))
    return (one > other) - (one < other)  # type: ignore[operator]  # both are versions


FUNCTIONS = (
    Function("quantity", ("text",), "any", _quantity),
    Function("quantity", ("int",), "any", float),
    Function("quantity", ("double",), "any", float),
    Function("isQuantity", ("text",), "bool", lambda text: quantity(text) is not None),
    Function("ip", ("text",), "any", lambda text: str(ipaddress.ip_address(text))),
    Function("isIP", ("text",), "bool", _is_ip),
    Function("family", ("text",), "int", lambda text: ipaddress.ip_address(text).version, is_member=True),
    Function("cidr", ("text",), "any", _cidr),
    Function("isCIDR", ("text",), "bool", _is_cidr),
    Function("containsIP", ("text", "text"), "bool", _contains_ip, is_member=True),
    Function("containsCIDR", ("text", "text"), "bool", _contains_cidr, is_member=True),
    Function("semver", ("text",), "any", _semver),
    Function("isSemver", ("text",), "bool", lambda text: parse_version(text) is not None),
    Function("isLessThan", ("text", "text"), "bool", lambda one, other: _compared(one, other) < 0, is_member=True),
    Function("isGreaterThan", ("text", "text"), "bool", lambda one, other: _compared(one, other) > 0, is_member=True),
    Function("compareTo", ("text", "text"), "int", _compared, is_member=True),
    Function("isLessThan", ("double", "double"), "bool", lambda one, other: one < other, is_member=True),
    Function("isGreaterThan", ("double", "double"), "bool", lambda one, other: one > other, is_member=True),
    Function(
        "compareTo", ("double", "double"), "int", lambda one, other: (one > other) - (one < other), is_member=True
    ),
)
