"""Measuring what a network carries: the probe program listens in one place, and is asked by itself from another."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import BinaryIO, Literal

from koalesce import process
from koalesce.errors import KoalesceError
from koalesce.records import dataclass
from koalesce.steps.base import Errored, StepContext
from koalesce.steps.inside.places import Source
from koalesce.steps.objects.reading import shortened
from koalesce.steps.wire.probing import PROGRAM, OutcomeName

Kind = Literal["throughput", "requests", "connections"]
_WORDS: Mapping[str, str] = {"throughput": "stream", "requests": "requests", "connections": "connections"}
_BEGUN = 30.0  # seconds in which it must listen
_GRACE = 10.0
_BEYOND = (
    60.0  # seconds that a measurement may take besides its own: connecting, and what is still under way at its end
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent: for so many seconds, by so many connections at the same time, with requests of so many bytes."""

    seconds: float
    streams: int
    size: int
    family: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of one measurement. `latency` is in seconds, by percentile; `reason` is of what didn't go well."""

    outcome: OutcomeName
    rate: float  # bits, requests or connections a second
    count: int
    failed: int = 0
    reason: str = ""
    latency: Mapping[str, float] = field(default_factory=dict)


def measure(source: Source, kind: Kind, to: tuple[str, int], load: Load, context: StepContext) -> Measured | Errored:
    """Measure once, from a source to an address and a port where something listens."""
    machine = source.machine
    assert machine is not None  # noqa: S101 - seen before
    host = f"[{to[0]}]" if ":" in to[0] else to[0]
    words = ["-limit", f"{load.seconds:g}s", "-streams", str(load.streams), "-size", str(load.size)]
    words += ["-family", load.family] if load.family else []
    command = [PROGRAM, *_inside(source), *words, _WORDS[kind], f"{host}:{to[1]}"]
    try:
        done = machine.run(command, timeout=load.seconds + _BEYOND, cancel=context.scope.cancel)
    except process.CommandTimeout as error:
        return Errored(f"{source.name}: {error.message}")
    if done.code:
        return Errored(f"{source.name}: {shortened(done.err) or f'the probe ended with code {done.code}'}")
    try:
        found = json.loads(done.stdout)
        seconds, count = float(found["seconds"]), int(found["count"])
        rate = (count * 8 if kind == "throughput" else count) / seconds if seconds else 0.0
        return Measured(
            outcome=found["outcome"], rate=rate, count=count, failed=int(found.get("failed", 0)),
            reason=found.get("reason", ""), latency=found.get("latency") or {},
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return Errored(f"{source.name}: the probe's answer can't be read: {done.out[:200]!r}", final=True)


class Listener:
    """What answers measurements in one place, until it is told to end; it ends with its standard input in any case."""

    def __init__(self, source: Source, port: int) -> None:
        self.source, self.port = source, port
        self._cancel = threading.Event()
        self._begun = threading.Event()
        self._problem = ""
        self._stdin, self._hold = _pipe()
        self._lines, self._stdout = _pipe()
        self._threads = [
            threading.Thread(target=work, name=f"listener {source.name}", daemon=True)
            for work in (self._live, self._read)
        ]
        for thread in self._threads:
            thread.start()

    def await_begun(self, cancel: process.Cancel) -> Errored | None:
        """Wait until it listens, on the port that `port` is from then on; why it doesn't, if it doesn't."""
        for _ in range(int(_BEGUN / 0.1)):
            if self._begun.wait(0.1) or cancel.is_set():
                break
        if self._begun.is_set() and not self._problem:
            return None
        is_taken = "listens on port" in self._problem
        hint = "; this step listens there itself: say a port that is free" if is_taken else ""
        return Errored(f"{self.source.name}: {self._problem or 'the probe does not listen'}{hint}", final=is_taken)

    def end(self) -> None:
        """Tell it to end, and wait until it has."""
        with contextlib.suppress(OSError):
            self._hold.close()
        self._threads[0].join(_GRACE)
        if self._threads[0].is_alive():
            self._cancel.set()
            self._threads[0].join(_GRACE)
        self._threads[1].join(_GRACE)

    def _live(self) -> None:
        machine = self.source.machine
        assert machine is not None  # noqa: S101 - seen before
        try:
            command = [PROGRAM, *_inside(self.source), "listen", str(self.port)]
            done = machine.run(command, stdin=self._stdin, stdout=self._stdout, cancel=self._cancel)
            if done.code or not self._begun.is_set():
                self._problem = shortened(done.err).removeprefix("koalesce-probe: ") or f"ended with code {done.code}"
        except KoalesceError as error:
            self._problem = error.message
        finally:
            self._stdin.close()
            self._stdout.close()

    def _read(self) -> None:
        with self._lines:
            for line in self._lines:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self.port = int(json.loads(line)["port"])
                    self._begun.set()
        self._threads[0].join(_GRACE)  # whoever ended it knows why
        self._begun.set()


class Listeners:
    """All places that answer during a step; a place and a port are listened at once."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._known: dict[tuple[str, str, int], Listener] = {}

    def __enter__(self) -> Listeners:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._known.values():
            each.end()

    def begin(self, places: Sequence[tuple[Source, int]]) -> Errored | None:
        """Listen everywhere; port 0 is any that is free."""
        new = [self._listener(source, port) for source, port in places]
        problems = [each.await_begun(self._context.scope.cancel) for each in new]
        return next((problem for problem in problems if problem is not None), None)

    def port(self, source: Source, port: int) -> int:
        """The port on which a place listens."""
        return self._listener(source, port).port

    def _listener(self, source: Source, port: int) -> Listener:
        machine = source.machine
        key = (machine.name if machine else "", source.container_id, port)
        if key not in self._known:
            self._known[key] = Listener(source, port)
        return self._known[key]


def _inside(source: Source) -> list[str]:
    return ["-container", source.container_id] if source.container_id else []


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
