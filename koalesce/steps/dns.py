"""Ask for names as programs do, and say what must be answered."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictStr, field_validator, model_validator

from koalesce.durations import Duration
from koalesce.matching.matcher import Matcher
from koalesce.matching.numbers import NumberMatcher
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.places import Source, select, unmet
from koalesce.steps.vantage import Vantage, taken_on_wire
from koalesce.steps.wire.control import Control, Proof
from koalesce.steps.wire.destination import Destination, Endpoint
from koalesce.steps.wire.dns_answer import Flag, Lookup, RecordType, SeenAnswer, WantedAnswer, as_list
from koalesce.steps.wire.flows import Flow, Flows, control_flows, title
from koalesce.steps.wire.lasting import Lasting
from koalesce.steps.wire.probing import Batch, Observed, Target, is_loopback, probe

_PORT = 53
_LONGEST = 253
_CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
_CODE = re.compile("|".join((*_CODES, r"RCODE\d{1,4}")))
Answered = Literal["answer", "refused", "rejected", "dropped"]
_ANSWERED = ["answer"]


def _as_server(value: Any) -> Any:
    """An address alone, and the port that DNS has."""
    if isinstance(value, str):
        value = {"address": value}
    return {"port": _PORT, **value} if isinstance(value, dict) else value


class Dns(Assertion, key="dns"):
    """Ask a name server for a name, and compare what it answers; from several sources, or of several servers, all answers must fit.

    From a pod the question is asked in the pod's network, of the server that its `resolv.conf` names, and the pod's image doesn't matter.
    Without `rcode` and `answers` there must be at least one record of the type. What can't be asked satisfies nothing: a server that
    isn't reached is a failure unless `expect` says so, and under `never` it shows nothing about the name.
    """

    polls = True

    from_: Vantage = Field(alias="from")
    """From where: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`, this machine."""

    name: StrictStr = Field(examples=["web.${{ namespace }}.svc.cluster.local"])
    """The name; it's taken to be whole unless `search` is said. With `type: PTR` also an address."""

    type: RecordType = "A"
    """What to ask for: A, AAAA, ANY, CNAME, MX, NS, PTR, SOA, SRV or TXT."""

    server: (
        Annotated[Destination, BeforeValidator(_as_server, json_schema_input_type=StrictStr | Destination)] | None
    ) = None
    """Whom to ask: an address, or exactly one of `address`, `service`, `pod`, `pods`, `node` and `nodes`, with a `port` if that isn't 53.
    Default: the first server of the pod's `resolv.conf`; from nodes and from this machine the cluster's DNS. From fixtures there is no
    default: outside of the cluster its Services have no addresses."""

    search: StrictBool = False
    """Make whole names of it as the pod's programs do, by the search list and `ndots` of the pod's `resolv.conf`."""

    transport: Literal["udp", "tcp"] | None = None
    """Over what to ask; default: UDP, and again over TCP where the answer is truncated."""

    rcode: Annotated[list[StrictStr], BeforeValidator(as_list), Field(min_length=1)] | None = Field(
        default=None, examples=["NXDOMAIN"]
    )
    """The answer's code: NOERROR (default), NXDOMAIN, SERVFAIL, REFUSED …, or a list of those that will do."""

    answers: list[StrictStr] | Matcher | None = None
    """The data of the records of this type, as `dig` prints it. A list means exactly these, in any order (dots at the end of names may be left
    out); a matcher such as `{contains: 10.96.0.10}` or `{all: {inCIDR: 10.96.0.0/16}}` looks at the list of them. Of no records at all
    nothing is said by a matcher, unless it's `count` or `equals`, or `rcode` is said."""

    ttl: NumberMatcher | None = None
    """The time to live of each of these records, in seconds: a number, or a matcher such as `{le: 30}`."""

    flags: dict[Flag, StrictBool] = Field(default_factory=dict, examples=[{"aa": True}])
    """Which flags must be set or not: `aa` (authoritative), `tc` (truncated), `rd`, `ra` (recursion available), `ad`, `cd`."""

    time: Lasting | None = None
    """How long the answer may take, such as `{lt: 50ms}`; with `search` all names together."""

    expect: Annotated[
        list[Answered],
        BeforeValidator(as_list, json_schema_input_type=Answered | list[Answered]),
        Field(min_length=1),
    ] = Field(default=["answer"])
    """`answer` (default), or what else must happen to the question: `refused`, `rejected` or `dropped`, as in `connectivity`; or a list of these three."""

    max_time: Duration = Duration(2.0)
    """How long to wait for the answer; `dropped` takes all of it, over UDP at least 1.5 s."""

    control: Control | None = None
    """What each source must reach where `rejected` or `dropped` is expected, so that its silence means something; default: the API server."""

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        labels = name.removesuffix(".").split(".") if name != "." else []
        if "${{" not in name and (len(name) > _LONGEST or not all(0 < len(label) < 64 for label in labels)):
            raise ValueError(f'"{name}" is no domain name')
        return name

    @field_validator("rcode")
    @classmethod
    def _is_code(cls, codes: list[str] | None) -> list[str] | None:
        if wrong := [code for code in codes or () if not _CODE.fullmatch(code) and "${{" not in code]:
            raise ValueError(f'"{wrong[0]}" is no code of DNS; they are {", ".join(_CODES)}, and RCODE with a number')
        return codes

    @model_validator(mode="after")
    def _fits_together(self) -> Dns:
        if self.expect != _ANSWERED:
            if "answer" in self.expect:
                raise ValueError("expect: answer can't stand beside others: what is it that must happen?")
            about_answers = ("rcode", "answers", "ttl", "flags", "time")
            if said := [name for name in about_answers if name in self.model_fields_set]:
                raise ValueError(f"{said[0]} is about an answer, but expect says that there is none")
        if self.search and (self.from_.pod is None and self.from_.pods is None):
            raise ValueError("search needs the resolv.conf of a pod: say from: {pod: …}")
        if self.server is None and (self.from_.fixture is not None or self.from_.fixtures is not None):
            raise ValueError("a fixture is outside of the cluster and has no DNS server by itself: say server")
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the source's network."""
        return taken_on_wire(written.get("from"), written.get("server"))

    def title(self) -> str:
        """Name, type and from where."""
        return f"dns {self.type} {self.name} ({self.from_.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Ask once, from each source of each server, all at the same time."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        lookups = self._lookups(sources, context)
        if not isinstance(lookups, list):
            return unmet(lookups, context)
        proof = self._proof(sources, context)
        return proof if isinstance(proof, Failed | Errored) else self._look(lookups, sources, proof, context)

    def flows(self, context: StepContext) -> Flows:
        """The question, from each source of each server."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        lookups = self._lookups(sources, context)
        if not isinstance(lookups, list):
            return lookups
        proof = self._proof(sources, context)
        if isinstance(proof, Failed | Errored):
            return proof
        asked = [
            Flow(
                name=title(each.source, each.server.name if each.server is not None else f"DNS ({self.name})"),
                source=each.source, target=each.target, look=partial(self._look_at, each),
                hopes_for_silence=self._hopes_for_silence, own_network=_is_own(each.source, [each.target]),
            )
            for each in lookups
        ]  # fmt: skip
        return [*asked, *control_flows(proof)]

    def not_continuous(self) -> str:
        """Everything has a meaning."""
        return ""

    def _look_at(self, lookup: Lookup, observed: Observed) -> str:
        found = self._wanted.look(SeenAnswer(lookup, observed))
        return found.message if found is not None else ""

    @property
    def _hopes_for_silence(self) -> bool:
        return bool({"rejected", "dropped"} & set(self.expect))

    def _proof(self, sources: list[Source], context: StepContext) -> Proof | Failed | Errored:
        needs_proof = context.negated or self._hopes_for_silence
        return Proof.prepare(self.control, sources if needs_proof else (), self.max_time.seconds, context)

    def _lookups(self, sources: list[Source], context: StepContext) -> list[Lookup] | Failed | Errored:
        servers = self._servers(context)
        if not isinstance(servers, list):
            return servers
        if servers == [None] and self.from_.pod is None and self.from_.pods is None and not context.cluster.dns_ip:
            return Errored("the cluster has no DNS of its own; say which server to ask", final=True)
        return [
            Lookup(source=source, server=server, target=self._target(server))
            for source in sources
            for server in self._asked(source, servers, context)
        ]

    def _look(self, lookups: list[Lookup], sources: list[Source], proof: Proof, context: StepContext) -> Outcome:
        batches = [
            self._batch(source, [each.target for each in lookups if each.source is source]) for source in sources
        ]
        seen = probe([*batches, *proof.batches], context)
        results = [observed for answer in seen[: len(batches)] for observed in answer.results]
        answers = [SeenAnswer(lookup, observed) for lookup, observed in zip(lookups, results, strict=True)]
        reached = {each.lookup.source.name for each in answers if each.observed.outcome == "allowed"}
        unproven = proof.check(seen[len(batches) :], reached)
        return self._verdict(answers, unproven, context)

    def _batch(self, source: Source, targets: list[Target]) -> Batch:
        return Batch(source=source, targets=targets, own_network=_is_own(source, targets))

    @property
    def _wanted(self) -> WantedAnswer:
        return WantedAnswer(
            type=self.type, ends=tuple(self.expect), rcode=self.rcode, answers=self.answers, ttl=self.ttl,
            flags=self.flags, time=self.time,
        )  # fmt: skip

    def _verdict(self, answers: Sequence[SeenAnswer], unproven: str, context: StepContext) -> Outcome:
        wanted = self._wanted
        failures = [(each, found) for each in answers if (found := wanted.look(each)) is not None]
        if not failures:
            if unproven:
                return Errored(unproven)
            values = [each.to_value(self.type) for each in answers]
            is_single = self.from_.is_single and len(values) == 1
            said = ", ".join(dict.fromkeys(each.summary(self.type) for each in answers))
            return Passed(f"{self.type} {self.name}: {said}", values[0] if is_single else values)
        if unproven and context.negated:
            return Errored(unproven)
        first, found = failures[0]
        lines = [f"{each.where}{other.message}" for each, other in failures[1:]]
        lines += [line for each, _ in failures[:3] for line in each.lines(context)]
        count = f" ({len(failures)} of {len(answers)} answers)" if len(answers) > 1 else ""
        message = f"{first.where}{self.type} {self.name}: {found.message}{count}"
        detail = "\n".join(lines)
        if all(each.observed.outcome == "error" for each, _ in failures) and (
            context.negated or self.expect != _ANSWERED
        ):
            return Errored(message, detail)
        unanswered = self.expect == _ANSWERED and all(each.observed.dns is None for each, _ in failures)
        return Failed(message, found.expected, found.actual, detail, saw_nothing=unanswered)

    def _servers(self, context: StepContext) -> list[Endpoint | None] | Failed | Errored:
        """Whom to ask; None stands for whom the source asks by itself."""
        if self.server is None:
            return [None]
        protocol = "TCP" if self.transport == "tcp" else "UDP"
        found = self.server.model_copy(update={"protocol": protocol}).endpoints(None, context)
        return list(found) if isinstance(found, list) else found

    def _asked(
        self, source: Source, servers: Sequence[Endpoint | None], context: StepContext
    ) -> Iterator[Endpoint | None]:
        for server in servers:
            if server is None and source.kind != "pod":
                yield Endpoint(name="the cluster's DNS", host=context.cluster.dns_ip, port=_PORT, kind="address")
            else:
                yield server

    def _target(self, server: Endpoint | None) -> Target:
        wish: dict[str, Any] = {"name": self._whole_name(), "type": self.type, "search": self.search}
        if server is not None:
            wish["server"] = str(server)
        if self.transport:
            wish["transport"] = self.transport
        return Target(type="dns", host=server.host if server else "", limit=self.max_time.seconds, dns=wish)

    def _whole_name(self) -> str:
        try:
            return ipaddress.ip_address(self.name).reverse_pointer if self.type == "PTR" else self.name
        except ValueError:
            return self.name


def _is_own(source: Source, targets: Sequence[Target]) -> bool:
    """Whether this machine is asked about itself."""
    return source.kind == "host" and all(is_loopback(target.host) for target in targets)
