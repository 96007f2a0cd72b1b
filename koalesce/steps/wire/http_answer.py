"""The answer to an HTTP request, as the probe brought it, and what it must be like."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from typing import Any, Literal, get_args

from koalesce.matching.diff import render
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING, Mismatch
from koalesce.matching.partial import Matching, partial_match
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.inside.printed import TextMatcher
from koalesce.steps.wire.lasting import Lasting
from koalesce.steps.wire.probing import Observed

End = Literal["answer", "refused", "rejected", "dropped", "timeout", "closed", "tlsError", "nameError"]
ENDS: tuple[str, ...] = get_args(End)
_EXCERPT = 1000


class HttpTimes(Model):
    """How long the parts of a request took, each counted from its start (after redirects, of the last request)."""

    connect: Lasting | None = None
    """Until the connection was made, names and redirects included."""

    tls: Lasting | None = None
    """Until TLS was agreed on."""

    first_byte: Lasting | None = None
    """Until the first byte of the answer came."""

    total: Lasting | None = None
    """Until the whole answer was there: `{lt: 200ms}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedHttp:
    """What an answer must be like. `json` is in a list, empty where nothing is said about it."""

    ends: tuple[str, ...] = ("answer",)
    status: Matcher | None = None
    headers: Mapping[str, TextMatcher] = field(default_factory=dict)
    body: TextMatcher | None = None
    json: tuple[Any, ...] = ()
    times: HttpTimes | None = None
    match: Matching = partial_match

    def look(self, seen: Observed) -> Mismatch | None:
        """The first thing that isn't as it must be, or None."""
        end = ending(seen)
        if self.ends != ("answer",):
            wanted = " or ".join(self.ends)
            said = f"an answer (status {seen.http['status']})" if seen.http else _ended(end, seen)
            return None if end in self.ends else Mismatch("", wanted, said, f"{said}, expected {wanted}")
        if seen.http is None:
            return Mismatch("", "an answer", end, _ended(end, seen))
        for what, look in self._looks(seen.http):
            if (found := look()) is not None:
                return Mismatch(found.path, found.expected, found.actual, f"{what}{found.path} {found.message}")
        if seen.outcome != "allowed" or seen.failure:
            return Mismatch("", "the whole body", end, str(seen))
        return None

    def _looks(self, http: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Mismatch | None]]]:
        yield "status", lambda: _look_at_status(self.status, http["status"])
        for name, matcher in self.headers.items():
            yield f"header {name}", header_look(matcher, name, http, self.match)
        yield "body", lambda: self.body.look(body_of(http), self.match) if self.body else None
        yield "json", lambda: next((_look_at_json(wanted, body_of(http), self.match) for wanted in self.json), None)
        timing: Mapping[str, float] = http.get("timing") or {}
        for name in ("connect", "tls", "firstByte", "total"):
            limit: Lasting | None = getattr(self.times, "first_byte" if name == "firstByte" else name, None)
            if limit is not None:
                yield f"time.{name}", _time_look(limit, name, timing)


def ending(seen: Observed) -> str:
    """How a request ended, in a word of `End`; `error` where it couldn't be made, which is none of them."""
    if seen.http is not None:
        return "answer"
    match seen.stage, seen.outcome:
        case "resolve", _:
            return "nameError"
        case _, "error":
            return "error"
        case "tls", "allowed":
            return "tlsError"
        case "tls" | "answer", "dropped":
            return "timeout"
        case "tls" | "answer", _:
            return "closed"
        case _, "allowed":
            return "closed"
        case _, outcome:
            return outcome


def _ended(end: str, seen: Observed) -> str:
    """The end with its reason, in words."""
    why = seen.failure or seen.reason
    word = seen.outcome if end == "error" else end
    return f"{word} ({why})" if why else word


def header_look(
    matcher: TextMatcher, name: str, http: Mapping[str, Any], match: Matching = partial_match
) -> Callable[[], Mismatch | None]:
    """A look at one header, whose name is taken in any case."""

    def look() -> Mismatch | None:
        found = [values for known, values in (http.get("headers") or {}).items() if known.lower() == name.lower()]
        if found:
            return matcher.look(", ".join(found[0]), match)
        is_of_text = matcher.wants_json or matcher.lines is not None
        missing = Mismatch("", "such a header", "missing", "is missing") if is_of_text else None
        return matcher.check(MISSING) or missing

    return look


def body_of(http: Mapping[str, Any]) -> str:
    """The body as text; bytes that are no UTF-8 are replaced."""
    if "bodyBase64" in http:
        return base64.b64decode(http["bodyBase64"]).decode("utf-8", "replace")
    return str(http.get("body", ""))


def to_value(answer: Observed) -> dict[str, Any]:
    """What outputs read: status, headers (by lower-case name), body, and its JSON if it is such."""
    http = answer.http or {}
    value: dict[str, Any] = {
        "status": http.get("status"),
        "headers": {name.lower(): ", ".join(values) for name, values in (http.get("headers") or {}).items()},
        "body": body_of(http),
        "url": http.get("url"),
        "seconds": answer.seconds,
        "timing": http.get("timing"),
        "local": answer.local,
        "remote": answer.remote,
    }
    if "tls" in http:
        value["tls"] = http["tls"]
    try:
        return {**value, "json": json.loads(value["body"])}
    except ValueError:
        return value


def excerpt(answer: Observed | None) -> list[str]:
    """Status and the beginning of the body, as lines for a report; none if there was no answer."""
    if answer is None or answer.http is None:
        return []
    body = body_of(answer.http)
    cut = body[:_EXCERPT] + (f"… ({len(body)} characters)" if len(body) > _EXCERPT else "")
    lines = [f"status {answer.http['status']} after {answer.seconds:.3f}s"]
    return [*lines, "body:", *(f"  | {line}" for line in cut.splitlines())] if cut else lines


def _look_at_status(wanted: Matcher | None, status: int) -> Mismatch | None:
    if wanted is not None:
        return wanted.check(status)
    said = f"is {status}, expected 200 to 299"
    return None if 200 <= status < 300 else Mismatch("", "200 to 299", str(status), said)


def _look_at_json(wanted: Any, text: str, match: Matching) -> Mismatch | None:
    try:
        document = json.loads(text)
    except ValueError as error:
        return Mismatch("", render(wanted), render(text), f"is none ({error}): {render(text)}")
    return next(iter(match(wanted, document)), None)


def _time_look(limit: Lasting, name: str, timing: Mapping[str, float]) -> Callable[[], Mismatch | None]:
    def look() -> Mismatch | None:
        if not timing.get(name):
            return Mismatch("", "a time", "none", "was not taken: there was no such part")
        return limit.check(timing[name])

    return look
