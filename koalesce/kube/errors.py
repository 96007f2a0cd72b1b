"""What goes wrong between us and the API server, and which of it passes by itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from koalesce.errors import ClusterError
from koalesce.patterns import pattern
from koalesce.records import dataclass

# Reasons of answers that never came (status 0); the others are the API server's own words.
REFUSED = "ConnectionRefused"
RESET = "ConnectionReset"
TIMEOUT = "Timeout"
CANCELLED = "Cancelled"
TLS = "TLS"
UNRESOLVED = "NameNotResolved"
UNREACHABLE = "Unreachable"
BAD_ANSWER = "BadAnswer"

_PASSES = frozenset({REFUSED, RESET, TIMEOUT, UNRESOLVED, UNREACHABLE})
# A 500 that blames the object, not the server: https://github.com/kubernetes/kubernetes/issues/101601
_BLAMES_OBJECT = pattern(
    r"failed to create typed patch object|field not declared in schema|failed to create manager for"
)
# The exec'd program could not be started (runc's words, through the kubelet).
_NOT_STARTED = pattern(
    r"executable file not found|exec failed: .*(no such file or directory|permission denied)|OCI runtime exec failed"
)
# Refusals that end once a controller has caught up.
_NOT_READY = pattern(
    r"serviceaccount \"[^\"]*\" not found"
    r"|the object has been modified"
    r"|object is being deleted"
    r"|not yet ready to handle request"
    r"|unable to upgrade connection: container not found"
)
CONFLICT = "Conflict"
LOGS_REMOVED = "LogsRemoved"


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause of a refusal, as a Status object lists it; `field` is a path such as `.spec.replicas`."""

    reason: str
    message: str
    field: str


class ApiError(ClusterError):
    """The API server did not do what was asked.

    `status` is the HTTP status, 0 where no answer came; `reason` is the server's word (`NotFound`, `Conflict`) or one of ours
    (`ConnectionRefused`, `Timeout`, `Cancelled`, …). `said` is the server's message as it came. `lasting`: whoever asked knows that
    asking again is of no use.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: Iterable[Cause] = (),
        details: Mapping[str, Any] | None = None,
        hint: str | None = None,
        said: str = "",
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.said = said or message
        self.lasting = lasting
        self.status = status
        self.reason = reason
        self.causes = tuple(causes)
        self.details: Mapping[str, Any] = details or {}

    @property
    def transient(self) -> bool:
        """Whether the same call may well succeed later: the server isn't ready (yet), rather than the call wrong."""
        if self.lasting:
            return False
        if self.status == 0:
            return self.reason in _PASSES
        if self.status == 429 or _NOT_READY.search(self.message):
            return True
        if self.status == 500:
            return not (_BLAMES_OBJECT.search(self.message) or _NOT_STARTED.search(self.message))
        return self.status in (502, 503, 504)

    @property
    def cancelled(self) -> bool:
        """Whether it was us who ended the call."""
        return self.reason == CANCELLED

    @classmethod
    def from_answer(cls, status: int, body: bytes, call: str) -> ApiError:
        """The error that an answer tells; `call` names what was asked (`GET /api/v1/pods`)."""
        document = _status_object(body)
        if document is None:
            text = body.decode("utf-8", "replace").strip()
            return cls(
                f"{call}: {text[:500] or 'no explanation'} (HTTP {status})", status=status, reason=_reason(status)
            )
        return cls.from_status(document, status=status, call=call)

    @classmethod
    def from_status(cls, document: Mapping[str, Any], *, status: int = 0, call: str = "") -> ApiError:
        """The error that a Status object tells."""
        details = document.get("details") or {}
        causes = tuple(
            Cause(cause.get("reason", ""), cause.get("message", ""), cause.get("field", ""))
            for cause in details.get("causes") or ()
        )
        code = int(document.get("code") or status)
        reason = document.get("reason") or _reason(code)
        said = document.get("message") or f"{call}: {reason} (HTTP {code})"
        is_shared = reason == CONFLICT and any(cause.reason == "FieldManagerConflict" for cause in causes)
        message = _render_conflicts(causes) if is_shared else said
        return cls(message, status=code, reason=reason, causes=causes, details=details, said=said)

    def about(self, what: str, *, status: int | None = None, lasting: bool = False) -> ApiError:
        """The same refusal, its message saying what it is about."""
        return ApiError(
            f"{what}: {self.message}", status=self.status if status is None else status, reason=self.reason,
            causes=self.causes, details=self.details, hint=self.hint, said=self.said, lasting=lasting or self.lasting,
        )  # fmt: skip


class UnknownKind(ApiError):
    """The cluster has no such kind (yet)."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, status=404, reason="UnknownKind", hint=hint)

    @property
    def transient(self) -> bool:
        """Always: its CustomResourceDefinition may be on its way."""
        return True


class ConnectionLost(ClusterError):
    """The connection of an exec broke before the command's end was known; `stdout` and `stderr` are what had come."""

    def __init__(self, message: str, *, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr


class ExecTimeout(ClusterError):
    """A command in a pod was still running at its deadline, or when it was cancelled; it may go on running there."""

    def __init__(self, message: str, *, cancelled: bool, stdout: bytes = b"", stderr: bytes = b"") -> None:
        super().__init__(message)
        self.cancelled = cancelled
        self.stdout = stdout
        self.stderr = stderr


def _status_object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.get("kind") == "Status" else None


def _reason(status: int) -> str:
    return {
        400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
        409: CONFLICT, 410: "Expired", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
        503: "ServiceUnavailable", 504: "Timeout",
    }.get(status, f"HTTP{status}")  # fmt: skip


_MANAGER = pattern(r'conflict with "(?P<manager>[^"]*)"')


def _render_conflicts(causes: Iterable[Cause]) -> str:
    """A sentence, and below it a table of fields and those who manage them."""
    rows = []
    for cause in causes:
        found = _MANAGER.search(cause.message)
        rows.append((cause.field, found["manager"] if found else cause.message))
    width = max(len("field"), *(len(field) for field, _ in rows))
    count = "1 field belongs" if len(rows) == 1 else f"{len(rows)} fields belong"
    table = [f"{field:<{width}}  {manager}" for field, manager in (("field", "manager"), *rows)]
    return "\n".join([f"{count} to another field manager", *table])
