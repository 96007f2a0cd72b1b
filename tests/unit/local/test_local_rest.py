"""Capabilities, waiting, phases, name servers, teardown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from koalesce.addons import ADDONS
from koalesce.capabilities import CAPABILITIES, with_implied
from koalesce.errors import ClusterError, TeardownError
from koalesce.local import capabilities, cgroups, egress, teardown
from koalesce.local.api import Deadline
from koalesce.local.ledger import Entry, Ledger, Process, Thing
from koalesce.local.phases import Phases
from koalesce.local.request import from_mapping


def test_a_capability_is_what_a_trial_said() -> None:
    wanted = from_mapping({"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/s", "egress": "host"})
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        commands.append(command)
        return "vxlan\nnetem\nnonsense\n"

    found = capabilities.probe(wanted, run, cgroup_version=1)

    assert found == {
        "vxlan", "netem", "egress", "cgroup-v1", "chaos", "disruption", "node-exec", "node-kill", "privileged", "host-exec",
    }  # fmt: skip
    assert commands[0][:2] == ["unshare", "--net"]


def test_every_capability_that_a_cluster_may_tell_can_be_required() -> None:
    named = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/s", "egress": "host"}
    families = {
        "ip_families": ["IPv4", "IPv6"],
        "pod_cidr": "10.244.0.0/16,fd00::/48",
        "service_cidr": "10.96.0.0/16,fd01::/112",
    }
    asking = {"name": "registry.example.com", "username": "ci", "password": "made-up"}
    besides = {"addons": list(ADDONS), "registries": [asking]}
    trials = " ".join(capabilities._TRIALS)  # all that can be tried
    found = {
        name
        for version in (1, 2)
        for name in capabilities.probe(
            from_mapping({**named, **families, **besides}), lambda _: trials, cgroup_version=version
        )
    }

    assert with_implied(found) == set(CAPABILITIES)


def test_a_trial_that_fails_says_nothing() -> None:
    script = "( exit 1 ) >/dev/null 2>&1 && echo bad\n( exit 0 ) >/dev/null 2>&1 && echo good\ntrue"

    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True).stdout == "good\n"


def test_a_module_that_is_not_loaded_by_being_used_is_loaded_for_the_trial(tmp_path: Path) -> None:
    programs = {
        "unshare": 'shift; exec "$@"',
        "ip": f'case "$*" in "fou "*) test -e {tmp_path}/loaded ;; *) exit 1 ;; esac',
        "modprobe": f'test "$1" != fou || touch {tmp_path}/loaded',
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    wanted = from_mapping({"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/s"})

    def run(command: Sequence[str]) -> str:
        return subprocess.run(command, capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}).stdout

    found = capabilities.probe(wanted, run, cgroup_version=2)

    assert "fou" in found
    assert "gre" not in found


def test_waiting_ends_with_the_reason() -> None:
    with pytest.raises(ClusterError) as caught:
        Deadline(0, lambda: None).until("rain", lambda: False, why=lambda: "it is sunny")

    assert caught.value.message == "waited 0 s in vain for rain\nit is sunny"


def test_waiting_ends_when_it_is_of_no_use() -> None:
    def check() -> None:
        raise ClusterError("no clouds")

    with pytest.raises(ClusterError, match="no clouds"):
        Deadline(60, check).until("rain", lambda: False)


class _Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        self.time += 1.5
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_phases_are_saved_with_their_times_and_the_work_of_processors(tmp_path: Path) -> None:
    told: list[str] = []
    group = tmp_path / "group"
    group.mkdir()
    (group / "cpuacct.usage").write_text("2000000000\n")
    phases = Phases(_Clock(), told.append)

    with phases.phase("nodes"):
        phases.groups = [group]
    with phases.phase("more"):
        (group / "cpuacct.usage").write_text("2500000000\n")
    with phases.beside("meanwhile"):
        pass
    phases.save(tmp_path / "phases.json")

    saved = json.loads((tmp_path / "phases.json").read_text())
    first, second, beside = saved["phases"]
    assert (first["name"], first["start"], first["seconds"], first["cpu"]["nodes"]) == ("nodes", 1.5, 1.5, 2.0)
    assert (second["name"], second["cpu"]["nodes"]) == ("more", 0.5)
    assert beside == {"name": "meanwhile", "start": 7.5, "seconds": 1.5, "beside": True}
    assert saved["began"] == "2026-01-01T11:59:49.500000+00:00"
    assert saved["cpu"]["nodes"] == 2.5
    assert saved["cpu"]["supervisor"] > 0
    assert told == ["  3.00s  nodes", "  6.00s  more"]


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({"cpu.stat": "nr_periods 0\n", "other/cpuacct.usage": "1500000000\n"}, 1.5),
        ({"cpu.stat": "usage_usec 2500000\nuser_usec 1\n"}, 2.5),
        ({}, 0.0),
    ],
    ids=["v1", "v2", "gone"],
)
def test_the_work_of_processors_is_what_cgroups_count(tmp_path: Path, files: dict[str, str], seconds: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert cgroups.cpu_seconds([tmp_path, tmp_path / "other"]) == seconds


def test_name_servers_are_not_a_stub_where_better_is_known(tmp_path: Path) -> None:
    real, stub = tmp_path / "real", tmp_path / "stub"
    stub.write_text("nameserver 127.0.0.53\n")
    assert egress.nameservers([str(real), str(stub)]) == ["127.0.0.53"]

    real.write_text("search x\nnameserver 10.0.0.1\nnameserver fd00::1\nnameserver 10.0.0.2\n")
    assert egress.nameservers([str(real), str(stub)]) == ["10.0.0.1", "10.0.0.2"]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "clusters")


def cluster(ledger: Ledger, folder: Path, **fields: object) -> None:
    (folder / "nodes").mkdir(parents=True)
    (folder / teardown.MARKER).touch()
    ledger.add(Entry(name="c1", things=(Thing("folder", str(folder)),), **fields))  # type: ignore[arg-type]  # as given


def test_down_removes_folder_log_lock_and_entry(ledger: Ledger, tmp_path: Path) -> None:
    cluster(ledger, tmp_path / "c1")
    ledger.log("c1").touch()
    ledger.lock("c1").touch()

    teardown.down(ledger, "c1")

    assert not (tmp_path / "c1").exists()
    assert list(ledger.folder.iterdir()) == []
    teardown.down(ledger, "c1")


def test_down_leaves_the_lock_of_a_living_runner(ledger: Ledger, tmp_path: Path) -> None:
    cluster(ledger, tmp_path / "c1")

    with ledger.hold("c1"):
        teardown.down(ledger, "c1")
        assert ledger.lock("c1").exists()


def test_a_folder_without_the_mark_is_not_removed(ledger: Ledger, tmp_path: Path) -> None:
    cluster(ledger, tmp_path / "home")
    (tmp_path / "home" / teardown.MARKER).unlink()

    teardown.down(ledger, "c1")

    assert (tmp_path / "home" / "nodes").exists()


def test_what_is_left_is_told_and_stays_in_the_ledger(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "_CGROUP_PATIENCE", 0.0)
    (tmp_path / "group" / "busy").mkdir(parents=True)
    (tmp_path / "group" / "busy" / "file").touch()
    ledger.add(Entry(name="c1", things=(Thing("cgroup", str(tmp_path / "group")),)))

    with pytest.raises(TeardownError, match=r"of cluster c1 there is still: /.*/group") as caught:
        teardown.down(ledger, "c1")

    assert caught.value.command == "koalesce down c1"
    assert ledger.find("c1") is not None


def test_a_process_that_ignores_sigterm_is_ended() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()

        teardown.end(Process.of(child.pid), seconds=0.05)

        assert child.wait(60) == -9


def test_another_process_of_the_same_pid_is_left_alone() -> None:
    me = Process.of(os.getpid())

    teardown.end(Process(me.pid, me.start - 1))


def test_only_what_was_tried_in_vain_is_lacking() -> None:
    asked: list[str] = []

    def run(words: Sequence[str]) -> str:
        asked.append(words[-1])
        return "-\nipip\n"

    assert capabilities.lacking(run, ["ipip", "ipvs", "egress"]) == {"ipvs"}
    assert "echo netem" not in asked[0]
    assert capabilities.lacking(run, ["egress"]) == set()
    assert len(asked) == 1
    assert capabilities.lacking(lambda _: "", ["ipvs"]) == set()  # nothing could be tried
