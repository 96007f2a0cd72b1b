"""Durations as people write them: `90s`, `2m`, `1h30m`, `250ms`."""

from __future__ import annotations

import re
from typing import Any

from koalesce.patterns import pattern
from koalesce.records import dataclass

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = pattern(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
PATTERN = r"^(\d+(\.\d+)?(ms|s|m|h))+$"


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time; `seconds` is never negative."""

    seconds: float

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read `1h30m`, `90s`, `250ms`; raises ValueError with an example for anything else."""
        if not isinstance(text, str) or not re.fullmatch(PATTERN, text):
            raise ValueError(f"{text!r} is not a duration; write it with a unit, such as 30s, 2m or 250ms")
        return cls(sum(float(amount) * _UNITS[unit] for amount, unit in _PART.findall(text)))

    def __str__(self) -> str:
        return format_seconds(self.seconds)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema  # imported here: the command line's help must not load pydantic

        def validate(value: Any) -> Duration:
            return value if isinstance(value, Duration) else cls.parse(value)

        return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": PATTERN, "examples": ["30s", "2m", "250ms"]}


def format_seconds(seconds: float) -> str:
    """A short, readable length of time: `0.4s`, `12.3s`, `2m05s`, `1h02m`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s".replace(".0s", "s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
