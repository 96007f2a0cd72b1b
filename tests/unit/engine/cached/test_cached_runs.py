"""Runs whose specs have passed before, on clusters of fakes: what runs again, and what doesn't."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from koalesce import engine
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.engine.cached import keeping
from koalesce.errors import ProvisionError
from koalesce.events import (
    ClusterReady,
    PhaseStarted,
    RunFinished,
    SpecFinished,
    SpecStarted,
    StepFinished,
    TestFinished,
    to_json,
)
from tests.fakes import FakeNode, result
from tests.unit.engine.test_case import HEAD, World

GREEN = "tests: [{name: t, steps: [{name: first, sleep: 1ms}, {apply: {file: map.yaml}}]}]\n"
MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"
READY = ClusterReady(
    spec="specs/a.yaml", cluster="c1", provider="local", kubernetes="1.37.2", nodes=({"name": "n1"},),
    capabilities=("ipvs",), kubeconfig="/tmp/kubeconfig", seconds=3.0,
)  # fmt: skip


class Session:
    """A cluster of fakes, and the images that its nodes got."""

    cluster = None

    def __init__(self, images: Mapping[str, str] | None) -> None:
        self._images = images

    def served(self) -> Mapping[str, str]:
        if self._images is None:
            raise ProvisionError("what images it was given isn't known")
        return self._images


class Project:
    """A project with specs, this machine, and what runs of it tell."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.around = {"koalesce": "1", "machine": "1"}
        self.tools = "1"
        self.served: dict[str, str] | None = {}
        self.stored: dict[str, str] = {}
        self.meanwhile: Callable[[], object] = lambda: None  # what happens during a run
        (folder / "specs").mkdir(parents=True)
        (folder / "koalesce.toml").write_text('env = ["SEEN"]\n')
        self.write("a.yaml", HEAD + GREEN)
        self.write("map.yaml", MAP)
        (folder.parent / "world").mkdir()
        self.stage = World(folder.parent / "world", "tests: []").stage
        self._patch(monkeypatch)

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def provision(session: Any, loaded: Any, *_args: Any, opened: Callable[[Any], None], **_more: Any) -> Any:
            session.emit(PhaseStarted(spec=loaded.shown, phase="nodes"))
            session.emit(dataclasses.replace(READY, spec=loaded.shown))
            opened(Session(self.served))
            self.meanwhile()
            return dataclasses.replace(
                self.stage, session=session, spec=loaded.shown, loaded=loaded, files=loaded.files,
                values={**self.stage.values, **loaded.scope},
            )  # fmt: skip

        monkeypatch.setattr("koalesce.engine.spec_run.provision", provision)
        monkeypatch.setattr(keeping, "surroundings", lambda: dict(self.around))
        monkeypatch.setattr(keeping, "tools", lambda version: f"{version} {self.tools}")
        monkeypatch.setattr(keeping, "_in_store", lambda: dict(self.stored))
        monkeypatch.setenv("KOALESCE_CACHE_DIR", str(self.folder.parent / "cache"))
        monkeypatch.chdir(self.folder)

    def write(self, name: str, text: str) -> None:
        (self.folder / "specs" / name).write_text(text)

    def run(self, *paths: str, cached: bool = True, **options: Any) -> list[Any]:
        return list(engine.run(RunOptions(paths=paths or ("specs",), cached=cached, **options)))

    def ran(self, *paths: str, **options: Any) -> bool:
        """Whether the one spec ran, rather than being told again."""
        (begun,) = [event for event in self.run(*paths, **options) if isinstance(event, SpecStarted)]
        return not begun.cached


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path / "project", monkeypatch)


def uncached(events: list[Any]) -> list[str]:
    return [event.uncached for event in events if isinstance(event, SpecFinished)]


def test_a_spec_that_has_passed_is_told_again_and_nothing_is_made(project: Project) -> None:
    first = project.run()
    second = project.run()

    begun = next(event for event in second if isinstance(event, SpecStarted))
    assert begun.cached.endswith("Z")
    assert not [event for event in second if isinstance(event, PhaseStarted)]
    tests = [[event for event in events if isinstance(event, TestFinished)] for events in (first, second)]
    assert [(end.test, end.status, end.seconds) for end in tests[0]] == [
        (end.test, end.status, end.seconds) for end in tests[1]
    ]
    steps = [event.title for event in second if isinstance(event, StepFinished) and event.section == "steps"]
    assert steps[0] == "first"
    (ready,) = [event for event in second if isinstance(event, ClusterReady)]
    assert (ready.kubernetes, ready.kubeconfig, ready.reused) == ("1.37.2", "", True)
    end = second[-1]
    assert isinstance(end, RunFinished)
    assert (end.status, end.passed) == ("passed", 1)
    assert all(event.elapsed <= end.elapsed for event in second)


def test_without_the_wish_nothing_is_used_and_nothing_is_kept(project: Project) -> None:
    assert project.ran(cached=False)
    assert project.ran()
    assert project.ran(cached=False)


CHANGES: dict[str, Callable[[Project], object]] = {
    "the spec": lambda project: project.write("a.yaml", HEAD + GREEN + "# a comment\n"),
    "a manifest": lambda project: project.write("map.yaml", MAP + "data: {a: b}\n"),
    "an environment variable": lambda _project: os.environ.update(SEEN="2"),
    "koalesce": lambda project: project.around.update(koalesce="2"),
    "the machine": lambda project: project.around.update(machine="2"),
    "a tool": lambda project: setattr(project, "tools", "2"),
    "an image": lambda project: project.stored.update({"docker.io/library/web:1": "sha256:2"}),
    "an image that is gone": lambda project: project.stored.clear(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_has_it_run_again(project: Project, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("SEEN", "1")
    project.served = {"docker.io/library/web:1": "sha256:1"}
    project.stored = dict(project.served)
    assert project.ran()
    assert not project.ran()

    CHANGES[name](project)

    assert project.ran()


def test_what_the_project_does_not_let_specs_see_does_not_matter(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.ran()
    monkeypatch.setenv("UNSEEN", "1")

    assert not project.ran()


OPTIONS: dict[str, dict[str, Any]] = {
    "a variable": {"variables": {"a": "2"}},
    "the tests": {"select": "t"},
    "short": {"short": True},
    "the version of Kubernetes": {"kubernetes": "1.34"},
    "tests at once": {"parallel": 2},
    "reruns": {"reruns": 1},
    "a time": {"timeout": Duration.parse("5m")},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_other_options_have_it_run_again(project: Project, name: str) -> None:
    tests = GREEN.replace("]}]", "]}, {name: u, labels: {slow: ''}, steps: [{sleep: 1ms}]}]")
    project.write("a.yaml", f"{HEAD}vars: {{a: '1'}}\n{tests}")
    assert project.ran()
    assert not project.ran()

    assert project.ran(**OPTIONS[name])
    assert not project.ran(**OPTIONS[name])
    assert not project.ran()


def test_the_archive_of_an_image_counts(project: Project) -> None:
    archive = project.folder / "web.tar"
    archive.write_text("1")
    images = {"web:1": archive}
    assert project.ran(images=images)
    assert not project.ran(images=images)

    archive.write_text("2")

    assert project.ran(images=images)


@pytest.mark.parametrize(
    "options",
    [
        {"failfast": True},
        {"keep_on_failure": True},
        {"at_once": 2},
        {"verbose": True},
        {"run_timeout": Duration(600.0)},
    ],
)
def test_what_does_not_change_a_spec_that_passes_does_not_matter(project: Project, options: dict[str, Any]) -> None:
    project.ran()

    assert not project.ran(**options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keep": True}, "--keep asks for a cluster"),
        ({"shuffle": 7}, "--shuffle asks for another order"),
        ({"count": 2}, "--count asks for tests to run"),
        ({"only": {"specs/a.yaml": ["t"]}}, "--rerun-failed asks for tests to run"),
    ],
)
def test_what_asks_for_a_run_gets_one_and_nothing_is_kept(
    project: Project, options: dict[str, Any], reason: str
) -> None:
    project.ran()

    assert uncached(project.run(**options)) == [reason]
    assert uncached(project.run(**options)) == [reason]


def test_each_cell_of_a_matrix_has_a_result_of_its_own(project: Project) -> None:
    project.write("a.yaml", f"{HEAD}matrix: {{size: [1, 2]}}\n{GREEN}")
    project.run(select="size=1")
    project.run()

    begun = [event for event in project.run() if isinstance(event, SpecStarted)]

    assert [(each.spec, bool(each.cached)) for each in begun] == [
        ("specs/a.yaml [size=1]", True),
        ("specs/a.yaml [size=2]", True),
    ]


def test_of_several_specs_only_those_run_that_have_changed(project: Project) -> None:
    project.write("b.yaml", HEAD + GREEN.replace("map.yaml", "other.yaml"))
    project.write("other.yaml", MAP)
    project.run()
    project.write("other.yaml", MAP + "data: {a: b}\n")

    events = project.run()

    begun = [(event.spec, bool(event.cached)) for event in events if isinstance(event, SpecStarted)]
    assert begun == [("specs/a.yaml", True), ("specs/b.yaml", False)]
    assert events[-1].passed == 2


RED = {
    "failed": "tests: [{name: t, steps: [{wait-for: {resource: pod/web, exists: true}, timeout: 10ms}]}]",
    "skipped": "requires: [sctp]\ntests: [{name: t, steps: [{sleep: 1ms}]}]",
    "with a cleanup that failed": "cleanup: [{wait-for: {resource: pod/web, exists: true}, timeout: 10ms}]\ntests: [{name: t, steps: [{sleep: 1ms}]}]",
}


@pytest.mark.parametrize("name", RED)
def test_what_did_not_pass_as_a_whole_runs_again(project: Project, name: str) -> None:
    project.write("a.yaml", HEAD + RED[name])

    assert [event.status for event in project.run() if isinstance(event, SpecFinished)] != ["passed"]
    assert project.ran()
    assert not list((project.folder.parent / "cache").rglob("*.result"))


def test_skips_within_a_spec_that_passed_are_told_again(project: Project) -> None:
    tests = "tests: [{name: t, steps: [{sleep: 1ms}]}, {name: u, requires: [sctp], steps: [{sleep: 1ms}]}]"
    project.write("a.yaml", HEAD + tests)
    first, second = project.run()[-1], project.run()[-1]

    assert (first.passed, first.skipped) == (second.passed, second.skipped) == (1, 1)
    assert not project.ran()


def test_a_cluster_that_could_not_be_made_is_tried_again(project: Project) -> None:
    def refuse() -> None:
        raise ProvisionError("no room")

    project.meanwhile = refuse
    assert project.run()[-1].status == "error"

    project.meanwhile = lambda: None
    assert project.ran()


def test_a_test_that_was_flaky_is_not_trusted(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [1]
    monkeypatch.setattr(FakeNode, "run", lambda *_args, **_more: result(["x"], code=codes.pop() if codes else 0))
    project.write("a.yaml", HEAD + "tests: [{name: t, reruns: 1, steps: [{exec: {node: worker-1, command: [x]}}]}]")

    events = project.run()

    assert events[-1].flaky == 1
    assert uncached(events) == ["a test passed only when it was run again"]


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        ({"web:1": ""}, "the image web:1 could not be had, or was replaced while it ran"),
        (None, "what images it was given isn't known"),
    ],
)
def test_images_that_nobody_knows_are_a_reason(project: Project, served: dict[str, str] | None, reason: str) -> None:
    project.served = served

    assert uncached(project.run()) == [reason]
    assert project.ran()


def test_a_script_is_a_reason(project: Project) -> None:
    project.write("a.yaml", HEAD + "tests: [{name: t, steps: [{script: exit 0}]}]")

    assert uncached(project.run()) == ["a script runs on this machine"]
    assert project.ran()


def test_a_cluster_that_reaches_the_outside_is_a_reason(project: Project) -> None:
    project.write("a.yaml", f"{HEAD}cluster: {{egress: host}}\n{GREEN}")

    assert uncached(project.run()) == ["its cluster reaches what lies outside (egress: host)"]
    assert project.ran()


MEANWHILE: dict[str, tuple[Callable[[Project], object], str]] = {
    "a manifest": (lambda project: project.write("map.yaml", MAP + "# changed\n"), "map.yaml has changed since"),
    "the machine": (lambda project: project.around.update(machine="2"), "the machine have changed while it ran"),
}


@pytest.mark.parametrize("name", MEANWHILE)
def test_what_changes_while_it_runs_is_a_reason(project: Project, name: str) -> None:
    change, reason = MEANWHILE[name]
    project.meanwhile = lambda: change(project)

    assert reason in uncached(project.run())[0]
    project.meanwhile = lambda: None
    assert project.ran()
    assert not project.ran()


def test_a_folder_that_cannot_be_written_to_is_a_reason_and_no_error(project: Project) -> None:
    (project.folder.parent / "cache").mkdir()
    (project.folder.parent / "cache" / "results").touch()

    events = project.run()

    assert uncached(events)[0].startswith("it can't be kept: ")
    assert events[-1].status == "passed"


def test_what_is_told_again_is_only_what_reports_need(project: Project) -> None:
    project.run()
    told = [json.loads(to_json(event))["event"] for event in project.run()]

    assert told[:3] == ["RunStarted", "SpecStarted", "ClusterReady"]
    assert set(told) == {
        "RunStarted", "SpecStarted", "ClusterReady", "TestStarted", "StepStarted", "StepFinished", "TestFinished",
        "SpecFinished", "RunFinished",
    }  # fmt: skip


def test_of_a_spec_with_nothing_to_run_no_result_is_looked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("a result was looked for")

    monkeypatch.setattr(keeping.Keeping, "of", refuse)
    project.write("a.yaml", HEAD + "tests: [{name: t, skip: not yet, steps: [{sleep: 1ms}]}]\n")

    (end,) = [event for event in project.run() if isinstance(event, SpecFinished)]
    assert (end.status, end.uncached) == ("skipped", "")


def test_a_spec_that_was_moved_runs_again(project: Project) -> None:
    project.ran()
    (project.folder / "specs" / "a.yaml").rename(project.folder / "specs" / "z.yaml")

    assert project.ran()
