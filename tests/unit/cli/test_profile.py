"""`koalesce up --profile`: which phases are shown, where they stand, and what processors worked meanwhile."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from koalesce.cli.profile import Bar, Profile, command_age, table
from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseStarted, RunStarted
from koalesce.local.ledger import Entry, Thing

BEGAN = 1_772_359_200.0  # 2026-03-01T10:00:00Z
RUN = RunStarted(run_id="r", version="1", specs=("a.yaml",), folder="f", at="2026-03-01T10:00:00.500Z", elapsed=0.0)


def phase(name: str, start: float, end: float) -> list[AnyEvent]:
    return [
        PhaseStarted(spec="a.yaml", phase=name, elapsed=start),
        PhaseFinished(spec="a.yaml", phase=name, status="passed", seconds=end - start, elapsed=end),
    ]


def ready(name: str, elapsed: float) -> ClusterReady:
    return ClusterReady(
        spec="a.yaml", cluster=name, provider="local", kubernetes="1", nodes=(), capabilities=(), kubeconfig="k",
        seconds=1.0, elapsed=elapsed,
    )  # fmt: skip


def entry(folder: Path, name: str, *, supervised: bool = True) -> Entry:
    """A cluster whose supervisor began one second after the command, if it has one; its nodes have worked three seconds."""
    group = folder / name / "group"
    group.mkdir(parents=True)
    (group / "cpuacct.usage").write_text("3000000000")
    if supervised:
        phases = [
            {"name": "runtime of one", "start": 0.25, "seconds": 0.5, "beside": True},
            {"name": "etcd", "start": 0.25, "seconds": 1.0, "cpu": {"nodes": 0.75, "supervisor": 0.25}},
        ]
        written = {"began": "2026-03-01T10:00:01+00:00", "cpu": {"nodes": 3.0, "supervisor": 0.5}, "phases": phases}
        (folder / name / "phases.json").write_text(json.dumps(written))
    return Entry(name=name, folder=str(folder / name), things=(Thing("cgroup", str(group)),))


def profile(*entries: Entry) -> Profile:
    """Of a command that has run 0.25 s, to which each look at a clock finds another 0.125 s worked."""
    worked = itertools.count(1)
    by_name = {each.name: each for each in entries}
    return Profile(age=0.25, find=by_name.get, own_cpu=lambda: next(worked) / 8, now=lambda: BEGAN + 0.25)


def shown(made: Profile, *events: AnyEvent) -> list[str]:
    for event in events:
        made.handle(event)
    return [" ".join(line.replace("█", "").replace("▏", "").split()) for line in made.lines(80)]


def test_phases_of_command_and_supervisor_stand_on_one_axis(tmp_path: Path) -> None:
    rows = shown(
        profile(entry(tmp_path, "dev")),
        RUN, *phase("toolchain", 0.0, 0.25), *phase("terraform apply", 0.25, 2.0), ready("dev", 2.0), *phase("dns", 2.0, 2.5),
    )  # fmt: skip

    assert rows[:-1] == [
        "start took CPU nodes CPU own",
        "the command's start 0.00 0.50 0.12",
        "toolchain 0.50 0.25 0.12",
        "terraform apply 0.75 1.75 0.12",
        "etcd 1.25 1.00 0.75 0.25",
        "runtime of one 1.25 0.50",
        "dns 2.50 0.50 0.00 0.12",
        "all 0.00 3.00 3.00 1.50",
    ]


def test_a_provider_without_a_supervisor_has_the_phases_that_there_are(tmp_path: Path) -> None:
    rows = shown(profile(entry(tmp_path, "dev", supervised=False)), RUN, *phase("apply", 0.0, 1.0), ready("dev", 1.0))

    assert rows[1:-1] == ["the command's start 0.00 0.50 0.12", "apply 0.50 1.00 0.12", "all 0.00 1.50 0.50"]


def test_phases_of_several_clusters_are_told_apart(tmp_path: Path) -> None:
    made = profile(entry(tmp_path, "east"), entry(tmp_path, "west"))

    rows = shown(made, RUN, ready("east", 2.0), ready("west", 2.0))

    assert {row.partition(" 1.25")[0] for row in rows if row.startswith("etcd")} == {"etcd (east)", "etcd (west)"}


def test_bars_are_drawn_to_scale_and_the_shortest_still_shows() -> None:
    bars = [
        Bar(name="long", start=0.0, seconds=2.0),
        Bar(name="late", start=3.0, seconds=1.0),
        Bar(name="short", start=2.0, seconds=0.01),
        Bar(name="last", start=4.0, seconds=0.0),
    ]

    lines = table(bars, 4.0, 0)[1:]

    pictures = [line.split()[3] for line in lines]
    assert pictures == ["█" * 10, "█" * 5, "▏", "▏"]
    starts = [line.index(picture) for line, picture in zip(lines, pictures, strict=True)]
    assert [start - starts[0] for start in starts] == [0, 15, 10, 19]


def test_a_command_has_run_for_a_while() -> None:
    assert 0 < command_age() < 24 * 3600
