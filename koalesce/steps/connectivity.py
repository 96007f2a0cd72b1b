"""Whether things reach one another, by what the network really does: allowed, refused, rejected or dropped."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictStr, field_validator, model_validator

from koalesce.addresses import Family
from koalesce.durations import Duration
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select, select_nodes, unmet
from koalesce.steps.vantage import Vantage, taken_on_wire
from koalesce.steps.wire.control import Control, Proof
from koalesce.steps.wire.destination import Destination, Endpoint, address_in
from koalesce.steps.wire.expectations import Expectations, Expected, as_default
from koalesce.steps.wire.flows import Flow, Flows, control_flows, title
from koalesce.steps.wire.matrix import Cell, Matrix, behind_service
from koalesce.steps.wire.probing import Batch, Observed, Seen, Target, probe


class Connectivity(Assertion, key="connectivity"):
    """Try to connect from each source to each target, and compare what the network does with what is expected.

    `allowed`: an answer came back (with TCP: the handshake was completed). `refused`: the target itself said no, by a TCP reset or by
    ICMP port unreachable from its own address. `rejected`: somebody said no by ICMP in any other way. `dropped`: nothing came back
    within `maxTime`. The four are never taken for one another, and what could not be tried satisfies none of them. A filter in
    the source's own network namespace counts as `dropped`, a missing route there as not tried. Behind a Service the kernel gives ICMP errors
    the Service's address, whoever sent them: over TCP, where a target refuses by a reset, they count as `rejected`; over UDP a filter that answers
    with `port unreachable` can't be told from a closed port, and counts as `refused`.

    Where `rejected` or `dropped` is expected, each source must also show that it can reach something (`control`), so that a broken network or
    probe is never taken for a policy. Probes run in the pods' network namespaces, from their nodes: the pods' images don't matter.
    """

    polls = True

    from_: Vantage = Field(alias="from")
    """The sources: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`."""

    to: Destination
    """The targets: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture`, `fixtures` and `address`, with `port`, `protocol` and `via`."""

    expect: Annotated[
        Expectations,
        BeforeValidator(as_default, json_schema_input_type=Expected | list[Expected] | Expectations),
    ] = Field(default_factory=Expectations)
    """`allowed` (default), `refused`, `rejected`, `dropped`, a list of those that will do, or `{default, cells: [{from, to, expect}]}`."""

    source_ip: StrictStr | None = Field(default=None, alias="sourceIP", examples=["preserved", "node", "10.244.0.0/16"])
    """Which address the targets must see where a connection is allowed, which at least one must be: `preserved` (the source's own), `node` (one of a node's addresses),
    or a CIDR. The targets must answer as `agnhost netexec` does: `GET /clientip` over TCP, `clientip` over UDP."""

    self_: Literal["include", "exclude"] = Field(default="exclude", alias="self")
    """Whether pods (nodes) are also probed from themselves."""

    placement: Literal["sameNode", "otherNode"] | None = None
    """Only pairs on the same node, or only those on different nodes; targets must be pods or nodes."""

    ip_family: Family | None = Field(default=None, alias="ipFamily")
    """IPv4 or IPv6; default: the targets' primary addresses."""

    payload: StrictStr | None = None
    """What is sent over UDP (default: `hostname`, which `agnhost netexec` answers), or over TCP after the handshake, whose answer is then awaited."""

    max_time: Duration = Duration(1.5)
    """How long one try may take; `dropped` takes all of it, over UDP at least 1.5 s: kernels tell of closed ports once a second."""

    control: Control | None = None
    """What each source must reach where `rejected` or `dropped` is expected: `{address | service | pod | node …, port}` or `{ownNode: true}`.
    By default any allowed pair of this step will do, and otherwise the API server's Service."""

    @field_validator("source_ip")
    @classmethod
    def _is_known(cls, text: str | None) -> str | None:
        if text not in (None, "preserved", "node") and "${{" not in text:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError:
                raise ValueError(f'"{text}" is none of preserved, node and a CIDR such as 10.244.0.0/16') from None
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Connectivity:
        if self.placement and (self.to.service or self.to.address or self.to.fixture or self.to.fixtures):
            raise ValueError("placement needs targets on nodes: pod, pods, node or nodes")
        if self.placement and (self.from_.host or self.from_.fixture or self.from_.fixtures):
            raise ValueError(f"placement needs sources on nodes, not {'host' if self.from_.host else 'fixtures'}")
        if self.source_ip and self.payload is not None:
            raise ValueError("sourceIP asks its own question; leave payload out")
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        if self.source_ip is not None and not self.expect.hopes_for("allowed"):
            raise ValueError("sourceIP is about connections that are allowed, and none is expected to be")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the source's network."""
        return taken_on_wire(written.get("from"), address_in(written.get("to")))

    def title(self) -> str:
        """From what to what, and what is expected."""
        rules = "" if not self.expect.cells else f", {len(self.expect.cells)} exceptions"
        return f"connectivity {self.from_.place()} → {self.to.place()}: {' or '.join(self.expect.default)}{rules}"

    def attempt(self, context: StepContext) -> Outcome:
        """Probe all pairs once, all sources at the same time."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self.to.endpoints(self.ip_family, context)
        if not isinstance(endpoints, list):
            return unmet(endpoints, context)
        pairs = [(source, [each for each in endpoints if self._is_pair(source, each)]) for source in sources]
        if (problem := self._vacuous(pairs, endpoints)) is not None:
            return unmet(problem, context)
        return self._look([(source, targets) for source, targets in pairs if targets], context)

    def _is_pair(self, source: Source, endpoint: Endpoint) -> bool:
        if self.self_ == "exclude" and source.uid and (source.kind, source.uid) == (endpoint.kind, endpoint.uid):
            return False
        if self.placement is None:
            return True
        is_same = source.node is not None and source.node.name == endpoint.node
        return is_same == (self.placement == "sameNode")

    def _vacuous(self, pairs: Sequence[tuple[Source, list[Endpoint]]], endpoints: list[Endpoint]) -> Failed | None:
        """A matrix without pairs, or with a rule about none, has observed nothing."""
        if not any(targets for _, targets in pairs):
            kept = f", placement: {self.placement}" if self.placement else ""
            size = f"sources: {len(pairs)}, targets: {len(endpoints)}{kept}"
            return Failed(f"there is no pair to try ({size})", expected="at least one pair", actual="none")
        for rule in self.expect.cells:
            if not any(rule.fits(source, target) for source, targets in pairs for target in targets):
                return Failed(f"the rule {rule} is about no pair", expected="at least one pair", actual="none")
        return None

    def _look(self, pairs: list[tuple[Source, list[Endpoint]]], context: StepContext) -> Outcome:
        needy = [source for source, targets in pairs if context.negated or self._hopes_for_silence(source, targets)]
        proof = Proof.prepare(self.control, needy, self.max_time.seconds, context)
        if isinstance(proof, Failed | Errored):
            return proof
        batches = [Batch(source=source, targets=[self._target(each) for each in targets]) for source, targets in pairs]
        witnesses = self._witnesses(context)
        seen = probe([*batches, *proof.batches, *witnesses], context)
        asked = len(batches)
        controls = seen[asked : asked + len(proof.batches)]
        cells = [
            self._cell(source, endpoint, target, observed)
            for (source, targets), batch, answer in zip(pairs, batches, seen[:asked], strict=True)
            for endpoint, target, observed in zip(targets, batch.targets, answer.results, strict=True)
        ]
        self._check_sources(cells, seen[asked + len(proof.batches) :], context)
        reached = {cell.source.name for cell in cells if cell.observed.outcome == "allowed"}
        unproven = proof.check(controls, reached)
        outcome = Matrix(cells).verdict(unproven, context)
        if isinstance(outcome, Passed) and self.source_ip is not None and not reached:
            said = f"{outcome.message}; none is allowed, so that no target has seen any address (sourceIP)"
            return Failed(said, "an allowed pair", "none", saw_nothing=True)
        return outcome

    def flows(self, context: StepContext) -> Flows:
        """Each pair as a question."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self.to.endpoints(self.ip_family, context)
        if not isinstance(endpoints, list):
            return endpoints
        pairs = [(source, each) for source in sources for each in endpoints if self._is_pair(source, each)]
        needy = [
            source
            for source in sources
            if self._hopes_for_silence(source, [each for at, each in pairs if at is source])
        ]
        proof = Proof.prepare(self.control, needy, self.max_time.seconds, context)
        if isinstance(proof, Failed | Errored):
            return proof
        of_nodes = self._addresses_of_nodes(probe(self._witnesses(context), context), context)
        asked = [
            Flow(
                name=title(source, endpoint.label), source=source, target=target,
                look=partial(self._look_at, source, endpoint, target, of_nodes),
                hopes_for_silence=self._hopes_for_silence(source, [endpoint]),
            )
            for source, endpoint in pairs
            for target in (self._target(endpoint),)
        ]  # fmt: skip
        return [*asked, *control_flows(proof)]

    def not_continuous(self) -> str:
        """Everything has a meaning."""
        return ""

    def _look_at(
        self, source: Source, endpoint: Endpoint, target: Target, of_nodes: set[str], observed: Observed
    ) -> str:
        cell = self._cell(source, endpoint, target, observed)
        if self.source_ip is not None and observed.outcome == "allowed" and "allowed" in cell.expected:
            cell = cell.with_problem(self._source_problem(observed, of_nodes))
        return cell.wrong()

    def _hopes_for_silence(self, source: Source, targets: Sequence[Endpoint]) -> bool:
        return any({"rejected", "dropped"} & set(self.expect.of(source, target)) for target in targets)

    def _target(self, endpoint: Endpoint) -> Target:
        return Target(
            type="udp" if self.to.protocol == "UDP" else "tcp", host=endpoint.host, port=endpoint.port,
            family=self.ip_family or "", limit=self.max_time.seconds, payload=self.payload or "",
            ask_source=self.source_ip is not None,
        )  # fmt: skip

    def _cell(self, source: Source, endpoint: Endpoint, target: Target, observed: Observed) -> Cell:
        # A payload asks for an answer, not only for a handshake.
        problem = observed.failure if self.payload is not None and observed.outcome == "allowed" else ""
        return Cell(
            source=source,
            endpoint=endpoint,
            target=target,
            expected=self.expect.of(source, endpoint),
            observed=behind_service(endpoint, target, observed),
            problem=problem,
        )

    def _witnesses(self, context: StepContext) -> list[Batch]:
        """Looks at the nodes themselves: they tell all addresses that a node may use for others."""
        if self.source_ip != "node":
            return []
        nodes = select_nodes("all", context.cluster)
        return [Batch(source=node) for node in nodes] if isinstance(nodes, list) else []

    def _check_sources(self, cells: list[Cell], nodes: Sequence[Seen], context: StepContext) -> None:
        """Note in each allowed cell whether the target saw the address that it was to see."""
        if self.source_ip is None:
            return
        of_nodes = self._addresses_of_nodes(nodes, context)
        for index, cell in enumerate(cells):
            if cell.observed.outcome == "allowed" and "allowed" in cell.expected:
                cells[index] = cell.with_problem(self._source_problem(cell.observed, of_nodes))

    def _addresses_of_nodes(self, nodes: Sequence[Seen], context: StepContext) -> set[str]:
        found = {address for seen in nodes for address in seen.addresses}
        return found | {address for node in context.cluster.nodes for address in node.addresses}

    def _source_problem(self, observed: Observed, of_nodes: set[str]) -> str:
        if not observed.seen_source:
            return observed.failure or "the target did not say which address it saw"
        if self.source_ip == "preserved":
            right, wanted = observed.seen_source == observed.local, observed.local
        elif self.source_ip == "node":
            right, wanted = observed.seen_source in of_nodes, "an address of a node"
        else:
            network = ipaddress.ip_network(self.source_ip or "", strict=False)
            right, wanted = ipaddress.ip_address(observed.seen_source) in network, str(network)
        return "" if right else f"seen as {observed.seen_source}, expected {wanted}"
