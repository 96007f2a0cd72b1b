"""The ledger: which clusters there are, who answers for each, and what is left of it when nobody does any more.

One JSON file a cluster in `state_dir()/clusters`, and beside it a lock file whose flock(2) a runner holds for as long as it
lives: a lock that can be taken is that of a dead runner, a kept cluster, or plain Terraform. What isn't bound to the life of a
process is recorded *before* it is made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from koalesce.assets import state_dir
from koalesce.errors import ProvisionError
from koalesce.records import dataclass

ThingKind = Literal["cgroup", "link", "table", "sysctls", "folder"]


class NameInUse(ProvisionError):
    """A cluster of this name exists, or is being made."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from later ones of the same pid by when it started (clock ticks since boot, proc_pid_stat(5))."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now; ProcessLookupError if none has."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise ProcessLookupError(pid) from error
        return cls(pid, int(stat.rpartition(")")[2].split()[19]))

    @property
    def is_alive(self) -> bool:
        """Whether it still runs (a zombie doesn't)."""
        try:
            same = Process.of(self.pid) == self
            return same and Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (OSError, IndexError):
            return False


@dataclass(frozen=True, slots=True)
class Thing:
    """Something of the machine's that a cluster has made or changed: a cgroup's path, a link's name, a folder's path."""

    kind: ThingKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the ledger says of a cluster. `session` is the runner's own; `keep`: it shall outlive its runner."""

    name: str
    provider: str = "local"
    run_id: str = ""
    created: str = ""
    kubernetes: str = ""
    nodes: tuple[str, ...] = ()
    folder: str = ""
    kubeconfig: str = ""
    keep: bool = False
    ready: bool = False
    supervisor: Process | None = None
    things: tuple[Thing, ...] = ()
    session: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ttl(self) -> float:
        """Seconds after which it is removed by itself when it is kept; 0: never."""
        return float(self.session.get("ttl") or 0)

    @property
    def spec(self) -> str:
        """The spec that it was made for, or nothing."""
        return str(self.session.get("spec", ""))

    @property
    def owner(self) -> str:
        """The user who had it made, or nothing."""
        return str(self.session.get("owner", ""))

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over, if it has one."""
        return bool(self.ttl) and (now - datetime.fromisoformat(self.created)).total_seconds() >= self.ttl

    @property
    def is_supervised(self) -> bool:
        """Whether its supervisor lives."""
        return self.supervisor is not None and self.supervisor.is_alive


class Ledger:
    """The entries of one user; safe to use from several processes at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or state_dir() / "clusters"

    def entries(self) -> list[Entry]:
        """All clusters, by name."""
        return [entry for path in sorted(self.folder.glob("*.json")) if (entry := self.find(path.stem))]

    def find(self, name: str) -> Entry | None:
        """The entry of this name; ProvisionError if it can't be read."""
        path = self._path(name)
        try:
            return _from_json(path.read_text())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ProvisionError(
                f"{path} is damaged: {error}", hint=f"look what is left of it and remove {path}"
            ) from error

    def add(self, entry: Entry) -> None:
        """Write a new entry, for a runner that is about to make a cluster; NameInUse if there is one of its name."""
        with self._changing():
            if self._path(entry.name).exists():
                raise NameInUse(f"a cluster {entry.name} exists", hint=f"remove it with `koalesce down {entry.name}`")
            self._write(dataclasses.replace(entry, created=entry.created or _now()))

    def begin(self, entry: Entry) -> Entry:
        """Write the entry of a cluster whose supervisor begins; NameInUse if another lives, or has left something.

        What its runner has noted before (`session`, `keep`, `run_id`) stays. Returns the entry as written.
        """
        with self._changing():
            if found := self.unsupervised(entry.name):
                entry = dataclasses.replace(
                    entry,
                    session=found.session,
                    keep=found.keep,
                    run_id=entry.run_id or found.run_id,
                    created=found.created,
                )
            entry = dataclasses.replace(entry, created=entry.created or _now())
            self._write(entry)
            return entry

    def unsupervised(self, name: str) -> Entry | None:
        """The entry of a cluster that has not begun yet; NameInUse if one of its name lives, or has left something."""
        found = self.find(name)
        if found and (found.is_supervised or found.things):
            state = "exists" if found.is_supervised else "has left things on this machine"
            raise NameInUse(f"a cluster {name} {state}", hint=f"remove it with `koalesce down {name}`")
        return found

    def change(self, name: str, **fields: Any) -> Entry:
        """Change fields of an entry, or make it with them."""
        with self._changing():
            found = self.find(name) or Entry(name=name, created=_now())
            entry = dataclasses.replace(found, **fields)
            self._write(entry)
            return entry

    def record(self, name: str, *things: Thing) -> None:
        """Note what is about to be made."""
        with self._changing():
            entry = self.find(name) or Entry(name=name)
            new = tuple(thing for thing in things if thing not in entry.things)
            self._write(dataclasses.replace(entry, things=entry.things + new))

    def remove(self, name: str) -> None:
        """Forget a cluster: nothing of it is left."""
        self._path(name).unlink(missing_ok=True)

    def hold(self, name: str) -> Hold:
        """Answer for a cluster until the hold is released or the process ends; NameInUse if another does."""
        with self._changing():  # `tidy` leaves a lock alone that is about to be taken
            hold = self.try_hold(name)
        if hold is None:
            raise NameInUse(f"a cluster {name} is in use by another run", hint="choose another name, or end that run")
        return hold

    def tidy(self) -> None:
        """Remove the lock files that dead processes left, of clusters that are gone."""
        if not self.folder.exists():
            return
        with self._changing():
            for path in self.folder.glob("*.lock"):
                if not self._path(path.stem).exists() and (hold := self.try_hold(path.stem)):
                    hold.release()

    def try_hold(self, name: str) -> Hold | None:
        """The hold, or None where another process has it."""
        descriptor = self._locked(name, fcntl.LOCK_EX)
        return None if descriptor is None else Hold(self, name, descriptor)

    def try_share(self, name: str) -> Share | None:
        """A share of a cluster that nobody answers for (a kept one), which keeps others from removing it; None where somebody does."""
        descriptor = self._locked(name, fcntl.LOCK_SH)
        return None if descriptor is None else Share(descriptor)

    def users(self, name: str) -> list[int]:
        """The processes that answer for a cluster or share it (proc_locks(5)); asking takes nothing from anybody."""
        try:
            inode = str(self.lock(name).stat().st_ino)
            lines = Path("/proc/locks").read_text().splitlines()
        except OSError:
            return []
        held = [line.split() for line in lines if " FLOCK " in line and "->" not in line]
        return [int(words[4]) for words in held if words[5].rpartition(":")[2] == inode]

    def _locked(self, name: str, kind: int) -> int | None:
        """The descriptor of a cluster's lock, held exclusively or shared; None where another process is in the way."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            descriptor = os.open(self.lock(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _is_current(descriptor, self.lock(name)):
                return descriptor
            os.close(descriptor)

    def wait_for_hold(self, name: str) -> Hold | None:
        """Wait until whoever holds a cluster lets go or ends; None if it was let go in good order."""
        try:
            descriptor = os.open(self.lock(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return self.try_hold(name)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_current(descriptor, self.lock(name)):
            return Hold(self, name, descriptor)
        os.close(descriptor)
        return None

    def lock(self, name: str) -> Path:
        """The lock file of a cluster."""
        return self.folder / f"{name}.lock"

    def log(self, name: str) -> Path:
        """What the supervisor of a cluster writes."""
        return self.folder / f"{name}.log"

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, entry: Entry) -> None:
        text = json.dumps(dataclasses.asdict(entry), indent=2)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, prefix=".", delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self._path(entry.name))
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


class Hold:
    """The lock of a cluster, taken. It is let go by `release`, or by the end of this process."""

    def __init__(self, ledger: Ledger, name: str, descriptor: int) -> None:
        self._ledger = ledger
        self._descriptor = descriptor
        self.name = name

    def keep(self) -> None:
        """From now on the cluster outlives its runner."""
        self._ledger.change(self.name, keep=True)

    def release(self) -> None:
        """Let go in good order: a supervisor does not take it for a death. A second call does nothing."""
        if self._descriptor >= 0:
            self._ledger.lock(self.name).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Share:
    """A lock on a cluster that several runs may have at once. It is let go by `release`, or by the end of this process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; the lock's file stays for those who share it. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_current(descriptor: int, path: Path) -> bool:
    """Whether the lock file is still the one that lies at its path: whoever lets go removes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _from_json(text: str) -> Entry:
    data = json.loads(text)
    known = {f.name for f in dataclasses.fields(Entry)}
    data = {key: value for key, value in data.items() if key in known}
    supervisor = data.pop("supervisor", None)
    things = tuple(Thing(**thing) for thing in data.pop("things", ()))
    nodes = tuple(data.pop("nodes", ()))
    return Entry(**data, nodes=nodes, things=things, supervisor=Process(**supervisor) if supervisor else None)
