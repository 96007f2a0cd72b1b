"""Real clusters through Terraform: made, used, destroyed, and nothing left of them however they end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koalesce.cluster import ClusterRequest, NodeRequest
from koalesce.errors import Interrupted, ProvisionError
from koalesce.events import AnyEvent, PhaseProgress
from koalesce.local.ledger import Ledger, NameInUse
from koalesce.providers.local import LocalProvider, machine_problems
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import sweep
from koalesce.providers.variables import koalesce_command
from koalesce.reporters.jsonl import read_events
from koalesce.terraform.binary import find_binary
from tests.cluster.whole_machine import tree

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(machine_problems()), reason="; ".join(machine_problems())),
]
ONE = (NodeRequest(name="control-plane", role="control-plane"),)
TWO = (*ONE, NodeRequest(name="worker-1", role="worker", labels={"zone": "a"}))
SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: tiny}
cluster: {nodes: 1}
tests:
  - name: nothing much
    steps:
      - sleep: 1ms
"""
_NOTING = """\
#!{python}
import json, signal, subprocess, sys
from pathlib import Path

command = next(word for word in sys.argv[1:] if not word.startswith("-"))
log = open({log!r}, "a", buffering=1)
child = subprocess.Popen([{terraform!r}, *sys.argv[1:]])

def pass_on(number, _frame):
    log.write(f"{{command}} got {{signal.Signals(number).name}}\\n")
    child.send_signal(number)

signal.signal(signal.SIGINT, pass_on)
code = child.wait()
state = json.loads(Path("terraform.tfstate").read_text()) if command == "apply" else {{"resources": []}}
tainted = [
    resource["name"] for resource in state["resources"] for one in resource["instances"] if one.get("status") == "tainted"
]
log.write(f"{{command}} ended with {{code}}{{', tainted: ' + ' '.join(tainted) if tainted else ''}}\\n")
sys.exit(code)
"""


def request(name: str, nodes: tuple[NodeRequest, ...] = (), **gates: bool) -> ClusterRequest:
    return ClusterRequest(
        name=name, run_id="t1", provider="local", kubernetes="1.37", nodes=nodes, feature_gates=gates
    )  # fmt: skip


def test_a_cluster_is_made_used_and_destroyed(unchanged: Path) -> None:
    session = ClusterSession(request("sess-life", TWO))
    cluster = session.up()

    assert cluster.kube.version().lstrip("v").startswith("1.37.")
    nodes = {node["metadata"]["name"]: node for node in cluster.kube.list(cluster.kube.resource("nodes"))}
    assert sorted(nodes) == ["control-plane", "worker-1"]
    assert nodes["worker-1"]["metadata"]["labels"]["zone"] == "a"
    for node in cluster.nodes:
        assert node.run(["hostname"]).check().out == f"{node.name}\n"
        assert nodes[node.name]["spec"]["podCIDR"] == node.pod_cidr
        assert node.run(list(node.logs["kubelet"])).check().out
        connect = f"import socket; socket.create_connection(({node.address!r}, 10250), 5)"
        assert subprocess.run([*cluster.host_exec, sys.executable, "-c", connect]).returncode == 0
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0
    with pytest.raises(NameInUse):
        ClusterSession(request("sess-life")).up()

    cluster.kube.close()
    session.down()


@pytest.mark.parametrize("line", ["certificates", "nodes"])
def test_an_interrupted_apply_leaves_nothing(unchanged: Path, line: str) -> None:
    cancel = threading.Event()

    with pytest.raises(Interrupted):
        ClusterSession(request("sess-cancel"), cancel=cancel).up(_once(line, cancel.set))


def test_a_failed_apply_says_why_and_leaves_nothing(unchanged: Path) -> None:
    with pytest.raises(ProvisionError, match="unrecognized feature gate: Nonsense"):
        ClusterSession(request("sess-fail", Nonsense=True)).up()


def test_a_killed_runner_leaves_nothing(unchanged: Path, project: Path) -> None:
    """Its supervisor ends the cluster by itself, Terraform comes to its end; the next command removes the rest."""
    runner = subprocess.Popen(
        [*koalesce_command(), "up", "tiny.yaml", "--name", "sess-killed"],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    with runner:
        assert runner.stdout is not None
        assert any("terraform apply:" in line for line in runner.stdout)
        runner.send_signal(signal.SIGKILL)

    _eventually(lambda: not _processes(str(unchanged).encode()))
    assert all(not one.problem for one in sweep())


def test_control_c_during_apply_ends_the_run_in_order(unchanged: Path, project: Path, terraform: Path) -> None:
    with _run_until_nodes_start(project) as runner:
        os.killpg(runner.pid, signal.SIGINT)  # a terminal sends it to all of its foreground group
        out, err = runner.communicate(timeout=120)

    assert (runner.returncode, err) == (130, "")
    assert out.splitlines()[-1].startswith("INTERRUPTED")
    assert terraform.read_text().splitlines() == [
        "init ended with 0",
        "apply got SIGINT",
        "apply ended with 1, tainted: cluster",
        "destroy ended with 0",
    ]
    assert Ledger().entries() == []


@pytest.mark.parametrize("also", ["runner alone", "with its supervisor"])
def test_what_a_runner_killed_during_apply_leaves_is_swept_by_the_next_command(
    unchanged: Path, project: Path, also: str
) -> None:
    with _run_until_nodes_start(project) as runner:
        supervisor = Ledger().entries()[0].supervisor
        assert supervisor is not None
        if also == "with its supervisor":
            os.kill(supervisor.pid, signal.SIGKILL)
        runner.kill()
    _eventually(lambda: not _processes(str(unchanged).encode()))

    listed = _koalesce("clusters")

    assert (listed.returncode, listed.stdout) == (0, "no cluster is up\n")


def test_a_kept_cluster_is_listed_entered_and_destroyed(unchanged: Path, project: Path) -> None:
    up = _koalesce("up", "tiny.yaml", "--name", "sess-kept", cwd=project)
    assert up.returncode == 0, up.stdout + up.stderr
    assert f"export KUBECONFIG={unchanged}/clusters/sess-kept/kubeconfig" in up.stdout

    (listed,) = json.loads(_koalesce("clusters", "--json").stdout)
    assert (listed["name"], listed["state"], len(listed["nodes"])) == ("sess-kept", "kept", 1)
    entered = _koalesce("ssh", "sess-kept", "control-plane", "--", "sh", "-c", "hostname; exit 9")
    assert (entered.returncode, entered.stdout) == (9, "control-plane\n")
    assert _koalesce("sweep").stdout == "nothing to sweep\n"

    down = _koalesce("down", "sess-kept")
    assert (down.returncode, down.stdout.partition(" (")[0]) == (0, "sess-kept: destroyed")
    assert _koalesce("clusters").stdout == "no cluster is up\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "koalesce.toml").touch()
    (folder / "tiny.yaml").write_text(SPEC)
    return folder


@pytest.fixture
def terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that tells of each of Terraform's commands: its signals, and how it ended."""
    log, program = tmp_path / "terraform-commands", tmp_path / "terraform"
    program.write_text(_NOTING.format(python=sys.executable, log=str(log), terraform=str(find_binary())))
    program.chmod(0o755)
    monkeypatch.setenv("KOALESCE_TERRAFORM", str(program))
    return log


@pytest.fixture
def unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state folder of a test, after which nothing of its clusters is left."""
    folder = tmp_path / "state"
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(folder))
    before = _machine(folder)
    yield folder
    try:
        assert _machine(folder) == before
    finally:
        for entry in Ledger().entries():
            LocalProvider().remove(entry.name)


def _machine(folder: Path) -> dict[str, list[str]]:
    """What clusters of `folder` left of themselves; the rest of the machine may change meanwhile."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {
        "mounts": sorted(point for point in mounts if point.startswith(str(folder))),
        "cgroups": sorted(path for path in tree("/sys/fs/cgroup") if re.search(r"/koalesce/sess-[^/]*$", path)),
        "processes": _processes(str(folder).encode()),
        "files": sorted(path for path in tree(str(folder)) if Path(path).is_file() and Path(path).name not in _LASTING),
    }


_LASTING = (".changing", "terraform.log")  # of the ledger itself, and what people may want to read after a failure


def _processes(mark: bytes) -> list[str]:
    """Processes that have the mark in their environment or command, or are in the cgroups of these tests."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if int(entry.name) != os.getpid() and (mark in text or "/koalesce/sess-" in groups):
            found.append((entry / "cmdline").read_text().replace("\0", " ") if entry.exists() else entry.name)
    return sorted(found)


def _once(word: str, act: Callable[[], None]) -> Callable[[AnyEvent], None]:
    def emit(event: AnyEvent) -> None:
        if isinstance(event, PhaseProgress) and event.message.endswith(word):
            act()

    return emit


def _run_until_nodes_start(project: Path) -> subprocess.Popen[str]:
    """A run, in a process group of its own, in whose `terraform apply` the supervisor is at work on the nodes."""
    (project / "tiny.yaml").write_text(SPEC.replace("tiny", "sess-run"))
    events = project / "events.jsonl"
    runner = subprocess.Popen(
        [*koalesce_command(), "run", "tiny.yaml", "--events", str(events)],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip

    def is_applying() -> bool:
        assert runner.poll() is None, runner.communicate()
        told = list(read_events(events)) if events.exists() else []
        return any(
            isinstance(event, PhaseProgress)
            and event.phase == "terraform apply"
            and event.message.endswith("certificates")
            for event in told
        )

    try:
        _eventually(is_applying)
    except BaseException:
        runner.kill()
        raise
    return runner


def _eventually(holds: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _koalesce(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*koalesce_command(), *words], cwd=cwd, capture_output=True, text=True, timeout=120)
