"""One step on a cluster that is up, around a scripted engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import koalesce.engine
from koalesce.cli.main import main
from koalesce.cluster_request import DiskRequest
from koalesce.engine import RunOptions
from koalesce.events import AnyEvent, RunFinished, SpecFinished, Status, StepFinished, TestFinished
from koalesce.spec import LoadedSpec, load

NODES = [
    {"name": "control-plane", "role": "control-plane", "taints": []},
    {
        "name": "gpu", "role": "worker", "labels": {"a": "b"}, "taints": [{"key": "k", "effect": "NoSchedule"}],
        "disks": [{"path": "/mnt/data", "size": 2**20}], "spare": False,
    },
    {"name": "aside", "role": "worker", "disks": [], "spare": True},
]  # fmt: skip
FIXTURES = [{"name": "c1", "kind": "host"}, {"name": "r1", "kind": "router"}]


class FakeEngine:
    """Loads what it's given, and says how its one step ended."""

    def __init__(self) -> None:
        self.loaded: list[LoadedSpec] = []
        self.options: list[RunOptions] = []
        self.status: Status = "passed"
        self.has_step = True

    def run(self, options: RunOptions) -> Iterator[AnyEvent]:
        self.options.append(options)
        self.loaded.append(load(options.paths[0]))
        return iter(self.events())

    def events(self) -> Iterator[AnyEvent]:
        if self.has_step:
            yield StepFinished(
                spec="s", test="step", section="steps", index=0, type="exec", title="exec hostname", line=1, attempts=3,
                status=self.status, seconds=1.5, message="it is so", expected="one", actual="two", detail="a\nb",
            )  # fmt: skip
        yield TestFinished(
            spec="s", test="step", status=self.status, seconds=1, message="exec hostname: it is so", line=1
        )
        yield SpecFinished(spec="s", status=self.status, seconds=1)
        bad = self.status == "failed"
        yield RunFinished(status=self.status, passed=not bad, failed=bad, error=0, skipped=0, seconds=1)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(koalesce.engine, "run", fake.run)
    known = SimpleNamespace(variables={"nodes": NODES, "fixtures": FIXTURES})
    monkeypatch.setattr("koalesce.library.one_step.made", lambda name: known)
    return fake


def test_a_step_becomes_the_only_one_of_a_spec_that_fits_the_cluster(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["step", "dev", "exec: {node: gpu, command: [hostname]}", "-n", "kube-system", "--timeout", "2m"]

    assert main(words) == 0

    (loaded,) = engine.loaded
    (test,) = loaded.spec.tests
    assert test.steps[0].raw == {"exec": {"node": "gpu", "command": ["hostname"]}, "timeout": "2m00s"}
    assert (test.namespace.name, test.disruptive) == ("kube-system", False)
    nodes = loaded.spec.cluster.node_requests()
    assert [(node.name, len(node.taints), node.spare) for node in nodes] == [
        ("control-plane", 0, False),
        ("gpu", 1, False),
        ("aside", 0, True),
    ]
    assert nodes[1].disks == (DiskRequest(path="/mnt/data", size=2**20),)
    assert list(loaded.spec.fixtures) == ["c1"]
    assert (engine.options[0].cluster, loaded.path.parent) == ("dev", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.splitlines() == [
        "passed: exec hostname (1.5s, 3 attempts)",
        "  it is so",
        "  expected: one",
        "  actual:   two",
        "  a",
        "  b",
    ]


def test_a_step_of_several_lines_comes_from_standard_input(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "chaos:\n  stop: {node: gpu, component: kubelet}\n  for: 1s\ntimeout: 30s\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(read=lambda: text))

    assert main(["step", "dev", "-", "--disruptive"]) == 0

    (test,) = engine.loaded[0].spec.tests
    assert test.disruptive
    assert test.steps[0].raw["chaos"]["for"] == "1s"


def test_a_failure_is_1_and_told_once(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.status = "failed"

    assert main(["step", "dev", "exec: {node: gpu, command: [hostname]}"]) == 1

    assert capsys.readouterr().err == ""


def test_what_kept_the_step_from_running_is_told(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.status, engine.has_step = "failed", False

    main(["step", "dev", "exec: {node: gpu, command: [hostname]}"])

    assert capsys.readouterr().err == "exec hostname: it is so\n"


def test_an_event_for_programs(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    main(["step", "dev", "exec: {node: gpu, command: [hostname]}", "--json"])

    assert json.loads(capsys.readouterr().out)["status"] == "passed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["exc: {}"], 'step:1:1: exc: unknown step type; did you mean "exec"?\n  1 | exc: {}\n    | ^~~\n'),
        (
            ["exec:\n  node: gpu\n  comand: [a]"],
            'step:3:3: exec.comand: unknown field; did you mean "command"?\n  3 |   comand: [a]\n',
        ),
        ([""], "step:1:"),
        (["{sleep: 1s}", "--timeout", "2s"], "--timeout can't be added to a step in braces"),
        (["chaos: {stop: {node: gpu, component: kubelet}, for: 1s}"], "hint: --disruptive says so of this one"),
    ],
)
def test_what_is_no_step_is_2(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], message: str
) -> None:
    assert main(["step", "dev", *words]) == 2

    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
