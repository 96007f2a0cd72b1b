"""Asking again and again: one run of the probe program a machine, which tries its targets at their times until it is told to end."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

from koalesce import process
from koalesce.errors import KoalesceError
from koalesce.records import dataclass
from koalesce.steps.base import StepContext
from koalesce.steps.wire.fates import killed_by
from koalesce.steps.wire.flows import Flow
from koalesce.steps.wire.probing import (
    PROGRAM,
    Batch,
    Observed,
    container_of,
    host_prefix,
    local_program,
    observed_of,
    place_of,
    runner_of,
)

_GRACE = 10.0  # seconds in which a machine must have ended what is under way, beyond the longest limit
_FIRST = 60.0  # seconds in which a first sighting of each flow must have come


@dataclass(frozen=True, slots=True)
class Sighting:
    """What came of one try. `at` is when it began, in seconds since its source did."""

    flow: int
    at: float
    observed: Observed


class Stream:
    """One run of the program, on one machine, for some of the flows; `seen` is called from a thread of the stream's own."""

    def __init__(
        self, flows: Mapping[int, Flow], every: float, context: StepContext, seen: Callable[[Sighting], None]
    ) -> None:
        self._flows, self._seen = flows, seen
        self._unseen = set(flows)
        self._problem = ""
        self._began = threading.Event()
        self._cancel = threading.Event()
        self._stdin, self._hold = _pipe()
        self._lines, self._stdout = _pipe()
        first = next(iter(flows.values()))
        self._machine = machine = runner_of(first.source, context)
        self.where = machine.name if machine is not None else "this machine"
        self._hold.write(json.dumps(_request(flows, every)).encode())
        self._hold.flush()
        if machine is not None:
            self._run: Callable[[], process.Result] = lambda: machine.run(
                [PROGRAM], stdin=self._stdin, stdout=self._stdout, cancel=self._cancel
            )
        else:
            command = [*host_prefix(context, own_network=first.own_network), str(local_program(context))]
            self._run = lambda: process.run(command, stdin=self._stdin, stdout=self._stdout, cancel=self._cancel)
        self._threads = [
            threading.Thread(target=work, name=f"probe {self.where}", daemon=True) for work in (self._live, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def await_first(self, cancel: process.Cancel) -> str:
        """Wait until something has been seen of each flow; why nothing will be, empty if something was."""
        for _ in range(int(_FIRST / 0.1)):
            if self._began.wait(0.1) or cancel.is_set():
                break
        return self._problem or ("" if self._began.is_set() else f"{self.where}: the probe says nothing")

    def tell(self) -> None:
        """Tell it to try nothing more."""
        with contextlib.suppress(OSError):
            self._hold.close()

    def end(self) -> str:
        """Wait for what is under way once it was told to end; what went wrong with it before, empty if nothing did."""
        before = self._problem
        patience = max(flow.target.limit for flow in self._flows.values()) + _GRACE
        self._threads[0].join(patience)
        if self._threads[0].is_alive():
            self._cancel.set()
            self._threads[0].join(_GRACE)
            return before or f"{self.where}: the probe did not end when it was told to"
        self._threads[1].join(_GRACE)
        return self._problem

    def _live(self) -> None:
        """The life of the process; it must end only when it is told to."""
        try:
            result = self._run()
            if result.code or not self._hold.closed:
                how = f"code {result.code}"
                if result.code < 0:
                    how = killed_by(-result.code, self._machine, self._cancel)
                said = (result.err.strip() or how)[-300:]
                self._fail(f"{self.where}: the probe ended by itself: {said}")
        except KoalesceError as error:
            if not self._cancel.is_set():
                self._fail(f"{self.where}: {error.message.removeprefix(f'{self.where}: ')}")
        finally:
            self._stdin.close()
            self._stdout.close()

    def _read(self) -> None:
        with self._lines:
            for line in self._lines:
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError):
                    self._fail(f"{self.where}: the probe's answer can't be read: {line[:200]!r}")

    def _take(self, line: Mapping[str, Any]) -> None:
        if line.get("error"):
            name = next((flow.source.name for number, flow in self._flows.items() if line["source"] == _key(flow)), "")
            self._fail(f"{name or self.where}: the probe could not look from here: {line['error']}")
            return
        flow = int(line["result"]["id"])
        self._seen(Sighting(flow, float(line["at"]), observed_of(line["result"])))
        self._unseen.discard(flow)
        if not self._unseen:
            self._began.set()

    def _fail(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._began.set()


def by_place(flows: Sequence[Flow], context: StepContext) -> list[dict[int, Flow]]:
    """The flows with their numbers, those together that one run of the program is for."""
    groups: dict[str, dict[int, Flow]] = {}
    for number, flow in enumerate(flows):
        where = place_of(Batch(source=flow.source, own_network=flow.own_network), context)
        groups.setdefault(where, {})[number] = flow
    return list(groups.values())


def _request(flows: Mapping[int, Flow], every: float) -> dict[str, Any]:
    sources: dict[str, dict[str, Any]] = {}
    for number, flow in flows.items():
        source = sources.setdefault(
            _key(flow), {"id": _key(flow), "container": container_of(flow.source), "targets": []}
        )
        source["targets"].append({"id": str(number), **flow.target.to_json()})
    return {"every": every, "sources": list(sources.values())}


def _key(flow: Flow) -> str:
    """What tells the sources of a machine apart."""
    return flow.source.container_id or flow.source.kind


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
