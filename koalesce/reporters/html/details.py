"""All tests with their steps, and the clusters that they ran on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from koalesce.events import ClusterReady
from koalesce.reporters.cases import BAD, Case
from koalesce.reporters.html.failures import step_list
from koalesce.reporters.html.markup import Content, Markup, joined, tag
from koalesce.reporters.html.words import definitions, folded, mark, status_of, told
from koalesce.reporters.record import RunRecord

_MOST_STEPS = 20_000  # steps of tests that passed, of a whole run


class Tests:
    """Lists of tests; those with their steps as long as there aren't too many of them."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def of_spec(self, spec: str, cases: Iterable[tuple[Case, str, bool]], *, is_open: bool) -> Markup:
        """The tests of a spec; each with its anchor, and whether that is of a card further up."""
        lines = [self._line(case, anchor, has_card) for case, anchor, has_card in cases]
        return folded([tag("code", spec), f" ({len(lines)})"], tag("ul", lines, class_="tests"), is_open=is_open)

    def _line(self, case: Case, anchor: str, has_card: bool) -> Markup:
        name = tag("a", case.name, href=f"#{anchor}") if has_card else tag("span", case.name, class_="name")
        status = status_of(case)
        head = joined(mark(status), " ", name, " ", told(case.seconds) if case.status != "skipped" else None)
        ends = [step.finished for step in case.steps if step.finished]
        if case.status in BAD or not ends or len(ends) > self._left:
            said = tag("span", case.message.partition("\n")[0], class_="said") if case.message else None
            return tag("li", head, said, id=None if has_card else anchor, class_=f"test {status}")
        self._left -= len(ends)
        shown = folded(head, step_list(ends))
        return tag("li", shown, id=None if has_card else anchor, class_=f"test {status}")


def clusters(record: RunRecord) -> Markup:
    """Each cluster that was made, with its nodes and what it can do."""
    found = [
        (cluster, spec.started.spec)
        for spec in record.specs.values()
        for cluster in spec.clusters.values()
        if not cluster.reused
    ]
    return joined([_cluster(cluster, spec) for cluster, spec in found]) or tag("p", "No cluster came up.")


def _cluster(cluster: ClusterReady, spec: str) -> Markup:
    how = "was up before the run" if cluster.shared else ["up in ", told(cluster.seconds)]
    facts: list[tuple[str, Content]] = [
        ("Kubernetes", cluster.kubernetes), ("Provider", cluster.provider), ("Made", how), ("For", tag("code", spec)),
        ("Capabilities", [[tag("code", name), " "] for name in sorted(cluster.capabilities)]),
    ]  # fmt: skip
    columns = list(dict.fromkeys(key for node in cluster.nodes for key in node))
    head = tag("tr", [tag("th", column, scope="col") for column in columns])
    rows = [tag("tr", [tag("td", _value(node.get(column))) for column in columns]) for node in cluster.nodes]
    nodes = tag(
        "div", tag("table", tag("thead", head), tag("tbody", rows), class_="list"), class_="scroll", tabindex="0"
    )
    count = len(cluster.nodes)
    title = [tag("code", cluster.cluster), f" {count} node{'' if count == 1 else 's'}, Kubernetes {cluster.kubernetes}"]
    return folded(title, definitions(facts), nodes if columns else None, is_open=False)


def machine(record: RunRecord) -> Markup | None:
    """What ran the tests."""
    if record.started is None:
        return None
    facts: Mapping[str, Any] = {"Koalesce": record.started.version, **record.started.machine}
    return definitions((name, _value(value)) for name, value in facts.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    is_list = isinstance(value, Sequence) and all(isinstance(each, str) for each in value)
    return ", ".join(value) if is_list else "" if value is None else json.dumps(value, ensure_ascii=False)
