"""What happens in a run, as plain data: the only thing that reporters see, and all that `events.jsonl` holds.

Every event is a frozen dataclass of JSON values. `at` is the wall clock (RFC 3339, UTC), `elapsed` the seconds since the run
began. `to_json` and `from_json` are inverse to each other, so that a report can be made again from a file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Literal

from koalesce.records import dataclass
from koalesce.shapes import shaped

FORMAT = 1
Status = Literal["passed", "failed", "error", "skipped"]
OutcomeName = Literal["passed", "failed", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event has."""

    __test__: ClassVar[bool] = False  # TestStarted is no test class of pytest's

    at: str = ""
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """The first event of a run. `folder` is where its artifacts go, relative to the working folder if below it."""

    run_id: str
    version: str
    specs: tuple[str, ...]
    folder: str
    format: int = FORMAT
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecStarted(Event):
    """A spec begins. `spec` is its path as shown to people, with the cell of its matrix behind it, and the key of all its other events.

    `cached` is when it passed (RFC 3339) where it isn't run, as nothing has changed since: what follows is told again, with the times that its
    tests and steps took then.
    """

    spec: str
    name: str
    tests: tuple[str, ...]
    cached: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStarted(Event):
    """A part of making a cluster ready begins: `toolchain`, `images`, `terraform init`, `component kube-router`.

    Of several clusters, the one that it's about stands behind it in brackets: `terraform apply [east]`.
    """

    spec: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseProgress(Event):
    """Something to tell people while a phase lasts: one line. A `notice` is of interest beyond that moment: something that may get in the way."""

    spec: str
    phase: str
    message: str
    notice: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseFinished(Event):
    """A phase ended; `message` is set where its status isn't passed."""

    spec: str
    phase: str
    status: Status
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterReady(Event):
    """The cluster is up (its components not yet). `shared`: it was up before the run, and stays up after it.

    `reused`: an earlier spec of the run had it made, and shares it with this one; its components are there. So it is of a spec whose result
    is an earlier one's: that run had it made, and it is gone.
    """

    spec: str
    cluster: str
    provider: str
    kubernetes: str
    nodes: tuple[Mapping[str, Any], ...]
    capabilities: tuple[str, ...]
    kubeconfig: str
    seconds: float
    shared: bool = False
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TestStarted(Event):
    """A test begins, in a namespace of its own. `line` is its place in the spec (from 1); `rerun` counts the times it failed before."""

    spec: str
    test: str
    namespace: str
    line: int
    rerun: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """A step begins. `index` counts from 0 in its `section`: steps, setup, cleanup, onFailure, invariants, ready.

    `ongoing` names what goes on after it (a fault, a probe), until a step of the type `stop` with the same name, or the test, ends.
    """

    spec: str
    test: str
    section: str
    index: int
    type: str
    title: str
    line: int
    timeout: float
    ongoing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairKind:
    """What may become of a pair: what was expected of it and what was seen, in words; `note` says what else there is to know."""

    expected: str
    observed: str
    is_right: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Pairs that were tried: from each row to each column. A cell is an index into `kinds`, or -1 where there is no such pair."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    kinds: tuple[PairKind, ...]
    cells: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What came of one question that was asked again and again, over time.

    Time is cut into spans of `width` seconds, the first of which began `ago` seconds before the step's end. Of each: how many tries were
    right, lost and wrong, and the usual (median) and the slowest time of right answers in seconds, None where there were none.
    """

    title: str
    ago: float
    width: float
    right: tuple[int, ...]
    lost: tuple[int, ...]
    wrong: tuple[int, ...]
    usual: tuple[float | None, ...]
    slowest: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A BGP session as its end `at` has it: with the machine `peer` (or an address that none has), `accepted` of whose routes it took."""

    at: str
    peer: str
    state: str
    local_asn: int
    asn: int
    accepted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path to a prefix, announced by the machine `peer` (or an address that none has; empty: by none, it's the table's own)."""

    prefix: str
    peer: str
    next_hop: str
    as_path: str
    is_best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """BGP routes of the machine `at`: those it has (`side` is `table`), or has `received` from or `sent` to `peer`. `left_out` more prefixes aren't listed."""

    at: str
    side: str
    peer: str
    family: str
    routes: tuple[Route, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAttempted(Event):
    """One try of a step ended; sent when what it saw differs from the try before."""

    spec: str
    test: str
    section: str
    index: int
    attempt: int
    outcome: OutcomeName
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step ended. `expected`, `actual` and `detail` (several lines) explain a failure.

    `settled` is the time in seconds from the step's start until what it asserts first held (None if it never did). `grids` are the pairs that
    its last look tried, where it is about pairs, `series` what came of questions that it ended,
    `sessions` and `routes` those that its last look saw.
    """

    spec: str
    test: str
    section: str
    index: int
    type: str
    title: str
    line: int
    status: Status
    attempts: int
    seconds: float
    message: str
    expected: str | None = None
    actual: str | None = None
    detail: str = ""
    settled: float | None = None
    grids: tuple[Grid, ...] = ()
    series: tuple[Series, ...] = ()
    sessions: tuple[Session, ...] = ()
    routes: tuple[RouteTable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TestRerun(Event):
    """A test failed and begins anew: how this try ended. `rerun` counts what follows, from 1 to `reruns` at the most."""

    spec: str
    test: str
    rerun: int
    reruns: int
    seconds: float
    message: str
    line: int
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestFinished(Event):
    """A test ended. `message` sums a failure, error or skip up; `evidence` is a folder or empty.

    `rerun` counts the times that it failed before and was run again, `reruns` how many there could be. One that passed after it failed
    is `flaky`. `seconds` are those of all tries.
    """

    spec: str
    test: str
    status: Status
    seconds: float
    message: str
    line: int
    evidence: str = ""
    rerun: int = 0
    reruns: int = 0
    flaky: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownStarted(Event):
    """The cluster is being destroyed."""

    spec: str
    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TeardownFinished(Event):
    """The cluster is gone; or `message` says what is left and `command` removes it. `kept`: it was to stay."""

    spec: str
    cluster: str
    seconds: float
    kept: bool = False
    message: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFinished(Event):
    """A spec ended. `message` sums up what went wrong outside its tests (provisioning, components), or why it was skipped.

    `uncached` says why its result is not kept for later runs, where the run keeps those of specs that passed.
    """

    spec: str
    status: Status
    seconds: float
    message: str = ""
    evidence: str = ""
    uncached: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The last event. Counts are of tests; `flaky` are among `passed`. `interrupted`: by a signal. `teardown_failed`: something is left."""

    status: Status
    passed: int
    failed: int
    error: int
    skipped: int
    seconds: float
    interrupted: bool = False
    teardown_failed: bool = False
    flaky: int = 0


AnyEvent = (
    RunStarted
    | SpecStarted
    | PhaseStarted
    | PhaseProgress
    | PhaseFinished
    | ClusterReady
    | TestStarted
    | StepStarted
    | StepAttempted
    | StepFinished
    | TestRerun
    | TestFinished
    | TeardownStarted
    | TeardownFinished
    | SpecFinished
    | RunFinished
)


class _Registry:
    types: ClassVar[dict[str, type[Event]]] = {
        kind.__name__: kind
        for kind in (
            RunStarted,
            SpecStarted,
            PhaseStarted,
            PhaseProgress,
            PhaseFinished,
            ClusterReady,
            TestStarted,
            StepStarted,
            StepAttempted,
            StepFinished,
            TestRerun,
            TestFinished,
            TeardownStarted,
            TeardownFinished,
            SpecFinished,
            RunFinished,
        )
    }


def _values(made: Any) -> dict[str, Any]:
    """What a dataclass holds; the encoder asks for that of those within it."""
    if isinstance(made, Mapping):
        return dict(made)
    # `dataclasses.asdict` copies whatever is in it, which takes four times as long.
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_values)


def to_json(event: AnyEvent) -> str:
    """One line of `events.jsonl`."""
    return _ENCODER.encode({"event": type(event).__name__, **_values(event)})


def from_json(line: str) -> AnyEvent:
    """The event of a line; ValueError says what is wrong with it. Fields that a newer version added are left out."""
    try:
        data = json.loads(line)
    except ValueError as error:  # which says where in the line, of no use to people
        raise ValueError(f"not an event: {line[:80].rstrip()}") from error
    if not isinstance(data, dict):
        raise ValueError(f"not an event: {line[:80].rstrip()}")
    kind = _Registry.types.get(str(data.pop("event", "")))
    if kind is None:
        raise ValueError(f"not an event of this version: {line[:80].rstrip()}")
    return shaped(kind, data)  # type: ignore[return-value]  # the registry holds the members of AnyEvent only
