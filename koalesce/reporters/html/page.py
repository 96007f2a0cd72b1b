"""The whole page: sections in their order, put into the template with its style."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from string import Template

from koalesce.assets import asset
from koalesce.reporters.cases import BAD, Case, cases_of
from koalesce.reporters.comparison import Comparison
from koalesce.reporters.html.compared import compared
from koalesce.reporters.html.details import Tests, clusters, machine
from koalesce.reporters.html.evidence import Evidence
from koalesce.reporters.html.failures import card
from koalesce.reporters.html.markup import Markup, escape, joined, tag
from koalesce.reporters.html.plots import plots
from koalesce.reporters.html.spans import Anchors
from koalesce.reporters.html.summary import header, specs_table, verdict
from koalesce.reporters.html.timeline import timeline
from koalesce.reporters.html.topology import topologies
from koalesce.reporters.html.words import mark, status_of
from koalesce.reporters.record import RunRecord

_OPEN_LISTS = 3  # specs whose tests are listed without asking


def render(record: RunRecord, evidence: Evidence, comparison: Comparison | None = None) -> bytes:
    """The report of a run as far as it is known; with `comparison`, beside an earlier one."""
    cases = {path: list(cases_of(record, spec)) for path, spec in record.specs.items()}
    every = [case for mine in cases.values() for case in mine]
    sections = _sections(record, cases, evidence, comparison)
    links = [tag("a", title, href=f"#{name}") for name, title, _ in sections]
    body = joined(
        header(record, every),
        tag("nav", links, aria_label="Sections"),
        tag("main", [tag("section", tag("h2", title), content, id=name) for name, title, content in sections]),
    )
    style = asset("templates", "report", "style.css").read_text(encoding="utf-8")
    page = Template(asset("templates", "report", "page.html").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    title = escape(f"{verdict(record, every)[0]}: {', '.join(spec.started.name for spec in record.specs.values())}")
    return page.substitute(title=title, style=style, digest=digest, body=body).encode("utf-8", errors="replace")


def _sections(
    record: RunRecord, cases: Mapping[str, Sequence[Case]], evidence: Evidence, comparison: Comparison | None
) -> list[tuple[str, str, Markup]]:
    """The sections that have something in them: their names, titles and contents."""
    anchors = _anchors(cases)
    problems = [
        card(case, path, anchors[path][index], evidence)
        for path, mine in cases.items()
        for index, case in enumerate(mine)
        if _has_card(case)
    ]
    lists = Tests()
    listed = [
        lists.of_spec(
            path,
            ((case, anchors[path][index], _has_card(case)) for index, case in enumerate(mine) if case.is_test),
            is_open=len(cases) <= _OPEN_LISTS,
        )
        for path, mine in cases.items()
        if any(case.is_test for case in mine)
    ]
    found = [
        ("problems", _title(cases), _index(cases, anchors) if problems else None),
        ("compared", "Beside an earlier run", compared(comparison, _by_test(cases, anchors)) if comparison else None),
        ("timeline", "Timeline", timeline(record, _by_test(cases, anchors))),
        ("probes", "Latency and loss", plots(record, _by_test(cases, anchors))),
        ("topology", "BGP", topologies(record, _by_test(cases, anchors))),
        ("details", "What happened", joined(problems) if problems else None),
        ("specs", "Specs", specs_table(record, cases) if cases else None),
        ("tests", "Tests", joined(listed) if listed else None),
        ("clusters", "Clusters", clusters(record) if cases else None),
        ("machine", "Versions", machine(record)),
    ]
    return [(name, title, content) for name, title, content in found if content is not None]


def _has_card(case: Case) -> bool:
    return case.status in BAD or case.is_flaky


def _index(cases: Mapping[str, Sequence[Case]], anchors: Mapping[str, Sequence[str]]) -> Markup:
    """A line for each card, with its spec where there are several."""
    lines = [
        tag(
            "li", mark(status_of(case)), " ", tag("a", case.name or "setup", href=f"#{anchors[path][index]}"),
            [" ", tag("code", path, class_="where")] if len(cases) > 1 else None,
            tag("span", _reason(case), class_="said"),
        )
        for path, mine in cases.items()
        for index, case in enumerate(mine)
        if _has_card(case)
    ]  # fmt: skip
    return tag("ul", lines, class_="tests")


def _reason(case: Case) -> str:
    message = case.message or (case.tries[-1].message if case.tries else "")
    return message.partition("\n")[0]


def _title(cases: Mapping[str, Sequence[Case]]) -> str:
    """What did not pass, by its kinds: `2 failed, 1 flaky`."""
    counts = Counter(status_of(case) for mine in cases.values() for case in mine if _has_card(case))
    words = {"failed": "failed", "error": "errors" if counts["error"] > 1 else "error", "flaky": "flaky"}
    return ", ".join(f"{counts[status]} {word}" for status, word in words.items() if counts[status])


def _anchors(cases: Mapping[str, Sequence[Case]]) -> dict[str, list[str]]:
    return {path: [f"c{spec}-{index}" for index in range(len(mine))] for spec, (path, mine) in enumerate(cases.items())}


def _by_test(cases: Mapping[str, Sequence[Case]], anchors: Mapping[str, Sequence[str]]) -> Anchors:
    return {
        (path, case.name): anchors[path][index]
        for path, mine in cases.items()
        for index, case in enumerate(mine)
        if case.is_test or case.steps
    }
