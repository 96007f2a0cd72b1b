"""JUnit XML: a suite for each spec, a case for each test, and a case for whatever went wrong outside of tests.

What readers make of it: GitLab shows class name, name and the *text* of failures (not their `message`), Jenkins and GitLab link
`[[ATTACHMENT|path]]` in a case's output, GitHub actions and CircleCI use `file` and `line`. A `failure` is the software under
test, an `error` is everything else. Surefire's `flakyFailure` and `rerunFailure` are in Jenkins' schema, `file` and `line` of
a case are not.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET

from koalesce.events import AnyEvent, Status, StepFinished, TestFinished, TestRerun
from koalesce.reporters.files import write_whole
from koalesce.reporters.narration import explanation, step_title
from koalesce.reporters.record import RunRecord, SpecRecord, StepRecord, TestRecord
from koalesce.reporters.text import clean, shorten, split_cell

_OUTSIDE_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BAD = ("failed", "error")
_TEXT = 65536  # characters of one element's text
_ATTACHMENTS = 50  # files of one case
_NOT_IN_SCHEMA = {
    "testsuites": ("skipped",),
    "testcase": ("file", "line"),
}  # attributes that Jenkins' junit-10.xsd lacks


class JUnit:
    """Collects the run and writes the report at its end, whatever that end is; `strict`: valid against Jenkins' schema."""

    def __init__(self, path: Path, *, strict: bool = False) -> None:
        self._path = path
        self._strict = strict
        self._record = RunRecord()

    def handle(self, event: AnyEvent) -> None:
        """Take the event in."""
        self._record.apply(event)

    def close(self) -> None:
        """Write the file."""
        write_whole(self._path, render(self._record, strict=self._strict))


def render(record: RunRecord, *, strict: bool = False) -> bytes:
    """The report of a run as far as it is known. Tests that were running are errors, those not yet begun are skipped.

    `strict` leaves out what Jenkins' schema (junit-10.xsd) doesn't allow, but most readers use.
    """
    root = ET.Element("testsuites", name="koalesce")
    cases: list[_Case] = []
    for index, spec in enumerate(record.specs.values()):
        mine = list(_cases(record, spec))
        cases += mine
        root.append(_suite(record, spec, index, mine))
    _count(root, cases, record.finished.seconds if record.finished else record.elapsed)
    if strict:
        _keep_to_schema(root)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _keep_to_schema(root: ET.Element) -> None:
    for tag, attributes in _NOT_IN_SCHEMA.items():
        for element in root.iter(tag):
            for attribute in attributes:
                element.attrib.pop(attribute, None)


@dataclass(slots=True, kw_only=True)
class _Case:
    name: str
    status: Status
    seconds: float = 0.0
    line: int = 0
    type: str = ""
    message: str = ""
    text: str = ""
    output: list[str] = field(default_factory=list)
    evidence: str = ""
    tries: list[_Case] = field(default_factory=list)  # before it, all of which failed


def _cases(record: RunRecord, spec: SpecRecord) -> Iterator[_Case]:
    bad = [case for case in (*_phases(spec), *_outside(spec), *_teardown(spec)) if case.status in _BAD]
    tests = [_test(record, spec, name, spec.tests.get(name)) for name in dict.fromkeys(spec.started.tests)]
    end = spec.finished
    known = [*bad, *(case for case in tests if case.status != "passed")]
    yield from bad
    yield from tests
    if end is None and not tests:
        yield _Case(
            name=spec.started.name, status="error", type="interrupted", message="the run ended before the spec did"
        )
    elif (
        end is not None
        and not any(case.status == end.status for case in known)
        and (end.status != "passed" or not tests)
    ):
        yield _Case(
            name=spec.started.name,
            status=end.status,
            seconds=end.seconds,
            type="spec",
            message=end.message,
            evidence=end.evidence,
        )


def _is_test(test: TestRecord) -> bool:
    return test.started is not None or test.finished is not None


def _phases(spec: SpecRecord) -> Iterator[_Case]:
    for phase in spec.phases.values():
        steps = spec.tests[phase.name].steps if phase.name in spec.tests else ()
        if phase.finished is None or any(step.finished and step.finished.status in _BAD for step in steps):
            continue  # a component's steps tell more than that it isn't ready
        end, evidence = phase.finished, spec.finished.evidence if spec.finished else ""
        yield _Case(
            name=phase.name,
            status=end.status,
            seconds=end.seconds,
            type="phase",
            message=end.message,
            evidence=evidence,
        )


def _outside(spec: SpecRecord) -> Iterator[_Case]:
    """Set-up, and steps of no test: those of components' readiness and of the spec's clean-up."""
    planned = set(spec.started.tests)
    for name, test in spec.tests.items():
        if name in planned:
            continue
        if test.finished is not None:
            yield _ended(name, test, test.finished)
            continue
        for end in (step.finished for step in test.steps if step.finished):
            text = "\n".join(explanation(end))
            title = step_title(end) if name in ("", end.section) else f"{name}: {step_title(end)}"
            yield _Case(
                name=title,
                status=end.status,
                seconds=end.seconds,
                line=end.line,
                type=end.type,
                message=end.message,
                text=text,
            )


def _teardown(spec: SpecRecord) -> Iterator[_Case]:
    for cluster, end in spec.teardowns.items():
        if end.message:
            name = "teardown" if len(spec.teardowns) == 1 else f"teardown of {cluster}"
            text = f"{end.message}\nremove it with: {end.command}"
            yield _Case(name=name, status="error", seconds=end.seconds, type="teardown", message=end.message, text=text)


def _test(record: RunRecord, spec: SpecRecord, name: str, test: TestRecord | None) -> _Case:
    if test is None or not _is_test(test):
        reason = spec.finished.message if spec.finished else "the run ended before it"
        return _Case(name=name, status="skipped", message=f"not run: {reason}" if reason else "not run")
    return _unfinished(record, test) if test.finished is None else _ended(name, test, test.finished)


def _unfinished(record: RunRecord, test: TestRecord) -> _Case:
    running = test.running.started if test.running else None
    return _Case(
        name=test.name,
        status="error",
        seconds=max(0.0, record.elapsed - test.began),
        line=test.started.line if test.started else 0,
        type="interrupted",
        message=f"the run ended in {running.title}" if running else "the run ended before the test did",
        output=_output(test),
    )


def _ended(name: str, test: TestRecord, end: TestFinished) -> _Case:
    case = _tried(name, test.steps, end, end.status)
    case.tries = [_tried(name, each.steps, each.ended, "failed") for each in test.tries]
    case.output = _output(test)
    return case


def _tried(name: str, records: Sequence[StepRecord], end: TestFinished | TestRerun, status: Status) -> _Case:
    """One try of a test; all of its steps that failed are told of."""
    bad = [step.finished for step in records if step.finished and step.finished.status in _BAD and status in _BAD]
    first = next((step for step in bad if step.status == status), None)
    return _Case(
        name=name,
        status=status,
        seconds=end.seconds,
        line=first.line if first else end.line,
        type=first.type if first else "test",
        message=end.message,
        text="\n".join([end.message, *(line for step in bad for line in explanation(step))]) if bad else "",
        evidence=end.evidence,
    )


def _output(test: TestRecord) -> list[str]:
    lines: list[str] = []
    for number, each in enumerate(test.tries):
        lines += [f"try {number + 1}:", *_step_lines(each.steps)]
    return [*lines, *([f"try {len(test.tries) + 1}:"] if test.tries else []), *_step_lines(test.steps)]


def _step_lines(records: Sequence[StepRecord]) -> list[str]:
    return [_step_line(step.finished) for step in records if step.finished]


def _step_line(end: StepFinished) -> str:
    return f"{end.status}: {step_title(end)} ({end.seconds:.2f}s, attempts: {end.attempts}) {end.message}".rstrip()


def _suite(record: RunRecord, spec: SpecRecord, index: int, cases: list[_Case]) -> ET.Element:
    path = spec.started.spec
    suite = ET.Element("testsuite", name=_xml(path), id=str(index))
    seconds = spec.finished.seconds if spec.finished else max(0.0, record.elapsed - spec.started.elapsed)
    _count(suite, cases, seconds)
    suite.set("timestamp", spec.started.at.removesuffix("Z").split("+")[0])
    suite.set(
        "hostname",
        _xml(str((record.started.machine if record.started else {}).get("hostname") or socket.gethostname())),
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(record, spec):
        ET.SubElement(properties, "property", name=name, value=_xml(value))
    file, cell = split_cell(path)
    name = str(PurePosixPath(file).with_suffix("")).strip("/.").replace("/", ".")
    classname = _xml(f"{name} {cell}".rstrip())
    for case in cases:
        suite.append(_testcase(case, path, classname))
    return suite


def _properties(record: RunRecord, spec: SpecRecord) -> Iterator[tuple[str, str]]:
    yield "spec", spec.started.name
    if record.started is not None:
        yield "koalesce", record.started.version
        yield "run", record.started.run_id
        yield "artifacts", record.started.folder
    for cluster in spec.clusters.values():
        yield "provider", cluster.provider
        yield "kubernetes", cluster.kubernetes
        yield "cluster", cluster.cluster
        yield "nodes", str(len(cluster.nodes))
        yield "capabilities", " ".join(cluster.capabilities)


def _count(element: ET.Element, cases: list[_Case], seconds: float) -> None:
    statuses = [case.status for case in cases]
    element.set("tests", str(len(statuses)))
    element.set("failures", str(statuses.count("failed")))
    element.set("errors", str(statuses.count("error")))
    element.set("skipped", str(statuses.count("skipped")))
    element.set("time", f"{seconds:.3f}")


def _testcase(case: _Case, path: str, classname: str) -> ET.Element:
    element = ET.Element("testcase", classname=classname, name=_xml(case.name), file=_xml(split_cell(path)[0]))
    if case.line:
        element.set("line", str(case.line))
    element.set("time", f"{case.seconds:.3f}")
    if case.status == "skipped":
        ET.SubElement(element, "skipped", message=_xml(case.message)).text = _xml(case.message)
    elif case.status == "passed":
        for each in case.tries:
            _add_verdict(element, "flakyFailure", each)
    else:
        first, *later = [*case.tries, case]  # the first run is the verdict, the others are reruns, as Surefire has it
        first, later = (first, later) if first.status == case.status else (case, case.tries)
        _add_verdict(element, "failure" if case.status == "failed" else "error", first)
        for each in later:
            _add_verdict(element, "rerunFailure", each)
    folders = [each.evidence for each in (*case.tries, case)]
    output = [*case.output, *(f"[[ATTACHMENT|{file}]]" for folder in folders for file in _attachments(folder))]
    if output:
        ET.SubElement(element, "system-out").text = _xml("\n".join(output))
    return element


def _add_verdict(element: ET.Element, tag: str, case: _Case) -> None:
    """Why a try didn't pass: in the verdict's element, or in those that Surefire has for reruns."""
    verdict = ET.SubElement(element, tag, message=_xml(case.message.split("\n")[0]), type=_xml(case.type))
    if tag in ("failure", "error"):
        verdict.text = _xml(case.text or case.message)
    else:
        ET.SubElement(verdict, "stackTrace").text = _xml(case.text or case.message)


def _attachments(evidence: str) -> Iterator[Path]:
    """The files of an evidence folder, absolute, as Jenkins wants them, its README first; the folder itself where it isn't here."""
    if not evidence:
        return
    folder = Path(evidence).absolute()
    files = sorted((file for file in folder.rglob("*") if file.is_file()), key=lambda file: (len(file.parts), file))
    yield from files[:_ATTACHMENTS] or [folder]


def _xml(text: str) -> str:
    """Text that XML 1.0 can hold: ElementTree would write characters that no parser takes back."""
    return _OUTSIDE_XML.sub("\N{REPLACEMENT CHARACTER}", shorten(clean(text), _TEXT))
