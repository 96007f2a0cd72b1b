"""How a number has moved over samples of it: whether it grows, told from that it only varies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from koalesce.records import dataclass

FEWEST = 4  # samples that can tell
_SHOWN = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The samples of one thing in one place, in order. `problem` says what became of the thing itself; else it's empty."""

    name: str
    place: str
    values: Sequence[int]
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.name}" if self.place else self.name

    @property
    def growth(self) -> float:
        """How much higher the last quarter is than the first, each by its median, so that a single peak is none."""
        quarter = max(1, len(self.values) // 4)
        return _plain(median(self.values[-quarter:]) - median(self.values[:quarter]))

    @property
    def highest(self) -> int:
        """The highest of all."""
        return max(self.values)

    def to_value(self) -> dict[str, Any]:
        """What outputs read."""
        values = list(self.values)
        return {
            "name": self.name, "place": self.place, "first": values[0], "last": values[-1], "lowest": min(values),
            "highest": self.highest, "growth": self.growth, "values": values,
        }  # fmt: skip

    def drawn(self) -> str:
        """The samples on a line, of many some at equal distances."""
        step = max(1, -(-len(self.values) // _SHOWN))
        shown = [*self.values[:-1:step], self.values[-1]]
        return f"{self}: {' '.join(map(str, shown))}"


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number
