"""How long something may take: a matcher whose operands are durations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import model_validator

from koalesce.durations import Duration, format_seconds
from koalesce.matching.mismatch import Mismatch
from koalesce.models import Model

_SIGNS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "lt": ("<", lambda left, right: left < right),
    "le": ("≤", lambda left, right: left <= right),
    "gt": (">", lambda left, right: left > right),
    "ge": ("≥", lambda left, right: left >= right),
}


class Lasting(Model):
    """A time that something took, such as `{lt: 200ms}`; all that is said must hold."""

    lt: Duration | None = None
    """Less than this."""

    le: Duration | None = None
    """This at most."""

    gt: Duration | None = None
    """More than this."""

    ge: Duration | None = None
    """This at least."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_bound(cls, value: Any) -> Any:
        if isinstance(value, str) and "${{" not in value:
            raise ValueError(f"a time is compared, as in {{lt: {value}}}")
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Lasting:
        if not self.model_fields_set:
            raise ValueError("a time needs at least one of lt, le, gt and ge, as in {lt: 200ms}")
        return self

    def check(self, seconds: float) -> Mismatch | None:
        """What is wrong with a time, or None."""
        for name, (sign, holds) in _SIGNS.items():
            bound: Duration | None = getattr(self, name)
            if bound is not None and not holds(seconds, bound.seconds):
                expected, actual = f"{sign} {bound}", format_seconds(seconds)
                return Mismatch("", expected, actual, f"is {actual}, expected {expected}")
        return None
