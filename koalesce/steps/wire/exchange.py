"""What `tcp` and `udp` share: something is sent from each source to each target, and what comes back is judged."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictInt, StrictStr, field_validator, model_validator

from koalesce.addresses import Family
from koalesce.durations import Duration
from koalesce.matching.mismatch import Mismatch
from koalesce.models import Model
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select, unmet
from koalesce.steps.inside.printed import TextMatcher
from koalesce.steps.vantage import Vantage, taken_on_wire
from koalesce.steps.wire.control import Control, Proof
from koalesce.steps.wire.destination import Destination, Endpoint, Protocol, address_in
from koalesce.steps.wire.expectations import Outcomes, told_by_pods, undecidable
from koalesce.steps.wire.flows import Flow, Flows, control_flows, title
from koalesce.steps.wire.lasting import Lasting
from koalesce.steps.wire.matrix import Cell, Matrix, behind_service
from koalesce.steps.wire.probing import KINDS, Batch, Observed, Target, is_loopback, probe

_SILENT = {"rejected", "dropped"}


class SentFrom(Model):
    """The address and port to send from."""

    address: StrictStr | None = None
    """An address that the source has; default: what its routes say."""

    port: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None
    """A port; default: any free one."""

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str | None) -> str | None:
        if text is not None and "${{" not in text:
            try:
                ipaddress.ip_address(text)
            except ValueError:
                raise ValueError(f'"{text}" is no IP address') from None
        return text

    @model_validator(mode="after")
    def _says_something(self) -> SentFrom:
        if self.address is None and self.port is None:
            raise ValueError("say address, port, or both")
        return self

    def __str__(self) -> str:
        host = self.address or "0.0.0.0"
        return f"{f'[{host}]' if ':' in host else host}:{self.port or 0}"


class Exchange(Assertion):
    """A probe of one protocol; `tcp` and `udp` are such."""

    protocol: ClassVar[Protocol]
    polls = True

    from_: Vantage = Field(default_factory=lambda: Vantage(host=True), alias="from")
    """From where: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`; default: `host`, this machine."""

    to: Destination
    """To where: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture`, `fixtures` and `address`, with `port`, and `via` for Services."""

    expect: Outcomes = Field(default=["allowed"])
    """`allowed` (default), `refused`, `rejected`, `dropped`, or a list of those that will do; they mean what they mean in `connectivity`."""

    send: StrictStr | None = None
    """What is sent, as text."""

    reply: TextMatcher | None = None
    """What must come back: a text, or a matcher such as `{matches: "^ok"}`."""

    source: SentFrom | None = None
    """The address and port to send from, where they matter: `{port: 40000}`."""

    count: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    """How many times each source tries each target, all of them together."""

    must_fit: Literal["all", "any"] = "all"
    """Whether all tries of a pair must be as expected, or at least one."""

    time: Lasting | None = None
    """How long a try may take until it's answered, such as `{lt: 200ms}`."""

    ip_family: Family | None = Field(default=None, alias="ipFamily")
    """IPv4 or IPv6; default: the targets' primary addresses."""

    max_time: Duration = Duration(1.5)
    """How long one try is waited for; `dropped` takes all of it, over UDP at least 1.5 s: kernels tell of closed ports once a second."""

    control: Control | None = None
    """What each source must reach where `rejected` or `dropped` is expected, so that its silence means something; default: the API server."""

    @model_validator(mode="before")
    @classmethod
    def _of_one_protocol(cls, value: Any) -> Any:
        to = value.get("to") if isinstance(value, dict) else None
        if not isinstance(to, dict):
            return value
        if "protocol" in to:
            raise ValueError(f"protocol can't be said here: this step is about {cls.protocol}")
        return {**value, "to": {**to, "protocol": cls.protocol}}

    @model_validator(mode="after")
    def _fits_together(self) -> Exchange:
        if self.expect != ["allowed"] and (self.reply or self.time):
            raise ValueError("reply and time are about an answer, so they need expect: allowed")
        if self.source and self.source.port and self.count > 1:
            raise ValueError("one port can't be sent from several times at once: leave out source.port or count")
        if self.must_fit == "any" and self.count == 1:
            raise ValueError("mustFit: any needs a count of 2 or more")
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the source's network, and what the probe there has to tell."""
        pods = told_by_pods(written, answers=("send", "reply", "source", "time"))
        return taken_on_wire(written.get("from"), address_in(written.get("to")), pods=pods)

    def title(self) -> str:
        """From where to where, and what is expected."""
        port = f":{self.to.port}" if self.to.port is not None else ""
        return f"{self.key} {self.from_.place()} → {self.to.place()}{port}: {' or '.join(self.expect)}"

    def attempt(self, context: StepContext) -> Outcome:
        """Try all pairs once (`count` times), all at the same time."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self.to.endpoints(self.ip_family, context)
        if not isinstance(endpoints, list):
            return unmet(endpoints, context)
        if problem := undecidable([self.expect], sources, context):
            return problem
        is_hoped_for = context.negated or bool(_SILENT & set(self.expect))
        proof = Proof.prepare(self.control, sources if is_hoped_for else (), self.max_time.seconds, context)
        if isinstance(proof, Failed | Errored):
            return proof
        return self._look(sources, endpoints, proof, context)

    def _look(self, sources: list[Source], endpoints: list[Endpoint], proof: Proof, context: StepContext) -> Outcome:
        targets = [self._target(endpoint) for endpoint in endpoints for _ in range(self.count)]
        own = all(is_loopback(endpoint.host) for endpoint in endpoints)
        batches = [Batch(source=each, targets=targets, own_network=own and each.kind == "host") for each in sources]
        seen = probe([*batches, *proof.batches], context)
        cells: list[Cell] = []
        for source, answer in zip(sources, seen[: len(batches)], strict=True):
            for number, endpoint in enumerate(endpoints):
                begin = number * self.count
                tries = answer.results[begin : begin + self.count]
                cells.append(self._cell(source, endpoint, targets[begin], tries))
        reached = {cell.source.name for cell in cells if cell.observed.outcome == "allowed"}
        outcome = Matrix(cells).verdict(proof.check(seen[len(batches) :], reached), context)
        return Passed(outcome.message, self._value(outcome.value)) if isinstance(outcome, Passed) else outcome

    def flows(self, context: StepContext) -> Flows:
        """Each pair as a question."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        endpoints = self.to.endpoints(self.ip_family, context)
        if not isinstance(endpoints, list):
            return endpoints
        is_silent = bool(_SILENT & set(self.expect))
        proof = Proof.prepare(self.control, sources if is_silent else (), self.max_time.seconds, context)
        if isinstance(proof, Failed | Errored):
            return proof
        own = all(is_loopback(endpoint.host) for endpoint in endpoints)
        asked = [
            Flow(
                name=title(source, endpoint.label), source=source, target=target, look=partial(self._look_at, source, endpoint, target),
                hopes_for_silence=is_silent, own_network=own and source.kind == "host",
            )
            for source in sources
            for endpoint in endpoints
            for target in (self._target(endpoint),)
        ]  # fmt: skip
        return [*asked, *control_flows(proof)]

    def not_continuous(self) -> str:
        """What is about several tries at once."""
        if self.source is not None and self.source.port is not None:
            return "source"
        return "count" if self.count > 1 else ""

    def _look_at(self, source: Source, endpoint: Endpoint, target: Target, observed: Observed) -> str:
        return self._cell(source, endpoint, target, [observed]).wrong()

    def _target(self, endpoint: Endpoint) -> Target:
        return Target(
            type=KINDS[self.protocol], host=endpoint.host, port=endpoint.port,
            family=self.ip_family or "", limit=self.max_time.seconds, payload=self.send or "",
            read_reply=self.reply is not None, bind=str(self.source) if self.source else "",
        )  # fmt: skip

    def _cell(self, source: Source, endpoint: Endpoint, target: Target, tries: Sequence[Observed]) -> Cell:
        """The verdict about a pair: of the try that decides, with how many there were of its kind."""
        cells = [
            self._judged(source, endpoint, target, behind_service(endpoint, target, observed)) for observed in tries
        ]
        right, wrong = [cell for cell in cells if cell.is_right], [cell for cell in cells if not cell.is_right]
        if not wrong or (self.must_fit == "any" and right):
            return right[0]
        if self.count > 1 and wrong[0].problem:
            return wrong[0].with_problem(f"{wrong[0].problem} ({len(wrong)} of {len(cells)} tries)")
        return wrong[0]

    def _judged(self, source: Source, endpoint: Endpoint, target: Target, observed: Observed) -> Cell:
        found = self._mismatch(observed) if observed.outcome == "allowed" and self.expect == ["allowed"] else None
        return Cell(
            source=source, endpoint=endpoint, target=target, expected=tuple(self.expect), observed=observed,
            problem=found.message if found else "", mismatch=found,
        )  # fmt: skip

    def _mismatch(self, observed: Observed) -> Mismatch | None:
        """What is wrong with an answer, or None."""
        if observed.failure and (self.send is not None or self.reply is not None):
            return Mismatch("", "an answer", "none", observed.failure)
        looks = {
            "reply": self.reply.look(observed.reply) if self.reply else None,
            "time": self.time.check(observed.seconds) if self.time else None,
        }
        for what, found in looks.items():
            if found is not None:
                return Mismatch(found.path, found.expected, found.actual, f"{what}{found.path} {found.message}")
        return None

    def _value(self, value: Mapping[str, Any]) -> Any:
        """What outputs read: one pair as itself, several as a list."""
        pairs: list[Any] = value["pairs"]
        is_single = self.from_.is_single and len(pairs) == 1
        return pairs[0] if is_single else pairs
