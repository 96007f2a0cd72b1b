"""A temporary cluster: made, used, destroyed, whatever happens; around a scripted engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import koalesce.engine
import koalesce.library.making as making
from koalesce import Interrupted, ProvisionError, TeardownError, UsageError, temporary_cluster
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.events import AnyEvent, RunFinished, SpecFinished, SpecStarted, Status
from koalesce.spec import load_all
from tests.fakes import FakeCluster


class Scripted:
    """What happens to clusters, and whether one can be made."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.status: Status = "passed"
        self.interrupted = False
        self.teardown_failed = False
        self.options: list[RunOptions] = []
        self.nodes: list[int] = []

    def up(self, options: RunOptions, *, name: str) -> Iterator[AnyEvent]:
        (loaded,) = load_all(options.paths)
        self.options.append(options)
        self.nodes.append(len(loaded.cluster().node_requests()))
        self.log.append(f"made {name}")
        yield SpecStarted(spec="s", name="s", tests=())
        message = "" if self.status == "passed" else "no room"
        yield SpecFinished(spec="s", status=self.status, seconds=1, message=message)
        yield RunFinished(
            status=self.status, passed=0, failed=0, error=0, skipped=0, seconds=1, interrupted=self.interrupted,
            teardown_failed=self.teardown_failed,
        )  # fmt: skip

    def join(self, name: str) -> SimpleNamespace:
        def up() -> object:
            self.log.append(f"joined {name}")
            cluster = FakeCluster()
            cluster.kube.close = lambda: self.log.append("closed")  # type: ignore[attr-defined]
            return cluster.real()

        return SimpleNamespace(up=up, leave=lambda: self.log.append("left"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Scripted:
    fake = Scripted()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(koalesce.engine, "up", fake.up)
    monkeypatch.setattr(making, "JoinedCluster", fake.join)
    monkeypatch.setattr(making, "find", lambda name: name)
    down = SimpleNamespace(of_entry=lambda name: SimpleNamespace(down=lambda: fake.log.append(f"destroyed {name}")))
    monkeypatch.setattr(making, "ClusterSession", down)
    return fake


ALL = ["made dev", "joined dev", "closed", "left", "destroyed dev"]


@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_it_is_destroyed_however_its_block_ends(scripted: Scripted, error: type[BaseException] | None) -> None:
    ending = pytest.raises(error) if error else contextlib.nullcontext()

    with ending, temporary_cluster(nodes=2, kubernetes="1.34", name="dev") as client:
        assert client.name == "fake"
        if error:
            raise error

    assert scripted.log == ALL
    assert (scripted.nodes, scripted.options[0].kubernetes) == ([2], "1.34")
    assert scripted.options[0].ttl == Duration(3600)


def test_it_can_be_that_of_a_spec(scripted: Scripted) -> None:
    Path("a.yaml").write_text(
        "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: a}\ncluster: {nodes: 3}\n"
    )

    with temporary_cluster("a.yaml"):
        pass

    assert (scripted.nodes, scripted.options[0].paths, scripted.options[0].trust) == ([3], ("a.yaml",), False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [({}, ProvisionError), ({"teardown_failed": True}, TeardownError), ({"interrupted": True}, Interrupted)],
)
def test_what_could_not_be_made_is_told_and_not_destroyed_again(
    scripted: Scripted, changes: dict[str, bool], error: type[Exception]
) -> None:
    scripted.status = "error"
    for name, value in changes.items():
        setattr(scripted, name, value)

    with (
        pytest.raises(error, match="interrupted" if changes.get("interrupted") else "no room"),
        temporary_cluster(name="dev"),
    ):
        pytest.fail("there is no cluster")

    assert scripted.log == ["made dev"]


@pytest.mark.parametrize(("spec", "name"), [("none.yaml", None), (None, "no name!")])
def test_what_cannot_be_made_is_refused(scripted: Scripted, spec: str | None, name: str | None) -> None:
    with pytest.raises(UsageError), temporary_cluster(spec, name=name):
        pytest.fail("there is no cluster")

    assert scripted.log == []
