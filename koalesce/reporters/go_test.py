"""The stream of `go test -json` (https://pkg.go.dev/cmd/test2json): a spec is a package, a test is a test, its steps are subtests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TextIO

from koalesce.events import (
    AnyEvent,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
    StepFinished,
    TeardownFinished,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.cases import BAD, Case, case_of, cases_of
from koalesce.reporters.narration import Narrator, explanation, step_title
from koalesce.reporters.record import RunRecord, SpecRecord, StepRecord
from koalesce.reporters.text import bar, inert, location, one_line

# Go knows no outcome but these: that something could not be found out is a failure with an attribute that says so.
_WORDS: dict[Status, str] = {"passed": "PASS", "failed": "FAIL", "error": "FAIL", "skipped": "SKIP"}

_ENCODER = json.JSONEncoder(separators=(",", ":"))  # ASCII, whatever the stream's encoding


class GoTest:
    """Writes each line as soon as it is known; those of a test's steps once it is clear that the test isn't run again.

    What isn't of the run goes to `notes`, as `go test` has it on stderr.
    """

    def __init__(self, stream: TextIO, notes: TextIO) -> None:
        self._stream = stream
        self._notes = notes
        self._record = RunRecord()
        self._packages: dict[str, _Package] = {}
        self._package_names = _Names(keeps_slashes=True)

    def handle(self, event: AnyEvent) -> None:
        """Write what an event is worth."""
        self._record.apply(event)
        match event:
            case RunStarted():
                return
            case RunFinished():
                self._end(event.at)
            case _:
                if event.spec not in self._packages:
                    self._packages[event.spec] = _Package(self._record, event.spec, self._package_names.of(event.spec))
                self._write(self._packages[event.spec].tell(event))

    def tick(self, elapsed: float) -> None:
        """Nothing is written while nothing happens."""

    def say(self, text: str) -> None:
        """Write a line of the program's own, beside the stream."""
        self._notes.write(f"{inert(one_line(text))}\n")
        self._notes.flush()

    def close(self) -> None:
        """End what the run didn't."""
        self._end("")

    def _end(self, at: str) -> None:
        for package in self._packages.values():
            self._write(package.end(at))

    def _write(self, lines: Iterable[str]) -> None:
        if text := "".join(f"{line}\n" for line in lines):
            self._stream.write(text)
            self._stream.flush()


class _Package:
    """What is told of one spec."""

    def __init__(self, record: RunRecord, spec: str, package: str) -> None:
        self._record = record
        self._path = spec
        self._package = package
        self._narrator = Narrator(record, phases=True)
        self._names = _Names()
        self._running: set[str] = set()
        self._told: set[str] = set()
        self._tests: frozenset[str] = frozenset()
        self._has_begun = self._has_ended = False
        self._at = ""

    @property
    def _spec(self) -> SpecRecord:
        return self._record.spec(self._path)

    def tell(self, event: AnyEvent) -> Iterator[str]:
        """The lines that an event is worth; the record must have taken it in already."""
        self._at = event.at or self._at
        if not self._has_begun:
            self._has_begun = True
            yield self._line("start")
        if isinstance(event, SpecStarted):
            self._tests = frozenset(event.tests)
        match event:
            case TestStarted() | TestRerun() if self._is_test(event.test):
                yield from self._run(event.test)
            case TestFinished() if self._is_test(event.test):
                yield from self._test(case_of(self._record, self._spec, event.test))
            case StepFinished() if self._is_test(event.test):
                return
            case SpecFinished():
                if not self._left():
                    yield from self.end(event.at)
            case _:
                # Only tests may have lines that look like those of tests.
                lines = (line.text.removeprefix("--- ") for line in self._narrator.tell(event))
                yield from self._output("", (line for line in lines if not line.startswith("=== ")))
                if isinstance(event, TeardownFinished) and self._spec.finished and not self._left():
                    yield from self.end(event.at)

    def end(self, at: str) -> Iterator[str]:
        """Tell of all that hasn't been told of, and how the spec ended; nothing if that was told."""
        if self._has_ended:
            return
        self._has_ended = True
        self._at = at or self._at
        status: Status = "passed"
        cases = [each for each in cases_of(self._record, self._spec) if each.is_test or each.status in BAD]
        for case in cases:
            if not (case.is_test and case.name in self._told):
                yield from self._test(case)
            status = "failed" if case.status in BAD else status
        yield from self._result(status, has_tests=bool(cases))

    def _is_test(self, name: str) -> bool:
        return name in self._tests

    def _left(self) -> set[str]:
        """The clusters that are yet to be ended: how that goes is part of the spec's result."""
        mine = {name for name, cluster in self._spec.clusters.items() if not (cluster.shared or cluster.reused)}
        return mine - set(self._spec.teardowns)

    def _result(self, status: Status, *, has_tests: bool) -> Iterator[str]:
        end = self._spec.finished
        begun = self._spec.started.elapsed
        seconds = round(end.seconds if end else max(0.0, self._record.elapsed - begun), 3)
        if status in BAD or end is None or end.status in BAD:
            yield from self._output("", ["FAIL", f"FAIL\t{self._package}\t{seconds:.3f}s"])
            yield self._line("fail", Elapsed=seconds)
        elif has_tests:
            time = "(cached)" if self._spec.is_cached else f"{seconds:.3f}s"
            yield from self._output("", ["PASS", f"ok  \t{self._package}\t{time}"])
            yield self._line("pass", Elapsed=seconds)
        else:
            why = one_line(end.message) or "no tests to run"
            yield from self._output("", [f"?   \t{self._package}\t[{why}]"])
            yield self._line("skip", Elapsed=seconds)

    def _run(self, name: str) -> Iterator[str]:
        """The start of a test, once."""
        if name in self._running:
            return
        self._running.add(name)
        yield from self._begin(self._names.of(name or "setup", among=self._spec.started.tests))

    def _begin(self, test: str, at: str = "") -> Iterator[str]:
        yield self._line("run", test, at=at)
        yield from self._output(test, [f"=== RUN   {test}"], at=at)

    def _test(self, case: Case) -> Iterator[str]:
        """Whatever is to tell of a test, or of what went wrong outside of tests, at its end."""
        if case.is_test:
            self._told.add(case.name)
        yield from self._run(case.name)
        test = self._names.of(case.name or "setup", among=self._spec.started.tests)
        names = _Names()
        for step in case.steps:
            yield from self._step(f"{test}/{names.of(_title(step))}", step)
        place = location(self._path, case.line)
        for number, each in enumerate(case.tries, start=1):
            yield from self._output(test, [f"    {place}: try {number} failed:", *_indented(each.text or each.message)])
        if case.message:
            yield from self._output(test, _first_behind(f"    {place}: ", case.message))
        if case.status in BAD and not case.steps:
            yield from self._output(test, _indented(case.text.removeprefix(case.message)))
        if case.evidence:
            yield from self._attribute(test, "koalesce.evidence", case.evidence)
        if case.is_flaky:
            yield from self._attribute(test, "koalesce.flaky", f"passed on rerun {len(case.tries)}")
        yield from self._ended(test, case.status, case.seconds)

    def _step(self, name: str, step: StepRecord) -> Iterator[str]:
        begun, end = step.started, step.finished
        if end is None and begun is None:
            return
        yield from self._begin(name, at=begun.at if begun else "")
        if end is None:
            yield from self._output(name, ["    the run ended before this step did", *_indented(step.seen)])
            yield from self._ended(name, "error", max(0.0, self._record.elapsed - begun.elapsed) if begun else 0.0)
            return
        if end.status in BAD:
            yield from self._output(name, (f"    {line}" for line in explanation(end)), at=end.at)
        elif end.message:
            yield from self._output(
                name, _first_behind(f"    {location(end.spec, end.line)}: ", end.message), at=end.at
            )
        yield from self._ended(name, end.status, end.seconds, at=end.at)

    def _ended(self, test: str, status: Status, seconds: float, at: str = "") -> Iterator[str]:
        if status == "error":
            yield from self._attribute(test, "koalesce.status", "error", at=at)
        yield from self._output(test, [f"--- {_WORDS[status]}: {test} ({seconds:.2f}s)"], at=at)
        yield self._line(_WORDS[status].lower(), test, at=at, Elapsed=round(seconds, 2))

    def _attribute(self, test: str, key: str, value: str, at: str = "") -> Iterator[str]:
        value = one_line(value)
        yield self._line("attr", test, at=at, Key=key, Value=value)
        yield from self._output(test, [f"=== ATTR  {test} {key} {value}"], at=at)

    def _output(self, test: str, lines: Iterable[str], at: str = "") -> Iterator[str]:
        for line in lines:
            yield self._line("output", test, at=at, Output=f"{inert(line)}\n")

    def _line(self, action: str, test: str = "", *, at: str = "", **more: str | float) -> str:
        at = "" if self._spec.is_cached else at or self._at  # as Go has it: it didn't happen now
        fields: dict[str, str | float] = {"Time": at} if at else {}
        fields |= {"Action": action, "Package": self._package}
        if test:
            fields["Test"] = test
        return _ENCODER.encode(fields | more)


class _Names:
    """Names as Go writes them: `_` for blanks (and for slashes, which part a test from its steps, but not a package's), `#01` behind one that is taken."""

    def __init__(self, *, keeps_slashes: bool = False) -> None:
        self._keeps_slashes = keeps_slashes
        self._of: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, name: str, *, among: Iterable[str] | None = None) -> str:
        """The name of a thing: always the same where it is one `among` several, a new one each time where there are none."""
        if among is not None and name in self._of:
            return self._of[name]
        if among is not None and not self._of:
            for each in dict.fromkeys(among):
                self._of[each] = self._fresh(each)
            if name in self._of:
                return self._of[name]
        self._of[name] = self._fresh(name)
        return self._of[name]

    def _fresh(self, name: str) -> str:
        line = one_line(name) if self._keeps_slashes else inert(one_line(name)).replace("/", " ")
        plain = "_".join(line.split()) or "_"
        found, number = plain, 0
        while found in self._taken:
            number += 1
            found = f"{plain}#{number:02d}"
        self._taken.add(found)
        return found


def _title(step: StepRecord) -> str:
    if step.finished is not None:
        return step_title(step.finished)
    return step.started.title if step.started else step.section


def _indented(text: str) -> list[str]:
    return [f"        {line}" for line in bar(text)]


def _first_behind(label: str, text: str) -> list[str]:
    """A text behind a label; its further lines stand below, as `go test` indents them."""
    first, _, rest = text.strip().partition("\n")
    return [f"{label}{one_line(first)}", *_indented(rest)]
