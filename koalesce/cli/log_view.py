"""Shows logs of nodes: what is there, in the order of time, and then what is added."""

from __future__ import annotations

import os
import queue
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial
from typing import BinaryIO

from koalesce.cli import exit_codes
from koalesce.cli.log_lines import Axis, Line, last, merged, placed, ready, since_then
from koalesce.cli.main import is_closed
from koalesce.cli.node_logs import NodeLog, clock, followed
from koalesce.cli.stopping import Stop
from koalesce.durations import Duration
from koalesce.errors import KoalesceError
from koalesce.reporters.terminal import abilities
from koalesce.reporters.text import clean, inert, one_line
from koalesce.steps.inside.log_times import time_of

_COLORS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # of SGR (ECMA-48): none of them red, which means trouble elsewhere
_TICK = 0.25  # seconds between two looks whether anybody still listens
_GATHER = 0.1  # seconds in which lines of several logs are put in order


def show(logs: Sequence[NodeLog], *, since: Duration | None, tail: int | None, follow: bool) -> int:
    """Print the logs; the exit code."""
    trouble = _Trouble()
    clocks = trouble.clocks(logs)
    logs = [log for log in logs if log.node.name in clocks]
    printer = _Printer(logs)
    axes = [Axis(number, partial(time_of, now=clocks[log.node.name])) for number, log in enumerate(logs)]
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in logs]
        for log, file in zip(logs, files, strict=True):
            trouble.copy(log, file, is_followed=follow)
        begins = [log.end_of(file) if follow else 0 for log, file in zip(logs, files, strict=True)]
        there: list[Iterable[Line]] = []
        for log, axis, file in zip(logs, axes, files, strict=True):
            start = clocks[log.node.name] - timedelta(seconds=since.seconds) if since else None
            there.append(last(since_then(placed(_texts(file), axis), start), tail))
        for line in merged(there):
            printer.print(line)
    if follow and logs:
        return _follow(list(zip(logs, begins, strict=True)), axes, printer, trouble)
    return trouble.code


def _texts(file: BinaryIO) -> Iterable[str]:
    return (line.decode("utf-8", "replace").rstrip("\r\n") for line in file)


def _follow(logs: list[tuple[NodeLog, int]], axes: Sequence[Axis], printer: _Printer, trouble: _Trouble) -> int:
    """Print what is added, until ^C, or nobody reads it, or nothing more can come."""
    came: queue.SimpleQueue[Line] = queue.SimpleQueue()
    stop = Stop()
    with stop.on_signals(), followed(logs, lambda log, text: came.put(axes[log].place(text)), trouble.tell) as goes_on:
        while not stop.cancel.is_set() and not is_closed(sys.stdout):
            is_last = not goes_on()
            try:
                batch = [came.get(timeout=_TICK)]
            except queue.Empty:
                if is_last:
                    return exit_codes.ERROR
                continue
            stop.cancel.wait(_GATHER)
            while not came.empty():
                batch.append(came.get())
            for line in ready(batch):
                printer.print(line)
    return exit_codes.INTERRUPTED if stop.cancel.is_set() else exit_codes.PASSED


class _Printer:
    """Prints lines, each behind its node and component where there are several logs; what is foreign in them is harmless."""

    def __init__(self, logs: Sequence[NodeLog]) -> None:
        names = [(one_line(log.node.name), one_line(log.component)) for log in logs]
        widths = [max((len(name[part]) for name in names), default=0) for part in (0, 1)]
        heads = [f"{node:<{widths[0]}} {component:<{widths[1]}} |" for node, component in names]
        if abilities(sys.stdout, os.environ).color:
            colors = [_COLORS[number % len(_COLORS)] for number in range(len(heads))]
            heads = [f"\x1b[{color}m{head}\x1b[0m" for color, head in zip(colors, heads, strict=True)]
        self._heads = [f"{head} " for head in heads] if len(heads) > 1 else [""] * len(heads)

    def print(self, line: Line) -> None:
        print(self._heads[line.log] + inert(clean(line.text)))


class _Trouble:
    """What could not be read, told beside the output."""

    def __init__(self) -> None:
        self.code = exit_codes.PASSED

    def tell(self, error: KoalesceError) -> None:
        """Tell of one, and remember that there was one."""
        self.code = exit_codes.ERROR
        print(f"warning: {clean(error.message)}", file=sys.stderr)

    def clocks(self, logs: Sequence[NodeLog]) -> dict[str, datetime]:
        """The time on each of the nodes that can be asked."""
        found: dict[str, datetime] = {}
        for node in {log.node.name: log.node for log in logs}.values():
            try:
                found[node.name] = clock(node)
            except KoalesceError as error:
                self.tell(error)
        return found

    def copy(self, log: NodeLog, file: BinaryIO, *, is_followed: bool) -> None:
        """Copy a log; one that isn't there may begin while it's followed."""
        try:
            log.copy(file)
        except KoalesceError as error:
            if not is_followed:
                self.tell(error)
