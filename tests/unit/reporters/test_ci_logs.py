"""Logs of GitHub and GitLab: folds, annotations, the step's summary, and nothing foreign that they act on."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from koalesce.events import AnyEvent, SpecFinished, SpecStarted, StepFinished, TestFinished, TestRerun, TestStarted
from koalesce.reporters import View
from koalesce.reporters.jsonl import read_events
from koalesce.reporters.markdown import Markdown
from koalesce.reporters.terminal import open_view
from tests.unit.reporters.workflow_commands import Command, commands

RUNS = Path(__file__).parents[2] / "data" / "runs"
GITHUB = {"GITHUB_ACTIONS": "true", "CI": "true"}
GITLAB = {"GITLAB_CI": "true", "CI": "true"}
_SECTION = re.compile(r"\x1b\[0Ksection_(start|end):([0-9]+):([\w.-]+)(?:\[collapsed=true\])?\r\x1b\[0K(.*)")
HOSTILE = "::error::a\n  ::add-mask::b\n##[set-env name=c]d\r::stop-commands::e\n\x1b[0Ksection_start:1:f\r\x1b[0Kg\n%0A::error::h"


def log(environ: dict[str, str], events: Iterable[AnyEvent], *, verbose: bool = False) -> str:
    stream = io.StringIO()
    view: View = open_view(stream, environ, verbose=verbose)
    for event in events:
        view.handle(event)
    view.close()
    return stream.getvalue()


def recorded(name: str) -> list[AnyEvent]:
    return list(read_events(RUNS / f"{name}.jsonl"))


def without_folds(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not commands(line) and "section_" not in line)


@pytest.mark.parametrize("run", ["green", "red", "interrupted", "kept"])
def test_github_has_the_same_lines_in_groups_that_do_not_nest(run: str) -> None:
    found = log(GITHUB, recorded(run))

    assert without_folds(found) == (RUNS / f"{run}.txt").read_text()
    folds = [each.name for each in commands(found) if each.name in ("group", "endgroup")]
    assert folds == ["group", "endgroup"] * (len(folds) // 2)


def test_what_went_well_is_folded_and_what_went_wrong_is_not() -> None:
    lines = log(GITHUB, recorded("green"), verbose=True).splitlines()

    assert lines[1:7] == [
        "=== RUN   specs/quickstart.yaml",
        "::group::specs/quickstart.yaml: making its cluster",
        "    toolchain: building kubelet 1.37.2 (about 4 minutes, once)",
        "    toolchain (200ms)",
        "    cluster quickstart-r1: 3 nodes, Kubernetes v1.37.2, local (3s)",
        "    terraform apply (3s)",
    ]
    begin = lines.index("::group::--- PASS: pods answer (11.65s)")
    assert "::endgroup::" not in lines[begin : lines.index("    --- PASS: apply web.yaml (0.12s)")]
    red = log(GITHUB, recorded("red")).splitlines()
    failed = red.index("--- FAIL: pods reach each other (60.50s)")
    assert [line for line in red[:failed] if line.startswith("::")] == [
        "::group::specs/kube-router.yaml: making its cluster",
        "::endgroup::",
    ]


def test_github_is_told_what_did_not_pass_and_where() -> None:
    found = [each for each in commands(log(GITHUB, recorded("red"))) if each.name in ("error", "warning")]

    assert found[:2] == [
        Command("error", "the network namespace kube-router-r1 is still in use by pid 4711", {"file": "specs/kube-router.yaml", "title": "teardown (error)"}),
        Command(
            "error",
            '"across nodes, without source NAT" failed after 60s, 12 attempts: 10.244.1.3 → 10.244.2.2:8080: dropped, expected allowed',
            {"file": "specs/kube-router.yaml", "line": "17", "title": "pods reach each other"},
        ),
    ]  # fmt: skip
    assert [each.properties["title"] for each in found] == [
        "teardown (error)", "pods reach each other", "policies hold (error)", "routes come back (error)", "images (error)",
    ]  # fmt: skip


def case(name: str, message: str, status: str = "failed", *, spec: str = "specs/a.yaml") -> list[AnyEvent]:
    return [
        TestStarted(spec=spec, test=name, namespace="n", line=3),
        StepFinished(
            spec=spec, test=name, section="steps", index=0, type="script", title=message, line=7, status=status,  # type: ignore[arg-type]  # a status
            attempts=1, seconds=0.1, message=message, expected=message, actual=message, detail=message,
        ),
        TestFinished(spec=spec, test=name, status=status, seconds=1.0, message=message, line=3, evidence=message),  # type: ignore[arg-type]  # a status
    ]  # fmt: skip


def spec_of(*tests: str, spec: str = "specs/a.yaml") -> SpecStarted:
    return SpecStarted(spec=spec, name="a", tests=tests)


@pytest.mark.parametrize("environ", [GITHUB, GITLAB])
@pytest.mark.parametrize("status", ["failed", "passed", "skipped"])
def test_nothing_foreign_is_a_command(environ: dict[str, str], status: str) -> None:
    spec = f"specs/{HOSTILE}.yaml"
    end = SpecFinished(spec=spec, status="failed", seconds=1.0, message=HOSTILE)
    events = [spec_of(HOSTILE, spec=spec), *case(HOSTILE, HOSTILE, status, spec=spec), end]

    found = log(environ, events, verbose=True)

    assert {each.name for each in commands(found)} <= ({"group", "endgroup", "error"} if environ is GITHUB else set())
    assert [each.data for each in commands(found) if each.data in "abdeh" and each.data] == []
    assert {name for _, _, name, _ in _SECTION.findall(found)} <= {"koalesce_1", "koalesce_2"}


def test_a_value_of_an_annotation_ends_nowhere_else() -> None:
    events = [spec_of("a,line=9::b: 100%0A"), *case("a,line=9::b: 100%0A", "first\nsecond 50%25 ::x")]

    (found,) = (each for each in commands(log(GITHUB, events)) if each.name == "error")

    assert found == Command(
        "error", "first\nsecond 50%25 ::x", {"file": "specs/a.yaml", "line": "7", "title": "a,line=9::b: 100%0A"}
    )


def test_of_many_the_first_ones_are_annotated() -> None:
    names = [f"t{number}" for number in range(25)]
    events = [spec_of(*names), *(event for name in names for event in case(name, "m"))]

    found = [each for each in commands(log(GITHUB, events)) if each.name == "error"]

    assert [each.properties.get("title") for each in found] == [*names[:9], None]
    assert found[-1].data == "16 more did not pass"


def test_a_flaky_test_is_a_warning() -> None:
    events: list[AnyEvent] = [
        spec_of("t"),
        TestRerun(spec="specs/a.yaml", test="t", rerun=1, reruns=2, seconds=0.1, message="first time", line=5),
        TestFinished(spec="specs/a.yaml", test="t", status="passed", seconds=0.3, message="", line=5, rerun=1, reruns=2, flaky=True),
    ]  # fmt: skip

    (found,) = (each for each in commands(log(GITHUB, events)) if each.name == "warning")

    assert found == Command("warning", "first time", {"file": "specs/a.yaml", "line": "5", "title": "t (flaky)"})


def test_files_are_named_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    environ = {**GITHUB, "GITHUB_WORKSPACE": str(tmp_path)}
    inside, outside = "specs/a.yaml [kubernetes=1.34]", "../../b.yaml"
    events = [
        event
        for spec in (inside, outside)
        for event in (spec_of("t", spec=spec), *case("t", "m", spec=spec))
    ]  # fmt: skip

    found = [each for each in commands(log(environ, events)) if each.name == "error"]

    assert [each.properties for each in found] == [
        {"file": "below/specs/a.yaml", "line": "7", "title": "t [kubernetes=1.34]"},
        {"title": "t"},
    ]


@pytest.mark.parametrize("run", ["green", "red", "interrupted"])
def test_gitlab_has_the_same_lines_in_sections(run: str) -> None:
    found = log(GITLAB, recorded(run), verbose=True)

    sections = _SECTION.findall(found)
    assert [kind for kind, *_ in sections] == ["start", "end"] * (len(sections) // 2)
    assert sections
    names = [name for _, _, name, _ in sections]
    assert names[::2] == names[1::2]
    assert len(set(names)) == len(names) // 2
    assert all(
        int(begin) <= int(end) for (_, begin, *_), (_, end, *_) in zip(sections[::2], sections[1::2], strict=True)
    )
    assert sections[0][1] == "1772366400"
    assert "::" not in "".join(line for line in found.splitlines() if line.startswith("::"))


def test_anywhere_else_there_are_no_folds() -> None:
    assert log({"CI": "true"}, recorded("red")) == (RUNS / "red.txt").read_text()


def summary(events: Iterable[AnyEvent], path: Path, *, appends: bool = False) -> str:
    reporter = Markdown(path, appends=appends)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return path.read_text(encoding="utf-8")


def test_the_summary_has_a_line_for_each_spec_and_tells_what_did_not_pass(tmp_path: Path) -> None:
    text = summary(recorded("red"), tmp_path / "summary.md")

    assert text.splitlines()[:4] == [
        "## ❌ Failed: kube-router, flannel, none, bgp",
        "",
        "| Spec | Kubernetes | Tests | Time |",
        "|---|---|---|---|",
    ]
    assert "| ❌ specs/kube-router.yaml | v1.37.2 | 1 failed, 2 error | 1m06s |" in text
    assert text.count("<details>") == text.count("</details>") == 5
    assert "<b>pods reach each other</b> (failed) <code>specs/kube-router.yaml:17</code>" in text
    assert "remove it with: koalesce down kube-router-r1" in text


def test_the_summary_follows_what_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "summary.md").write_text("# before\n")

    assert summary(recorded("green"), tmp_path / "summary.md", appends=True).startswith(
        "# before\n## ✅ Passed: quickstart"
    )


def test_nothing_foreign_is_markdown_or_html(tmp_path: Path) -> None:
    hostile = "</details><script>x</script> ```\n````\n# head\n| a | [b](javascript:c) @octocat"
    events = [spec_of(hostile, spec=f"{hostile}.yaml"), *case(hostile, hostile, spec=f"{hostile}.yaml")]

    text = summary(events, tmp_path / "summary.md")

    fence = "`````"
    assert text.count(fence) == 2
    outside = text.split(f"{fence}text\n")[0] + text.split(f"\n{fence}\n")[1]
    assert "<script>" not in outside.replace("\\<script", "")
    assert outside.count("</details>") == 1
    assert "\\</details\\>" in outside
    assert not [line for line in outside.splitlines() if line.startswith("# ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 5 for line in outside.splitlines() if line.startswith("|"))


def test_a_summary_is_never_too_large_for_github(tmp_path: Path) -> None:
    names = [f"t{number}" for number in range(400)]
    events = [spec_of(*names), *(event for name in names for event in case(name, "ü" * 3000))]

    text = summary(events, tmp_path / "summary.md")

    assert len(text.encode()) < 1_000_000
    assert re.search(r"… and \d+ more that did not pass\.", text)
