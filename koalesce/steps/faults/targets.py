"""What a fault is about: nodes, components on them, containers of pods, sides of a network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StrictStr, model_validator

from koalesce.addresses import Family
from koalesce.durations import Duration
from koalesce.models import Model
from koalesce.steps.vantage import FixtureNames, Machines, NodeNames

ComponentName = Literal[
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd"
]
CONTROL_PLANE: tuple[ComponentName, ...] = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class NodesOfIt(Model):
    """Nodes: exactly one of `node` and `nodes`."""

    node: StrictStr | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    @model_validator(mode="after")
    def _exactly_one(self) -> NodesOfIt:
        if (self.node is None) == (self.nodes is None):
            raise ValueError("say exactly one of node and nodes")
        return self

    @property
    def names(self) -> str | list[str]:
        """The names, or a group's."""
        return [self.node] if self.node is not None else (self.nodes or [])

    def __str__(self) -> str:
        return f"node {self.node}" if self.node is not None else f"nodes {listed(self.nodes)}"


class NodesAndFixtures(Model):
    """Machines: nodes, and those outside of the cluster."""

    node: StrictStr | None = None
    """A node by its name."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    fixture: StrictStr | None = None
    """A machine outside of the cluster, by its name in the spec's `fixtures`."""

    fixtures: FixtureNames | None = None
    """Several of them: `all` or a list of names."""

    @property
    def names(self) -> str | list[str]:
        """The names of the nodes, or a group's; none where it's only about fixtures."""
        return [self.node] if self.node is not None else (self.nodes or [])

    @property
    def outside(self) -> str | list[str]:
        """The names of the fixtures, or `all`; none where it's only about nodes."""
        return [self.fixture] if self.fixture is not None else (self.fixtures or [])

    def __str__(self) -> str:
        parts = [
            ("node", self.node), ("nodes", self.nodes), ("fixture", self.fixture), ("fixtures", self.fixtures),
        ]  # fmt: skip
        return " and ".join(f"{name} {listed(value)}" for name, value in parts if value is not None)


class NodesOrFixtures(NodesAndFixtures):
    """Nodes, or machines outside of the cluster: exactly one of `node`, `nodes`, `fixture` and `fixtures`."""

    @model_validator(mode="after")
    def _exactly_one(self) -> NodesOrFixtures:
        if sum(each is not None for each in (self.node, self.nodes, self.fixture, self.fixtures)) != 1:
            raise ValueError("say exactly one of node, nodes, fixture and fixtures")
        return self


class ComponentOfMachines(NodesOrFixtures):
    """A component on nodes, or on machines outside of the cluster."""

    component: ComponentName
    """The component, as its program is called; of the machines outside of the cluster, those of an external etcd have one: `etcd`."""


class DiskOfNodes(NodesOfIt):
    """A disk of nodes."""

    path: StrictStr
    """Where the nodes have it: a path of their `disks`, or /var/local-path-provisioner with the addon local-path."""


class Victims(Machines):
    """Nodes, a component on them or on machines outside of the cluster, or containers of pods.

    It says exactly one of `pod`, `pods`, `node`, `nodes`, `fixture` and `fixtures`.
    """

    component: ComponentName | None = None
    """The component of the machines, as its program is called; default: the nodes themselves."""

    process: StrictStr | None = Field(default=None, min_length=1, examples=["bird"])
    """All processes of the machines, those of containers too, that are of the program of this name."""

    whole: Literal[True] | None = None
    """The pods as a whole, not one container of each: all that run, and with `kill` and `restart` also what holds their network, so that kubelets begin the same
    pods with new addresses."""

    @model_validator(mode="after")
    def _component_of_nodes(self) -> Victims:
        if self.whole and not self.of_containers:
            raise ValueError("whole is said of pods")
        if self.whole and self.container is not None:
            raise ValueError("say container or whole, not both")
        if self.component is not None and self.process is not None:
            raise ValueError("say component or process, not both")
        for name in ("component", "process"):
            if getattr(self, name) is not None and self.of_containers:
                raise ValueError(f"{name} belongs to nodes")
        _check_outside(self.outside, self.component or self.process)
        return self

    @property
    def of_containers(self) -> bool:
        """Whether it's about pods."""
        return self.pod is not None or self.pods is not None

    @property
    def names(self) -> str | list[str]:
        """The names of the nodes, or a group's; none where it's about others."""
        return [self.node] if self.node is not None else (self.nodes or [])

    @property
    def outside(self) -> str | list[str]:
        """The names of fixtures, or `all`; none where it's about others."""
        return [self.fixture] if self.fixture is not None else (self.fixtures or [])


class MachinesOnWire(NodesAndFixtures):
    """Machines in the nodes' network: `node` or `nodes`, `fixture` or `fixtures`, or both of them."""

    @model_validator(mode="after")
    def _someone(self) -> MachinesOnWire:
        nodes, fixtures = (self.node, self.nodes), (self.fixture, self.fixtures)
        if None not in nodes or None not in fixtures:
            raise ValueError("say node or nodes, and fixture or fixtures, not both")
        if nodes == fixtures == (None, None):
            raise ValueError("say which: node, nodes, fixture or fixtures")
        return self


def _rate(text: str) -> str:
    if "${{" not in text and not re.fullmatch(r"\d+(\.\d+)?[kmg]bit", text):
        raise ValueError(f'"{text}" is no rate, such as 500kbit, 10mbit or 1gbit')
    return text


def _percent(text: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", text)
    if "${{" not in text and (found is None or not 0 < float(found[1]) <= 100):
        raise ValueError(f'"{text}" is no part of the packets, such as 2%')
    return text


def _three_words(text: str) -> str:
    if "${{" not in text and len(text.split()) != 3:
        raise ValueError(f'"{text}" is no name with its table, such as ip kube-proxy services')
    return text


class Degraded(MachinesOnWire):
    """Machines, and what their links are to be like, in both directions."""

    rate: Annotated[StrictStr, AfterValidator(_rate)] | None = Field(default=None, examples=["10mbit"])
    """How much goes in a second at most: `500kbit`, `10mbit`, `1gbit`."""

    latency: Duration | None = None
    """How much later packets come: `50ms`."""

    jitter: Duration | None = None
    """By how much that varies."""

    loss: Annotated[StrictStr, AfterValidator(_percent)] | None = Field(default=None, examples=["2%"])
    """The part of the packets that is lost."""

    @model_validator(mode="after")
    def _says_how(self) -> Degraded:
        if all(each is None for each in (self.rate, self.latency, self.jitter, self.loss)):
            raise ValueError("say how: rate, latency, jitter or loss")
        if self.jitter is not None and self.latency is None:
            raise ValueError("jitter is of a latency, which isn't said")
        return self

    def link(self) -> dict[str, float | str]:
        """It as a provider takes it."""
        times = {name: each.seconds for name in ("latency", "jitter") if (each := getattr(self, name)) is not None}
        loss = {"loss": float(self.loss.removesuffix("%"))} if self.loss is not None else {}
        return {**({"rate": self.rate} if self.rate else {}), **times, **loss}

    def in_words(self) -> str:
        """What the links are like."""
        found = {name: getattr(self, name) for name in ("rate", "latency", "jitter", "loss")}
        return ", ".join(f"{name} {each}" for name, each in found.items() if each is not None)


class Removed(NodesOfIt):
    """Something that the kernel of nodes holds: exactly one of `route`, `rule`, `chain`, `ipset`, `nftChain` and `nftSet`."""

    route: StrictStr | None = Field(default=None, examples=["10.244.1.0/24"])
    """A route by its destination, an address with its prefix or `default`."""

    rule: StrictInt | None = None
    """A routing rule by its priority."""

    chain: StrictStr | None = Field(default=None, examples=["KUBE-SERVICES"])
    """The rules of a chain of iptables."""

    ipset: StrictStr | None = None
    """The members of an ipset."""

    nft_chain: Annotated[StrictStr, AfterValidator(_three_words)] | None = Field(
        default=None, examples=["ip kube-proxy services"]
    )
    """The rules of a chain of nftables, by the family and the name of its table and its own name."""

    nft_set: Annotated[StrictStr, AfterValidator(_three_words)] | None = Field(
        default=None, examples=["ip kube-proxy service-ips"]
    )
    """The elements of a set or a map of nftables, named in the same way."""

    table: StrictStr | None = None
    """The table of the route (default: main), or of the chain (default: filter)."""

    family: Family | None = None
    """The family of a rule or a chain; default: IPv4."""

    @model_validator(mode="after")
    def _exactly_one_state(self) -> Removed:
        given = [
            name
            for name in ("route", "rule", "chain", "ipset", "nft_chain", "nft_set")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError("say exactly one of route, rule, chain, ipset, nftChain and nftSet")
        if self.table is not None and given[0] not in ("route", "chain"):
            raise ValueError("table is of a route or a chain")
        if self.family is not None and given[0] not in ("rule", "chain") and self.route != "default":
            raise ValueError("family is of a rule, a chain or the route default")
        if self.route is not None and self.route != "default" and "${{" not in self.route:
            try:
                ipaddress.ip_network(self.route)
            except ValueError:
                raise ValueError(
                    f'"{self.route}" is no destination of a route, such as 10.244.1.0/24 or default'
                ) from None
        return self

    def state(self) -> dict[str, str | int]:
        """It as a provider takes it."""
        names = ("route", "rule", "chain", "ipset", "nft_chain", "nft_set", "table", "family")
        return {name: each for name in names if (each := getattr(self, name)) is not None}

    def in_words(self) -> str:
        """What is removed."""
        return ", ".join(f"{name.replace('_', ' ')} {each}" for name, each in self.state().items())


class Partition(Model):
    """A cut between two sides of the nodes' network."""

    from_: MachinesOnWire = Field(alias="from")
    """One side."""

    to: MachinesOnWire
    """The other side."""

    one_way: StrictBool = False
    """Lose only what `from` sends to `to`; the other way, all goes through."""


def _check_outside(outside: str | Sequence[str], program: str | None) -> None:
    """Raise ValueError for fixtures of which it isn't said what of them is meant."""
    if outside and program is None:
        raise ValueError(
            "fixtures aren't switched off or paused: say which component of them, or pull their cable (linkDown)"
        )


def listed(value: str | Sequence[str] | None) -> str:
    """A name, a group's, or several names, in words."""
    return value if isinstance(value, str) else ", ".join(value or ())
