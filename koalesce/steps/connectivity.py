"""Whether things reach one another, by what the network really does: allowed, refused, rejected or dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt, StrictStr, field_validator, model_validator

from koalesce.addresses import Family
from koalesce.durations import Duration
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select, unmet
from koalesce.steps.vantage import ENTERED, Vantage, taken_on_wire
from koalesce.steps.wire.control import Control, Proof
from koalesce.steps.wire.destination import Endpoint, Endpoints, address_in
from koalesce.steps.wire.destinations import Destinations
from koalesce.steps.wire.expectations import Expectations, Expected, as_default, told_by_pods, undecidable
from koalesce.steps.wire.flows import Flow, Flows, control_flows, title
from koalesce.steps.wire.matrix import Cell, Matrix, behind_service
from koalesce.steps.wire.probing import KINDS, Batch, Observed, Seen, Target, probe
from koalesce.steps.wire.seen_sources import addresses_of_nodes, check_wish, source_problem, witnesses
from koalesce.steps.wire.shares import MOST_SAMPLES, Distribution, question, ready_pods, spread
from koalesce.steps.wire.sized import Sized

_SAMPLES = 60


class Connectivity(Assertion, key="connectivity"):
    """Try to connect from each source to each target, and compare what the network does with what is expected.

    `allowed`: an answer came back (with TCP and SCTP: the handshake was completed). `refused`: the target itself said no, by a TCP reset, an abort of SCTP, or by
    ICMP port unreachable from its own address. `rejected`: somebody said no by ICMP in any other way. `dropped`: nothing came back
    within `maxTime`. The four are never taken for one another, and what could not be tried satisfies none of them. A filter in
    the source's own network namespace counts as `dropped`, a missing route there as not tried. Behind a Service the kernel gives ICMP errors
    the Service's address, whoever sent them: over TCP, where a target refuses by a reset, they count as `rejected`; over UDP a filter that answers
    with `port unreachable` can't be told from a closed port, and counts as `refused`.

    Where `rejected` or `dropped` is expected, each source must also show that it can reach something (`control`), so that a broken network or
    probe is never taken for a policy. Probes run in the pods' network namespaces, from their nodes or in an ephemeral container: the pods' images don't matter.
    """

    polls = True

    from_: Vantage = Field(alias="from")
    """The sources: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`."""

    to: Destinations
    """The targets: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture`, `fixtures` and `address`, with `port`, `protocol` and `via`, or several of each."""

    expect: Annotated[
        Expectations,
        BeforeValidator(as_default, json_schema_input_type=Expected | list[Expected] | Expectations),
    ] = Field(default_factory=Expectations)
    """`allowed` (default), `refused`, `rejected`, `dropped`, a list of those that will do, or `{default, cells: [{from, to, expect}]}`."""

    source_ip: StrictStr | None = Field(default=None, alias="sourceIP", examples=["preserved", "node", "10.244.0.0/16"])
    """Which address the targets must see where a connection is allowed, which at least one must be: `preserved` (the source's own), `node` (one of a node's addresses),
    or a CIDR. The targets must answer as `agnhost netexec` does: `GET /clientip` over TCP, `clientip` over UDP and SCTP."""

    self_: Literal["include", "exclude"] = Field(default="exclude", alias="self")
    """Whether pods (nodes) are also probed from themselves."""

    placement: Literal["sameNode", "otherNode"] | None = None
    """Only pairs on the same node, or only those on different nodes; targets must be pods or nodes."""

    ip_family: Family | None = Field(default=None, alias="ipFamily")
    """IPv4 or IPv6; default: the targets' primary addresses."""

    ip_families: Annotated[list[Family], Field(min_length=2, max_length=2)] | None = Field(
        default=None, alias="ipFamilies"
    )
    """Both families, instead of `ipFamily`: targets are called `web-0 IPv4` and `web-0 IPv6`."""

    payload: StrictStr | Sized | None = None
    """What is sent over UDP and SCTP (default: `hostname`, which `agnhost netexec` answers), or over TCP after the handshake, whose answer is then awaited; or `{size, df}`: so many bytes, which
    the targets must take as `agnhost netexec` does, by `echo …` over UDP and `POST /echo` over TCP. Both ways are tried if each place is a source and a target."""

    distribution: Distribution | None = None
    """Who must answer behind each address, and how often: `{}` (each ready pod of the Service), `{backends: 3, min: 10%}`. The targets must tell their names as
    `agnhost netexec` does: `GET /hostname` over TCP, `hostname` over UDP and SCTP."""

    sticky: Literal[True] | None = None
    """Each source must always be answered by one and the same behind an address; they must tell their names as for `distribution`."""

    samples: Annotated[StrictInt, Field(ge=2, le=MOST_SAMPLES)] | None = None
    """How many times each source tries each address for `distribution` or `sticky`, each time from a port of its own; default: 60."""

    max_time: Duration = Duration(1.5)
    """How long one try may take; `dropped` takes all of it, over UDP at least 1.5 s: kernels tell of closed ports once a second."""

    control: Control | None = None
    """What each source must reach where `rejected` or `dropped` is expected: `{address | service | pod | node …, port}` or `{ownNode: true}`.
    By default any allowed pair of this step will do, and otherwise the API server's Service."""

    @field_validator("source_ip")
    @classmethod
    def _is_known(cls, text: str | None) -> str | None:
        if text is not None:
            check_wish(text)
        return text

    @model_validator(mode="after")
    def _fits_together(self) -> Connectivity:
        if self.placement and (self.to.service or self.to.address or self.to.fixture or self.to.fixtures):
            raise ValueError("placement needs targets on nodes: pod, pods, node or nodes")
        if self.placement and (self.from_.host or self.from_.fixture or self.from_.fixtures):
            raise ValueError(f"placement needs sources on nodes, not {'host' if self.from_.host else 'fixtures'}")
        if isinstance(self.payload, Sized):
            for protocol in self.to.spoken:
                self.payload.check(protocol)
        if self.ip_families and (self.ip_family or len(set(self.ip_families)) == 1):
            raise ValueError("ipFamilies are IPv4 and IPv6; leave ipFamily out")
        self._check_questions()
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        for name in self._about_answers:
            if not self.expect.hopes_for("allowed"):
                raise ValueError(f"{name} is about connections that are allowed, and none is expected to be")
        return self

    @property
    def _about_answers(self) -> list[str]:
        """The fields that say something of answers."""
        given = {"sourceIP": self.source_ip, "distribution": self.distribution, "sticky": self.sticky}
        return [name for name, value in given.items() if value is not None]

    def _check_questions(self) -> None:
        """Each of them asks its own question, of what is behind an address."""
        asking = [*self._about_answers, *(["payload"] if self.payload is not None else [])]
        if len(asking) > 1:
            raise ValueError(f"{asking[0]} asks its own question; leave {asking[1]} out")
        if self.samples is not None and not {"distribution", "sticky"} & set(asking):
            raise ValueError("samples is for distribution or sticky")
        if asking and asking[0] in ("distribution", "sticky") and not (self.to.service or self.to.address):
            raise ValueError(f"{asking[0]} is about what is behind one address: a service, or an address")
        if self.distribution is not None and self.distribution.backends is None and self.to.service is None:
            raise ValueError("distribution: say how many backends there are behind an address")

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the source's network, and what the probe there has to tell; and SCTP where that is spoken, which few kernels do."""
        to = written.get("to")
        is_sctp = isinstance(to, Mapping) and "SCTP" in (to.get("protocol"), *(to.get("protocols") or ()))
        pods = told_by_pods(written, answers=("sourceIP", "distribution", "sticky", "samples", "payload"))
        pods |= ENTERED if written.get("sourceIP") == "node" else frozenset()
        return taken_on_wire(written.get("from"), address_in(to), pods=pods) | ({"sctp"} if is_sctp else frozenset())

    def title(self) -> str:
        """From what to what, and what is expected."""
        rules = "" if not self.expect.cells else f", {len(self.expect.cells)} exceptions"
        return f"connectivity {self.from_.place()} → {self.to.place()}: {' or '.join(self.expect.default)}{rules}"

    def attempt(self, context: StepContext) -> Outcome:
        """Probe all pairs once, all sources at the same time."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self._endpoints(context)
        if not isinstance(endpoints, list):
            return unmet(endpoints, context)
        pairs = [(source, [each for each in endpoints if self._is_pair(source, each)]) for source in sources]
        if (problem := self._vacuous(pairs, endpoints)) is not None:
            return unmet(problem, context)
        return self._look([(source, targets) for source, targets in pairs if targets], context)

    def _endpoints(self, context: StepContext) -> Endpoints:
        families = self.ip_families or ([self.ip_family] if self.ip_family else [])
        return self.to.all_endpoints(families, context)

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
        if problem := undecidable(self.expect.all(), [source for source, _ in pairs], context):
            return problem
        needy = [source for source, targets in pairs if context.negated or self._hopes_for_silence(source, targets)]
        proof = Proof.prepare(self.control, needy, self.max_time.seconds, context)
        if isinstance(proof, Failed | Errored):
            return proof
        tries = self._tries
        batches = [
            Batch(source=source, targets=[self._target(each) for each in targets for _ in range(tries)])
            for source, targets in pairs
        ]
        seen = probe([*batches, *proof.batches, *witnesses(self.source_ip, context)], context)
        asked = len(batches)
        controls = seen[asked : asked + len(proof.batches)]
        known = ready_pods(self.to, context) if self.distribution and self.to.service else frozenset[str]()
        cells = [
            self._cell(source, endpoint, batch.targets[at], answer.results[at : at + tries], known)
            for (source, targets), batch, answer in zip(pairs, batches, seen[:asked], strict=True)
            for at, endpoint in zip(range(0, len(batch.targets), tries), targets, strict=True)
        ]
        self._check_sources(cells, seen[asked + len(proof.batches) :], context)
        reached = {cell.source.name for cell in cells if cell.observed.outcome == "allowed"}
        unproven = proof.check(controls, reached)
        outcome = Matrix(cells).verdict(unproven, context)
        if isinstance(outcome, Passed) and self._about_answers and not reached:
            lacks = "no target has seen any address" if self.source_ip else "nobody has answered"
            said = f"{outcome.message}; none is allowed, so that {lacks} ({self._about_answers[0]})"
            return Failed(said, "an allowed pair", "none", saw_nothing=True)
        return outcome

    def flows(self, context: StepContext) -> Flows:
        """Each pair as a question."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self._endpoints(context)
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
        of_nodes = addresses_of_nodes(probe(witnesses(self.source_ip, context), context), context)
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
        """Answers are looked at one by one."""
        return next((name for name in self._about_answers if name != "sourceIP"), "")

    def _look_at(
        self, source: Source, endpoint: Endpoint, target: Target, of_nodes: set[str], observed: Observed
    ) -> str:
        cell = self._cell(source, endpoint, target, [observed])
        if self.source_ip is not None and observed.outcome == "allowed" and "allowed" in cell.expected:
            cell = cell.with_problem(source_problem(self.source_ip, observed, of_nodes))
        return cell.wrong()

    def _hopes_for_silence(self, source: Source, targets: Sequence[Endpoint]) -> bool:
        return any({"rejected", "dropped"} & set(self.expect.of(source, target)) for target in targets)

    def _target(self, endpoint: Endpoint) -> Target:
        return Target(
            type=KINDS[endpoint.protocol], host=endpoint.host, port=endpoint.port,
            family=endpoint.family or "", limit=self.max_time.seconds, payload=self._question(endpoint),
            size=self.payload.size if isinstance(self.payload, Sized) else 0,
            whole=isinstance(self.payload, Sized) and self.payload.df, ask_source=self.source_ip is not None,
        )  # fmt: skip

    def _question(self, endpoint: Endpoint) -> str:
        if self._tries > 1:
            return question(endpoint.protocol)
        return self.payload if isinstance(self.payload, str) else ""

    @property
    def _tries(self) -> int:
        return (self.samples or _SAMPLES) if self.distribution is not None or self.sticky else 1

    def _cell(
        self, source: Source, endpoint: Endpoint, target: Target, tries: Sequence[Observed],
        known: frozenset[str] = frozenset(),
    ) -> Cell:  # fmt: skip
        expected = self.expect.of(source, endpoint)
        seen = [behind_service(endpoint, target, each) for each in tries]
        observed = next((each for each in seen if each.outcome not in expected), seen[0])
        return Cell(
            source=source,
            endpoint=endpoint,
            target=target,
            expected=expected,
            observed=observed,
            problem=self._problem(endpoint, seen, known) if observed.outcome in expected else "",
        )

    def _problem(self, endpoint: Endpoint, tries: Sequence[Observed], known: frozenset[str]) -> str:
        """What is wrong with the answers of a pair although its outcome is as expected."""
        counted = Counter(each.outcome for each in tries)
        if len(counted) > 1:
            outcomes = ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())
            return f"of {len(tries)} tries {outcomes}"
        if "allowed" not in counted:
            return ""
        if len(tries) > 1:
            return spread(tries, endpoint.protocol, self.distribution, known)
        # A payload asks for an answer, not only for a handshake.
        return tries[0].failure if self.payload is not None else ""

    def _check_sources(self, cells: list[Cell], nodes: Sequence[Seen], context: StepContext) -> None:
        """Note in each allowed cell whether the target saw the address that it was to see."""
        if self.source_ip is None:
            return
        of_nodes = addresses_of_nodes(nodes, context)
        for index, cell in enumerate(cells):
            if cell.observed.outcome == "allowed" and "allowed" in cell.expected:
                cells[index] = cell.with_problem(source_problem(self.source_ip, cell.observed, of_nodes))
