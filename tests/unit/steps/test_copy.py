"""Files and folders to and from pods and nodes: the places are folders of this machine, their programs real."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.errors import ClusterError, UsageError
from koalesce.kube import ExecResult
from koalesce.process import Result, run
from koalesce.spec.files import SpecFiles
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.copy import Copy
from koalesce.steps.inside.tarballs import pack, unpack
from koalesce.steps.inside.transfer import _ROOT
from tests.fakes import FakeCluster, FakeFiles, FakeNode, api_error, context, running_pod


class Machine(FakeNode):
    """A node that is this machine."""

    def run(self, command: Sequence[str], *, stdin: Any = None, **options: Any) -> Result:
        self.commands.append((list(command), None))
        return run(command, stdin=stdin, stdout=options.get("stdout"), timeout=60)


def programs(pod: str, command: Sequence[str], options: Mapping[str, Any]) -> ExecResult:
    """A container that is this machine."""
    done = run(command, stdin=options.get("stdin"), stdout=options.get("stdout"), timeout=60)
    return ExecResult(command=tuple(command), code=done.code, stdout=done.stdout, stderr=done.stderr, seconds=0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "conf" / "sub").mkdir(parents=True)
    (folder / "conf" / "a.txt").write_text("a\n")
    (folder / "conf" / "sub" / "run.sh").write_bytes(b"\x00\xff" * 100_000)
    (folder / "conf" / "sub" / "run.sh").chmod(0o755)
    (folder / "conf" / "link").symlink_to("a.txt")
    return folder


@pytest.fixture
def cluster() -> FakeCluster:
    found = FakeCluster(
        running_pod("web-0", app="web"),
        running_pod("web-1", app="web"),
        nodes=[Machine("worker-1"), Machine("worker-2")],
    )
    found.kube.on_exec_run = programs
    return found


def act(cluster: FakeCluster, project: Path, **fields: Any) -> Outcome:
    given = context(cluster, root=project, artifacts=project.parent / "run" / "copied")
    return Copy.model_validate(fields).act(given)


def test_a_file_to_a_pod(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    target = tmp_path / "pod" / "etc" / "b.txt"

    outcome = act(cluster, project, **{"from": "conf/a.txt"}, to={"pod": "web-0", "path": str(target)})

    digest = hashlib.sha256(b"a\n").hexdigest()
    assert isinstance(outcome, Passed)
    assert outcome.message == "1 file copied to web-0"
    assert (outcome.value["sha256"], outcome.value["size"]) == (digest, 2)
    assert target.read_text() == "a\n"


def test_a_folder_to_a_pod_with_modes(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    outcome = act(cluster, project, **{"from": "conf"}, to={"pod": "web-0", "path": f"{tmp_path}/pod/"})

    assert isinstance(outcome, Passed)
    assert [file["path"] for file in outcome.value["files"]] == ["a.txt", "link", "sub/run.sh"]
    copied = tmp_path / "pod" / "conf"
    assert (copied / "link").read_text() == "a\n"
    assert not (copied / "link").is_symlink()
    assert (copied / "sub" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (copied / "sub" / "run.sh").read_bytes() == b"\x00\xff" * 100_000


def test_what_a_copy_changes_on_nodes_is_undone(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    target = tmp_path / "node.conf"
    target.write_text("before\n")

    outcome = act(cluster, project, **{"from": "conf/a.txt"}, to={"node": "worker-1", "path": str(target)})

    assert isinstance(outcome, Passed)
    assert target.read_text() == "a\n"
    cluster.scope.unwind()
    assert target.read_text() == "before\n"
    act(cluster, project, **{"from": "conf"}, to={"node": "worker-1", "path": f"{tmp_path}/new/sub"})
    assert (tmp_path / "new" / "sub" / "a.txt").exists()
    cluster.scope.unwind()
    assert not (tmp_path / "new").exists()


def test_a_fixture_is_copied_to_and_from_as_nodes_are(project: Path, tmp_path: Path) -> None:
    cluster, target = FakeCluster(fixtures=[Machine("c1")]), tmp_path / "there" / "a.txt"

    there = act(cluster, project, **{"from": "conf/a.txt"}, to={"fixture": "c1", "path": str(target)})
    back = act(cluster, project, **{"from": {"fixture": "c1", "path": str(target)}}, to="a.txt")

    assert isinstance(there, Passed)
    assert isinstance(back, Passed)
    assert (tmp_path / "run" / "copied" / "a.txt").read_text() == "a\n"
    cluster.scope.unwind()
    assert not target.parent.exists()


def test_from_nodes_to_a_folder_for_each(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x.conf").write_text("x\n")
    (tmp_path / "etc" / "x.conf").chmod(0o640)

    outcome = act(cluster, project, **{"from": {"nodes": "all", "path": f"{tmp_path}/etc"}}, to="etc")

    assert isinstance(outcome, Passed)
    assert [value["name"] for value in outcome.value] == ["worker-1", "worker-2"]
    base = tmp_path / "run" / "copied" / "etc"
    assert (base / "worker-2" / "x.conf").read_text() == "x\n"
    assert (base / "worker-2" / "x.conf").stat().st_mode & 0o777 == 0o640
    assert base.stat().st_mode & 0o777 == 0o700


def test_a_file_from_a_pod(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("log\n")
    (tmp_path / "log").symlink_to("real")
    cluster.kube.on_exec_run = programs

    outcome = act(cluster, project, **{"from": {"pod": "web-0", "path": f"{tmp_path}/log"}}, to="logs/")

    assert isinstance(outcome, Passed)
    copied = tmp_path / "run" / "copied" / "logs" / "log"
    assert outcome.value["path"] == str(copied)
    assert copied.read_text() == "log\n"


def test_what_is_not_there_fails(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    node = act(cluster, project, **{"from": {"node": "worker-1", "path": f"{tmp_path}/none"}}, to="x")
    pod = act(cluster, project, **{"from": {"pod": "web-0", "path": f"{tmp_path}/none"}}, to="x")

    assert isinstance(node, Failed)
    assert node.message == f"worker-1: {tmp_path}/none can't be copied: {tmp_path}/none: No such file or directory"
    assert isinstance(pod, Failed)
    assert "none" in pod.message
    assert isinstance(act(cluster, project, **{"from": {"pod": "gone", "path": "/x"}}, to="x"), Failed)


def test_a_container_without_tar_is_reached_from_its_node(cluster: FakeCluster, project: Path) -> None:
    def refuse(pod: str, command: Sequence[str], options: Mapping[str, Any]) -> ExecResult:
        raise api_error(
            500, 'exec failed: unable to start container process: exec: "tar": executable file not found in $PATH'
        )

    cluster.kube.on_exec_run = refuse

    unknown = act(cluster, project, **{"from": "conf"}, to={"pod": "web-0", "path": "/conf"})

    assert isinstance(unknown, Errored)  # no process of this machine is the container's
    assert unknown.message == "web-0: can't be copied to /conf: no process of this container runs on this node"
    assert cluster.nodes[0].commands[0][0][4:] == ["id-web-0", "/", "conf"]
    cluster.nodes[0].exec = ()  # type: ignore[assignment]  # as a provider without node-exec gives it
    unreachable = act(cluster, project, **{"from": {"pod": "web-0", "path": "/conf"}}, to="x")
    assert isinstance(unreachable, Errored)
    assert "the container has no tar" in unreachable.message


def test_only_the_project_is_read(cluster: FakeCluster, project: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (project / "conf" / "out").symlink_to(tmp_path / "secret")
    files = SpecFiles(project, project)

    with pytest.raises(UsageError, match="outside of the project"):
        pack(project / "conf", "conf", io.BytesIO(), files)
    assert Copy.model_validate({"from": "cnof", "to": {"pod": "a", "path": "/x"}}).static_problems(files) == [
        'from: cnof: no such file\n  hint: did you mean "conf"?'
    ]


def test_links_in_a_circle(project: Path) -> None:
    (project / "conf" / "sub" / "up").symlink_to("..")

    with pytest.raises(UsageError, match="leads back to a folder above it"):
        pack(project / "conf", "conf", io.BytesIO(), FakeFiles(project))


@pytest.mark.parametrize("name", ["top/../../evil", "top//../evil/../../../x"])
def test_an_archive_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    buffer.seek(0)

    with pytest.raises(ClusterError, match="leads out of it"):
        unpack(buffer, tmp_path / "in")


def test_links_and_devices_in_an_archive_are_left_out(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("top/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("top/file"))
    buffer.seek(0)

    unpacked, left_out = unpack(buffer, tmp_path / "in")

    assert [each.path for each in unpacked] == ["file"]
    assert left_out == ["link"]
    assert [entry.name for entry in (tmp_path / "in").iterdir()] == ["file"]


def test_half_an_archive(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no whole archive"):
        unpack(io.BytesIO(b"half" * 200), tmp_path / "in")


def test_paths_behind_links_are_those_of_the_container(tmp_path: Path) -> None:
    for folder in ("real/data", "etc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var").symlink_to("/real")  # the container's, not this machine's
    (tmp_path / "etc" / "up").symlink_to("../var/data")
    script = _ROOT + f'root={tmp_path}; resolve "$2"; printf %s "$path"'

    def resolved(path: str) -> str:
        return subprocess.run(["sh", "-c", script, "sh", "", path], capture_output=True, text=True, check=True).stdout

    assert resolved("/var/data/x") == f"{tmp_path}/real/data/x"
    assert resolved("/etc/up/y") == f"{tmp_path}/real/data/y"
    assert resolved("/../../etc") == f"{tmp_path}/etc"
    assert resolved("/none/x") == f"{tmp_path}/none/x"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from": "a", "to": "b"}, "one of from and to is a path of ours"),
        (
            {"from": {"pod": "a", "path": "/x"}, "to": {"pod": "b", "path": "/x"}},
            "one of from and to is a path of ours",
        ),
        ({"from": "a", "to": {"pod": "b", "path": "x"}}, "no absolute path"),
        ({"from": "a", "to": {"pod": "b", "path": "/x/../y"}}, "no absolute path"),
        ({"from": "a", "to": {"path": "/x"}}, "say exactly one of pod, pods, node, nodes"),
        ({"from": {"pod": "a", "path": "/x"}, "to": "../out"}, "no path below the run's folder"),
        ({"from": {"pod": "a", "path": "/x"}, "to": "/out"}, "no path below the run's folder"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Copy.model_validate(fields)
