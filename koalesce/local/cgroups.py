"""The cgroups of a cluster's nodes: on v1, v2 and hybrid machines, one folder a hierarchy, made and removed here."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.local.noderoot import CgroupMount
from koalesce.records import dataclass

TOP = "koalesce"
POD = re.compile(
    r"pod[0-9a-f-]{32,36}"
)  # the group of a pod, named by its UID (of a static one: by its manifest's digest)
_NEEDED = ("cpu", "cpuacct", "cpuset", "memory", "pids")
_NEEDED_V2 = ("cpu", "cpuset", "memory", "pids")
# What is switched on for groups below the machine's own on v2. systemd switches these off again once nobody has them; it leaves others on for ever.
_HANDED_DOWN = (*_NEEDED_V2, "io")
_INIT = "init"
_RACES = 10  # how often the folder that clusters share may go while a node's is made
# The file that freezes a group, and what it is told to: of v1's controller freezer, and of v2 (cgroups(7)).
_FREEZE_TRY = 0.5
# A group of v2 with processes hands nothing down, unless it is the root of the machine ("no internal processes", cgroups(7)).
_MOVE = "cd /sys/fs/cgroup && mkdir -p init && xargs -rn1 <cgroup.procs >init/cgroup.procs"
_FREEZERS = {"freezer.state": ("FROZEN", "THAWED"), "cgroup.freeze": ("1", "0")}


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup hierarchy of the machine: where, and the options that mount it again (v1: its controllers)."""

    path: Path
    version: int
    options: str = ""

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers that it has; none for v1's named hierarchies."""
        if self.version == 2:
            return tuple((self.path / "cgroup.controllers").read_text().split())
        return () if "name=" in self.options else tuple(self.options.split(","))


@dataclass(frozen=True, slots=True)
class Layout:
    """The hierarchies that nodes use: all of v1's, or the one of v2."""

    hierarchies: tuple[Hierarchy, ...]

    @property
    def version(self) -> int:
        """1 or 2; hybrid machines count as 1, as container runtimes see them."""
        return self.hierarchies[0].version

    def folders(self, *parts: str) -> list[Path]:
        """The folder of a cluster (and node) in each hierarchy."""
        return [hierarchy.path.joinpath(TOP, *parts) for hierarchy in self.hierarchies]

    def mounts(self) -> list[CgroupMount]:
        """What a node mounts to see its own part of each hierarchy as the root."""
        if self.version == 2:
            return [{"kind": "cgroup2", "options": "", "target": "", "links": []}]
        mounts: list[CgroupMount] = []
        for hierarchy in self.hierarchies:
            name = hierarchy.path.name
            links = [controller for controller in hierarchy.controllers if controller != name]
            options = f"none,{hierarchy.options}" if "name=" in hierarchy.options else hierarchy.options
            mounts.append({"kind": "cgroup", "options": options, "target": name, "links": links})
        return mounts

    @property
    def evacuation(self) -> str:
        """Where the init of a node has to move to on v2 (`InitConfig.evacuate`)."""
        return _INIT if self.version == 2 else ""


def detect(mountinfo: str | None = None) -> Layout:
    """Find the hierarchies to use; ProvisionError says which controller is missing."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found = [hierarchy for line in text.splitlines() if (hierarchy := _hierarchy(line))]
    legacy = tuple(hierarchy for hierarchy in found if hierarchy.version == 1)
    if not found:
        raise ProvisionError("this machine has no cgroups mounted", hint="mount cgroup2 at /sys/fs/cgroup")
    layout = Layout(_unique(legacy)) if any(h.controllers for h in legacy) else Layout(tuple(found[:1]))
    present = {controller for hierarchy in layout.hierarchies for controller in hierarchy.controllers}
    needed = _NEEDED if layout.version == 1 else _NEEDED_V2
    if missing := [controller for controller in needed if controller not in present]:
        raise ProvisionError(
            f"the cgroup controllers {', '.join(missing)} are missing on this machine",
            hint="enable them (kernel option cgroup_enable=…, or delegation of the controllers to this container)",
        )
    return layout


def _hierarchy(line: str) -> Hierarchy | None:
    """Read a line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    before, _, after = line.partition(" - ")
    kind, _, options = [*after.split(" ", 2), "", ""][:3]
    path = Path(before.split()[4])
    if kind == "cgroup2":
        return Hierarchy(path, 2)
    if kind != "cgroup":
        return None
    words = options.split(",")
    if named := [word for word in words if word.startswith("name=")]:
        return Hierarchy(path, 1, named[0])
    generic = ("rw", "ro", "noprefix", "clone_children", "xattr", "cpuset_v2_mode")
    return Hierarchy(path, 1, ",".join(word for word in words if word not in generic and "=" not in word))


def _unique(hierarchies: Sequence[Hierarchy]) -> tuple[Hierarchy, ...]:
    return tuple({hierarchy.options: hierarchy for hierarchy in reversed(hierarchies)}.values())[::-1]


def make(layout: Layout, *parts: str) -> list[Path]:
    """Make the folders of a node in all hierarchies, ready to take processes; returns them. ProvisionError if they can't be made."""
    for hierarchy in layout.hierarchies:
        for attempt in reversed(range(_RACES)):
            try:
                _make(hierarchy, (TOP, *parts))
                break
            except OSError as error:
                # Another cluster may have been the last, and have taken the folder that they share with it.
                if not attempt or not isinstance(error, FileNotFoundError):
                    raise _refused(f"cgroups can't be made below {hierarchy.path}", error) from error
    return layout.folders(*parts)


def refusal(layout: Layout) -> ProvisionError | None:
    """Why nodes can't have cgroups with the controllers that they need, found out by making one and removing it; None if they can."""
    trial = f"{TOP}-trial-{os.getpid()}"
    try:
        for hierarchy in layout.hierarchies:
            _make(hierarchy, (trial,))
    except OSError as error:
        return _refused(f"cgroups can't be made below {hierarchy.path}", error)
    except ProvisionError as error:
        return error
    finally:
        for hierarchy in layout.hierarchies:
            _remove_tree(hierarchy.path / trial)
    return None


def _make(hierarchy: Hierarchy, parts: Sequence[str]) -> None:
    folder, problem = hierarchy.path, None
    for part in parts:
        if hierarchy.version == 2:
            problem = _hand_down(folder, is_ours=folder != hierarchy.path) or problem
        folder = folder / part
        folder.mkdir(exist_ok=True)
        if "cpuset" in hierarchy.controllers and hierarchy.version == 1:
            _copy_cpuset(folder)
    if hierarchy.version == 2:
        _check_handed_down(hierarchy.path, folder, problem)


def _hand_down(folder: Path, *, is_ours: bool) -> OSError | None:
    """Enable controllers for the groups below (cgroups(7)); an error, if they can't be: they are seen as missing later.

    All at once: those that can be without `memory` would make a group with processes a threaded domain, which then takes no other groups.
    """
    present, on = ((folder / name).read_text().split() for name in ("cgroup.controllers", "cgroup.subtree_control"))
    wanted = present if is_ours else [name for name in _HANDED_DOWN if name in present]
    if off := [f"+{name}" for name in wanted if name not in on]:
        try:
            (folder / "cgroup.subtree_control").write_text(" ".join(off))
        except OSError as error:
            return error
    return None


def _check_handed_down(top: Path, folder: Path, problem: OSError | None) -> None:
    present = (folder / "cgroup.controllers").read_text().split()
    if missing := [controller for controller in _NEEDED_V2 if controller not in present]:
        raise _refused(f"the cgroup controllers {', '.join(missing)} are not handed down below {top}", problem)


def _refused(text: str, error: OSError | None) -> ProvisionError:
    """An error whose hint is of the reason that the kernel gave."""
    reason = f"{text}: {os.strerror(error.errno)}" if error and error.errno else text
    if error and error.errno == errno.EBUSY:
        return ProvisionError(
            reason, hint=f"this is a container, whose processes are in its root cgroup; move them: {_MOVE}"
        )
    hint = "in a container, run it as a privileged one, with the host's cgroup namespace (--cgroupns=host)"
    return ProvisionError(reason, hint=hint)


def _copy_cpuset(folder: Path) -> None:
    """A new cpuset of v1 is empty and refuses processes until it is filled."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / name).read_text().strip():
            (folder / name).write_text((folder.parent / name).read_text())
    (folder / "cgroup.clone_children").write_text("1")


def processes(folders: Sequence[Path]) -> set[int]:
    """The processes that are in these groups or below."""
    found: set[int] = set()
    for folder in folders:
        for group in _with_below(folder):
            with contextlib.suppress(OSError, ValueError):
                found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
    return found - {0}


def _with_below(folder: Path) -> Iterator[Path]:
    """A group and those below it; some may go meanwhile, which `Path.glob` doesn't bear."""
    return (Path(path) for path, _, _ in os.walk(folder))


def cpu_seconds(folders: Sequence[Path]) -> float:
    """What processors have worked for these groups (one folder a hierarchy) and those below; 0 where nothing counts it."""
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        with contextlib.suppress(OSError, ValueError, KeyError):
            return (
                int(dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())["usage_usec"]) / 1e6
            )
    return 0.0


def kill(folders: Sequence[Path]) -> None:
    """End every process in these groups, frozen ones too; on v2 (since Linux 5.14) also what they start meanwhile."""
    for folder in folders:
        if (folder / "cgroup.kill").exists() and os.getpid() not in processes([folder]):
            with contextlib.suppress(OSError):
                (folder / "cgroup.kill").write_text("1")
    for pid in processes(folders) - {os.getpid()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    thaw(folders)  # on v1, what is frozen only ends once it isn't


def freeze(folders: Sequence[Path], *, seconds: float) -> None:
    """Have no process in the groups of a node, and below, go on; ProvisionError if they can't be frozen."""
    for name, (frozen, thawed) in _FREEZERS.items():
        for folder in folders:
            if (folder / name).exists():
                _freeze(folder, folder / name, frozen, thawed, seconds)
                return
    raise ProvisionError(
        "this machine can't freeze processes", hint="it needs the cgroup controller freezer, or cgroup v2"
    )


def thaw(folders: Sequence[Path]) -> None:
    """Have all processes in these groups, and below, go on."""
    for name, (_, thawed) in _FREEZERS.items():
        for folder in folders:
            for file in (group / name for group in _with_below(folder)):
                with contextlib.suppress(OSError):
                    if file.exists():
                        file.write_text(thawed)


def _freeze(folder: Path, file: Path, frozen: str, thawed: str, seconds: float) -> None:
    """Freeze, and after a while let all go on for a moment and try again: who waits for somebody that is frozen doesn't freeze (v1)."""
    deadline = time.monotonic() + seconds
    while True:
        file.write_text(frozen)
        again = min(deadline, time.monotonic() + _FREEZE_TRY)
        while not _is_frozen(folder):
            if time.monotonic() >= again:
                break
            time.sleep(0.01)
        else:
            return
        file.write_text(thawed)
        if time.monotonic() >= deadline:
            raise ProvisionError(f"the processes of {folder.name} can't be frozen: some do not stop")
        time.sleep(0.02)


def _is_frozen(folder: Path) -> bool:
    if (folder / "freezer.state").exists():
        return (folder / "freezer.state").read_text().strip() == "FROZEN"
    return "frozen 1" in (folder / "cgroup.events").read_text().splitlines()


def remove(folders: Sequence[Path], *, seconds: float) -> list[Path]:
    """Remove these groups and all below, waiting for processes that are just ending; returns what is left."""
    deadline = time.monotonic() + seconds
    while True:
        left = [folder for folder in folders if not _remove_tree(folder)]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    for parent in {folder.parent for folder in folders}:
        _remove_empty(parent)
    return left


def _remove_tree(folder: Path) -> bool:
    for path, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(path).rmdir()
    return not folder.exists()


def _remove_empty(folder: Path) -> None:
    """Remove the folder that the clusters share once the last is gone."""
    if folder.name == TOP:
        with contextlib.suppress(OSError):
            folder.rmdir()
