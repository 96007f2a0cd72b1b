"""What is wrong with a pattern or matcher before anything runs, and where in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from koalesce.matching.mismatch import member
from koalesce.records import dataclass

Where = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Flaw:
    """A sentence about the part of a pattern that `where` leads to."""

    where: Where
    said: str

    def under(self, *prefix: str | int) -> Flaw:
        """The same, seen from further up."""
        return replace(self, where=(*prefix, *self.where))

    def __str__(self) -> str:
        path = ""
        for key in self.where:
            path = member(path, key)
        return f"{path}: {self.said}" if path else self.said


def refuse(flaws: Iterable[Flaw], value: Any) -> None:
    """Raise pydantic's error for flaws of a value, each at its place, if there are any."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{error}", {"error": flaw.said}), loc=flaw.where, input=value
        )
        for flaw in flaws
    ]
    if details:
        raise ValidationError.from_exception_data("pattern", details)
