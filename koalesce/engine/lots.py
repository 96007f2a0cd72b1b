"""Clusters between specs: those that are made ahead of the specs that use them, and those that several specs use in turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from koalesce.engine.case import Stage
from koalesce.engine.needs import Plan
from koalesce.engine.provision import AnySession


@dataclass(slots=True, kw_only=True)
class Lot:
    """The clusters of one spec. `spec` had them made; `stage` is what it found, before its setup."""

    spec: str
    sessions: list[AnySession] = field(default_factory=list)
    stage: Stage | None = None

    @property
    def there(self) -> Stage:
        """The stage of clusters that are up; ValueError for others."""
        if self.stage is None:
            raise ValueError(f"the clusters of {self.spec} are not up")
        return self.stage


class SharedLots:
    """The clusters that specs with the same needs share, while none of them uses them. Specs have their turns one after the other."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._coming = Counter(plan.needs for plan in plans if plan.needs)
        self._free: dict[str, Lot] = {}

    def take(self, needs: str) -> Lot | None:
        """A spec with these needs has its turn: the clusters for it, if there are any."""
        self._coming[needs] -= 1
        return self._free.pop(needs, None)

    def give_back(self, needs: str, lot: Lot) -> bool:
        """The spec is done with the clusters; False where no other is to come, and whoever gives them ends them."""
        if self._coming[needs] <= 0:
            return False
        self._free[needs] = lot
        return True

    def rest(self) -> list[Lot]:
        """Those that nobody came for; they are given away."""
        lots, self._free = list(self._free.values()), {}
        return lots


class Ahead:
    """Has clusters of specs to come made, one after the other and beside tests, as many as their pools allow."""

    def __init__(self, plans: Sequence[Plan], make: Callable[[int, ThreadPoolExecutor], None]) -> None:
        """`make` begins to make those of the spec of this number."""
        self._sizes = _sizes(plans)
        self._make = make
        self._begun: set[int] = set()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead") if any(self._sizes) else None

    def fill(self, current: int) -> None:
        """The spec of this number has its clusters now: begin with those to come."""
        for number in range(current + 1, len(self._sizes)):
            size = self._sizes[number]
            if self._pool is None or not size or number in self._begun:
                continue
            if sum(begun > current for begun in self._begun) >= size:
                return
            self._begun.add(number)
            self._make(number, self._pool)

    def close(self) -> None:
        """Wait for what has begun, which somebody has ended."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _sizes(plans: Sequence[Plan]) -> list[int]:
    """The size of each one's pool; of those that share a cluster only the first has it made."""
    seen: set[str] = set()
    found: list[int] = []
    for plan in plans:
        found.append(0 if plan.needs in seen else plan.ahead)
        seen |= {plan.needs} - {""}
    return found
