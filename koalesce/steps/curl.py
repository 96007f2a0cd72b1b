"""Make HTTP requests from pods, nodes or this machine, and say what must be answered."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.matching.numbers import NumberMatcher
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, StepContext
from koalesce.steps.inside.places import Source, seconds_left, select, unmet
from koalesce.steps.inside.printed import TextMatcher, check_pattern, json_matching
from koalesce.steps.vantage import Vantage, taken_on_wire
from koalesce.steps.wire.control import Control, Proof
from koalesce.steps.wire.flows import Flow, Flows, control_flows, title
from koalesce.steps.wire.http_answer import End, HttpTimes, WantedHttp
from koalesce.steps.wire.http_requests import Asked, Requests
from koalesce.steps.wire.http_via import Via, port_of
from koalesce.steps.wire.probing import DENIED_TO_HOST, Batch, Observed, Target, is_loopback, probe, reproduce
from koalesce.steps.wire.tls import Tls

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
_REPEATABLE = ("GET", "HEAD", "OPTIONS")
_REDIRECTS = 10
_CONTROL_SECONDS = 1.5
_ANSWER = ["answer"]
_ABOUT_ANSWERS = ("status", "headers", "body", "json_", "time", "distinct", "follow_redirects")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Curl(Assertion, key="curl"):
    """Make an HTTP request and say what must be answered: status, headers, body; from several sources all answers must fit.

    Only http and https, no proxy, no redirect unless told. From a pod it's made in the pod's network, with its resolver, and the pod's image
    doesn't matter. From `host`, 127.0.0.1 is this very machine, where port-forwards listen; of a cluster with a network of its own its nodes can be
    reached, pods and Services perhaps not (`via` reaches them). GET, HEAD and OPTIONS are repeated until the answer fits; other methods are sent once, unless the step has `retry`.
    """

    polls = True

    from_: Vantage = Field(default_factory=lambda: Vantage(host=True), alias="from")
    """From where: exactly one of `pod`, `pods`, `node`, `nodes`, `fixture`, `fixtures` and `host`; default: `host`, this machine."""

    url: StrictStr = Field(examples=["http://web.${{ namespace }}.svc:8080/"])
    """The URL; http or https."""

    method: Method = "GET"
    """The request's method."""

    request_headers: dict[str, StrictStr | StrictInt | StrictFloat] = Field(default_factory=dict)
    """The request's headers; `Host` is taken, too."""

    data: StrictStr | None = None
    """The request's body as text."""

    data_json: Any = None
    """The request's body as JSON; says so in `Content-Type`."""

    data_file: StrictStr | None = None
    """A file whose content is the request's body."""

    tls: Tls | None = None
    """Trust and identity for https."""

    resolve: dict[str, StrictStr] = Field(default_factory=dict, examples=[{"web.example:80": "10.96.0.20"}])
    """Addresses to use instead of asking DNS, by `host:port` (or `host`, for the URL's port)."""

    follow_redirects: StrictBool | Annotated[StrictInt, Field(ge=0, le=50)] = False
    """Follow redirects, at most ten or so many, instead of taking one for the answer (`status: 302` and `headers: {location: …}` look at it)."""

    via: Via | None = None
    """Make the request through a port-forward or the API server's proxy instead of the cluster's network; for `from: host` only."""

    count: Annotated[StrictInt, Field(ge=1, le=1000)] = 1
    """How many requests each source makes, all of them together and each over a connection of its own."""

    must_fit: Literal["all", "any"] = "all"
    """Whether all answers to a source must fit, or at least one."""

    max_time: Duration = Duration(5.0)
    """How long one request may take."""

    expect: Annotated[
        list[End], BeforeValidator(_as_list, json_schema_input_type=End | list[End]), Field(min_length=1)
    ] = Field(default=["answer"])
    """`answer` (default), or how else it must end, or a list of such ends: `refused`, `rejected`, `dropped` (no connection, as in `connectivity`),
    `timeout` (connected, but no answer within `maxTime`), `closed` (connected, and closed or reset without an answer), `tlsError`, `nameError` (there
    is no such name). What could not be tried is none of them."""

    control: Control | None = None
    """What each source must reach where `rejected` or `dropped` is expected, so that its silence means something; default: the API server."""

    status: NumberMatcher | None = None
    """The status, a number or a matcher; default: any from 200 to 299."""

    headers: dict[str, TextMatcher] = Field(default_factory=dict)
    """The answer's headers by name (in any case), each a text or a matcher; several values are joined by a comma."""

    body: TextMatcher | None = None
    """The answer's body: a text, or a matcher such as `{matches: "^ok"}`."""

    json_: Any = Field(default=None, alias="json")
    """What the body holds as JSON: maps match in part, lists element by element; matchers may stand anywhere in it."""

    distinct: NumberMatcher | None = None
    """How many different bodies there were among all answers: a number, or a matcher such as `{ge: 2}` (answers of several backends)."""

    time: HttpTimes | None = None
    """How long its parts may take: `{total: {lt: 200ms}, connect: …, tls: …, firstByte: …}`."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if "${{" not in url:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f'"{url}" is no http:// or https:// URL with a host')
        return url

    @field_validator("json_")
    @classmethod
    def _is_sound(cls, expected: Any) -> Any:
        return check_pattern(expected)

    @model_validator(mode="after")
    def _fits_together(self) -> Curl:
        bodies = [name for name in ("data", "data_json", "data_file") if self._has(name)]
        if len(bodies) > 1:
            raise ValueError("say one of data, dataJson and dataFile")
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        if self.must_fit == "any" and self.count == 1:
            raise ValueError("mustFit: any needs a count of 2 or more")
        if self.expect != _ANSWER:
            self._check_end()
        if self.via is not None:
            self._check_via(self.via)
        return self

    def _check_end(self) -> None:
        if "answer" in self.expect:
            raise ValueError("expect: answer can't stand beside others: what is it that must happen?")
        if said := [name for name in _ABOUT_ANSWERS if self._has(name)]:
            name = Curl.model_fields[said[0]].alias or said[0]
            raise ValueError(f"{name} is about an answer, but expect says that there is none")

    def _check_via(self, via: Via) -> None:
        if not self.from_.host:
            raise ValueError("via is a way from this machine: leave from out")
        if self.resolve:
            raise ValueError("resolve has no meaning here: via says where to")
        ends = set(self.expect) - ({"answer"} if via.proxy else {"answer", "refused", "timeout", "closed", "tlsError"})
        if ends:
            raise ValueError(f"{min(ends)} can't be seen through {'the proxy' if via.proxy else 'a port-forward'}")
        if via.proxy and (self.tls or self.follow_redirects):
            what = "tls" if self.tls else "followRedirects"
            raise ValueError(f"{what} can't be said here: it's the API server that makes the request")
        if via.proxy and self.time and (self.time.connect or self.time.tls or self.time.first_byte):
            raise ValueError("only time.total is known through the proxy")

    def static_problems(self, files: Files) -> list[str]:
        """Files of `tls` and `dataFile` that can't be had."""
        found: list[str] = []
        named = [("tls", path) for path in (self.tls.files() if self.tls else ())]
        named += [("dataFile", self.data_file)] if self.data_file is not None else []
        for field, path in named:
            try:
                files.resolve(path)
            except UsageError as error:
                found.append(f"{field}: {error.message}")
        return found

    def is_retried(self) -> bool:
        """What changes nothing is repeated."""
        return self.method in _REPEATABLE

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way into the source's network."""
        return frozenset() if written.get("via") else taken_on_wire(written.get("from"), written.get("url"))

    def title(self) -> str:
        """Method, URL and from where."""
        return f"curl {self.method} {self.url} ({self.via.place() if self.via else self.from_.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Make the requests once from each source, all at the same time."""
        security = self.tls.to_json(context) if self.tls else None
        if isinstance(security, Failed):
            return unmet(security, context)
        if self.via is not None:
            target = self._target(Source(kind="host", name="host"), security, context)
            seen = self.via.ask(target, self.count, context)
            if not isinstance(seen, list):
                return unmet(seen, context)
            return self._judge([Asked("", observed, "") for observed in seen], "", context)
        sources = select(self.from_, context)
        return self._ask(sources, security, context) if isinstance(sources, list) else sources

    def _ask(self, sources: list[Source], security: Mapping[str, Any] | None, context: StepContext) -> Outcome:
        needs_proof = context.negated or bool({"rejected", "dropped"} & set(self.expect))
        proof = Proof.prepare(self.control, sources if needs_proof else (), _CONTROL_SECONDS, context)
        if isinstance(proof, Failed | Errored):
            return proof
        batches = [self._batch(source, self._target(source, security, context)) for source in sources]
        seen = probe([*batches, *proof.batches], context)
        asked = [
            Asked(batch.source.name, observed, self._seen_with(batch, context))
            for batch, answer in zip(batches, seen[: len(batches)], strict=True)
            for observed in answer.results
        ]
        heard = {each.source for each in asked if each.observed.outcome in ("allowed", "refused")}
        return self._judge(asked, proof.check(seen[len(batches) :], heard), context)

    def flows(self, context: StepContext) -> Flows:
        """The request, from each source."""
        security = self.tls.to_json(context) if self.tls else None
        if isinstance(security, Failed):
            return security
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        is_silent = bool({"rejected", "dropped"} & set(self.expect))
        proof = Proof.prepare(self.control, sources if is_silent else (), _CONTROL_SECONDS, context)
        if isinstance(proof, Failed | Errored):
            return proof
        wanted = self._wanted(context)
        batches = [self._batch(source, self._target(source, security, context)) for source in sources]
        asked = [
            Flow(
                name=title(batch.source, self.url), source=batch.source,
                target=replace(batch.targets[0], limit=self.max_time.seconds), look=partial(_look_at, wanted),
                hopes_for_silence=is_silent, own_network=batch.own_network,
            )
            for batch in batches
        ]  # fmt: skip
        return [*asked, *control_flows(proof)]

    def not_continuous(self) -> str:
        """What is about several requests at once, and ways that aren't the probe's."""
        given = {"via": self.via is not None, "count": self.count > 1, "distinct": self.distinct is not None}
        return next((name for name, is_said in given.items() if is_said), "")

    def _has(self, field: str) -> bool:
        return field in self.model_fields_set

    def _batch(self, source: Source, target: Target) -> Batch:
        parts = urlsplit(self.url)
        host = self._resolved().get(f"{parts.hostname}:{port_of(self.url)}", parts.hostname or "")
        own = source.kind == "host" and is_loopback(host)
        return Batch(source=source, targets=[target] * self.count, own_network=own)

    def _seen_with(self, batch: Batch, context: StepContext) -> str:
        is_plain = self.method == "GET" and not self.tls and not self.resolve
        return reproduce(batch.source, batch.targets[0], context) if is_plain else ""

    def _target(self, source: Source, security: Mapping[str, Any] | None, context: StepContext) -> Target:
        headers = {name: [str(value)] for name, value in self.request_headers.items()}
        if self._has("data_json") and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = ["application/json"]
        follows = self.follow_redirects
        wish = {
            "method": self.method,
            "url": self.url,
            "headers": headers,
            **self._body(context),
            "resolve": dict(self._resolved()),
            "redirects": (_REDIRECTS if follows else 0) if isinstance(follows, bool) else follows,
            "deny": list(DENIED_TO_HOST) if source.kind == "host" else [],
        }
        if security is not None:
            wish["tls"] = security
        return Target(type="http", limit=min(self.max_time.seconds, seconds_left(context.scope)), http=wish)

    def _body(self, context: StepContext) -> dict[str, str]:
        if self.data_file is None:
            return {"body": json.dumps(self.data_json) if self._has("data_json") else self.data or ""}
        try:
            content = context.files.resolve(self.data_file)[0].read_bytes()
        except OSError as error:
            raise UsageError(f"{self.data_file}: can't be read: {error}") from error
        try:
            return {"body": content.decode()}
        except UnicodeDecodeError:
            return {"body": "", "bodyBase64": base64.b64encode(content).decode()}

    def _resolved(self) -> Mapping[str, str]:
        port = port_of(self.url)
        return {
            name if ":" in name else f"{name}:{port}": (
                f"[{address}]" if ":" in address and "[" not in address else address
            )
            for name, address in self.resolve.items()
        }

    def _wanted(self, context: StepContext) -> WantedHttp:
        return WantedHttp(
            ends=tuple(self.expect), status=self.status, headers=self.headers, body=self.body,
            json=(self.json_,) if self._has("json_") else (), times=self.time, match=json_matching(context),
        )  # fmt: skip

    def _judge(self, asked: Sequence[Asked], unproven: str, context: StepContext) -> Outcome:
        return Requests(
            name=f"{self.method} {self.url}", asked=asked, wanted=self._wanted(context), any_will_do=self.must_fit == "any",
            is_single=self.from_.is_single and self.count == 1, distinct=self.distinct,
        ).verdict(unproven, context)  # fmt: skip


def _look_at(wanted: WantedHttp, observed: Observed) -> str:
    """What is wrong with an answer, or nothing."""
    found = wanted.look(observed)
    return found.message if found is not None else ""
