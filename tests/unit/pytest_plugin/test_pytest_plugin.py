"""Specs as items of pytest, around a scripted engine."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import koalesce.engine
import koalesce.pytest_plugin.clusters
import koalesce.pytest_plugin.collecting

pytest_plugins = "pytester"
HERE = Path(__file__).parent
_HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {{name: a, labels: {{{labels}}}}}\n"
_CONFTEST = """
import sys
sys.path.insert(0, {folder!r})
import scripted

def pytest_configure():
    scripted.install()

def pytest_unconfigure():
    scripted.restore()
"""
_LOAD = (
    [] if any(each.name == "koalesce" for each in entry_points(group="pytest11")) else ["-p", "koalesce.pytest_plugin"]
)


class Project:
    """A folder with specs, in which pytest is run."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makeconftest(_CONFTEST.format(folder=str(HERE)))

    def spec(self, name: str, tests: dict[str, str], *, labels: str = "", more: str = "") -> None:
        """A spec whose tests have these labels."""
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"  - {{name: {json.dumps(test)}, labels: {{{said}}}, steps: [{{sleep: 1ms}}]}}"
            for test, said in tests.items()
        ]
        path.write_text("\n".join([_HEAD.format(labels=labels) + more + "tests:", *lines, ""]))

    def run(self, *words: str, process: bool = False) -> pytest.RunResult:
        """Run pytest in it."""
        words = (*_LOAD, "-p", "no:cacheprovider", *words)
        return self.pytester.runpytest_subprocess(*words) if process else self.pytester.runpytest_inprocess(*words)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What the engine was asked for."""
        path = self.pytester.path / "calls.txt"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


ALL = {"good": "", "bad": "ends: failed", "broken": "ends: error", "left out": "ends: skipped"}


def test_each_test_of_a_spec_is_an_item_and_they_share_a_run(project: Project) -> None:
    project.spec("a.koalesce.yaml", ALL)

    result = project.run("-v", "-rs")

    result.assert_outcomes(passed=1, failed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "a.koalesce.yaml::good PASSED*",
            "a.koalesce.yaml::bad FAILED*",
            "a.koalesce.yaml::broken ERROR*",
            "*no ipvs here*",
            "*a.koalesce.yaml:9: bad: failed",
            "*expected: 200",
            "evidence: *.koalesce/runs/r/e",
            "failed: curl web (1.50s, attempts: 3) the answer is failed",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert project.calls == [{"only": {"a.koalesce.yaml": sorted(ALL)}, "cluster": None}]


def test_collecting_starts_nothing(project: Project) -> None:
    project.spec("a.koalesce.yaml", ALL)

    result = project.run("--collect-only", "-q")

    result.stdout.fnmatch_lines([f"a.koalesce.yaml::{name}" for name in ALL])
    assert project.calls == []


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["-k", "good or bad"], ["bad", "good"]),
        (["a.koalesce.yaml::good"], ["good"]),
        (["-m", "tier"], ["quick"]),
        (["-m", "tier(value='smoke')"], ["quick"]),
        (["--deselect", "a.koalesce.yaml::bad", "-k", "bad or good"], ["good"]),
    ],
)  # fmt: skip
def test_only_what_is_selected_is_run(project: Project, words: list[str], wanted: list[str]) -> None:
    project.spec("a.koalesce.yaml", {"good": "", "bad": "ends: failed", "quick": "tier: smoke"})

    project.run(*words)

    assert project.calls == [{"only": {"a.koalesce.yaml": wanted}, "cluster": None}]


def test_labels_are_markers_also_where_these_are_strict(project: Project) -> None:
    project.spec(
        "a.koalesce.yaml",
        {
            "later": 'skip: "not before 1.38"',
            "known bug": "xfail: gap, ends: failed",
            "fixed": "xfail: gap",
            "slow one": "slow: 'true'",
        },
        labels="component: dns",
    )

    result = project.run("--strict-markers", "-rsx", "-m", "component")

    result.assert_outcomes(passed=1, skipped=1, xfailed=1, xpassed=1)
    result.stdout.fnmatch_lines_random(["*not before 1.38*", "*gap*"])
    (call,) = project.calls
    assert call["only"] == {"a.koalesce.yaml": ["fixed", "known bug", "slow one"]}


def test_what_could_not_be_found_out_is_no_expected_failure(project: Project) -> None:
    project.spec("a.koalesce.yaml", {"known bug": "xfail: gap, ends: error"})

    project.run().assert_outcomes(errors=1)


@pytest.mark.parametrize(("trouble", "outcomes"), [("cluster", {"errors": 2}), ("component", {"failed": 2})])
def test_tests_that_could_not_begin_are_not_taken_for_skipped(
    project: Project, trouble: str, outcomes: dict[str, int]
) -> None:
    project.spec("a.koalesce.yaml", {"one": "", "two": ""}, labels=f"trouble: {trouble}")

    result = project.run()

    result.assert_outcomes(**outcomes)
    result.stdout.fnmatch_lines([f"*no {trouble} today*"])


def test_what_is_left_over_is_told_once_although_all_tests_passed(project: Project) -> None:
    project.spec("a.koalesce.yaml", {"one": "", "two": ""}, labels="trouble: teardown")

    result = project.run()

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*remove it with: koalesce down a-1*"])


def test_a_run_that_breaks_is_an_error_of_each_test(project: Project) -> None:
    project.spec("a.koalesce.yaml", {"one": "", "two": ""}, labels="trouble: raises")

    result = project.run()

    result.assert_outcomes(errors=2)
    assert str(result.stdout).count("the engine is broken") >= 2
    assert len(project.calls) == 1


def test_an_invalid_spec_is_an_error_of_collection_with_its_place(project: Project) -> None:
    (project.pytester.path / "a.koalesce.yaml").write_text(
        _HEAD.format(labels="") + "tests: [{name: t, steps: [{slep: 1s}]}]\n"
    )

    result = project.run()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['a.koalesce.yaml:4:*slep*did you mean "sleep"*'])


def test_cells_of_a_matrix_are_items_of_their_own(project: Project) -> None:
    project.spec("a.koalesce.yaml", {"one": ""}, more="matrix: {proxy: [iptables, nftables]}\n")

    result = project.run("-v")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["a.koalesce.yaml::one [[]proxy=iptables[]] PASSED*", "a.koalesce.yaml::one [[]proxy=nftables[]] PASSED*"]
    )
    assert len(project.calls) == 1


def test_settings_name_further_specs(project: Project) -> None:
    project.spec("specs/dns.yaml", {"configured": ""})
    project.spec("specs/_shared.yaml", {"hidden": ""})
    project.spec("other/dns.yaml", {"other": ""})
    (project.pytester.path / "specs" / "web.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n")
    project.pytester.makeini("[pytest]\nkoalesce_specs = specs/*.yaml\n")

    result = project.run("-v")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["specs/dns.yaml::configured PASSED*"])


def test_a_spec_may_be_named_on_the_command_line(project: Project) -> None:
    project.spec("dns.yaml", {"named": ""})

    project.run("dns.yaml", "--koalesce-cluster", "dev").assert_outcomes(passed=1)

    assert project.calls == [{"only": {"dns.yaml": ["named"]}, "cluster": "dev"}]


def test_pytest_without_specs_loads_nothing_of_koalesce_but_the_plugin(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    loaded = {name for name in sys.modules if name.split('.')[0] in ('koalesce', 'pydantic', 'kubernetes')}\n"
        "    assert loaded == {'koalesce', 'koalesce.pytest_plugin'}\n"
    )
    pytester.maketxtfile(notes="x")
    (pytester.path / "values.yaml").write_text("a: 1\n")

    pytester.runpytest_subprocess(*_LOAD, "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_workers_of_xdist_share_one_run(project: Project) -> None:
    project.spec("a.koalesce.yaml", {**ALL, **{f"more {number}": "" for number in range(6)}})
    project.spec("b.koalesce.yaml", {"one": "", "two": ""}, labels="trouble: raises")

    result = project.run("-n", "2", process=True)

    result.assert_outcomes(passed=7, failed=1, errors=3, skipped=1)
    assert sorted(next(iter(call["only"])) for call in project.calls) == ["a.koalesce.yaml", "b.koalesce.yaml"]


def test_interrupting_pytest_ends_the_run_of_the_spec(project: Project) -> None:
    """The engine is asked to end, and has ended, before pytest says that it was interrupted."""
    project.spec("a.koalesce.yaml", {"one": ""})
    (project.pytester.path / "conftest.py").write_text(
        """
import os, signal, koalesce.engine
from koalesce.events import RunFinished, RunStarted

def run(options):
    yield RunStarted(run_id="r", version="1", specs=(), folder="f")
    os.kill(os.getpid(), signal.SIGINT)
    assert options.cancel.wait(60)
    open("torn-down", "w").close()
    yield RunFinished(status="error", passed=0, failed=0, error=0, skipped=0, seconds=1, interrupted=True)

koalesce.engine.run = run
"""
    )

    result = project.run(process=True)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (project.pytester.path / "torn-down").exists()


def test_the_plugin_is_declared_for_pytest() -> None:
    import tomllib

    declared = tomllib.loads((HERE.parents[2] / "pyproject.toml").read_text())["project"]

    assert declared["entry-points"]["pytest11"] == {"koalesce": "koalesce.pytest_plugin"}
    assert any(each.startswith("pytest") for each in declared["optional-dependencies"]["pytest"])
    assert not any(each.startswith("pytest") for each in declared["dependencies"])


_FAKE_CLUSTERS = """
import contextlib
import koalesce.pytest_plugin.clusters as clusters
from koalesce.errors import UsageError
from pathlib import Path

def note(text):
    with open("notes.txt", "a") as file:
        file.write(text + "\\n")

class Client:
    name = "fake"

    @contextlib.contextmanager
    def temporary_namespace(self, name):
        note(f"namespace {name}")
        yield name
        note(f"no namespace {name}")

@contextlib.contextmanager
def temporary_cluster(**wanted):
    note(f"made {wanted['nodes']} {wanted['spec'] and wanted['spec'].name} {wanted['kubernetes']}")
    yield Client()
    note("destroyed")

@contextlib.contextmanager
def joined(name):
    if name.startswith("pytest-") and not Path("up").exists():
        raise UsageError("there is no such cluster")
    note(f"joined {name[:7]}")
    yield Client()
    note(f"left {name[:7]}")

def make(name, **wanted):
    note(f"made {name[:7]}")
    Path("up").touch()

clusters.temporary_cluster, clusters.joined, clusters.make = temporary_cluster, joined, make
clusters._end = lambda name: note("asked to end " + name[:7])
"""
_TESTS = """
def test_one(namespace):
    assert namespace == "test_one"

def test_two(cluster):
    assert cluster.name == "fake"

def test_three(namespace):
    pass
"""


class TestClusterFixture:
    """The fixtures around scripted clusters."""

    @pytest.fixture
    def tests(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
        for name in ("temporary_cluster", "joined", "make", "_end"):  # what the project's conftest replaces comes back
            monkeypatch.setattr(koalesce.pytest_plugin.clusters, name, getattr(koalesce.pytest_plugin.clusters, name))
        project = Project(pytester)
        (pytester.path / "conftest.py").write_text(_FAKE_CLUSTERS)
        pytester.makepyfile(test_it=_TESTS)
        return project

    def notes(self, project: Project) -> list[str]:
        return (project.pytester.path / "notes.txt").read_text().splitlines()

    def test_a_session_has_one_cluster_and_each_test_a_namespace(self, tests: Project) -> None:
        tests.run().assert_outcomes(passed=3)

        assert self.notes(tests) == [
            "made 1 None None", "namespace test_one", "no namespace test_one", "namespace test_three",
            "no namespace test_three", "destroyed",
        ]  # fmt: skip

    def test_settings_say_what_it_is_like(self, tests: Project) -> None:
        tests.pytester.makeini(
            "[pytest]\nkoalesce_cluster = dev.yaml\nkoalesce_nodes = 3\nkoalesce_kubernetes = 1.34\n"
        )
        (tests.pytester.path / "dev.yaml").touch()

        tests.run().assert_outcomes(passed=3)

        assert self.notes(tests)[0] == "made 3 dev.yaml 1.34"

    @pytest.mark.parametrize(
        ("setting", "message"),
        [("koalesce_nodes = many", "whole number"), ("koalesce_cluster = gone.yaml", "there is no")],
    )
    def test_settings_that_are_wrong_are_told(self, tests: Project, setting: str, message: str) -> None:
        tests.pytester.makeini(f"[pytest]\n{setting}\n")

        result = tests.run()

        result.assert_outcomes(errors=3)
        result.stdout.fnmatch_lines([f"*{setting}: *{message}*"])

    def test_a_cluster_that_is_up_is_used_and_stays(self, tests: Project) -> None:
        tests.run("--koalesce-cluster", "my-dev", "-k", "two").assert_outcomes(passed=1)

        assert self.notes(tests) == ["joined my-dev", "left my-dev"]

    def test_workers_of_xdist_share_it(self, tests: Project) -> None:
        tests.run("-n", "2", process=True).assert_outcomes(passed=3)

        notes = self.notes(tests)
        assert notes[:2] == ["made pytest-", "joined pytest-"]
        assert [note for note in notes if note.startswith("made")] == ["made pytest-"]
        assert notes[-1] == "asked to end pytest-"
        users = len([note for note in notes if note.startswith("joined")])
        assert len([note for note in notes if note.startswith("asked")]) == users
