"""The specs of a run, so many at once; some find their clusters made, others those of a spec before them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from koalesce.engine.company import Company
from koalesce.engine.ending import end_all
from koalesce.engine.lots import Ahead, SharedLots
from koalesce.engine.naming import names_of
from koalesce.engine.needs import Plan
from koalesce.engine.options import RunOptions
from koalesce.engine.selection import Selected
from koalesce.engine.session import RunSession
from koalesce.engine.spec_run import Place, SpecResult, SpecRun

if TYPE_CHECKING:
    from koalesce.engine.cached.keeping import Keeper


class Succession:
    """The specs of a run. Whoever makes one calls `end`, whatever became of `run`."""

    def __init__(
        self,
        session: RunSession,
        selected: Sequence[Selected],
        options: RunOptions,
        plans: Sequence[Plan],
        keepers: Sequence[Keeper | None] = (),
    ) -> None:
        self._keepers = keepers or [None] * len(selected)
        self._session = session
        self._selected = selected
        self._options = options
        self._plans = plans
        self._names = names_of([each.loaded for each in selected], session.run_id)
        self._shared = SharedLots(plans)
        self._ahead = Ahead(plans, lambda number, pool: self._of(number).begin(pool))
        self._begun: dict[int, SpecRun] = {}  # and not over
        self._lock = threading.Lock()  # of what has begun
        self._crashed = threading.Event()  # no other begins
        self._existing = Company()  # of the specs on clusters that exist

    def run(self) -> Iterator[SpecResult]:
        """Run them and yield how they ended, in their order. Once the run is to end, only those of which something has begun, which tells of them and ends it."""
        with ThreadPoolExecutor(self._options.at_once, thread_name_prefix="spec") as pool:
            turns = [pool.submit(self._run, number) for number in range(len(self._selected))]
            for turn in turns:
                if (result := turn.result()) is not None:
                    yield result

    def _run(self, number: int) -> SpecResult | None:
        """One of them, when its turn has come; None where it doesn't begin any more."""
        plan = self._plans[number]
        with self._existing.joined(alone=plan.alone) if plan.joins else nullcontext():
            self._ahead.turn(number)
            if self._crashed.is_set() or (self._options.cancel.is_set() and number not in self._begun):
                return None
            keeper = self._keepers[number]
            if keeper is not None and keeper.found is not None:
                return SpecResult(status="passed", tests=keeper.tell(keeper.found, self._session.emit))
            try:
                result = self._of(number).run()
            except BaseException:
                self._crashed.set()
                raise
            with self._lock:
                del self._begun[number]
            return result

    def end(self) -> bool:
        """End what was made for specs that didn't come; whether nothing is left that shouldn't be."""
        gone: list[bool] = []
        keep = self._options.keep and not self._options.cancel.is_set()

        def told(end: Callable[[], bool]) -> None:
            gone.append(end())

        with ExitStack() as ends:  # whatever becomes of one
            ends.callback(self._ahead.close)
            for lot in self._shared.rest():
                ends.callback(told, partial(end_all, self._session, lot.spec, lot.sessions, keep=keep))
            for each in self._begun.values():
                ends.callback(told, each.give_up)
        return all(gone)

    def _of(self, number: int) -> SpecRun:
        with self._lock:
            if number not in self._begun:
                place = Place(
                    plan=self._plans[number], shared=self._shared, taken=self._ahead.fill, names=self._names[number],
                    keeper=self._keepers[number],
                )  # fmt: skip
                self._begun[number] = SpecRun(self._session, self._selected[number], self._options, place=place)
            return self._begun[number]
