"""JUnit XML: a suite for each spec, a case for each test, and a case for whatever went wrong outside of tests.

What readers make of it: GitLab shows class name, name and the *text* of failures (not their `message`), Jenkins and GitLab link
`[[ATTACHMENT|path]]` in a case's output, GitHub actions and CircleCI use `file` and `line`. A `failure` is the software under
test, an `error` is everything else. Surefire's `flakyFailure` and `rerunFailure` are in Jenkins' schema, `file` and `line` of
a case are not.
"""

from __future__ import annotations

import posixpath
import re
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from koalesce.reporters.cases import Case, cases_of
from koalesce.reporters.record import RunRecord, SpecRecord
from koalesce.reporters.text import clean, shorten, split_cell
from koalesce.reporters.whole_file import WholeFile

_OUTSIDE_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT = 65536  # characters of one element's text
_ATTACHMENTS = 50  # files of one case
_NOT_IN_SCHEMA = {
    "testsuites": ("skipped",),
    "testcase": ("file", "line"),
}  # attributes that Jenkins' junit-10.xsd lacks


class JUnit(WholeFile):
    """One XML document; `strict`: valid against Jenkins' schema."""

    def __init__(self, path: Path, *, strict: bool = False) -> None:
        super().__init__(path)
        self._strict = strict

    def content(self) -> bytes:
        """The report of what is known so far."""
        return render(self._record, strict=self._strict)


def render(record: RunRecord, *, strict: bool = False) -> bytes:
    """The report of a run as far as it is known. Tests that were running are errors, those not yet begun are skipped.

    `strict` leaves out what Jenkins' schema (junit-10.xsd) doesn't allow, but most readers use.
    """
    root = ET.Element("testsuites", name="koalesce")
    cases: list[Case] = []
    classes = _classes(record)
    for index, spec in enumerate(record.specs.values()):
        mine = list(cases_of(record, spec))
        cases += mine
        root.append(_suite(record, spec, index, mine, classes))
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


def _classes(record: RunRecord) -> dict[str, str]:
    """A class name for each file of specs: `a.b` of a/b.yaml, but its path where another file (a/b.yml) would have the same."""
    files = dict.fromkeys(split_cell(path)[0] for path in record.specs)
    dotted = {file: posixpath.splitext(file)[0].strip("/.").replace("/", ".") for file in files}
    counts = Counter(dotted.values())
    return {file: name if counts[name] == 1 else file for file, name in dotted.items()}


def _suite(
    record: RunRecord, spec: SpecRecord, index: int, cases: list[Case], classes: Mapping[str, str]
) -> ET.Element:
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
    classname = _xml(f"{classes[file]} {cell}".rstrip())
    for case in cases:
        suite.append(_testcase(case, path, classname))
    return suite


def _properties(record: RunRecord, spec: SpecRecord) -> Iterator[tuple[str, str]]:
    yield "spec", spec.started.name
    if spec.is_cached:
        yield "cached", spec.started.cached
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


def _count(element: ET.Element, cases: list[Case], seconds: float) -> None:
    statuses = [case.status for case in cases]
    element.set("tests", str(len(statuses)))
    element.set("failures", str(statuses.count("failed")))
    element.set("errors", str(statuses.count("error")))
    element.set("skipped", str(statuses.count("skipped")))
    element.set("time", f"{seconds:.3f}")


def _testcase(case: Case, path: str, classname: str) -> ET.Element:
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


def _add_verdict(element: ET.Element, tag: str, case: Case) -> None:
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
