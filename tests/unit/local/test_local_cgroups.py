from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.local import cgroups
from koalesce.local.cgroups import Hierarchy, Layout

V1 = """\
30 20 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,clone_children
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 30 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
36 30 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def test_hybrid_machines_use_the_hierarchies_of_v1() -> None:
    layout = cgroups.detect(V1)

    assert layout.version == 1
    assert {h.path.name: h.options for h in layout.hierarchies} == {
        "cpu,cpuacct": "cpu,cpuacct",
        "cpuset": "cpuset",
        "memory": "memory",
        "pids": "pids",
        "systemd": "name=systemd",
    }


def test_a_node_mounts_each_hierarchy_under_all_its_names() -> None:
    mounts = {mount["target"]: mount for mount in cgroups.detect(V1).mounts()}

    assert mounts["cpu,cpuacct"]["links"] == ["cpu", "cpuacct"]
    assert mounts["systemd"]["options"] == "none,name=systemd"
    assert mounts["memory"] == {"kind": "cgroup", "options": "memory", "target": "memory", "links": []}


def test_a_missing_controller_is_named() -> None:
    without = "\n".join(line for line in V1.splitlines() if "memory" not in line)

    with pytest.raises(ProvisionError, match="the cgroup controllers memory are missing"):
        cgroups.detect(without)


def test_no_cgroups_at_all() -> None:
    with pytest.raises(ProvisionError, match="no cgroups mounted"):
        cgroups.detect("30 20 0:26 / /sys rw - sysfs sysfs rw\n")


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").touch()
    return tmp_path


def test_v2_has_one_hierarchy_whose_init_moves_down(unified: Path) -> None:
    layout = cgroups.detect(f"30 20 0:26 / {unified} rw - cgroup2 cgroup2 rw\n")

    assert layout.version == 2
    assert layout.mounts() == [{"kind": "cgroup2", "options": "", "target": "", "links": []}]
    assert layout.evacuation == "init"


def group(folder: Path, controllers: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(f"{controllers}\n")
    (folder / "cgroup.subtree_control").touch()
    return folder


def test_v2_that_hands_nothing_down_says_so(unified: Path) -> None:
    for folder in (unified / "koalesce", unified / "koalesce" / "c1"):
        group(folder, "cpu pids")

    with pytest.raises(ProvisionError, match="cpuset, memory are not handed down below") as caught:
        cgroups.make(Layout((Hierarchy(unified, 2),)), "c1")

    assert "privileged" in str(caught.value.hint)


class Switches:
    """What is written to the files of cgroups that switch controllers on, as cgroup v2 takes it; and who refuses it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: dict[str, list[str]] = {}
        self.refused: OSError | None = None
        self._write = Path.write_text
        monkeypatch.setattr(Path, "write_text", lambda path, text: self.write(path, text))

    def write(self, path: Path, text: str) -> int:
        if path.name != "cgroup.subtree_control" or not text.startswith("+"):
            return self._write(path, text)
        if self.refused:
            raise self.refused
        self.written.setdefault(path.parent.name, []).append(text)
        return len(text)


@pytest.fixture
def switches(monkeypatch: pytest.MonkeyPatch) -> Switches:
    return Switches(monkeypatch)


def test_of_the_machines_controllers_only_those_are_switched_on_that_nodes_need(
    unified: Path, switches: Switches
) -> None:
    (group(unified, "cpuset cpu io memory hugetlb pids rdma misc") / "cgroup.subtree_control").write_text(
        "hugetlb pids\n"
    )
    for folder in (unified / "koalesce", unified / "koalesce" / "c1"):
        group(folder, "cpuset cpu io memory hugetlb pids")  # hugetlb was on before

    cgroups.make(Layout((Hierarchy(unified, 2),)), "c1")

    assert switches.written == {
        unified.name: ["+cpu +cpuset +memory +io"],
        "koalesce": ["+cpuset +cpu +io +memory +hugetlb +pids"],
    }


@pytest.mark.parametrize(
    ("number", "text", "hint"),
    [
        (
            errno.EBUSY,
            "not handed down below .*: Device or resource busy",
            "xargs -rn1 <cgroup.procs >init/cgroup.procs",
        ),
        (errno.EACCES, "not handed down below .*: Permission denied", "--cgroupns=host"),
    ],
)
def test_in_a_container_it_is_told_what_to_do(
    unified: Path, switches: Switches, number: int, text: str, hint: str
) -> None:
    for folder in (unified / "koalesce", unified / "koalesce" / "c1"):
        group(folder, "")
    switches.refused = OSError(number, "")

    with pytest.raises(ProvisionError, match=text) as caught:
        cgroups.make(Layout((Hierarchy(unified, 2),)), "c1")

    assert hint in str(caught.value.hint)


def test_cgroups_that_are_read_only_are_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(path: Path, mode: int = 0, parents: bool = False, exist_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "")

    monkeypatch.setattr(Path, "mkdir", mkdir)

    with pytest.raises(ProvisionError, match="can't be made below /cg: Read-only file system") as caught:
        cgroups.make(Layout((Hierarchy(Path("/cg"), 1, "pids"),)), "c1")

    assert "privileged" in str(caught.value.hint)


def test_a_folder_that_goes_with_the_last_other_cluster_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = Path.mkdir, []

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        made.append(path.name)
        if made == ["koalesce", "c1"]:
            path.parent.rmdir()
        make(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)

    (folder,) = cgroups.make(Layout((Hierarchy(tmp_path, 1, "pids"),)), "c1")

    assert folder.is_dir()
    assert made == ["koalesce", "c1", "koalesce", "c1"]


def test_a_trial_tells_what_is_missing_and_leaves_nothing(tmp_path: Path, unified: Path) -> None:
    legacy = Layout((Hierarchy(tmp_path / "pids", 1, "pids"),))
    legacy.hierarchies[0].path.mkdir()

    assert cgroups.refusal(legacy) is None
    assert list(legacy.hierarchies[0].path.iterdir()) == []

    refused = cgroups.refusal(Layout((Hierarchy(tmp_path / "nowhere", 1, "pids"),)))
    assert refused is not None
    assert refused.message.startswith(f"cgroups can't be made below {tmp_path}/nowhere")


def test_on_v2_a_group_is_ended_as_a_whole(unified: Path) -> None:
    (unified / "cgroup.kill").touch()
    (unified / "cgroup.procs").touch()

    cgroups.kill([unified])

    assert (unified / "cgroup.kill").read_text() == "1"


def test_a_group_is_not_ended_with_who_ends_it(unified: Path) -> None:
    (unified / "cgroup.kill").touch()
    (unified / "cgroup.procs").write_text(f"{os.getpid()}\n")

    cgroups.kill([unified])

    assert (unified / "cgroup.kill").read_text() == ""


def test_v2_without_a_controller_is_named(unified: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu memory\n")

    with pytest.raises(ProvisionError, match="cpuset, pids are missing"):
        cgroups.detect(f"30 20 0:26 / {unified} rw - cgroup2 cgroup2 rw\n")


def test_made_and_removed_with_what_is_below(tmp_path: Path) -> None:
    layout = Layout((Hierarchy(tmp_path / "pids", 1, "pids"), Hierarchy(tmp_path / "memory", 1, "memory")))
    for hierarchy in layout.hierarchies:
        hierarchy.path.mkdir()

    made = cgroups.make(layout, "c1-abc", "worker-1")
    assert made == [tmp_path / "pids/koalesce/c1-abc/worker-1", tmp_path / "memory/koalesce/c1-abc/worker-1"]
    (made[0] / "kubepods" / "pod1").mkdir(parents=True)

    assert cgroups.remove(layout.folders("c1-abc"), seconds=1) == []
    assert [sorted(h.path.iterdir()) for h in layout.hierarchies] == [[], []]


def test_the_shared_folder_stays_while_another_cluster_is_in_it(tmp_path: Path) -> None:
    layout = Layout((Hierarchy(tmp_path, 1, "pids"),))
    cgroups.make(layout, "c1")
    cgroups.make(layout, "c2")

    cgroups.remove(layout.folders("c1"), seconds=1)

    assert [path.name for path in (tmp_path / "koalesce").iterdir()] == ["c2"]


def test_what_can_not_be_removed_is_told(tmp_path: Path) -> None:
    layout = Layout((Hierarchy(tmp_path, 1, "pids"),))
    (folder,) = cgroups.make(layout, "c1")
    (folder / "busy").touch()

    assert cgroups.remove(layout.folders("c1"), seconds=0) == [folder]


def test_a_new_cpuset_gets_what_its_parent_has(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    for folder in (tmp_path / "koalesce", tmp_path / "koalesce" / "c1"):
        folder.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text("\n")

    (made,) = cgroups.make(Layout((Hierarchy(tmp_path, 1, "cpuset"),)), "c1")

    assert (made / "cpuset.cpus").read_text() == "0-1\n"
    assert (made / "cpuset.mems").read_text() == "0\n"


def test_processes_of_all_groups_below(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "cgroup.procs").write_text("11\n12\n")
    (tmp_path / "a" / "b" / "cgroup.procs").write_text("13\n0\n")

    assert cgroups.processes([tmp_path / "a"]) == {11, 12, 13}


def test_groups_that_go_while_they_are_looked_at_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").write_text("11\n")
    read = Path.read_text

    def read_while_the_other_goes(path: Path) -> str:
        text = read(path)
        shutil.rmtree(tmp_path / ("b" if path.parent.name == "a" else "a"), ignore_errors=True)
        return text

    monkeypatch.setattr(Path, "read_text", read_while_the_other_goes)

    assert cgroups.processes([tmp_path]) == {11}


def test_a_node_is_frozen_and_thawed_by_its_freezer(tmp_path: Path) -> None:
    below = tmp_path / "freezer/kubepods"
    below.mkdir(parents=True)
    for folder in (below.parent, below):
        (folder / "freezer.state").write_text("THAWED\n")

    cgroups.freeze([tmp_path / "cpu", tmp_path / "freezer"], seconds=1)
    (below / "freezer.state").write_text("FROZEN")  # a container that was paused
    assert (tmp_path / "freezer/freezer.state").read_text() == "FROZEN"

    cgroups.thaw([tmp_path / "cpu", tmp_path / "freezer"])
    assert {path.read_text() for path in tmp_path.glob("**/freezer.state")} == {"THAWED"}


def test_what_does_not_freeze_is_thawed_and_an_error(tmp_path: Path) -> None:
    (tmp_path / "cgroup.freeze").write_text("0\n")
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")

    with pytest.raises(ProvisionError, match="can't be frozen"):
        cgroups.freeze([tmp_path], seconds=0)

    assert (tmp_path / "cgroup.freeze").read_text() == "0"


def test_a_machine_without_a_freezer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="this machine can't freeze processes"):
        cgroups.freeze([tmp_path], seconds=1)
