"""Following a run: what reaches the view and the reports, and what ends it."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from koalesce.cli.follow import Abandoned, Reports, follow
from koalesce.cli.stopping import Stop
from koalesce.engine.leftovers import Left
from koalesce.errors import KoalesceError, ProvisionError
from koalesce.events import AnyEvent, ClusterReady, PhaseStarted, RunFinished, RunStarted, SpecStarted, TeardownFinished

SPEC = "specs/a.yaml"
RUN = RunStarted(run_id="20260301-100000-abcde", version="1", specs=(SPEC,), folder="f")
START = SpecStarted(spec=SPEC, name="a", tests=("t",), elapsed=1.0)
PHASE = PhaseStarted(spec=SPEC, phase="images", elapsed=2.0)
READY = ClusterReady(
    spec=SPEC,
    cluster="a-1",
    provider="local",
    kubernetes="v1",
    nodes=(),
    capabilities=(),
    kubeconfig="k",
    seconds=1.0,
    elapsed=3.0,
)
GONE = TeardownFinished(spec=SPEC, cluster="a-1", seconds=0.5, elapsed=4.0)
END = RunFinished(status="passed", passed=1, failed=0, error=0, skipped=0, seconds=5.0, elapsed=5.0)
INTERRUPTED = RunFinished(status="error", passed=0, failed=0, error=0, skipped=0, seconds=5.0, interrupted=True)


class FixedClock:
    def monotonic(self) -> float:
        return 100.0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)


class FakeView:
    """Keeps what it is given; `on_event` and `on_tick` let a test act in the middle."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.ticks: list[float] = []
        self.said: list[str] = []
        self.on_event: Callable[[AnyEvent], None] = lambda event: None
        self.on_say: Callable[[], None] = lambda: None

    def handle(self, event: AnyEvent) -> None:
        self.events.append(event)
        self.on_event(event)

    def tick(self, elapsed: float) -> None:
        self.ticks.append(elapsed)

    def say(self, text: str) -> None:
        self.said.append(text)
        self.on_say()

    def close(self) -> None:
        pass


class FakeReport:
    def __init__(self, fails_at: int = 1000) -> None:
        self.events: list[AnyEvent] = []
        self.closed = False
        self._fails_at = fails_at

    def handle(self, event: AnyEvent) -> None:
        if len(self.events) >= self._fails_at:
            raise OSError(28, "No space left on device")
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


def until_cancelled(stop: Stop, *after: AnyEvent) -> Iterator[AnyEvent]:
    """A run with a cluster up, that goes on until it's told to stop, and then ends in order."""
    yield from (START, PHASE, READY)
    assert stop.cancel.wait(30)
    yield from after


def test_hands_every_event_to_view_and_reports_and_returns_the_last() -> None:
    view, report, events = FakeView(), FakeReport(), [START, PHASE, READY, GONE, END]
    reports = Reports({"junit": report})

    end = follow(iter(events), view, reports, Stop(), FixedClock())
    reports.close()

    assert end == END
    assert view.events == report.events == events
    assert report.closed


def test_ticks_in_the_time_of_the_events() -> None:
    view = FakeView()

    follow(iter([START, END]), view, Reports({}), Stop(), FixedClock())

    assert view.ticks == [1.0, 5.0, 5.0]


def test_raises_what_the_engine_raises() -> None:
    def events() -> Iterator[AnyEvent]:
        yield START
        raise ProvisionError("no image")

    with pytest.raises(ProvisionError, match="no image"):
        follow(events(), FakeView(), Reports({}), Stop(), FixedClock())


def test_a_run_without_a_result_is_an_error() -> None:
    with pytest.raises(KoalesceError, match="ended without a result"):
        follow(iter([START]), FakeView(), Reports({}), Stop(), FixedClock())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_in_order(number: signal.Signals) -> None:
    view, stop = FakeView(), Stop()
    view.on_event = lambda event: os.kill(os.getpid(), number) if event is READY else None

    with stop.on_signals():
        end = follow(until_cancelled(stop, GONE, INTERRUPTED), view, Reports({}), stop, FixedClock())

    assert end == INTERRUPTED
    assert view.events[-2:] == [GONE, INTERRUPTED]
    assert view.said == [f"{number.name}: ending the run and destroying its clusters; once more (^C) to leave at once"]


def abandoned_on_a_shared_cluster() -> tuple[FakeView, Abandoned]:
    """A run on a cluster that stays, told twice to stop."""
    view, stop = FakeView(), Stop()
    shared = dataclasses.replace(READY, shared=True, kubeconfig="/no/kube config")
    view.on_event = lambda event: os.kill(os.getpid(), signal.SIGINT) if event is shared else None
    view.on_say = lambda: os.kill(os.getpid(), signal.SIGINT)
    hang = threading.Event()

    def events() -> Iterator[AnyEvent]:
        yield from (RUN, START, PHASE, shared, PHASE)
        hang.wait(30)

    with stop.on_signals(), pytest.raises(Abandoned) as left:
        follow(events(), view, Reports({}), stop, FixedClock())
    hang.set()
    return view, left.value


def test_of_a_cluster_that_stays_nothing_is_said_to_be_destroyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("koalesce.kube.Kube", lambda path: None)
    monkeypatch.setattr("koalesce.engine.leftovers.left_by", lambda kube, run: [])

    view, left = abandoned_on_a_shared_cluster()

    assert view.said == ["SIGINT: ending the run and leaving cluster a-1 as it is; once more (^C) to leave at once"]
    assert left.message == (
        "left at once; of what the tests made, nothing is left in cluster a-1, which stays; "
        "what tests changed of objects of others isn't put back"
    )
    assert not left.is_left


def test_what_is_left_in_a_cluster_that_stays_is_told_with_what_removes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def left_by(_kube: object, run_id: str) -> list[Left]:
        asked.append(run_id)
        return [
            Left("namespaces/t-1"),
            Left("clusterroles.rbac.authorization.k8s.io/c"),
            Left("configmaps/m", "default"),
        ]

    monkeypatch.setattr("koalesce.kube.Kube", lambda path: None)
    monkeypatch.setattr("koalesce.engine.leftovers.left_by", left_by)

    _, left = abandoned_on_a_shared_cluster()

    assert asked == ["20260301-100000-abcde"]
    assert left.is_left
    assert left.message.splitlines() == [
        "left at once; left in cluster a-1, which stays (and what tests changed of objects of others isn't put back):",
        "  namespaces/t-1",
        "  clusterroles.rbac.authorization.k8s.io/c",
        "  configmaps/m in default",
        "removed by:",
        "  kubectl --kubeconfig '/no/kube config' delete namespaces/t-1 clusterroles.rbac.authorization.k8s.io/c",
        "  kubectl --kubeconfig '/no/kube config' -n default delete configmaps/m",
    ]


def test_where_it_cannot_be_told_what_is_left_that_is_said_with_what_shows_it() -> None:
    _, left = abandoned_on_a_shared_cluster()

    assert left.is_left
    assert left.message.startswith("left at once; what is left in cluster a-1, which stays, can't be told: ")
    assert left.message.splitlines()[-1] == (
        "  see: kubectl --kubeconfig '/no/kube config' get namespaces -l koalesce.dev/run=20260301-100000-abcde"
    )


def test_the_second_signal_leaves_and_says_what_is_left() -> None:
    view, stop = FakeView(), Stop()
    view.on_event = lambda event: os.kill(os.getpid(), signal.SIGINT) if event is READY else None
    view.on_say = lambda: os.kill(os.getpid(), signal.SIGINT)
    hang = threading.Event()

    def events() -> Iterator[AnyEvent]:
        yield from until_cancelled(stop)
        hang.wait(30)

    with stop.on_signals(), pytest.raises(Abandoned) as left:
        follow(events(), view, Reports({}), stop, FixedClock())
    hang.set()

    assert left.value.message == (
        "left at once, before everything was removed:\n"
        "  cluster a-1 of specs/a.yaml: koalesce down a-1\n"
        "  whatever else is left: koalesce sweep"
    )


def test_each_of_several_clusters_that_is_left_is_told() -> None:
    view, stop = FakeView(), Stop()
    west = dataclasses.replace(READY, cluster="a-2")
    north = dataclasses.replace(READY, cluster="a-3")

    def twice(event: AnyEvent) -> None:
        if event is GONE:
            stop.request("SIGINT")
            stop.request("SIGINT")

    view.on_event = twice
    with pytest.raises(Abandoned) as left:
        follow(iter([START, READY, west, north, GONE, *[PHASE] * 3]), view, Reports({}), stop, FixedClock())

    assert left.value.message.splitlines()[1:3] == [
        "  cluster a-2 of specs/a.yaml: koalesce down a-2",
        "  cluster a-3 of specs/a.yaml: koalesce down a-3",
    ]


def test_a_cluster_that_specs_share_is_told_once_until_it_is_gone() -> None:
    other = dataclasses.replace(PHASE, spec="specs/b.yaml")
    reused = dataclasses.replace(READY, spec="specs/b.yaml", reused=True)

    def left(events: list[AnyEvent]) -> list[str]:
        view, stop = FakeView(), Stop()

        def twice(event: AnyEvent) -> None:
            if event is events[-2]:
                stop.request("SIGINT")
                stop.request("SIGINT")

        view.on_event = twice
        with pytest.raises(Abandoned) as left:
            follow(iter(events), view, Reports({}), stop, FixedClock())
        return left.value.message.splitlines()

    assert left([START, READY, other, reused, other, START])[1] == "  cluster a-1 of specs/a.yaml: koalesce down a-1"
    assert left([START, READY, other, reused, other, GONE, START]) == ["left at once; no cluster was up"]


def test_nothing_is_said_to_be_left_where_nothing_was() -> None:
    view, stop = FakeView(), Stop()

    def twice(event: AnyEvent) -> None:
        if event is GONE:
            stop.request("SIGINT")
            stop.request("SIGINT")

    view.on_event = twice

    with pytest.raises(Abandoned, match=r"^left at once; no cluster was up$"):
        follow(iter([START, PHASE, READY, GONE, START, END]), view, Reports({}), stop, FixedClock())


def test_a_run_that_is_over_is_not_abandoned() -> None:
    view, stop = FakeView(), Stop()

    def twice(event: AnyEvent) -> None:
        if event is GONE:
            stop.request("SIGINT")
            stop.request("SIGINT")

    view.on_event = twice

    assert follow(iter([START, PHASE, READY, GONE, END]), view, Reports({}), stop, FixedClock()) == END


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGTERM)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop().on_signals():
            assert signal.getsignal(signal.SIGTERM) is not before
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGHUP, hang_up)


def test_a_closed_pipe_ends_the_run_in_order_and_reports_go_on() -> None:
    view, report, stop = FakeView(), FakeReport(), Stop()

    def closed(event: AnyEvent) -> None:
        if event is READY:
            raise BrokenPipeError(32, "Broken pipe")

    view.on_event = closed
    reports = Reports({"events": report})

    end = follow(until_cancelled(stop, GONE, INTERRUPTED), view, reports, stop, FixedClock())

    assert end == INTERRUPTED
    assert view.events[-1] == READY
    assert report.events[-2:] == [GONE, INTERRUPTED]
    assert (stop.requests, reports.problems) == (0, [])


def test_output_on_a_full_disk_ends_the_run_and_is_told() -> None:
    view, stop = FakeView(), Stop()

    def full(event: AnyEvent) -> None:
        if event is READY:
            raise OSError(28, "No space left on device")

    view.on_event = full
    reports = Reports({})

    follow(until_cancelled(stop, GONE, INTERRUPTED), view, reports, stop, FixedClock())

    assert reports.problems == ["the output could not be written: No space left on device"]


def test_a_report_that_can_not_be_written_is_told_and_the_run_goes_on() -> None:
    view, report, other = FakeView(), FakeReport(fails_at=1), FakeReport()
    reports = Reports({"events": report, "junit": other})

    end = follow(iter([START, PHASE, END]), view, reports, Stop(), FixedClock())
    reports.close()

    assert end == END
    assert reports.problems == ["the report of --events could not be written: No space left on device"]
    assert (report.closed, other.closed, len(other.events)) == (False, True, 3)


def test_an_unexpected_error_of_ours_still_tears_down_first() -> None:
    view, stop = FakeView(), Stop()
    ended = threading.Event()

    def broken(event: AnyEvent) -> None:
        if event is READY:
            raise KeyError("a bug")

    def events() -> Iterator[AnyEvent]:
        yield from until_cancelled(stop, GONE, INTERRUPTED)
        ended.set()

    view.on_event = broken

    with pytest.raises(KeyError, match="a bug"):
        follow(events(), view, Reports({}), stop, FixedClock())

    assert ended.is_set()


class Watch:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)


class SavedReport(FakeReport):
    """A report that can be saved, which takes its time; `saved` has how many events it then knew."""

    def __init__(self, clock: Watch, takes: float = 0.0) -> None:
        super().__init__()
        self.saved: list[int] = []
        self._clock = clock
        self._takes = takes

    def save(self) -> None:
        self.saved.append(len(self.events))
        self._clock.seconds += self._takes


def test_reports_are_saved_while_the_run_lasts_if_there_is_news() -> None:
    clock = Watch()
    report = SavedReport(clock)
    reports = Reports({"junit": report, "events": FakeReport()})

    for seconds, event in ((0.0, START), (1.0, PHASE), (2.5, None), (5.0, None), (6.0, READY)):
        clock.seconds = seconds
        if event is not None:
            reports.handle(event)
        reports.save(clock)

    assert report.saved == [1, 2, 3]


def test_saving_reports_takes_a_fiftieth_of_the_time_at_most() -> None:
    clock = Watch()
    report = SavedReport(clock, takes=1.0)
    reports = Reports({"html": report})

    for seconds in range(200):
        clock.seconds = max(clock.seconds, float(seconds))
        reports.handle(START)
        reports.save(clock)

    assert len(report.saved) == 4


def test_a_report_that_can_not_be_saved_now_is_written_at_the_end() -> None:
    class Full(SavedReport):
        def save(self) -> None:
            raise OSError(28, "No space left on device")

    report = Full(Watch())
    reports = Reports({"junit": report})

    reports.handle(START)
    reports.save(Watch())
    reports.close()

    assert report.closed
    assert reports.problems == []
