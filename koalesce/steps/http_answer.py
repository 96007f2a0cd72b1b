"""The answer to an HTTP request, as the probe brought it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from koalesce.matching.mismatch import MISSING, Mismatch
from koalesce.steps.printed import TextMatcher
from koalesce.steps.probing import Observed

_EXCERPT = 1000


def header_look(matcher: TextMatcher, name: str, http: Mapping[str, Any]) -> Callable[[], Mismatch | None]:
    """A look at one header, whose name is taken in any case."""

    def look() -> Mismatch | None:
        found = [values for known, values in (http.get("headers") or {}).items() if known.lower() == name.lower()]
        if found:
            return matcher.look(", ".join(found[0]))
        missing = Mismatch("", "such a header", "missing", "is missing") if matcher.wants_json else None
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
