"""A run in Markdown: the summary that GitHub shows of a job's step, a note for a merge request."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from koalesce.durations import format_seconds
from koalesce.reporters.cases import BAD, Case, cases_of
from koalesce.reporters.comparison import compare, told
from koalesce.reporters.html.summary import verdict
from koalesce.reporters.html.words import ORDER, status_of
from koalesce.reporters.record import RunRecord, SpecRecord
from koalesce.reporters.text import clean, location, one_line, shorten
from koalesce.reporters.whole_file import WholeFile

_TEXT = 8000  # characters of what there is to say of one case
_ALL = 900_000  # bytes: GitHub refuses a summary of more than 1 MiB as a whole
_MARKS = {"failed": "❌", "error": "💥", "flaky": "⚠️", "passed": "✅", "skipped": "⏭️"}
# What means something within a line of GitHub's Markdown; a backslash before it takes the meaning away.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&@$^=+!]|:(?=[^\s\d]))")


class Markdown(WholeFile):
    """A page of Markdown.

    `appends`: to what is in the file already; `earlier`: a run to show it beside.
    """

    def __init__(self, path: Path, *, appends: bool = False, earlier: RunRecord | None = None) -> None:
        self._earlier = earlier
        super().__init__(path)
        self._appends = appends

    def content(self) -> bytes:
        """The summary of what is known so far."""
        return "".join(f"{line}\n" for line in lines(self._record, earlier=self._earlier)).encode(
            "utf-8", errors="replace"
        )

    def save(self) -> None:
        """As every report; what is added to a file of others can't be replaced later."""
        if not self._appends:
            super().save()

    def close(self) -> None:
        """Write the file."""
        if self._appends:
            with self._path.open("ab") as file:
                file.write(self.content())
        else:
            super().close()


def lines(record: RunRecord, *, room: int = _ALL, earlier: RunRecord | None = None) -> Iterator[str]:
    """A table of the specs, what differs from an earlier run, then all that did not pass, as far as there is room for it (in bytes)."""
    cases = {path: list(cases_of(record, spec)) for path, spec in record.specs.items()}
    every = [case for mine in cases.values() for case in mine]
    names = ", ".join(record.names)
    word, look = verdict(record, every)
    yield f"## {_MARKS[look]} {word}: {plain(shorten_line(names, 120)) or 'nothing'}"
    yield ""
    yield "| Spec | Kubernetes | Tests | Time |"
    yield "|---|---|---|---|"
    yield from (_row(record, spec, cases[path]) for path, spec in record.specs.items())
    yield ""
    if earlier is not None:
        head, *changes = told(compare(earlier, record))
        yield from (f"{head[:1].upper()}{plain(head[1:])}", "", *(f"- {plain(change)}" for change in changes), "")
    yield from _warnings(record)
    yield from _details(cases, room)
    if record.started:
        yield f"Koalesce {plain(record.started.version)}, run {plain(record.started.run_id)}"


def plain(text: str) -> str:
    """Foreign text within a line, of which nothing is Markdown."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def shorten_line(text: str, limit: int) -> str:
    """A line that isn't longer than `limit`."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _row(record: RunRecord, spec: SpecRecord, cases: Sequence[Case]) -> str:
    counts = Counter(status_of(case) for case in cases if case.is_test)
    numbers = ", ".join(f"{counts[each]} {each}" for each in ORDER if counts[each]) or "none"
    seconds = spec.finished.seconds if spec.finished else max(0.0, record.elapsed - spec.started.elapsed)
    status = spec.finished.status if spec.finished else "error"
    mark = _MARKS["flaky" if status == "passed" and counts["flaky"] else status]
    versions = ", ".join(dict.fromkeys(cluster.kubernetes for cluster in spec.clusters.values())) or "none"
    return f"| {mark} {plain(spec.started.spec)} | {plain(versions)} | {numbers} | {'(cached)' if spec.is_cached else format_seconds(seconds)} |"


def _warnings(record: RunRecord) -> Iterator[str]:
    if record.finished is None:
        yield "**The run did not end**: this is what was known until then."
        yield ""
    for spec in record.specs.values():
        for name, end in spec.teardowns.items():
            if end.message:
                yield f"**Cluster {plain(name)} is left over.** Remove it with: {plain(end.command)}"
                yield ""


def _details(cases: dict[str, list[Case]], left: int) -> Iterator[str]:
    """What did not pass, each to be unfolded."""
    found = [(path, case) for path, mine in cases.items() for case in mine if case.status in BAD or case.is_flaky]
    for number, (path, case) in enumerate(found):
        text = "\n".join(_case(path, case))
        left -= len(text.encode("utf-8", errors="replace"))
        if left < 0:
            yield f"… and {len(found) - number} more that did not pass."
            yield ""
            return
        yield text


def _case(path: str, case: Case) -> Iterator[str]:
    said = [case.text.strip() or case.message.strip()] if case.status in BAD else []
    tries = [f"try {number} failed:\n{each.text or each.message}" for number, each in enumerate(case.tries, start=1)]
    place = html.escape(location(path, case.line))
    name = html.escape(one_line(case.name) or "setup")
    status = status_of(case)
    yield f"<details><summary>{_MARKS[status]} <b>{name}</b> ({status}) <code>{place}</code></summary>"
    yield ""
    text = shorten(clean("\n".join([*tries, *said])), _TEXT) or "nothing is said of it"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    yield f"{fence}text\n{text}\n{fence}"
    if case.evidence:
        yield f"\nEvidence: {plain(case.evidence)}"
    yield "\n</details>\n"
