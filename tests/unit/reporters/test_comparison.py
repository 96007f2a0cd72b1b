"""Two runs beside each other."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from koalesce.events import (
    AnyEvent,
    RunFinished,
    RunStarted,
    SpecStarted,
    Status,
    StepFinished,
    TestFinished,
    TestRerun,
)
from koalesce.reporters.beside import Beside
from koalesce.reporters.comparison import Comparison, compare, headline, told
from koalesce.reporters.html import Html
from koalesce.reporters.markdown import Markdown
from koalesce.reporters.plain import Plain
from koalesce.reporters.record import RunRecord
from tests.unit.reporters.pages import Page

SPEC = "specs/a.yaml"
AT = "2026-03-01T12:00:00.000Z"


def ended(name: str, status: Status = "passed", seconds: float = 1.0, message: str = "") -> TestFinished:
    return TestFinished(spec=SPEC, test=name, status=status, seconds=seconds, message=message, line=3)


def events(*ends: TestFinished, spec: str = SPEC) -> list[AnyEvent]:
    return [
        RunStarted(run_id="r1", version="1", specs=(spec,), folder="", at=AT),
        SpecStarted(spec=spec, name="a", tests=tuple(end.test for end in ends)),
        *ends,
    ]


def record(*ends: TestFinished, spec: str = SPEC, more: tuple[AnyEvent, ...] = ()) -> RunRecord:
    made = RunRecord()
    for event in (*events(*ends, spec=spec), *more):
        made.apply(event)
    return made


def names(found: Comparison) -> dict[str, list[str]]:
    kinds: Mapping[str, list[str]] = {
        kind: [change.name for change in getattr(found, kind)]
        for kind in ("broken", "fixed", "still", "slower", "faster", "added", "gone")
    }
    return {kind: changes for kind, changes in kinds.items() if changes}


def test_tells_what_has_become_of_each_test() -> None:
    before = record(
        ended("breaks"), ended("was skipped", "skipped"), ended("is fixed", "failed"), ended("fails", "failed"),
        ended("goes"), ended("stays"), ended("is left out now", "failed"),
    )  # fmt: skip
    after = record(
        ended("breaks", "failed"), ended("was skipped", "error"), ended("is fixed"), ended("fails", "error"),
        ended("is new"), ended("is new and fails", "failed"), ended("stays"), ended("is left out now", "skipped"),
    )  # fmt: skip

    assert names(compare(before, after)) == {
        "broken": ["breaks", "was skipped", "is new and fails"],
        "fixed": ["is fixed"],  # a skip fixes nothing
        "still": ["fails"],
        "added": ["is new"],
        "gone": ["goes"],
    }


def test_specs_of_one_run_only_are_left_out() -> None:
    other = replace(ended("a", "failed"), spec="specs/b.yaml")

    found = compare(record(other, spec="specs/b.yaml"), record(ended("a", "failed")))

    assert names(found) == {}
    assert headline(found) == "no spec is in both"


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ("ab", "ab", "nothing changed"),
        ("a", "abc", "nothing changed; not compared: 2 specs only in this run"),
        ("abc", "a", "nothing changed; not compared: 2 specs only in that one"),
        ("ab", "ac", "nothing changed; not compared: 1 spec only in this run, 1 spec only in that one"),
    ],
)
def test_specs_of_one_run_only_are_counted(then: str, now: str, said: str) -> None:
    def specs(letters: str) -> RunRecord:
        found = RunRecord()
        for spec in (f"specs/{letter}.yaml" for letter in letters):
            for event in events(replace(ended("t"), spec=spec), spec=spec):
                found.apply(event)
        return found

    assert headline(compare(specs(then), specs(now))) == said


@pytest.mark.parametrize(
    ("before", "after", "is_slower"),
    [(10.0, 16.0, True), (10.0, 14.0, False), (0.1, 0.5, False), (0.1, 0.7, True), (0.0, 0.0, False)],
)
def test_slower_is_half_as_long_again_and_half_a_second(before: float, after: float, is_slower: bool) -> None:
    found = compare(record(ended("t", seconds=before)), record(ended("t", seconds=after)))

    assert names(found) == ({"slower": ["t"]} if is_slower else {})
    assert names(compare(record(ended("t", seconds=after)), record(ended("t", seconds=before)))) == (
        {"faster": ["t"]} if is_slower else {}
    )


def test_times_of_what_did_not_pass_at_once_are_not_compared() -> None:
    rerun = TestRerun(spec=SPEC, test="t", rerun=1, reruns=1, seconds=5, message="m", line=3)

    assert names(compare(record(ended("t")), record(ended("t", seconds=10.0), more=(rerun,)))) == {}
    assert names(compare(record(ended("t", "failed")), record(ended("t", "failed", seconds=10.0)))) == {"still": ["t"]}


def test_a_machine_that_is_busier_makes_no_test_slower() -> None:
    before = [ended(f"t{number}", seconds=10.0) for number in range(8)]
    after = [ended(f"t{number}", seconds=30.0) for number in range(7)]

    found = compare(record(*before), record(*after, ended("t7", seconds=90.0)))

    assert names(found) == {"slower": ["t7"]}
    assert found.pace == pytest.approx(3.0)


def test_among_times_that_vary_much_only_the_odd_one_is_told() -> None:
    factors = [0.5, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0]
    before = [ended(f"t{number}", seconds=10.0) for number in range(len(factors) + 1)]
    after = [ended(f"t{number}", seconds=10.0 * factor) for number, factor in enumerate(factors)]

    assert names(compare(record(*before), record(*after, ended("t7", seconds=20.0)))) == {}
    assert names(compare(record(*before), record(*after, ended("t7", seconds=200.0)))) == {"slower": ["t7"]}


def took(title: str, seconds: float, index: int) -> StepFinished:
    return StepFinished(
        spec=SPEC, test="t", section="steps", index=index, type="exec", title=title, line=4, status="passed", attempts=1,
        seconds=seconds, message="",
    )  # fmt: skip


def test_names_the_step_that_the_time_goes_to() -> None:
    before = record(ended("t", seconds=4.0), more=(took("apply", 1.0, 0), took("wait", 3.0, 1)))
    after = record(ended("t", seconds=12.0), more=(took("apply", 2.0, 0), took("wait", 10.0, 1)))

    assert list(told(compare(before, after))) == [
        f"compared with run r1 of {AT}: 1 slower",
        "slower: specs/a.yaml:3 t: 12s, was 4s (3.0 times, mostly in wait)",
    ]


def test_the_end_of_a_run_tells_what_differs() -> None:
    stream = io.StringIO()
    view = Beside(Plain(stream), record(ended("t")))
    end = RunFinished(status="failed", passed=0, failed=1, error=0, skipped=0, seconds=1.0)

    for event in [*events(ended("t", "failed", message="first\nsecond ::error::x")), end]:
        view.handle(event)
    view.close()

    assert stream.getvalue().splitlines()[-2:] == [
        f"compared with run r1 of {AT}: 1 newly failing",
        "newly failing: specs/a.yaml:3 t: first",
    ]


def test_of_many_changes_the_first_ones_are_listed() -> None:
    ends = [f"t{number}" for number in range(30)]
    lines = list(told(compare(record(*map(ended, ends)), record(*(ended(name, "failed") for name in ends)))))

    assert len(lines) == 22
    assert lines[-1] == "… and 10 more that are newly failing"


def test_the_html_report_shows_it(tmp_path: Path) -> None:
    hostile = "</table><script>x</script>"
    reporter = Html(tmp_path / "r.html", earlier=record(ended("t"), ended(hostile, "failed")))
    for event in events(ended("t", "failed", message="broken now"), ended(hostile)):
        reporter.handle(event)
    reporter.close()

    page = Page((tmp_path / "r.html").read_text())

    assert "Newly failing (1)" in page.text
    assert "Fixed (1)" in page.text
    assert hostile in page.text
    assert {"href": "#compared"} in page.all("a")
    assert not page.all("script")


def test_the_summary_in_markdown_tells_it(tmp_path: Path) -> None:
    reporter = Markdown(tmp_path / "s.md", earlier=record(ended("t")))
    for event in events(ended("t", "failed", message="*broken* now")):
        reporter.handle(event)
    reporter.close()

    assert "- newly failing: specs/a.yaml:3 t: \\*broken\\* now\n" in (tmp_path / "s.md").read_text()
