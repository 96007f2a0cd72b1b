"""`koalesce run` around a scripted engine: options, reports, codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

import koalesce.engine
from koalesce.cli.commands import run as command
from koalesce.cli.follow import Abandoned
from koalesce.cli.main import main
from koalesce.cli.report_files import REPORTS
from koalesce.durations import Duration
from koalesce.engine import RunOptions
from koalesce.errors import ProvisionError, UsageError
from koalesce.events import AnyEvent, RunFinished, TestFinished
from koalesce.reporters import FILE_REPORTERS
from koalesce.reporters.jsonl import read_events

RUNS = Path(__file__).parents[2] / "data" / "runs"


class FakeEngine:
    """Yields the events of a recorded run, or raises; keeps the options that it was given."""

    def __init__(self) -> None:
        self.options: list[RunOptions] = []
        self.recorded = "green"
        self.error: Exception | None = None

    def run(self, options: RunOptions) -> Iterator[AnyEvent]:
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return read_events(RUNS / f"{self.recorded}.jsonl")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(koalesce.engine, "run", made.run)
    monkeypatch.chdir(tmp_path)
    Path("specs").mkdir()
    Path("specs/a.yaml").write_text("apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n")
    Path("b.yaml").write_text("")
    return made


def test_shows_the_run_and_reports_it(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "specs", "--junit", "out/junit.xml", "--events", "out/events.jsonl"]) == 0

    assert capsys.readouterr() == ((RUNS / "green.txt").read_text(), "")
    assert ET.parse("out/junit.xml").getroot().attrib["tests"] == "3"
    assert Path("out/events.jsonl").read_text() == (RUNS / "green.jsonl").read_text()


@pytest.mark.parametrize(
    ("recorded", "words", "code"),
    [
        ("green", [], 0),
        ("green", ["--no-skips"], 5),
        ("red", [], 4),
        ("interrupted", [], 130),
        ("kept", ["--no-skips"], 0),
    ],
)
def test_the_last_event_makes_the_code(engine: FakeEngine, recorded: str, words: list[str], code: int) -> None:
    engine.recorded = recorded

    assert main(["run", "specs", *words]) == code


def test_flags_become_options(engine: FakeEngine) -> None:
    Path("router.tar").write_text("")
    words = "run specs/a.yaml --keep --provider kubeconfig --image docker.io/x/router:1=router.tar --set version=v2 --set empty="
    words += (
        " b.yaml --run pods|dns -v --timeout 10m --parallel 8 --kubernetes 1.34 --trust --reruns 2 --run-timeout 1h"
    )
    words += " --skip /size=1 --label tier=smoke --label !slow --start-at dns --shard 2/3 --short --count 4 --shuffle 7"
    words += " --failfast --keep-on-failure --matrix size=1,2"

    main(words.split())

    (options,) = engine.options
    assert options == RunOptions(
        paths=("specs/a.yaml", "b.yaml"),
        keep=True,
        provider="kubeconfig",
        kubernetes="1.34",
        images={"docker.io/x/router:1": Path("router.tar")},
        variables={"version": "v2", "empty": ""},
        select="pods|dns",
        skip="/size=1",
        labels=("tier=smoke", "!slow"),
        start_at="dns",
        shard=(2, 3),
        short=True,
        count=4,
        shuffle=7,
        failfast=True,
        keep_on_failure=True,
        matrix={"size": ("1", "2")},
        parallel=8,
        timeout=Duration(600.0),
        run_timeout=Duration(3600.0),
        reruns=2,
        trust=True,
        verbose=True,
        cancel=options.cancel,
    )


def test_json_is_all_that_is_on_stdout(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.recorded = "red"

    assert main(["run", "specs", "--json", "--shuffle", "7", "-v"]) == 4

    out, err = capsys.readouterr()
    assert {json.loads(line)["Package"] for line in out.splitlines()} >= {"specs/kube-router.yaml", "specs/bgp.yaml"}
    assert err == "shuffled: --shuffle 7 gives the same order again\n"


def test_the_last_run_is_the_next_ones_baseline(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "specs", "--events", "events.jsonl"]
    assert main(words) == 0
    engine.recorded = "interrupted"

    assert main([*words, "--baseline", "events.jsonl"]) == 130

    assert "compared with run r1 of 2026-03-01T12:00:00.000Z: 1 newly failing, 2 new, 3 gone" in capsys.readouterr().out
    assert Path("events.jsonl").read_text() == (RUNS / "interrupted.jsonl").read_text()


def test_a_baseline_that_can_not_be_read_is_said_before_the_run(engine: FakeEngine) -> None:
    assert main(["run", "specs", "--baseline", "gone.jsonl"]) == 2
    assert engine.options == []


def test_github_gets_a_summary_of_the_step(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))

    assert main(["run", "specs"]) == 0
    assert main(["run", "specs"]) == 0

    assert (tmp_path / "summary.md").read_text().count("## ✅ Passed: quickstart") == 2
    assert "::group::" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "has_file"), [([], True), (["--junit-strict"], False)])
def test_a_strict_report_has_no_places(engine: FakeEngine, words: list[str], has_file: bool) -> None:
    main(["run", "specs", "--junit", "junit.xml", *words])

    assert {"file" in case.attrib for case in ET.parse("junit.xml").iter("testcase")} == {has_file}


def test_a_cluster_that_is_up_is_an_option(engine: FakeEngine) -> None:
    main(["run", "specs", "--cluster", "dev"])

    assert engine.options[0].cluster == "dev"


def test_runs_the_specs_below_here_by_default(engine: FakeEngine) -> None:
    main(["run"])

    assert engine.options[0].paths == ("specs/a.yaml",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.yaml"], "gone.yaml: no such file or folder"),
        (["--json", "--list"], "--json tells how tests run, and nothing runs"),
        (["empty"], "no specs in empty"),
        (["--junit", "specs"], "can't write a report to specs: is a folder"),
        (["--junit", "b.yaml/junit.xml"], "can't write a report to b.yaml/junit.xml: "),
        (["--junit", "x", "--events", "specs/../x"], "two reports can't be written to the same file"),
        (["--html", "specs/a.yaml"], "--html specs/a.yaml: what is read can't be written over"),
        (["--values", "v.yaml", "--tap", "v.yaml"], "--tap v.yaml: what is read can't be written over"),
        (["--junit", "-"], "--junit -: standard output shows the run"),
        (["--dry-run", "--junit", "b.yaml/deep/junit.xml"], "can't write a report to b.yaml/deep/junit.xml: "),
        (["--dry-run", "--baseline", "gone.jsonl"], "gone.jsonl: can't be read"),
        (["--junit-strict"], "--junit-strict says how --junit writes its report"),
        (["--image", "docker.io/x:1=gone.tar"], "--image docker.io/x:1=gone.tar: there is no gone.tar"),
        (["--image", "docker.io/x:1"], "'docker.io/x:1' is not of the form REF=PATH"),
        (["--run", "a["], "'a[' is not a regular expression"),
        (["--timeout", "10"], "write it with a unit"),
        (["--parallel", "0"], "is not a whole number from 1"),
        (["--shard", "4/3"], "'4/3' is not of the form I/N"),
        (["--label", "a=b=c"], "is not a label selector"),
        (["--matrix", "size"], "'size' is not of the form AXIS=VALUE"),
        (["--kubernetes", "1.34,1.34"], "1.34 is there twice"),
        (["--shuffle", "yes"], "'yes' is not on, off or a seed"),
        (["--failfsat"], 'unrecognized arguments: --failfsat; did you mean "--failfast"?'),
        (["--list", "--dry-run"], "--list and --dry-run both run nothing"),
        (["--cluster", "dev", "--keep-on-failure"], "--keep-on-failure says how clusters are made"),
        (["--cluster", "dev", "--keep"], "--keep says how clusters are made; --cluster takes one as it is"),
    ],
)
def test_bad_input_is_2_before_anything_starts(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("empty").mkdir()
    Path("v.yaml").write_text("{}\n")

    assert main(["run", *words]) == 2

    assert message in capsys.readouterr().err
    assert engine.options == []


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("specs/a.yaml:1:1: bad"), 2), (ProvisionError("no Terraform"), 3)]
)
def test_what_the_engine_refuses_is_one_message(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    engine.error = error

    assert main(["run", "specs", "--junit", "junit.xml"]) == code

    assert capsys.readouterr() == ("", f"error: {error}\n")
    assert ET.parse("junit.xml").getroot().attrib["tests"] == "0"  # not what an earlier run left there


def test_a_report_lost_on_the_way_is_an_error_after_a_green_run(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    assert main(["run", "specs", "--junit", "junit.xml"]) == 3
    assert capsys.readouterr().err == "error: the report of --junit could not be written: No space left on device\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--run", "gone"], "no test has a name that matches 'gone'\n  hint: koalesce list shows their names\n"),
        ([], "the specs have no tests\n"),
    ],
)
def test_no_test_at_all_is_5_and_told(
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    end = RunFinished(status="skipped", passed=0, failed=0, error=0, skipped=0, seconds=0.0)
    monkeypatch.setattr(koalesce.engine, "run", lambda options: iter([end]))

    assert main(["run", "specs", *words]) == 5

    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("recorded", "code"), [("green", 5), ("red", 4)])
def test_what_failed_can_be_run_again(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], recorded: str, code: int
) -> None:
    engine.recorded = recorded
    main(["run", "specs"])
    capsys.readouterr()

    assert main(["run", "specs", "--rerun-failed"]) == code

    if recorded == "green":
        assert capsys.readouterr().err == "no test failed when it last ran here\n"
    else:
        failed = {
            (event.spec, event.test)
            for event in read_events(RUNS / "red.jsonl")
            if isinstance(event, TestFinished) and event.status in ("failed", "error")
        }
        only = engine.options[-1].only
        assert only is not None
        assert failed
        assert failed <= {(spec, test) for spec, tests in only.items() for test in tests}


def test_a_shuffled_run_prints_its_seed(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "specs", "--shuffle", "on"])

    seed = engine.options[0].shuffle
    assert capsys.readouterr().out.startswith(f"shuffled: --shuffle {seed} gives the same order again\n")


TWO = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
cluster: {nodes: 2, kubernetes: "1.37.2"}
tests:
  - {name: first, steps: [{sleep: 1s}, {script: "true"}]}
  - {name: second, disruptive: true, steps: [{sleep: 1s}]}
"""


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["--list"], ["specs/a.yaml:6  first", "specs/a.yaml:7  second"]),
        (["--list", "--run", "sec", "--short"], ["specs/a.yaml:7  second  (skipped: --short: it is disruptive)"]),
        (
            ["--list", "--kubernetes", "1.37,1.34", "--skip", "first"],
            ["specs/a.yaml:7 [kubernetes=1.37]  second", "specs/a.yaml:7 [kubernetes=1.34]  second"],
        ),
        (
            ["--dry-run", "--short", "--junit", "new/junit.xml"],
            [
                "specs/a.yaml",
                "  cluster: local, Kubernetes 1.37.2, 2 nodes",
                "  specs/a.yaml:6  first",
                "  specs/a.yaml:7  second  (skipped: --short: it is disruptive)",
                "1 of 2 tests in 1 spec would run; nothing was started",
            ],
        ),
    ],
)
def test_what_would_run_is_shown_and_nothing_runs(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], words: list[str], lines: list[str]
) -> None:
    Path("specs/a.yaml").write_text(TWO)

    assert main(["run", *words]) == 0

    assert capsys.readouterr().out.splitlines() == lines
    assert engine.options == []
    assert not Path(".koalesce").exists()
    assert not Path("new").exists()


def test_a_shuffled_list_tells_its_seed_beside_it(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("specs/a.yaml").write_text(TWO)
    assert main(["run", "--list", "--shuffle", "on"]) == 0
    first, said = capsys.readouterr()
    seed = said.removeprefix("shuffled: --shuffle ").split()[0]

    assert main(["run", "--list", "--shuffle", seed]) == 0
    assert capsys.readouterr().out == first


def test_nothing_to_list_is_5(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("specs/a.yaml").write_text(TWO)

    assert main(["run", "--list", "--label", "tier=smoke"]) == 5

    assert "no test is left by --label tier=smoke" in capsys.readouterr().err


def test_every_file_reporter_has_its_flag() -> None:
    assert sorted(REPORTS) == sorted(FILE_REPORTERS)


_HANGING = """
import sys, threading
import koalesce.engine
from koalesce.cli.main import main
from koalesce.events import ClusterReady, RunFinished, SpecStarted

def run(options):
    yield SpecStarted(spec="a.yaml", name="a", tests=("t",))
    yield ClusterReady(spec="a.yaml", cluster="a-1", provider="local", kubernetes="v1", nodes=(), capabilities=(),
                       kubeconfig="k", seconds=1.0)
    options.cancel.wait()
    {ending}

koalesce.engine.run = run
sys.exit(main(["run", "a.yaml", "--junit", "junit.xml"]))
"""
_IN_ORDER = 'yield RunFinished(status="error", passed=0, failed=0, error=0, skipped=0, seconds=1.0, interrupted=True)'
_NEVER = "threading.Thread(target=threading.Event().wait).start(); threading.Event().wait()"


def start(tmp_path: Path, ending: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    (tmp_path / "a.yaml").write_text("")
    return subprocess.Popen(
        [sys.executable, "-c", _HANGING.format(ending=ending)],
        cwd=tmp_path, stdout=stdout, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    while text not in (line := process.stdout.readline()):
        assert line, f"ended before it said {text!r}"


def test_an_interrupt_ends_in_order(tmp_path: Path) -> None:
    with start(tmp_path, _IN_ORDER) as process:
        read_until(process, "cluster a-1")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert out.splitlines()[0].startswith("SIGINT: ending the run")
    assert out.splitlines()[-1].startswith("INTERRUPTED")
    assert (process.returncode, err) == (130, "")


def test_a_second_interrupt_leaves_even_if_the_engine_hangs(tmp_path: Path) -> None:
    with start(tmp_path, _NEVER) as process:
        read_until(process, "cluster a-1")
        process.send_signal(signal.SIGINT)
        read_until(process, "SIGINT: ending the run")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "  cluster a-1 of a.yaml: koalesce down a-1" in err.splitlines()
    case = ET.parse(tmp_path / "junit.xml").getroot().find(".//skipped")
    assert case is not None
    assert case.attrib["message"] == "not run: the run ended before it"


@pytest.mark.parametrize(("is_left", "code"), [(True, 4), (False, 130)])
def test_what_is_left_in_a_cluster_that_stays_is_a_code_of_its_own(
    is_left: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)

    command._leave(Abandoned("left at once", is_left=is_left))

    assert codes == [code]
    assert capsys.readouterr().err == "left at once\n"


def test_a_closed_pipe_ends_in_order_and_quietly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start(tmp_path, _IN_ORDER, stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (130, "")
