"""Reports of `--junit-strict` against Jenkins' schema, which is taken from pytest's source distribution."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import xmlschema

from koalesce.assets import cache_dir
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    PhaseFinished,
    RunFinished,
    RunStarted,
    SpecFinished,
    SpecStarted,
    StepFinished,
    TeardownFinished,
    TestFinished,
    TestRerun,
    TestStarted,
)
from koalesce.reporters.jsonl import read_events
from koalesce.reporters.junit import JUnit

RUNS = Path(__file__).parents[2] / "data" / "runs"
PYTEST = "9.0.2"
MEMBER = f"pytest-{PYTEST}/testing/example_scripts/junit-10.xsd"
SPEC = "specs/net/a.yaml [kubernetes=1.34]"
HOSTILE = '\x00\x1b[31m<&"]]>\ud800\ufffe\x0b\x85::error::[/bold]\nend'


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> xmlschema.XMLSchema:
    """Jenkins' schema; it is fetched once and kept in the cache."""
    kept = cache_dir() / "test-data" / f"junit-10-of-pytest-{PYTEST}.xsd"
    if not kept.exists():
        text = fetch_schema(tmp_path_factory.mktemp("sdist"))
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(text)
        fresh.replace(kept)
    return xmlschema.XMLSchema(str(kept))


def fetch_schema(folder: Path) -> bytes:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=pytest", "--retries=1"]
    try:
        done = subprocess.run(
            [*command, f"--dest={folder}", f"pytest=={PYTEST}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(
            f"Jenkins' schema can't be had: pip takes more than 120 s for pytest {PYTEST}'s source distribution"
        )
    archive = folder / f"pytest-{PYTEST}.tar.gz"
    if not archive.exists():
        why = next(iter(done.stderr.strip().splitlines()), "no reason given")
        pytest.skip(f"Jenkins' schema can't be had: pip download pytest=={PYTEST}: {why}")
    with tarfile.open(archive) as tar:
        member = tar.extractfile(MEMBER)
        assert member is not None
        return member.read()


def report(path: Path, events: list[AnyEvent], *, strict: bool = True) -> str:
    reporter = JUnit(path, strict=strict)
    for event in events:
        reporter.handle(event)
    reporter.close()
    return str(path)


def step(status: str, message: str = "m", test: str = "t") -> StepFinished:
    return StepFinished(
        spec=SPEC, test=test, section="steps", index=0, type="script", title=message, line=7, status=status,  # type: ignore[arg-type]  # a status
        attempts=2, seconds=0.1, message=message, expected=message, actual=message, detail=message,
    )  # fmt: skip


def cluster(name: str) -> ClusterReady:
    return ClusterReady(
        spec=SPEC, cluster=name, provider="local", kubernetes="1.37.2", nodes=(), capabilities=(HOSTILE,),
        kubeconfig=f"/{name}", seconds=1.0,
    )  # fmt: skip


def tried(*statuses: str, end: str) -> list[AnyEvent]:
    """A test whose tries went like this; errors and failures mixed."""
    events: list[AnyEvent] = [SpecStarted(spec=SPEC, name="a", tests=("t",))]
    for number, status in enumerate(statuses):
        events.append(TestStarted(spec=SPEC, test="t", namespace="n", line=5, rerun=number))
        events.append(step(status))
        if number < len(statuses) - 1:
            events.append(
                TestRerun(
                    spec=SPEC, test="t", rerun=number + 1, reruns=3, seconds=0.1, message="m", line=5, evidence="/e"
                )
            )
    count = len(statuses) - 1
    last = TestFinished(
        spec=SPEC, test="t", status=end, seconds=1234567.8, message="m", line=5, evidence="/e", rerun=count, reruns=3,  # type: ignore[arg-type]  # a status
        flaky=end == "passed" and count > 0,
    )  # fmt: skip
    return [*events, last]


def hostile() -> list[AnyEvent]:
    return [
        RunStarted(run_id=HOSTILE, version=HOSTILE, specs=(SPEC,), folder=HOSTILE, machine={"hostname": HOSTILE}),
        SpecStarted(spec=SPEC, name=HOSTILE, tests=(HOSTILE, "t")),
        cluster(HOSTILE),
        TestStarted(spec=SPEC, test=HOSTILE, namespace="n", line=1),
        step("failed", HOSTILE, HOSTILE),
        TestFinished(spec=SPEC, test=HOSTILE, status="failed", seconds=1.0, message=HOSTILE, line=1, evidence=HOSTILE[1:]),
        TestFinished(spec=SPEC, test="t", status="skipped", seconds=0.0, message=HOSTILE, line=1),
        SpecFinished(spec=SPEC, status="failed", seconds=1.0, message=HOSTILE),
    ]  # fmt: skip


def several_clusters() -> list[AnyEvent]:
    return [
        SpecStarted(spec=SPEC, name="a", tests=("t",)),
        cluster("east"),
        cluster("west"),
        PhaseFinished(spec=SPEC, phase="component cni [west]", status="failed", seconds=60.0, message="1 of 3 ready"),
        TeardownFinished(spec=SPEC, cluster="east", seconds=1.0, kept=True, command="koalesce down east"),
        TeardownFinished(spec=SPEC, cluster="west", seconds=1.0, message="left: a link", command="koalesce down west"),
        SpecFinished(spec=SPEC, status="failed", seconds=61.0, message="component cni was not ready"),
    ]


def many(count: int = 10_000) -> list[AnyEvent]:
    names = tuple(f"test {number}" for number in range(count))
    ends: list[AnyEvent] = [
        TestFinished(spec=SPEC, test=name, status="passed", seconds=0.1, message="", line=1) for name in names
    ]
    end = RunFinished(status="passed", passed=count, failed=0, error=0, skipped=0, seconds=9.0)
    return [SpecStarted(spec=SPEC, name="a", tests=names), *ends, end]


def recorded() -> Iterator[tuple[str, list[AnyEvent]]]:
    for path in sorted(RUNS.glob("*.jsonl")):
        events = list(read_events(path))
        yield path.stem, events
        yield f"{path.stem}, cut short", events[: len(events) * 2 // 3]


KINDS: dict[str, list[AnyEvent]] = {
    **dict(recorded()),
    "nothing at all": [],
    "passed": tried("passed", end="passed"),
    "failed": tried("failed", end="failed"),
    "error": tried("error", end="error"),
    "skipped": tried("skipped", end="skipped"),
    "flaky": tried("failed", "error", "passed", end="passed"),
    "failed each time": tried("failed", "failed", "failed", end="failed"),
    "an error after failures": tried("failed", "failed", "error", end="error"),
    "several clusters": several_clusters(),
    "foreign text": hostile(),
    "10,000 cases": many(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_strict_report_is_valid(schema: xmlschema.XMLSchema, tmp_path: Path, kind: str) -> None:
    schema.validate(report(tmp_path / "junit.xml", KINDS[kind]))


def test_a_report_that_is_not_strict_has_what_the_schema_lacks(schema: xmlschema.XMLSchema, tmp_path: Path) -> None:
    events = KINDS["red"]

    assert not schema.is_valid(report(tmp_path / "junit.xml", events, strict=False))
    assert {error.reason for error in schema.iter_errors(report(tmp_path / "junit.xml", events, strict=False))} == {
        f"'{attribute}' attribute not allowed for element" for attribute in ("skipped", "file", "line")
    }
