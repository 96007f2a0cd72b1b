"""`run_spec` around a scripted engine."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import koalesce
import koalesce.engine
from koalesce import KoalesceError, ProvisionError, UsageError, run_spec
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.events import AnyEvent, RunFinished, RunStarted, SpecStarted, TeardownFinished
from koalesce.reporters.jsonl import read_events

ROOT = Path(__file__).parents[3]
RUNS = ROOT / "tests" / "data" / "runs"
SPEC = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n"
_PATIENCE = 60
START = RunStarted(run_id="r", version="1", specs=("a.yaml",), folder="f")
SPEC_START = SpecStarted(spec="a.yaml", name="a", tests=("t",))
END = RunFinished(status="error", passed=0, failed=0, error=0, skipped=1, seconds=1.0, interrupted=True)


class FakeEngine:
    """Yields recorded events; or waits in the middle of a run until it's cancelled, and ends then as `ends` says."""

    def __init__(self) -> None:
        self.options: list[RunOptions] = []
        self.error: Exception | None = None
        self.breaks: Exception | None = None
        self.waits = False
        self.torn_down = False
        self.ends: list[AnyEvent] = [END]

    def run(self, options: RunOptions) -> Iterator[AnyEvent]:
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return self._waiting(options) if self.waits else self._recorded()

    def _recorded(self) -> Iterator[AnyEvent]:
        yield from read_events(RUNS / "green.jsonl")
        if self.breaks is not None:
            raise self.breaks

    def _waiting(self, options: RunOptions) -> Iterator[AnyEvent]:
        yield START
        yield SPEC_START
        assert options.cancel.wait(_PATIENCE)
        self.torn_down = True
        yield from self.ends


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(koalesce.engine, "run", made.run)
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(SPEC)
    return made


def test_gives_the_result_and_tells_every_event(engine: FakeEngine) -> None:
    seen: list[AnyEvent] = []

    result = run_spec("a.yaml", on_event=seen.append)

    assert result.ok
    assert seen == list(read_events(RUNS / "green.jsonl"))


def test_arguments_become_options(engine: FakeEngine) -> None:
    Path("app.tar").touch()

    run_spec(
        Path("a.yaml"), select="dns", labels=["tier=smoke"], only={"a.yaml": ["t"]}, cluster="dev", variables={"v": 1},
        images={"app:1": "app.tar"}, timeout="2m", reruns=1, parallel=2,
    )  # fmt: skip

    (options,) = engine.options
    assert (options.paths, options.select, options.labels) == (("a.yaml",), "dns", ("tier=smoke",))
    assert (options.only, options.cluster, options.variables) == ({"a.yaml": ["t"]}, "dev", {"v": 1})
    assert (options.images, options.timeout) == ({"app:1": Path("app.tar")}, Duration(120))
    assert (options.reruns, options.parallel, options.trust) == (1, 2, False)


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        ([], {}, "needs a spec"),
        (["nothing.yaml"], {}, "no such file"),
        (["a.yaml"], {"timeout": "2"}, "timeout: '2' is not a duration"),
        (["a.yaml"], {"images": {"app": "app.tar"}}, "app.tar"),
    ],
)
def test_what_cannot_be_run_is_refused(
    engine: FakeEngine, specs: list[str], options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run_spec(*specs, **options)  # type: ignore[arg-type]

    assert engine.options == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_the_engine_raises_comes_out(engine: FakeEngine, when: str) -> None:
    setattr(engine, "error" if when == "before" else "breaks", ProvisionError("no room"))

    with pytest.raises(ProvisionError, match="no room"):
        run_spec("a.yaml")


def test_cancel_ends_the_run_and_gives_its_result(engine: FakeEngine) -> None:
    engine.waits, cancel = True, threading.Event()

    result = run_spec("a.yaml", cancel=cancel, on_event=lambda event: cancel.set())

    assert (result.interrupted, result.ok, engine.torn_down) == (True, False, True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("of the caller's")])
def test_what_is_raised_meanwhile_ends_the_run_first(engine: FakeEngine, error: BaseException) -> None:
    engine.waits = True
    engine.ends = [
        TeardownFinished(spec="a.yaml", cluster="a-1", seconds=1, message="stuck", command="koalesce down a-1"),
        END,
    ]

    def fail(event: AnyEvent) -> None:
        if isinstance(event, SpecStarted):
            raise error

    with pytest.raises(type(error)) as caught:
        run_spec("a.yaml", on_event=fail)

    assert engine.torn_down
    assert caught.value.__notes__ == ["something is left over; remove it with: koalesce down a-1"]


def test_it_runs_in_any_thread(engine: FakeEngine) -> None:
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(run_spec("a.yaml").ok)) for _ in range(3)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)

    assert results == [True] * 3


_PROGRAM = """
import signal, threading
import koalesce, koalesce.engine
from koalesce.events import RunFinished, RunStarted

def run(options):
    yield RunStarted(run_id="r", version="1", specs=(), folder="f")
    options.cancel.wait(60)
    print("torn down", flush=True)
    yield RunFinished(status="error", passed=0, failed=0, error=0, skipped=0, seconds=1, interrupted=True)

koalesce.engine.run = run
before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

def begun(event):
    assert before == [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    print(type(event).__name__, flush=True)

try:
    koalesce.run_spec("a.yaml", on_event=begun)
except KeyboardInterrupt:
    print("KeyboardInterrupt", flush=True)
"""


def test_control_c_tears_down_and_is_raised_on_without_a_handler_of_ours(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC)
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "RunStarted\n"
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=_PATIENCE)

    assert (program.returncode, out) == (0, "torn down\nKeyboardInterrupt\n")


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    program = (
        "import sys; before = set(sys.modules); import koalesce; koalesce.__version__;"
        "print(*sorted(name for name in set(sys.modules) - before if name not in sys.stdlib_module_names))"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    loaded = {name for name in done.stdout.split() if name.partition(".")[0] not in sys.stdlib_module_names}
    assert loaded == {"koalesce"}


def test_all_that_it_offers_is_there() -> None:
    for name in koalesce.__all__:
        assert getattr(koalesce, name) is not None
    assert issubclass(koalesce.UsageError, KoalesceError)
    with pytest.raises(AttributeError):
        _ = koalesce.run_specs
