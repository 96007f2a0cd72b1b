"""Where the time of a start went: its phases as a waterfall, with the work of processors."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseStarted, RunStarted
from koalesce.local import cgroups
from koalesce.local.ledger import Entry, Ledger
from koalesce.local.phases import own_cpu_seconds
from koalesce.reporters.text import one_line

FILE = "phases.json"  # in a cluster's folder, by its supervisor
_LEAST_BAR = 20
_HEAD = ("", "start", "took", "CPU nodes", "CPU own")
_NOTE = (
    "Seconds. CPU: what processors worked meanwhile, for the nodes and for Koalesce with the programs that it ran; "
    "what goes on beside the phases is a part of theirs."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A phase: when it began, how long it lasted, and what processors worked meanwhile (None: it isn't known)."""

    name: str
    start: float
    seconds: float
    nodes: float | None = None
    own: float | None = None
    depth: int = 0
    cluster: str = ""  # of a supervisor's phase


@dataclass(frozen=True, slots=True)
class _Begun:
    elapsed: float
    own: float
    nodes: float


@dataclass(slots=True)
class Profile:
    """Collects the phases of a start from its events, and those of supervisors from their files.

    `age` are the seconds that the command had run when this was made; `find` gives a cluster's entry in the ledger.
    """

    age: float
    find: Callable[[str], Entry | None] = field(default=lambda name: Ledger().find(name))
    own_cpu: Callable[[], float] = own_cpu_seconds
    now: Callable[[], float] = time.time
    _began: float = field(default=0.0, init=False)  # the command, in seconds since the epoch
    _run: float = field(default=0.0, init=False)  # the run, in seconds since that
    _open: dict[str, _Begun] = field(default_factory=dict, init=False)
    _bars: list[Bar] = field(default_factory=list, init=False)
    _groups: list[list[Path]] = field(default_factory=list, init=False)
    _supervisors: float = field(default=0.0, init=False)
    _end: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._began = self.now() - self.age

    def handle(self, event: AnyEvent) -> None:
        """Note what an event says of phases."""
        match event:
            case RunStarted():
                self._run = datetime.fromisoformat(event.at).timestamp() - event.elapsed - self._began
                self._bars.append(Bar(name="the command's start", start=0.0, seconds=self._run, own=self.own_cpu()))
            case PhaseStarted():
                self._open[event.phase] = _Begun(event.elapsed, self.own_cpu(), self._nodes())
            case PhaseFinished() if begun := self._open.pop(event.phase, None):
                nodes = self._nodes() - begun.nodes if self._groups else None
                self._bars.append(
                    Bar(
                        name=event.phase, start=self._run + begun.elapsed, seconds=event.elapsed - begun.elapsed,
                        nodes=nodes, own=self.own_cpu() - begun.own,
                    )
                )  # fmt: skip
            case ClusterReady():
                self._look_into(self.find(event.cluster))
            case _:
                pass
        self._end = self._run + event.elapsed

    def lines(self, width: int) -> list[str]:
        """The table, with as much room for the bars as a terminal of this width leaves."""
        nodes = self._nodes() if self._groups else None
        whole = Bar(name="all", start=0.0, seconds=self._end, nodes=nodes, own=self.own_cpu() + self._supervisors)
        bars = [*sorted(self._bars, key=lambda bar: (bar.start, bar.depth)), whole]
        if len(self._groups) > 1:  # whose it is must be told
            bars = [replace(bar, name=f"{bar.name} ({bar.cluster})") if bar.cluster else bar for bar in bars]
        return [*table(bars, self._end, width), _NOTE]

    def _look_into(self, entry: Entry | None) -> None:
        """Note the phases that a cluster's supervisor has written down, and where its nodes are counted."""
        file = Path(entry.folder) / FILE if entry and entry.folder else None
        if entry is None or file is None or not file.exists():
            return
        self._groups.append([Path(thing.name) for thing in entry.things if thing.kind == "cgroup"])
        written = json.loads(file.read_text())
        began = datetime.fromisoformat(written["began"]).timestamp() - self._began
        self._supervisors += written["cpu"]["supervisor"]
        self._bars += [_of_supervisor(phase, began, entry.name) for phase in written["phases"]]

    def _nodes(self) -> float:
        return sum(cgroups.cpu_seconds(groups) for groups in self._groups)


def _of_supervisor(phase: dict[str, Any], began: float, cluster: str) -> Bar:
    cpu = phase.get("cpu", {})
    return Bar(
        name=phase["name"], start=began + phase["start"], seconds=phase["seconds"], nodes=cpu.get("nodes"),
        own=cpu.get("supervisor"), depth=2 if phase.get("beside") else 1, cluster=cluster,
    )  # fmt: skip


def table(bars: Sequence[Bar], end: float, width: int) -> list[str]:
    """Aligned columns, and a bar for each phase on an axis from 0 to the end."""
    rows = [_HEAD, *(_row(bar) for bar in bars)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    room = max(_LEAST_BAR, width - sum(widths) - 2 * len(widths) - 1)
    texts = [
        "  ".join(
            (row[0].ljust(widths[0]), *(cell.rjust(size) for cell, size in zip(row[1:], widths[1:], strict=True)))
        )
        for row in rows
    ]
    drawn = ["", *(_drawn(bar, end, room) for bar in bars)]
    return [f"{text}  {picture}".rstrip() for text, picture in zip(texts, drawn, strict=True)]


def _row(bar: Bar) -> tuple[str, ...]:
    name = "  " * bar.depth + one_line(bar.name)
    return (
        name,
        f"{bar.start:.2f}",
        f"{bar.seconds:.2f}",
        *("" if cpu is None else f"{cpu:.2f}" for cpu in (bar.nodes, bar.own)),
    )


def _drawn(bar: Bar, end: float, room: int) -> str:
    """A bar in whole columns; what is shorter than half of one still shows."""
    scale = room / end if end > 0 else 0.0
    first = min(int(max(0.0, bar.start) * scale), room - 1)
    return " " * first + ("█" * min(round(bar.seconds * scale), room - first) or "▏")


def command_age() -> float:
    """Seconds since this process began (proc_pid_stat(5): its start in clock ticks since the boot)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
