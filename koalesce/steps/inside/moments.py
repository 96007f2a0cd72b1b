"""From when on something counts: since the step or the test began, since a while ago, or all of it; by the cluster's clocks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from koalesce.durations import PATTERN, Duration
from koalesce.errors import ClusterError
from koalesce.records import dataclass
from koalesce.steps.base import StepContext

_WORDS = ("step", "test", "all")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?(Z|[+-]\d\d:?\d\d)?")
_BEGAN = "the test's beginning"


@dataclass(frozen=True, slots=True)
class Since:
    """`step`, `test`, `all`, or a duration before now (`word` is empty then)."""

    word: str
    seconds: float = 0.0

    @classmethod
    def parse(cls, value: Any) -> Since:
        """Read one; ValueError says what there is."""
        if isinstance(value, str) and value in _WORDS:
            return cls(value)
        try:
            return cls("", Duration.parse(value).seconds)
        except ValueError as error:
            raise ValueError(f"{value!r} is none of {', '.join(_WORDS)}, and no duration such as 30s") from error

    def __str__(self) -> str:
        return self.word or str(Duration(self.seconds))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        def validate(value: Any) -> Since:
            return value if isinstance(value, Since) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        pattern = f"^({'|'.join(_WORDS)})$|{PATTERN}"
        return {"type": "string", "pattern": pattern, "examples": ["step", "test", "all", "30s"]}


ALL, TEST, STEP = Since("all"), Since("test"), Since("step")


def test_began(context: StepContext) -> datetime:
    """When the test's namespace was made, by the API server's clock, to the second; asked once a test."""
    marks = context.sightings.marks
    if (_BEGAN, context.namespace) not in marks:
        kube = context.cluster.kube
        found = kube.get(kube.resource("namespaces"), context.namespace, cancel=context.scope.cancel)
        created = parse_time(str(((found or {}).get("metadata") or {}).get("creationTimestamp", "")))
        if created is None:
            raise ClusterError(
                f"namespace {context.namespace} doesn't say when it was made, so neither when the test began"
            )
        marks[_BEGAN, context.namespace] = created
    began: datetime = marks[_BEGAN, context.namespace]
    return began


def moment(since: Since, context: StepContext) -> datetime | None:
    """The time from which on things count, by the API server's clock; None for all, and for `step`, which needs marks of its own."""
    if since.word == "test":
        return test_began(context)
    if since.word:
        return None
    return context.cluster.kube.now(cancel=context.scope.cancel) - timedelta(seconds=since.seconds)


def parse_time(text: str) -> datetime | None:
    """The first time of the form `2026-01-31T12:00:00.5Z` in a text; one without a zone is in UTC."""
    found = _STAMP.search(text)
    if found is None:
        return None
    date, clock, fraction, zone = found.groups()
    try:
        time = datetime.fromisoformat(
            f"{date}T{clock}.{(fraction or '0')[:6]:0<6}{(zone or 'Z').replace('Z', '+00:00')}"
        )
    except ValueError:
        return None
    return time.astimezone(UTC)


def written(time: datetime) -> str:
    """A time as the API takes it, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
