"""Bringing up the cluster of a spec: what stays, what is undone, and what is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from koalesce.engine import RunOptions
from koalesce.engine import up as bring_up
from koalesce.engine.components import NotReady
from koalesce.errors import Interrupted, ProvisionError, TeardownError, UsageError
from koalesce.events import AnyEvent, RunFinished, SpecFinished, TeardownFinished, TeardownStarted
from koalesce.steps.base import Failed

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: tiny}
cluster: {nodes: 1}
tests: [{name: one, steps: [{sleep: 1ms}]}]
"""


class FakeSession:
    """A cluster's session that notes how it ended."""

    def __init__(self, *, resists: bool = False) -> None:
        self.request = SimpleNamespace(name="tiny")
        self.cluster: Any = SimpleNamespace(kube=SimpleNamespace(close=lambda: None))
        self.ends: list[str] = []
        self._resists = resists

    def keep(self) -> None:
        self.ends.append("kept")

    def down(self) -> None:
        self.ends.append("destroyed")
        if self._resists:
            raise TeardownError("left: link veth1", command="koalesce down tiny")


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "koalesce.toml").touch()
    (tmp_path / "tiny.yaml").write_text(SPEC)
    return tmp_path / "tiny.yaml"


@pytest.fixture
def run(spec: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[AnyEvent]]:
    """Bring the spec up, where providing its cluster ends with an error or without."""

    def bring(session: FakeSession, error: BaseException | None = None, cancel: bool = False) -> list[AnyEvent]:
        options = RunOptions(paths=(str(spec),), cancel=threading.Event())

        def provision(*args: Any, opened: Callable[[Any], None], **more: Any) -> None:
            opened(session)
            if cancel:
                options.cancel.set()
            if error is not None:
                raise error

        monkeypatch.setattr("koalesce.engine.making.provision", provision)
        return list(bring_up(options, name="tiny"))

    return bring


def cells(spec: Path, monkeypatch: pytest.MonkeyPatch, **matrix: tuple[str, ...]) -> list[str]:
    """The cells whose clusters are made of a spec with a matrix."""
    made: list[str] = []
    spec.write_text(SPEC.replace("cluster:", "matrix: {proxy: [iptables, nftables], size: [1, 2]}\ncluster:"))
    monkeypatch.setattr(
        "koalesce.engine.making.provision", lambda _session, loaded, *_args, **_more: made.append(str(loaded.cell))
    )
    list(bring_up(RunOptions(paths=(str(spec),), matrix=matrix)))
    return made


def test_of_a_spec_with_a_matrix_it_is_the_cell_that_is_said(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cells(spec, monkeypatch, proxy=("nftables",), size=("2",)) == ["proxy=nftables, size=2"]


def test_several_cells_are_refused_with_what_there_is_to_say(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"has a matrix: proxy=nftables, size=1; proxy=nftables, size=2") as refused:
        cells(spec, monkeypatch, proxy=("nftables",))

    assert refused.value.hint == "say which of them with --matrix AXIS=VALUE"


def test_an_axis_that_the_spec_has_not_is_refused(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match='--matrix prox: no spec of this run has an axis "prox"'):
        cells(spec, monkeypatch, prox=("nftables",), size=("2",))


def test_a_cluster_that_is_up_is_kept(run: Callable[..., list[AnyEvent]]) -> None:
    session = FakeSession()

    events = run(session)

    assert session.ends == ["kept"]
    assert [type(event).__name__ for event in events] == [
        "RunStarted", "SpecStarted", "TeardownFinished", "SpecFinished", "RunFinished",
    ]  # fmt: skip
    kept = next(event for event in events if isinstance(event, TeardownFinished))
    assert (kept.kept, kept.command) == (True, "koalesce down tiny")
    assert _end(events).status == "passed"


def test_a_component_that_does_not_become_ready_is_a_failure(run: Callable[..., list[AnyEvent]]) -> None:
    session = FakeSession()

    events = run(session, NotReady("kube-router", Failed("0 of 3 pods are ready", detail="ImagePullBackOff")))

    assert session.ends == ["destroyed"]
    assert any(isinstance(event, TeardownStarted) for event in events)
    assert _message(events) == "component kube-router: 0 of 3 pods are ready\nImagePullBackOff"
    assert _end(events).status == "failed"


@pytest.mark.parametrize("error", [ProvisionError("no room"), Interrupted()])
def test_whatever_else_goes_wrong_is_an_error(run: Callable[..., list[AnyEvent]], error: BaseException) -> None:
    session = FakeSession()

    events = run(session, error)

    assert session.ends == ["destroyed"]
    assert _end(events).status == "error"
    assert not _end(events).teardown_failed


def test_a_cluster_that_never_was_up_was_undone_already(run: Callable[..., list[AnyEvent]]) -> None:
    session = FakeSession()
    session.cluster = None

    events = run(session, ProvisionError("no room"))

    assert session.ends == []
    assert _message(events) == "no room"


def test_an_interruption_after_all_is_up_destroys_it(run: Callable[..., list[AnyEvent]]) -> None:
    session = FakeSession()

    events = run(session, cancel=True)

    assert session.ends == ["destroyed"]
    assert _end(events).interrupted


@pytest.mark.parametrize("error", [ProvisionError("no room"), TeardownError("no room", command="koalesce down tiny")])
def test_a_failed_teardown_is_told_with_its_command(run: Callable[..., list[AnyEvent]], error: BaseException) -> None:
    events = run(FakeSession(resists=True), error)

    end = next(event for event in events if isinstance(event, TeardownFinished))
    assert (end.message, end.command) == ("left: link veth1", "koalesce down tiny")
    assert _end(events).teardown_failed


def test_a_bad_name_is_refused_before_anything_starts(spec: Path) -> None:
    with pytest.raises(UsageError, match="can't be the name of a cluster"):
        bring_up(RunOptions(paths=(str(spec),)), name="Tiny")


def test_two_specs_are_refused(spec: Path) -> None:
    with pytest.raises(UsageError, match="one spec makes one cluster; these are 2"):
        bring_up(RunOptions(paths=(str(spec), str(spec))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": {"size": "3"}}, '--set size: no spec of this run has a variable "size"'),
        ({"images": {"Not An Image": Path("a.tar")}}, "'Not An Image' is not an image reference"),
    ],
)
def test_options_that_fit_nothing_are_refused(spec: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        bring_up(RunOptions(paths=(str(spec),), **options))

    assert caught.value.message == message


def test_a_spec_from_elsewhere_wants_trust(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    foreign = tmp_path_factory.mktemp("foreign") / "tiny.yaml"
    foreign.write_text(SPEC)

    with pytest.raises(UsageError, match="outside of the project"):
        bring_up(RunOptions(paths=(str(foreign),)))


def _end(events: list[AnyEvent]) -> RunFinished:
    assert isinstance(events[-1], RunFinished)
    return events[-1]


def _message(events: list[AnyEvent]) -> str:
    return next(event.message for event in events if isinstance(event, SpecFinished))
