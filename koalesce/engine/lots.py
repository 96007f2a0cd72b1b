"""Clusters between specs: those that are made ahead of the specs that use them, and those that several specs use in turn."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
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
    """The clusters that specs with the same needs share, while none of them uses them. Specs that run at the same time have different ones."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._coming = Counter(plan.needs for plan in plans if plan.needs)
        self._free: defaultdict[str, list[Lot]] = defaultdict(list)
        self._lock = threading.Lock()

    def take(self, needs: str) -> Lot | None:
        """A spec with these needs has its turn: the clusters for it, if there are any."""
        with self._lock:
            self._coming[needs] -= 1
            return self._free[needs].pop() if self._free[needs] else None

    def give_back(self, needs: str, lot: Lot) -> bool:
        """The spec is done with the clusters; False where enough are there for those to come, and whoever gives them ends them."""
        with self._lock:
            if self._coming[needs] <= len(self._free[needs]):
                return False
            self._free[needs].append(lot)
            return True

    def rest(self) -> list[Lot]:
        """Those that nobody came for; they are given away."""
        with self._lock:
            lots = [lot for free in self._free.values() for lot in free]
            self._free.clear()
            return lots


class Ahead:
    """Has clusters of specs to come made, one after the other and beside tests, as many as their pools allow."""

    def __init__(self, plans: Sequence[Plan], make: Callable[[int, ThreadPoolExecutor], None]) -> None:
        """`make` begins to make those of the spec of this number."""
        self._sizes = _sizes(plans)
        self._make = make
        self._begun: set[int] = set()
        self._come: set[int] = set()  # have their turn, or had it
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead") if any(self._sizes) else None

    def turn(self, number: int) -> None:
        """The spec of this number has its turn: from now on it makes its own clusters, unless they have begun to be made."""
        with self._lock:
            self._come.add(number)

    def fill(self) -> None:
        """A spec has its clusters now: begin with those to come."""
        with self._lock:
            for number, size in enumerate(self._sizes):
                if self._pool is None or not size or number in self._begun | self._come:
                    continue
                if len(self._begun - self._come) >= size:
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
