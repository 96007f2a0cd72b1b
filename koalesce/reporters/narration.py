"""A run told in lines, in the way of `go test`: the same for a log file and above the live view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from koalesce.durations import format_seconds
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    PhaseProgress,
    PhaseStarted,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    Status,
    StepAttempted,
    StepFinished,
    StepStarted,
    TeardownFinished,
    TeardownStarted,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.record import RunRecord, StepRecord
from koalesce.reporters.text import bar, location, one_line, shorten

Style = Literal["", "passed", "failed", "error", "skipped", "dim"]
_WORDS: dict[Status, str] = {"passed": "PASS", "failed": "FAIL", "error": "ERROR", "skipped": "SKIP"}
_BAD = ("failed", "error")
_PROGRESS_EVERY = 10.0  # seconds between two lines of progress of one phase
_DETAIL = 8000  # characters of a step's detail
_RECAP = 200  # characters of a message in the list at the end


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text, free of control characters, and how to show it."""

    text: str
    style: Style = ""


class Narrator:
    """Turns events into lines.

    `phases`: also those of phases that went well; `verbose`: all that there is to tell; `quiet`: of what goes well no more than that a
    spec has ended, for people who see what is going on.
    """

    def __init__(self, record: RunRecord, *, verbose: bool = False, phases: bool = False, quiet: bool = False) -> None:
        self._record = record
        self._verbose = verbose
        self._phases = phases or verbose
        self._quiet = quiet and not verbose
        self._spec = ""
        self._told: dict[str, list[str]] = {}  # by spec: what went wrong so far
        self._skipped: dict[str, str] = {}  # by spec: the reason of the last skip
        self._progress: dict[tuple[str, str], float] = {}

    def tell(self, event: AnyEvent) -> list[Line]:
        """The lines that an event is worth; the record must have taken it in already."""
        lines = self._lines(event)
        spec = getattr(event, "spec", "")
        if not lines or not spec or spec == self._spec:
            return lines
        is_one_of_several = bool(self._spec) or (self._quiet and len(self._record.specs) > 1)
        speaks_of_another = is_one_of_several and not isinstance(event, SpecStarted | SpecFinished)
        self._spec = spec
        return [Line(f"=== NAME  {one_line(spec)}"), *lines] if speaks_of_another else lines

    def _lines(self, event: AnyEvent) -> list[Line]:
        if self._is_untold(event):
            return []
        match event:
            case RunStarted():
                text = f"run {one_line(event.run_id)}: koalesce {event.version}, artifacts in {one_line(event.folder)}"
                return [Line(text, "dim")] if self._verbose else []
            case SpecStarted():
                return [] if self._quiet else [Line(f"=== RUN   {one_line(event.spec)}")]
            case PhaseProgress():
                return self._phase_progress(event)
            case PhaseFinished():
                return self._phase_finished(event)
            case ClusterReady():
                earlier = "run" if self._record.spec(event.spec).is_cached else "spec"
                return [Line(f"    {_cluster(event, earlier)}", "dim")] if self._phases else []
            case TestStarted():
                return [Line(f"=== RUN   {_name(event.test)}")] if self._verbose else []
            case StepFinished():
                return self._step_outside(event)
            case TestRerun():
                return self._test_rerun(event)
            case TestFinished():
                return self._test_finished(event)
            case TeardownFinished():
                return self._teardown(event)
            case SpecFinished():
                return self._spec_finished(event)
            case RunFinished():
                return list(_summary(self._record, event))
            case PhaseStarted() | StepStarted() | StepAttempted() | TeardownStarted():
                return []
            case _:
                assert_never(event)

    def _is_untold(self, event: AnyEvent) -> bool:
        """Whether it's of a spec that wasn't run: that is a line in all, but for those who want to know it all."""
        if self._verbose or isinstance(event, RunStarted | RunFinished | SpecFinished):
            return False
        return self._record.spec(event.spec).is_cached

    def _phase_progress(self, event: PhaseProgress) -> list[Line]:
        if event.notice:
            return [Line(f"    note: {one_line(event.message)}", "skipped")]
        key = (event.spec, event.phase)
        too_soon = event.elapsed - self._progress.get(key, -_PROGRESS_EVERY) < _PROGRESS_EVERY
        if not self._phases or (too_soon and not self._verbose):
            return []
        self._progress[key] = event.elapsed
        return [Line(f"    {one_line(event.phase)}: {one_line(event.message)}", "dim")]

    def _phase_finished(self, event: PhaseFinished) -> list[Line]:
        time = format_seconds(event.seconds)
        if event.status in _BAD:
            head = Line(f"--- {_WORDS[event.status]}: {one_line(event.phase)} ({time})", event.status)
            return [head, *self._untold(event.spec, event.message)]
        if not self._phases:
            return []
        reason = f": {one_line(event.message)}" if event.message else ""
        skipped = "skipped, " if event.status == "skipped" else ""
        return [Line(f"    {one_line(event.phase)} ({skipped}{time}){reason}", "dim")]

    def _step_outside(self, event: StepFinished) -> list[Line]:
        """A step of no test (a component's readiness, clean-up) is told at once; those of tests wait for their test."""
        test = self._record.spec(event.spec).test(event.test)
        if test.started is not None or not (self._verbose or event.status in _BAD):
            return []
        self._note(event.spec, event.message)
        owner = "" if event.test in ("", event.section) else f"{one_line(event.test)}: "
        return list(_step(event, indent="", owner=owner, verbose=self._verbose))

    def _test_rerun(self, event: TestRerun) -> list[Line]:
        again = f"running it again (rerun {event.rerun} of {event.reruns})"
        head = Line(f"--- FAIL: {_name(event.test)} ({event.seconds:.2f}s), {again}", "skipped")
        tried = self._record.spec(event.spec).test(event.test).tries
        return [head, *_tried(tried[-1].steps if tried else [], event, "failed", self._verbose)]

    def _test_finished(self, event: TestFinished) -> list[Line]:
        if self._quiet and event.status == "passed" and not event.flaky:
            return []
        style: Style = "skipped" if event.flaky else event.status
        head = Line(f"--- {_WORDS[event.status]}: {_name(event.test)} ({event.seconds:.2f}s){_tries(event)}", style)
        if event.status == "skipped":
            reason = event.message.removeprefix("not run: ")
            told = [known.partition("\n")[0] for known in self._told.get(event.spec, [])]
            is_known = reason in told or self._skipped.get(event.spec) == event.message
            self._skipped[event.spec] = event.message
            return [head] if is_known else [head, *_quote(event.message or "no reason given", "    ")]
        if event.status in _BAD:
            self._note(event.spec, event.message)
        steps = self._record.spec(event.spec).test(event.test).steps
        return [head, *_tried(steps, event, event.status, self._verbose)]

    def _note(self, spec: str, message: str) -> None:
        if message.strip():
            self._told.setdefault(spec, []).append(message.strip())

    def _untold(self, spec: str, message: str) -> list[Line]:
        """A message that may only sum up what has been told; then, what it adds."""
        first, _, rest = message.strip().partition("\n")
        told = list(self._told.get(spec, []))
        self._note(spec, message)
        if message.strip() in told:
            return []
        parts = [known.partition("\n") for known in told]
        rests = [known for known_first, _, known in parts if first.endswith(known_first)]
        if not rests:
            return _quote(message, "    ")
        known = max((each for each in rests if f"{rest}\n".startswith(f"{each}\n")), key=len, default="")
        new = rest.removeprefix(known).removeprefix("\n")
        return [Line(f"    {line}") for line in bar(shorten(new, _DETAIL))]

    def _teardown(self, event: TeardownFinished) -> list[Line]:
        cluster, time = one_line(event.cluster), format_seconds(event.seconds)
        if event.message:
            lines = [
                Line(f"--- ERROR: teardown of cluster {cluster} ({time})", "error"),
                *_quote(event.message, "    "),
            ]
            return [*lines, Line(f"    remove it with: {one_line(event.command)}", "error")] if event.command else lines
        if event.kept:
            found = self._record.spec(event.spec).clusters.get(event.cluster)
            use = f"; use it with: export KUBECONFIG={one_line(found.kubeconfig)}" if found and found.kubeconfig else ""
            command = one_line(event.command) or f"koalesce down {cluster}"
            return [Line(f"    cluster {cluster} is kept{use}"), Line(f"    remove it with: {command}")]
        which = f" of {cluster}" if len(self._record.spec(event.spec).clusters) > 1 else ""
        return [Line(f"    teardown{which} ({time})", "dim")] if self._phases else []

    def _spec_finished(self, event: SpecFinished) -> list[Line]:
        lines: list[Line] = []
        if event.message and event.status != "skipped":
            lines = self._untold(event.spec, event.message)
            if lines and event.status in _BAD:
                lines.insert(0, Line(f"--- {_WORDS[event.status]}: {one_line(event.spec)}", event.status))
        if event.evidence and event.status in _BAD:
            lines.append(Line(f"    evidence: {one_line(event.evidence)}"))
        if event.uncached and self._verbose:
            lines.append(Line(f"    not cached: {one_line(event.uncached)}", "dim"))
        return [*lines, self._result(event)]

    def _result(self, event: SpecFinished) -> Line:
        spec = self._record.spec(event.spec)
        path, time = one_line(event.spec), "(cached)" if spec.is_cached else format_seconds(event.seconds)
        if event.status in _BAD:
            return Line(f"{_WORDS[event.status]}  {path}  {time}", event.status)
        if not spec.started.tests and not event.message:
            return Line(f"?  {path}  [no tests to run]", "skipped")
        if event.status == "skipped":
            return Line(f"skip  {path}  {one_line(event.message) or 'every test was skipped'}", "skipped")
        ends = [test.finished for test in spec.tests.values() if test.finished]
        counts = {"skipped": sum(end.status == "skipped" for end in ends), "flaky": sum(end.flaky for end in ends)}
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        return Line(f"ok  {path}  {time}" + (f"  ({told})" if told else ""), "passed")


def step_title(event: StepFinished) -> str:
    """A step's title, with the section where it isn't one of a test's steps."""
    title = one_line(event.title) or event.type
    return title if event.section == "steps" else f"{event.section}: {title}"


def explanation(event: StepFinished) -> list[str]:
    """Why a step did not pass: place, message, expected, actual and detail, one line each or behind bars."""
    lines = _wrapped(f"{location(event.spec, event.line)}: {event.type}: ", event.message)
    for label, value in (("expected: ", event.expected), ("actual:   ", event.actual)):
        if value is not None:
            lines += _wrapped(label, value)
    return lines + bar(shorten(event.detail, _DETAIL))


def _tries(event: TestFinished) -> str:
    """How often a test was tried, where it was more than once."""
    if event.flaky:
        return f" (flaky: passed on rerun {event.rerun} of {event.reruns})"
    return f" (after {event.rerun} of {event.reruns} reruns)" if event.rerun else ""


def _tried(
    records: Sequence[StepRecord], event: TestFinished | TestRerun, status: Status, verbose: bool
) -> Iterator[Line]:
    """The steps of a test that ended so, as far as they are worth it, and where its evidence is."""
    steps = [step.finished for step in records if step.finished]
    if verbose or status in _BAD:
        for step in steps:
            yield from _step(step, indent="    ", verbose=verbose)
    if status in _BAD and not any(step.status in _BAD for step in steps):
        yield from _quote(f"{location(event.spec, event.line)}: {event.message}", "    ")
    if event.evidence:
        yield Line(f"    evidence: {one_line(event.evidence)}")


def _step(event: StepFinished, *, indent: str, verbose: bool, owner: str = "") -> Iterator[Line]:
    times = [f"{event.seconds:.2f}s"]
    if event.attempts > 1:
        times.append(f"{event.attempts} attempts")
    if event.status == "passed" and event.settled is not None and event.seconds - event.settled >= 0.05:
        times.append(f"held after {event.settled:.2f}s")
    yield Line(f"{indent}--- {_WORDS[event.status]}: {owner}{step_title(event)} ({', '.join(times)})", event.status)
    if event.status in _BAD:
        yield from (Line(f"{indent}    {text}") for text in explanation(event))
    elif event.message and (verbose or event.status == "skipped"):
        yield from (Line(line.text, "dim") for line in _quote(event.message, f"{indent}    "))


def _summary(record: RunRecord, event: RunFinished) -> Iterator[Line]:
    flaky = list(_flaky(record))
    problems = [*_problems(record), *flaky]
    if len(problems) > 1 or flaky:
        yield Line("")
        yield from problems
    if event.status in _BAD and record.started is not None and record.started.folder:
        yield Line(f"artifacts: {one_line(record.started.folder)}")
    word, style = _verdict(event)
    cached = sum(end.status == "passed" for spec in record.specs.values() if spec.is_cached for end in spec.ends)
    some = [f"{count} {word}" for count, word in ((event.flaky, "flaky"), (cached, "cached")) if count]
    counts = [f"{event.passed} passed" + (f" ({', '.join(some)})" if some else "")]
    counts += [f"{count} {name}" for name, count in _counts(record, event) if count]
    left = ", teardown failed: see above for what is left" if event.teardown_failed else ""
    yield Line(f"{word}  {', '.join(counts)} in {format_seconds(event.seconds)}{left}", style)


def _verdict(event: RunFinished) -> tuple[str, Style]:
    if event.interrupted:
        return "INTERRUPTED", "error"
    if event.status in _BAD:
        return _WORDS[event.status], event.status
    if event.teardown_failed:
        return "ERROR", "error"
    return ("PASS", "passed") if event.passed else ("NO TESTS", "skipped")


def _counts(record: RunRecord, event: RunFinished) -> list[tuple[str, int]]:
    planned = ((spec, name) for spec in record.specs.values() for name in spec.started.tests)
    not_run = sum(1 for spec, name in planned if name not in spec.tests or spec.tests[name].finished is None)
    errors = "errors" if event.error > 1 else "error"
    return [("failed", event.failed), (errors, event.error), ("skipped", event.skipped), ("not run", not_run)]


def _problems(record: RunRecord) -> Iterator[Line]:
    for spec in record.specs.values():
        told: list[str] = []
        for test in spec.tests.values():
            if test.finished and test.finished.status in _BAD:
                end = test.finished
                line = next(
                    (step.finished.line for step in test.steps if step.finished and step.finished.status in _BAD),
                    end.line,
                )
                told.append(f"{_name(test.name)}: {_first(end.message)}")
                yield _problem(end.status, location(test.spec, line), told[-1])
        if spec.finished and spec.finished.status in _BAD and _first(spec.finished.message) not in ("", *told):
            yield _problem(spec.finished.status, one_line(spec.started.spec), _first(spec.finished.message))


def _flaky(record: RunRecord) -> Iterator[Line]:
    """Tests that passed only when they were run again, with what they failed of."""
    for test in (test for spec in record.specs.values() for test in spec.tests.values()):
        if test.finished and test.finished.flaky:
            why = f": {_first(test.tries[-1].ended.message)}" if test.tries else ""
            place = location(test.spec, test.finished.line)
            yield _recap("FLAKY", place, f"{_name(test.name)}{_tries(test.finished)}{why}", "skipped")


def _problem(status: Status, place: str, message: str) -> Line:
    return _recap(_WORDS[status], place, message, status)


def _recap(word: str, place: str, message: str, style: Style) -> Line:
    text = one_line(message)
    text = text if len(text) <= _RECAP else f"{text[: _RECAP - 1]}…"
    return Line(f"{word}  {place}  {text}", style)


def _cluster(event: ClusterReady, earlier: str) -> str:
    count = len(event.nodes)
    nodes = f"{count} node{'' if count == 1 else 's'}"
    provider, version = one_line(event.provider), one_line(event.kubernetes)
    time = f"of an earlier {earlier}" if event.reused else format_seconds(event.seconds)
    time = "which was up before" if event.shared else time
    return f"cluster {one_line(event.cluster)}: {nodes}, Kubernetes {version}, {provider} ({time})"


def _name(test: str) -> str:
    return one_line(test) or "setup"


def _first(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _quote(text: str, indent: str) -> list[Line]:
    return [Line(indent + line) for line in _wrapped("", text)]


def _wrapped(label: str, text: str) -> list[str]:
    """A label and a text behind it; what follows the text's first line stands behind bars."""
    first, _, rest = text.strip().partition("\n")
    return [f"{label}{one_line(first)}".rstrip(), *bar(shorten(rest, _DETAIL))]
