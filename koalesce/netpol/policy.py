"""NetworkPolicies as values, read from objects: https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from koalesce.addresses import Network
from koalesce.suggestions import closest

Direction = Literal["ingress", "egress"]
Protocol = Literal["TCP", "UDP", "SCTP"]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
Labels = Mapping[str, str]
_T = TypeVar("_T")
_TYPES: Mapping[str, Direction] = {"Ingress": "ingress", "Egress": "egress"}


@dataclass(frozen=True, slots=True)
class Expression:
    """One term of `matchExpressions`."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def fits(self, labels: Labels) -> bool:
        """Whether labels are as it says; a key that isn't there is none of the values of a NotIn."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector; an empty one takes everything."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[Expression, ...] = ()

    def fits(self, labels: Labels) -> bool:
        """Whether it takes something with these labels."""
        return all(labels.get(key) == value for key, value in self.labels) and all(
            each.fits(labels) for each in self.expressions
        )


@dataclass(frozen=True, slots=True)
class Block:
    """An `ipBlock`."""

    cidr: Network
    excepted: tuple[Network, ...] = ()

    def has(self, address: str) -> bool:
        """Whether an address is in it, and in none of its exceptions."""
        parsed = ipaddress.ip_address(address)
        return parsed in self.cidr and not any(parsed in each for each in self.excepted)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who may be at the other end: pods, of the policy's own namespace unless others are said, or addresses."""

    pods: Selector | None = None
    namespaces: Selector | None = None
    block: Block | None = None


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a rule: all of a protocol, a number, a range of numbers, or the name that the pods have for theirs."""

    protocol: Protocol = "TCP"
    port: int | str | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What is let through: without peers from (or to) everybody, without ports to all of them."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A NetworkPolicy. `types` are the directions in which the pods that it selects are isolated."""

    namespace: str
    name: str
    selector: Selector
    types: frozenset[Direction]
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """Its rules of a direction."""
        return self.ingress if direction == "ingress" else self.egress


def parse(obj: Mapping[str, Any]) -> Policy:
    """A NetworkPolicy of an object; ValueError with the path of what can't be one (`spec.ingress[0].from[1]: …`)."""
    if (obj.get("apiVersion"), obj.get("kind")) != ("networking.k8s.io/v1", "NetworkPolicy"):
        raise ValueError(f"{obj.get('apiVersion')} {obj.get('kind')} is no networking.k8s.io/v1 NetworkPolicy")
    metadata, spec = obj.get("metadata") or {}, _map(obj.get("spec") or {}, "spec", _SPEC)
    egress = _all(spec.get("egress"), "spec.egress", lambda value, path: _rule(value, path, "to"))
    return Policy(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        selector=_selector(spec.get("podSelector") or {}, "spec.podSelector"),
        types=_types(spec.get("policyTypes"), has_egress=bool(egress)),
        ingress=_all(spec.get("ingress"), "spec.ingress", lambda value, path: _rule(value, path, "from")),
        egress=egress,
    )


_SPEC = ("podSelector", "policyTypes", "ingress", "egress")


def _types(written: Any, *, has_egress: bool) -> frozenset[Direction]:
    """Left out, it isolates for ingress, and for egress where it has rules for that."""
    if not written:
        return frozenset[Direction]({"ingress", "egress"} if has_egress else {"ingress"})
    for each in written:
        if each not in _TYPES:
            raise ValueError(f"spec.policyTypes: must be Ingress or Egress, not {each!r}")
    return frozenset(_TYPES[each] for each in written)


def _rule(value: Any, path: str, peers: str) -> Rule:
    rule = _map(value, path, (peers, "ports"))
    return Rule(
        peers=_all(rule.get(peers), f"{path}.{peers}", _peer), ports=_all(rule.get("ports"), f"{path}.ports", _port)
    )


def _peer(value: Any, path: str) -> Peer:
    peer = _map(value, path, ("podSelector", "namespaceSelector", "ipBlock"))
    pods, namespaces, block = (peer.get(name) for name in ("podSelector", "namespaceSelector", "ipBlock"))
    if pods is None and namespaces is None and block is None:
        raise ValueError(f"{path}: says nobody; needs podSelector, namespaceSelector or ipBlock")
    if block is not None and (pods is not None or namespaces is not None):
        raise ValueError(f"{path}: ipBlock stands alone, without podSelector and namespaceSelector")
    return Peer(
        pods=None if pods is None else _selector(pods, f"{path}.podSelector"),
        namespaces=None if namespaces is None else _selector(namespaces, f"{path}.namespaceSelector"),
        block=None if block is None else _block(block, f"{path}.ipBlock"),
    )


def _block(value: Any, path: str) -> Block:
    block = _map(value, path, ("cidr", "except"))
    cidr = _network(block.get("cidr"), f"{path}.cidr")
    excepted = _all(block.get("except"), f"{path}.except", _network)
    for each in excepted:
        if each.version != cidr.version or not each.subnet_of(cidr) or each == cidr:  # type: ignore[arg-type]  # one version
            raise ValueError(f"{path}.except: {each} must be a part of {cidr}, and not all of it")
    return Block(cidr, excepted)


def _network(value: Any, path: str) -> Network:
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _port(value: Any, path: str) -> Port:
    port = _map(value, path, ("protocol", "port", "endPort"))
    protocol: Any = port.get("protocol") or "TCP"
    number, end = port.get("port"), port.get("endPort")
    if protocol not in get_args(Protocol):
        raise ValueError(f"{path}.protocol: must be TCP, UDP or SCTP, not {protocol!r}")
    if number is not None and (isinstance(number, bool) or not isinstance(number, int | str)):
        raise ValueError(f"{path}.port: must be a number or a name, not {number!r}")
    if end is not None and not (isinstance(number, int) and isinstance(end, int) and end >= number):
        raise ValueError(f"{path}.endPort: needs a number as port that is no greater")
    return Port(protocol, number, end)


def _selector(value: Any, path: str) -> Selector:
    selector = _map(value, path, ("matchLabels", "matchExpressions"))
    labels = selector.get("matchLabels") or {}
    if not isinstance(labels, Mapping):
        raise ValueError(f"{path}.matchLabels: must be a map")
    expressions = _all(selector.get("matchExpressions"), f"{path}.matchExpressions", _expression)
    return Selector(tuple(sorted(labels.items())), expressions)


def _expression(value: Any, path: str) -> Expression:
    term = _map(value, path, ("key", "operator", "values"))
    key, values = term.get("key"), tuple(term.get("values") or ())
    operator: Any = term.get("operator")
    if not isinstance(key, str) or not key:
        raise ValueError(f"{path}.key: is missing")
    if operator not in get_args(Operator):
        raise ValueError(f"{path}.operator: must be one of {', '.join(get_args(Operator))}, not {operator!r}")
    if bool(values) != (operator in ("In", "NotIn")):
        raise ValueError(f"{path}.values: {'needed' if not values else 'not allowed'} with {operator}")
    return Expression(key, operator, values)


def _map(value: Any, path: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path}: must be a map")
    for key in value:
        if key not in known:
            meant = closest(str(key), known)
            raise ValueError(f"{path}.{key}: unknown field" + (f'; did you mean "{meant}"?' if meant else ""))
    return value


def _all(value: Any, path: str, read: Callable[[Any, str], _T]) -> tuple[_T, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"{path}: must be a list")
    return tuple(read(each, f"{path}[{index}]") for index, each in enumerate(value))
