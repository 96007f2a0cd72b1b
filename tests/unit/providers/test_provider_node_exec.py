"""Commands on nodes of clusters that others made: the pods for it, and what a node's argv prefix runs."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.errors import ProvisionError
from koalesce.kube import ApiError, ExecResult, Kube
from koalesce.kube.marks import RUN_LABEL
from koalesce.providers import node_exec, node_pods
from tests.unit.kube.api_server import ExecConnection, FakeApi, serve

NAMESPACE = "koalesce-nodes-run-1"


def running(node: str) -> dict[str, Any]:
    return {"spec": {"nodeName": node}, "status": {"containerStatuses": [{"state": {"running": {}}}]}}


def waiting(node: str, reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"spec": {"nodeName": node}, "status": {"phase": "Pending", "containerStatuses": [{"state": state}]}}


@dataclass
class FakeNodes:
    """An API server whose pods are as `looks` says, one look after the other, the last one for good."""

    looks: list[list[dict[str, Any]]]
    code: int = 0
    refusal: ApiError | None = None
    created: list[dict[str, Any]] = field(default_factory=list)
    commands: list[tuple[str, list[str], bytes | None]] = field(default_factory=list)

    def create(self, obj: dict[str, Any]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.created.append(obj)

    def resource(self, name: str) -> str:
        return name

    def list(self, _resource: str, *, namespace: str) -> list[dict[str, Any]]:
        assert namespace == NAMESPACE
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def exec(self, pod: str, command: Sequence[str], *, stdin: bytes | None = None, **_: Any) -> ExecResult:
        self.commands.append((pod, list(command), stdin))
        return ExecResult(command=tuple(command), code=self.code, stdout=b"", stderr=b"nsenter: not found", seconds=0.0)


def make(nodes: FakeNodes, tmp_path: Path, *names: str) -> None:
    probe = tmp_path / "probe"
    probe.write_bytes(b"the probe")
    node_pods.make(cast(Kube, nodes), "run-1", names, "busybox", probe)


def test_each_node_gets_a_privileged_pod_with_the_probe_in_a_namespace_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_pods.time, "sleep", lambda _: None)
    nodes = FakeNodes([[waiting("a", "ContainerCreating")], [running("a"), running("b")]])

    make(nodes, tmp_path, "a", "b")

    namespace, _, *pods = nodes.created
    assert namespace["metadata"]["name"] == NAMESPACE
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    assert [each["metadata"]["labels"][RUN_LABEL] for each in nodes.created] == ["run-1"] * 4
    assert [(pod["spec"]["nodeName"], pod["spec"]["hostPID"]) for pod in pods] == [("a", True), ("b", True)]
    assert all(pod["spec"]["containers"][0]["securityContext"]["privileged"] for pod in pods)
    assert sorted(pod for pod, _, stdin in nodes.commands if stdin == b"the probe") == ["a", "b"]


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ([waiting("a", "ImagePullBackOff", "no such image")], "the pod of busybox on node a doesn't run: ImagePullBackOff: no such image"),
        ([running("a")], "commands can't run on node a: nsenter: not found"),
    ],
)  # fmt: skip
def test_what_keeps_commands_from_nodes_is_told_with_what_to_do(
    look: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ProvisionError) as raised:
        make(FakeNodes([look], code=127), tmp_path, "a")

    assert raised.value.message == message
    assert "node_exec_image" in str(raised.value.hint)


def test_a_cluster_that_forbids_privileged_pods_is_told(tmp_path: Path) -> None:
    refusal = ApiError('pods "a" is forbidden: violates PodSecurity', status=403, reason="Forbidden")

    with pytest.raises(ProvisionError, match='doesn\'t let us run privileged pods on its nodes: pods "a" is forbidden'):
        make(FakeNodes([[]], refusal=refusal), tmp_path, "a")


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"nodeInfo": {"operatingSystem": "windows", "architecture": "amd64"}}, "it is windows/amd64"),
        ({"nodeInfo": {"operatingSystem": "linux", "architecture": "s390x"}}, "it is linux/s390x"),
        ({"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}}, "it isn't Ready"),
    ],
)
def test_nodes_that_no_pod_of_ours_runs_on_are_told_before_anything_is_made(
    status: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_pods.platform, "machine", lambda: "x86_64")

    with pytest.raises(ProvisionError, match=f"commands can't run on node a: {message}"):
        node_pods.check_nodes([{"metadata": {"name": "a"}, "status": status}])


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def begin(api: FakeApi, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins a command on a node, as a node's argv prefix says."""
    begun: list[subprocess.Popen[str]] = []

    def start(*command: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[str]:
        words = [*node_exec.prefix(path, NAMESPACE, "a"), *command]
        pipe = subprocess.PIPE
        begun.append(subprocess.Popen(words, stdin=stdin, stdout=pipe, stderr=pipe, text=True))
        return begun[-1]

    with serve(api, tmp_path) as path:
        yield start
        for process in begun:
            process.kill()
            process.communicate()


def test_a_command_on_a_node_has_our_streams_and_its_code(
    api: FakeApi, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    def command(connection: ExecConnection) -> None:
        connection.send(1, (connection.receive() or b"")[1:])
        connection.send(2, b"err")
        connection.finish(7)

    api.on_exec = command

    process = begin("cat", "--help", "--", "x")

    assert process.communicate("hello", timeout=60) == ("hello", "err")
    assert process.returncode == 7
    _, path, query = api.requests[-1]
    assert path == f"/api/v1/namespaces/{NAMESPACE}/pods/a/exec"
    assert query["command"].endswith(",cat,--help,--,x")


def test_nothing_as_standard_input_is_none_there(api: FakeApi, begin: Callable[..., subprocess.Popen[str]]) -> None:
    api.on_exec = lambda connection: connection.finish()

    assert begin("true", stdin=subprocess.DEVNULL).wait(60) == 0
    assert "stdin" not in api.requests[-1][2]


def test_a_command_that_is_cut_off_has_no_code_of_its_own(
    api: FakeApi, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    api.on_exec = lambda connection: connection.cut()

    process = begin("true", stdin=subprocess.DEVNULL)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == node_exec.FAILED
    assert errors.startswith("koalesce: the command on a was cut off: exec in koalesce-nodes-run-1/a")


def test_who_ends_it_ends_the_command_with_all_that_it_has_begun(
    api: FakeApi, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    def command(connection: ExecConnection) -> None:
        if len(execs()) > 1:
            connection.finish()
            return
        connection.send(1, b"begun\n")
        connection.receive()

    def execs() -> list[str]:
        return [query["command"] for _, path, query in api.requests if path.endswith("/exec")]

    api.on_exec = command
    process = begin("sleep", "1h", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 128 + signal.SIGTERM
    began, ended = execs()
    mark = began.removesuffix(",sleep,1h").rpartition(",")[2]
    assert re.fullmatch(r"[0-9a-f]{16}", mark)
    assert ended.endswith(f",{mark}")
    assert "kill -$signal" in ended


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs that say how they were called."""
    for name in ("nsenter", "chroot"):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s|" "$KOALESCE_EXEC" "${0##*/}" "$@"\n')
        (tmp_path / name).chmod(0o755)
    return tmp_path


def script_of(command: Sequence[str], tools: Path) -> str:
    """What the script in the container runs there, where nothing else is than these tools."""
    _, *words = node_exec.words_of(command, "mark")
    words[1] = re.sub(r" PATH=\S*", f" PATH={tools}", words[1])
    return subprocess.run(["/bin/sh", *words], capture_output=True, text=True, check=True).stdout


def test_a_command_enters_the_namespaces_of_the_node_with_its_mark(tools: Path) -> None:
    assert script_of(["sh", "-c", "a  b", "$x"], tools) == "mark|nsenter|-t|1|-m|-u|-i|-n|--|sh|-c|a  b|$x|"


def test_an_image_without_nsenter_takes_that_of_the_node(tools: Path) -> None:
    (tools / "nsenter").unlink()

    assert script_of(["ip"], tools) == "mark|chroot|/proc/1/root|nsenter|-t|1|-m|-u|-i|-n|--|ip|"


def test_what_is_marked_is_ended_and_nothing_else(tmp_path: Path) -> None:
    sleeping = ["sh", "-c", "sleep 1000 & wait"]
    mark = f"test-{tmp_path.name}"
    marked = subprocess.Popen(sleeping, env={"KOALESCE_EXEC": mark, "PATH": "/usr/bin:/bin"})
    other = subprocess.Popen(sleeping, env={"KOALESCE_EXEC": "other", "PATH": "/usr/bin:/bin"}, start_new_session=True)
    try:
        subprocess.run(["sh", "-c", node_exec._END, mark], check=True, timeout=60)
        assert marked.wait(60) < 0
        assert other.poll() is None
    finally:
        subprocess.run(["sh", "-c", node_exec._END, "other"], check=True, timeout=60)
        other.wait(60)
