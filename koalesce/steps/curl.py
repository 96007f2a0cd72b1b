"""Make HTTP requests from pods, nodes or this machine, and say what must be answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.matching.diff import render
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import Mismatch
from koalesce.matching.partial import partial_match
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.control import Proof
from koalesce.steps.http_answer import body_of, excerpt, header_look, to_value
from koalesce.steps.places import Source, seconds_left, select
from koalesce.steps.printed import TextMatcher, check_pattern
from koalesce.steps.probing import DENIED_TO_HOST, Batch, Observed, Target, probe, reproduce
from koalesce.steps.tls import Tls
from koalesce.steps.vantage import Vantage

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
_REPEATABLE = ("GET", "HEAD", "OPTIONS")
_REDIRECTS = 10
_EXCERPT = 1000
_CONTROL_SECONDS = 1.5


class Curl(Assertion, key="curl"):
    """Make an HTTP request and say what must be answered: status, headers, body; from several sources all answers must fit.

    Only http and https, no proxy, no redirect unless told. From a pod it's made in the pod's network, with its resolver, and the pod's image
    doesn't matter. GET, HEAD and OPTIONS are repeated until the answer fits; other methods are sent once, unless the step has `retry`.
    """

    polls = True

    from_: Vantage = Field(default_factory=lambda: Vantage(host=True), alias="from")
    """From where: exactly one of `pod`, `pods`, `node`, `nodes` and `host`; default: `host`, this machine."""

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

    tls: Tls | None = None
    """Trust and identity for https."""

    resolve: dict[str, StrictStr] = Field(default_factory=dict, examples=[{"web.example:80": "10.96.0.20"}])
    """Addresses to use instead of asking DNS, by `host:port` (or `host`, for the URL's port)."""

    follow_redirects: StrictBool = False
    """Follow redirects (at most ten) instead of taking them for the answer."""

    max_time: Duration = Duration(5.0)
    """How long one request may take."""

    status: Matcher | None = None
    """The status, a number or a matcher; default: any from 200 to 299."""

    headers: dict[str, TextMatcher] = Field(default_factory=dict)
    """The answer's headers by name (in any case), each a text or a matcher; several values are joined by a comma."""

    body: TextMatcher | None = None
    """The answer's body: a text, or a matcher such as `{matches: "^ok"}`."""

    json_: Any = Field(default=None, alias="json")
    """What the body holds as JSON: maps match in part, lists element by element; matchers may stand anywhere in it."""

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
        if self.data is not None and self._has("data_json"):
            raise ValueError("say one of data and dataJson")
        if self.max_time.seconds <= 0:
            raise ValueError("maxTime must be more than 0")
        return self

    def static_problems(self, files: Files) -> list[str]:
        """Files of `tls` that can't be had."""
        found: list[str] = []
        for path in self.tls.files() if self.tls else ():
            try:
                files.resolve(path)
            except UsageError as error:
                found.append(f"tls: {error.message}")
        return found

    def is_retried(self) -> bool:
        """What changes nothing is repeated."""
        return self.method in _REPEATABLE

    def title(self) -> str:
        """Method, URL and from where."""
        return f"curl {self.method} {self.url} ({self.from_.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Make the request once from each source, all at the same time."""
        sources = select(self.from_, context)
        if not isinstance(sources, list):
            return sources
        proof = Proof.prepare(None, sources if context.negated else (), _CONTROL_SECONDS, context)
        if isinstance(proof, Failed | Errored):
            return proof
        batches = [Batch(source=source, targets=[self._target(source, context)]) for source in sources]
        seen = probe([*batches, *proof.batches], context)
        answers = [answer.results[0] for answer in seen[: len(batches)]]
        failures = [
            (batch, found)
            for batch, answer in zip(batches, answers, strict=True)
            if (found := self._judge(answer)) is not None
        ]
        if failures:
            return self._failed(failures, answers, proof.check(seen[len(batches) :], _heard(batches, answers)), context)
        values = [to_value(answer) for answer in answers]
        statuses = ", ".join(dict.fromkeys(str(value["status"]) for value in values))
        times = f" from {len(values)} sources" if len(values) > 1 else ""
        is_single = self.from_.pods is None and self.from_.nodes is None
        return Passed(f"{self.method} {self.url}: {statuses}{times}", values[0] if is_single else values)

    def _has(self, field: str) -> bool:
        return field in self.model_fields_set

    def _target(self, source: Source, context: StepContext) -> Target:
        headers = {name: [str(value)] for name, value in self.request_headers.items()}
        if self._has("data_json") and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = ["application/json"]
        wish = {
            "method": self.method,
            "url": self.url,
            "headers": headers,
            "body": json.dumps(self.data_json) if self._has("data_json") else self.data or "",
            "resolve": dict(self._resolved()),
            "redirects": _REDIRECTS if self.follow_redirects else 0,
            "deny": list(DENIED_TO_HOST) if source.kind == "host" else [],
        }
        if self.tls is not None:
            wish["tls"] = self.tls.to_json(context.files)
        return Target(type="http", limit=min(self.max_time.seconds, seconds_left(context.scope)), http=wish)

    def _resolved(self) -> Mapping[str, str]:
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return {
            name if ":" in name else f"{name}:{port}": (
                f"[{address}]" if ":" in address and "[" not in address else address
            )
            for name, address in self.resolve.items()
        }

    def _judge(self, answer: Observed) -> Mismatch | None:
        """What isn't as it must be, or None."""
        if answer.http is None:
            return Mismatch("", "an answer", answer.outcome, str(answer))
        http = answer.http
        looks: list[tuple[str, Callable[[], Mismatch | None]]] = [
            ("status", lambda: self._look_at_status(http["status"])),
            *((f"header {name}", header_look(matcher, name, http)) for name, matcher in self.headers.items()),
            ("body", lambda: self.body.look(body_of(http)) if self.body else None),
            ("json", lambda: self._look_at_json(http)),
        ]
        for what, look in looks:
            if (found := look()) is not None:
                return Mismatch(found.path, found.expected, found.actual, f"{what}{found.path} {found.message}")
        if answer.outcome != "allowed" or answer.failure:
            return Mismatch("", "the whole body", answer.outcome, str(answer))
        return None

    def _look_at_status(self, status: int) -> Mismatch | None:
        if self.status is not None:
            return self.status.check(status)
        said = f"is {status}, expected 200 to 299"
        return None if 200 <= status < 300 else Mismatch("", "200 to 299", str(status), said)

    def _look_at_json(self, http: Mapping[str, Any]) -> Mismatch | None:
        if not self._has("json_"):
            return None
        text = body_of(http)
        try:
            document = json.loads(text)
        except ValueError as error:
            return Mismatch("", render(self.json_), render(text), f"is none ({error}): {render(text)}")
        return next(iter(partial_match(self.json_, document)), None)

    def _failed(
        self,
        failures: Sequence[tuple[Batch, Mismatch]],
        answers: Sequence[Observed],
        unproven: str,
        context: StepContext,
    ) -> Outcome:
        """One verdict for all sources, with the command that shows the first failure."""
        if unproven and context.negated:
            return Errored(unproven)
        batch, first = failures[0]
        where = f"{batch.source.name}: " if batch.source.kind != "host" else ""
        count = f" ({len(failures)} of {len(answers)} sources)" if len(answers) > 1 else ""
        lines = [f"{other.source.name}: {found.message}" for other, found in failures[1:]]
        lines += excerpt(next((answer for answer in answers if self._judge(answer) == first), None))
        if self.method == "GET" and not self.tls:
            lines.append(f"see it with: {reproduce(batch.source, batch.targets[0], context)}")
        message = f"{where}{self.method} {self.url}: {first.message}{count}"
        return Failed(message, expected=first.expected, actual=first.actual, detail="\n".join(lines))


def _heard(batches: Sequence[Batch], answers: Sequence[Observed]) -> set[str]:
    """The sources to which something answered."""
    pairs = zip(batches, answers, strict=True)
    return {batch.source.name for batch, answer in pairs if answer.outcome in ("allowed", "refused")}
