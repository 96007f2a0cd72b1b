"""Taking samples of numbers, again and again, until told to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from koalesce import process
from koalesce.errors import KoalesceError
from koalesce.records import dataclass
from koalesce.steps.inside.places import Source
from koalesce.steps.objects.reading import shortened
from koalesce.steps.state.growth import FEWEST

PATIENCE = 20.0  # seconds that one look may take
_PARALLEL = 8
_HURRY = 0.25  # seconds between those samples that are still lacking when it's told to end

# Of each process that is meant: its number, kB of memory of its own, threads, open files. Only what `sh` itself can do, but for one `grep`.
PROCESSES = r"""
if [ -n "$1" ]; then found=$(grep -slF -- "$1" /proc/[0-9]*/cgroup); else found=$(echo /proc/[0-9]*/cgroup); fi
for each in $found; do
  at=${each%/cgroup}
  read -r name <$at/comm || continue
  [ -z "$2" ] || [ "$name" = "$2" ] || continue
  [ "$at" != /proc/$$ ] || continue
  memory= threads=
  while read -r key value rest; do case $key in VmRSS:) memory=$value ;; Threads:) threads=$value ;; esac; done <$at/status || continue
  [ -n "$memory" ] || continue
  files=0; for one in $at/fd/*; do files=$((files + 1)); done
  echo "${at#/proc/} $memory $threads $files"
done 2>/dev/null
exit 0
"""
MEASURES = ("memory", "threads", "openFiles")


class Missed(Exception):
    """A look that came to nothing; it says nothing about what was looked for."""


class Over(Exception):
    """What was watched isn't there any more: no later look can be compared with the first ones."""


@dataclass(slots=True)
class Track:
    """One thing in one place: how it's looked at, and what was seen. `over` says what became of it."""

    name: str
    place: str
    look: Callable[[], int]
    values: list[int] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    over: str = ""

    def sample(self) -> None:
        """Look once."""
        if self.over:
            return
        try:
            self.values.append(self.look())
        except Over as over:
            self.over = str(over)
        except (Missed, KoalesceError) as error:
            self.missed.append(str(error))


class Sampler:
    """A thread that samples all tracks, every so often, and once more when it is told to end, four times in any case."""

    def __init__(self, tracks: Sequence[Track], every: float) -> None:
        self.tracks = tracks
        self.rounds = 0
        self._every = every
        self._begun, self._end, self._hurry = threading.Event(), threading.Event(), threading.Event()
        from concurrent.futures import ThreadPoolExecutor

        self._pool = ThreadPoolExecutor(max_workers=min(_PARALLEL, len(tracks)), thread_name_prefix="stability")
        self._thread = threading.Thread(target=self._live, name="stability", daemon=True)
        self._thread.start()
        self._begun.wait(2 * PATIENCE)  # what comes next is compared with what was before

    def end(self) -> bool:
        """Take the last sample; whether that is done."""
        self._end.set()
        self._thread.join(2 * PATIENCE)
        return not self._thread.is_alive()

    def _live(self) -> None:
        with self._pool as pool:
            while True:
                is_last = self._end.is_set() and self.rounds + 1 >= FEWEST
                list(pool.map(Track.sample, self.tracks))
                self.rounds += 1
                self._begun.set()
                if is_last:
                    return
                if self._end.wait(self._every) and self.rounds + 1 < FEWEST:
                    self._hurry.wait(min(self._every, _HURRY))


@dataclass(slots=True)
class Processes:
    """Those of a container, or of a machine, of one name or of all: what they take together."""

    source: Source
    name: str
    measure: str
    _first: int = 0

    def look(self) -> int:
        """The sum; Over where the first of them has ended since the first look."""
        rows = self.rows()
        if not self._first:
            self._first = min(rows, default=0)
        if not rows:
            raise Over(f"there is no process {self.described}" if not self._first else self._ended())
        if self._first not in rows:
            raise Over(self._ended())
        return sum(row[self.measure] for row in rows.values())

    def rows(self) -> dict[int, Mapping[str, int]]:
        """Each by its number."""
        found: dict[int, Mapping[str, int]] = {}
        for line in asked(self.source, ["sh", "-c", PROCESSES, "sh", self.source.container_id, self.name]).splitlines():
            words = line.split()
            if len(words) == 1 + len(MEASURES) and all(word.isdigit() for word in words):
                number, memory, threads, files = map(int, words)
                found[number] = {"memory": memory * 1024, "threads": threads, "openFiles": files}
        return found

    @property
    def described(self) -> str:
        """The processes in words."""
        return f"{self.name or 'at all'} in {self.source.name}"

    def _ended(self) -> str:
        return f"process {self._first}{f' ({self.name})' if self.name else ''} of {self.source.name} has ended while it was watched"


def asked(source: Source, command: Sequence[str]) -> str:
    """What a machine answers; Missed if it doesn't."""
    machine = source.machine
    assert machine is not None  # noqa: S101 - seen before
    try:
        done = machine.run(command, timeout=PATIENCE)
    except process.CommandTimeout as error:
        raise Missed(f"{source.name}: {error.message}") from error
    if done.code:
        raise Missed(f"{source.name}: {shortened(done.err) or f'ended with code {done.code}'}")
    return done.out
