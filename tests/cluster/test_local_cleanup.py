"""However a local cluster ends, the machine is as it was before: the whole machine is compared, not what the ledger knows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce.errors import KoalesceError
from koalesce.local import client
from koalesce.local.ledger import Ledger, NameInUse, Process
from koalesce.local.teardown import end
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS, Machine

NAME = "t-cleanup"
RUNNER = """
import signal, sys
from pathlib import Path
from koalesce.local import client
from koalesce.local.ledger import Entry, Ledger

ledger = Ledger(Path(sys.argv[1]))
hold = ledger.hold(sys.argv[2])
ledger.add(Entry(name=sys.argv[2], session={"runner": True}))
client.up(sys.stdin.read(), ledger=ledger, progress=lambda line: None)
print("up", flush=True)
signal.pause()
"""


pytestmark = [*LOCAL_CLUSTERS]


def request(folder: Path, **changes: object) -> str:
    nodes = [{"name": "control-plane", "role": "control-plane"}, {"name": "worker-1", "role": "worker"}]
    basis = {
        "name": NAME, "run_id": "t", "kubernetes_version": "1.37.2", "nodes": nodes, "state_dir": str(folder),
        "fixtures": [{"name": "c1", "kind": "host"}],
    }  # fmt: skip
    return json.dumps({**basis, **changes})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of the test's own; whatever the test does, the cluster is gone afterwards."""
    ledger = Ledger(tmp_path / "clusters")
    ledger.folder.mkdir()
    yield ledger
    client.down(NAME, ledger=ledger)


@pytest.fixture
def before(ledger: Ledger) -> Machine:
    return Machine(ledger.folder, NAME)


def up(ledger: Ledger, **changes: object) -> Process:
    client.up(request(ledger.folder / NAME, **changes), ledger=ledger, progress=lambda line: None)
    entry = ledger.find(NAME)
    assert entry is not None
    assert entry.supervisor is not None
    return entry.supervisor


def test_down_leaves_nothing(ledger: Ledger, before: Machine) -> None:
    supervisor = up(ledger)
    assert before.left() != []
    with pytest.raises(NameInUse):
        ledger.unsupervised(NAME)

    client.down(NAME, ledger=ledger)

    assert before.left() == []
    assert not supervisor.is_alive
    client.down(NAME, ledger=ledger)


def test_a_killed_supervisor_takes_its_processes_along_and_down_removes_the_rest(
    ledger: Ledger, before: Machine
) -> None:
    supervisor = up(ledger)

    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not before.look()["process"])
    client.down(NAME, ledger=ledger)

    assert before.left() == []


def test_sigterm_ends_the_cluster(ledger: Ledger, before: Machine) -> None:
    end(up(ledger))

    assert before.left() == []


@pytest.mark.parametrize("when", ["up", "starting"])
def test_a_killed_runner_ends_the_cluster_by_itself(ledger: Ledger, before: Machine, when: str) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(ledger.folder), NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        runner.stdin.write(request(ledger.folder / NAME).encode())
        runner.stdin.close()
        if when == "up":
            assert runner.stdout.readline() == b"up\n"
        else:
            eventually((ledger.folder / NAME / "nodes" / "worker-1").exists)
        runner.kill()

    eventually(lambda: not before.left())


def test_a_start_that_nobody_waits_for_any_more_is_given_up(ledger: Ledger, before: Machine) -> None:
    """Terraform kills what it waits for when it is interrupted."""
    code = "import sys; from koalesce.cli.main import main; sys.exit(main(['local', 'up']))"
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(ledger.folder.parent)}
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env=environment) as starting:
        assert starting.stdin is not None
        starting.stdin.write(request(ledger.folder / NAME).encode())
        starting.stdin.close()
        eventually((ledger.folder / NAME / "nodes" / "worker-1").exists)
        starting.kill()

    eventually(lambda: not before.left())


def test_runner_and_supervisor_killed_at_once(ledger: Ledger, before: Machine) -> None:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(ledger.folder), NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with runner:
        assert runner.stdin is not None
        assert runner.stdout is not None
        runner.stdin.write(request(ledger.folder / NAME).encode())
        runner.stdin.close()
        assert runner.stdout.readline() == b"up\n"
        entry = ledger.find(NAME)
        assert entry is not None
        assert entry.supervisor is not None
        os.kill(entry.supervisor.pid, signal.SIGKILL)
        runner.kill()

    eventually(lambda: not before.look()["process"])
    client.down(NAME, ledger=ledger)

    assert before.left() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"component_args": {"kubelet": {"nonsense": "1"}}}, "unknown flag: --nonsense"),
        ({"component_args": {"etcd": {"data-dir": "/proc/nope"}}}, "etcd does not stay up"),
        ({"pki_dir": "/proc/nope"}, "can't write the certificates"),
    ],
)
def test_a_failed_start_says_why_and_leaves_nothing(
    ledger: Ledger, before: Machine, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(KoalesceError, match=message):
        up(ledger, **changes)

    assert before.left() == []


def test_a_folder_that_is_in_use_is_left_alone(ledger: Ledger, before: Machine) -> None:
    folder = ledger.folder / NAME
    folder.mkdir()
    (folder / "letter").write_text("dear")

    with pytest.raises(KoalesceError, match="is in use"):
        up(ledger)

    assert (folder / "letter").read_text() == "dear"
    (folder / "letter").unlink()
    folder.rmdir()
    assert before.left() == []
