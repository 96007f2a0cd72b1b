"""A step that ran while something else went on."""

from __future__ import annotations

from koalesce.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """When a step ran, in seconds of the run's clock."""

    title: str
    began: float
    ended: float
