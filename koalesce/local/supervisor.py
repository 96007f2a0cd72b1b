"""The process that a cluster lives and dies with: makes it, keeps it, and removes it when told to or when its runner is dead.

Started detached by `client.up` as `python -m koalesce.local.supervisor STATUS`, with request and tools as JSON on standard input.
What happens is written as lines of JSON to the descriptor STATUS: {"line": …}, at last {"ready": true} or {"error": …, "hint": …}.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from koalesce.clock import SystemClock
from koalesce.errors import KoalesceError, ProvisionError, TeardownError
from koalesce.local import besides, request, teardown
from koalesce.local.bringup import Bringup
from koalesce.local.control import Control
from koalesce.local.detached import Status
from koalesce.local.faults import Faults
from koalesce.local.ledger import Entry, Ledger, Process, Thing
from koalesce.local.lifetime import Lifetime
from koalesce.local.node import Ended
from koalesce.local.outputs import control_machines, outputs
from koalesce.local.phases import Phases
from koalesce.local.request import LocalRequest
from koalesce.records import dataclass
from koalesce.toolchain import ImageStore, LocalTools

_log = logging.getLogger(__name__)
_LOOK = 1.0
_FULL = 16 * 1024 * 1024  # bytes free


@dataclass(slots=True)
class Supervisor:
    """A cluster's life."""

    request: LocalRequest
    tools: LocalTools
    store: ImageStore
    ledger: Ledger
    status: Status
    seeds: Path
    lifetime: Lifetime
    stopping: threading.Event
    _is_plain: bool = False
    _note: Callable[[], None] = lambda: None

    def note(self) -> None:
        """Note the state that `koalesce reset` goes back to: the cluster is as those wanted it who keep it."""
        self._note()

    def run(self) -> int:
        """Make the cluster, keep it until it is to end, remove it; returns the exit code."""
        folder = self.request.state_dir
        self.status.gone = self._end_unheard
        try:
            self._begin(folder)
        except KoalesceError as error:
            self.status.tell(error=error.message, hint=error.hint)
            if not ((other := self.ledger.find(self.request.name)) and other.is_supervised):
                self.ledger.log(self.request.name).unlink(missing_ok=True)
            return 1
        bringup = Bringup(
            request=self.request,
            tools=self.tools,
            store=self.store,
            ledger=self.ledger,
            folder=folder,
            seeds=self.seeds,
            phases=Phases(SystemClock(), self.status.line),
            stopping=self.stopping,
            on_ended=self._log_end,
        )
        self.status.watch()
        trouble = problem = None
        try:
            trouble = self._live(bringup, folder)
        finally:
            problem = self._end(bringup)
        if trouble or problem:
            message = "\n".join(error.message for error in (trouble, problem) if error)
            hint = next((error.hint for error in (problem, trouble) if error and error.hint), None)
            self.status.tell(error=message, hint=hint)
        return 1 if trouble or problem else 0

    def _begin(self, folder: Path) -> None:
        request = self.request
        self.ledger.unsupervised(request.name)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ProvisionError(f"{folder} is in use", hint="choose another state_dir, or empty this one")
        entry = self.lifetime.begin(
            Entry(
                name=request.name,
                run_id=request.run_id,
                kubernetes=request.kubernetes,
                nodes=tuple(node.name for node in request.first_nodes) if request.schedulable else (),
                folder=str(folder),
                kubeconfig=str(folder / "kubeconfig"),
                supervisor=Process.of(os.getpid()),
                things=(Thing("folder", str(folder)), Thing("sysctls", str(folder))),
            )
        )
        self._is_plain = not entry.session
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / teardown.MARKER).touch()
        self.lifetime.watch()

    def _live(self, bringup: Bringup, folder: Path) -> KoalesceError | None:
        """Make the cluster and wait for its end; returns why it could not be made."""
        try:
            bringup.run()
            besides.begin(bringup, folder, self.stopping)
            Control(folder, Faults(bringup).begin, self.stopping).start()
            self._announce(bringup, folder)
        except KoalesceError as error:
            error.hint = error.hint or _remedy(folder, error.message)
            return error
        except OSError as error:
            return ProvisionError(f"the cluster can't be made: {error}", hint=_remedy(folder, str(error)))
        self._note = partial(self._note_first, bringup, folder)
        if self._is_plain:
            self.note()  # plain Terraform made it: nobody else would say so
        while not self.stopping.wait(_LOOK):
            bringup.look()
            self.lifetime.end_in_time()
        return None

    def _announce(self, bringup: Bringup, folder: Path) -> None:
        assert bringup.forwarder is not None  # noqa: S101 - it is up
        found = sorted(bringup.capabilities)
        values = outputs(self.request, folder, port=bringup.forwarder.port, pid=os.getpid(), capabilities=found)
        values["control_machines"] = control_machines(self.request, folder)
        (folder / "outputs.json").touch(mode=0o600)
        (folder / "outputs.json").write_text(json.dumps(values, indent=2))
        bringup.phases.save(folder / "phases.json")
        self.ledger.change(self.request.name, ready=True)
        self.status.tell_last(ready=True)

    def _note_first(self, bringup: Bringup, folder: Path) -> None:
        from koalesce.local import firststate  # which clusters that nobody keeps don't need

        found = self.ledger.find(self.request.name)
        things = found.things if found else ()
        where = firststate.Whereabouts(
            pki=self.request.pki_dir or folder / "pki",
            address=self.request.api_address,
            etcd=self.request.etcd_address,
            dns=self.request.dns_ip if self.request.dns != "none" else "",
            nodes=tuple(node.name for node in self.request.first_nodes) if self.request.schedulable else (),
            machines={name: node.pid for name, node in {**bringup.nodes, **bringup.fixtures}.items()},
            groups=tuple(Path(thing.name) for thing in things if thing.kind == "cgroup"),
        )
        firststate.announce(folder)
        threading.Thread(target=firststate.note, args=(folder, where, self.stopping), name="note", daemon=True).start()

    def _end(self, bringup: Bringup) -> KoalesceError | None:
        _log.info("ending")
        try:
            bringup.close()
            if entry := self.ledger.find(self.request.name):
                teardown.undo(self.ledger, entry)
        except KoalesceError as error:
            _log.error("%s", error)
            return error
        except OSError as error:  # what is left stands in the ledger, for whoever sweeps
            _log.exception("the cluster can't be removed")
            return TeardownError(f"the cluster can't be removed: {error}", command=f"koalesce down {self.request.name}")
        finally:
            self.lifetime.let_go()
        return None

    def _end_unheard(self) -> None:
        """Whoever asked for the cluster ended before it was up: nobody would ever know of it."""
        _log.info("who asked for the cluster is gone")
        self.stopping.set()

    def _log_end(self, ended: Ended) -> None:
        _log.warning("%s on %s ended with code %d (%d in a row)", ended.service, ended.node, ended.code, ended.exits)


def _remedy(folder: Path, said: str) -> str | None:
    """What to do where the machine is to blame, of which whatever failed, and said this, may not have been able to say a word."""
    if shutil.disk_usage(folder).free < _FULL:
        return f"the disk of {folder} is full; free some space"
    from koalesce.local import health  # which clusters that can be made don't need

    return health.suspect(said) or None


def main() -> int:
    """Leave whoever started us, read what to make from standard input, and be its supervisor."""
    if os.fork():
        os._exit(0)
    gc.freeze()  # what is loaded stays
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    data = json.load(sys.stdin)
    status = Status(int(sys.argv[1]))
    os.set_inheritable(status.descriptor, False)
    wanted, ledger, stopping = (
        request.parse(json.dumps(data["request"])),
        Ledger(Path(data["ledger"])),
        threading.Event(),
    )
    supervisor = Supervisor(
        request=wanted,
        tools=LocalTools.from_json(data["tools"]),
        store=ImageStore(Path(data["store"])),
        ledger=ledger,
        status=status,
        seeds=Path(data["seeds"]),
        lifetime=Lifetime(ledger=ledger, name=wanted.name, stopping=stopping),
        stopping=stopping,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stopping.set())
    signal.signal(signal.SIGUSR1, lambda *_: supervisor.note())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        return supervisor.run()
    return 1


if __name__ == "__main__":
    sys.exit(main())
