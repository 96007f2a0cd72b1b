"""The life of one cluster: held in the ledger, made by Terraform, destroyed by Terraform, and seen to be gone.

Whatever happens between `up` and its end (an error, ^C, a lost machine), the cluster is destroyed or the ledger still knows it.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from koalesce.cluster import Cluster, ClusterRequest
from koalesce.errors import Interrupted, KoalesceError, ProvisionError, TeardownError, UsageError, without_advice
from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseProgress, PhaseStarted, Status
from koalesce.kube import preload
from koalesce.local.ledger import Entry, Hold, Ledger, NameInUse
from koalesce.notices import NOTICE
from koalesce.process import Cancel
from koalesce.providers import provider as provider_of
from koalesce.providers import roots
from koalesce.providers.base import Abandoning, Advising, Freeing, Provider, Serving
from koalesce.providers.naming import check_name
from koalesce.terraform.client import Terraform
from koalesce.terraform.contract import check_outputs, check_root, check_variables
from koalesce.terraform.events import TerraformEvent
from koalesce.terraform.runner import end_left

Emit = Callable[[AnyEvent], None]
_ENDING = 5.0  # seconds in which a supervisor ends that is told to, or that has nothing left to do
_PAUSE = 0.01


class TerraformClient(Protocol):
    """What a session needs of Terraform."""

    def init(self) -> None:
        """Make the folder ready."""

    def apply(self) -> None:
        """Make the cluster."""

    def output(self) -> dict[str, Any]:
        """The outputs' values."""

    def destroy(self) -> None:
        """Unmake the cluster."""


class ClusterSession:
    """Makes and unmakes the cluster of a request.

    `folder` gets the copy of the provider's Terraform root, its state and its log; it is made (0700), and removed with the
    cluster; by default it lies beside the ledger. `emit` gets phases as events of `spec`. `cancel` ends `up`, never `down`.
    `notes` are kept with the cluster's entry in the ledger, for those who use it later.
    """

    def __init__(
        self,
        request: ClusterRequest,
        folder: Path | None = None,
        *,
        spec: str = "",
        cancel: Cancel | None = None,
        provider: Provider | None = None,
        terraform: Callable[..., TerraformClient] = Terraform,
        ledger: Ledger | None = None,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.request = request
        self._ledger = ledger or Ledger()
        self.folder = (folder or roots.default_folder(self._ledger, request.name)).absolute()
        self._spec = spec
        self._notes = notes or {}
        self._cancel = cancel
        self._provider = provider or provider_of(request.provider)
        self._terraform = terraform
        self._hold: Hold | None = None
        self._has_begun = False  # to make something that would have to be removed
        self.cluster: Cluster | None = None  # once it is up
        self._emit: Emit = lambda event: None

    def check(self) -> None:
        """Raise what `up` would raise before it starts anything: UsageError for the request, ProvisionError for the machine."""
        check_name(self.request.name)
        self.request = self._provider.resolve(self.request)
        if problems := self._provider.check(self.request):
            raise ProvisionError(f"no {self.request.provider} cluster can be made here: " + "; ".join(problems))

    def up(self, emit: Emit = lambda event: None) -> Cluster:
        """Make the cluster; if that fails or is interrupted, nothing of it is left when this raises.

        UsageError for a request that the provider never serves, ProvisionError for what this machine lacks or went wrong
        (NameInUse), Interrupted, TeardownError if besides something of it could not be removed.
        """
        self._emit = emit
        try:
            return self._up(time.monotonic())
        except OSError as error:
            raise self._told(error) from error

    def note_first_state(self, *, wait: bool = False) -> None:
        """Have it remembered what the cluster is like now: that is what a reset goes back to when it is kept.

        `wait` until that is done: whatever becomes of the cluster from then on is one of the `differences`.
        """
        if self.cluster is not None:
            self._provider.note_first_state(self.cluster.name, wait=wait)

    def differences(self, ignored: Collection[str]) -> list[str]:
        """What differs from the state that was noted, as sentences, but for what is in the `ignored` namespaces, and these."""
        entry = self._ledger.find(self.request.name)
        if entry is None:
            raise ProvisionError(f"cluster {self.request.name} is gone")
        return self._provider.differences(entry, ignored)

    def served(self) -> Mapping[str, str]:
        """The images that its nodes asked for by tag until now, with their digests; ProvisionError where its provider can't tell."""
        entry = self._ledger.find(self.request.name)
        if entry is None or not isinstance(self._provider, Serving):
            raise ProvisionError(f"what images {self.request.name} was given isn't known")
        return self._provider.served(entry)

    def keep(self) -> None:
        """Leave the cluster up when this process ends; `koalesce down` destroys it."""
        if self._hold is not None:
            self._hold.keep()
            self._let_go()

    def down(self) -> None:
        """Destroy the cluster and see that it is gone; TeardownError with the command that does it by hand otherwise."""
        if self._hold is not None:
            if (known := self._ledger.find(self.request.name)) and known.keep:
                self._ledger.change(
                    self.request.name, keep=False
                )  # from here on whoever finds it half destroyed goes on
            self._end(keep_log=False)
            self.cluster = None

    def forget(self) -> str:
        """Destroy the cluster as `down` does; where that can't be done, forget it all the same. What is left then, and how to remove it by hand.

        UsageError, before anything is done, where nothing can be gone for good that others have.
        """
        name, provider = self.request.name, self._provider
        entry = self._ledger.find(name)
        if not isinstance(provider, Abandoning) or entry is None:
            self._let_go()
            raise UsageError(
                f"{name} can't be forgotten: all that it has is the {provider.name} provider's to remove",
                hint=f"koalesce down {name}, which may be said again and again",
            )
        try:
            self.down()
        except TeardownError as error:
            by_hand = provider.abandon(entry)
            roots.remove(self.folder, keep_log=False)
            self._forget()
            return f"{error.message}\n{by_hand}"
        return ""

    @classmethod
    def of_entry(
        cls,
        entry: Entry,
        *,
        provider: Provider | None = None,
        terraform: Callable[..., TerraformClient] = Terraform,
        ledger: Ledger | None = None,
    ) -> ClusterSession:
        """The session of a kept or dead cluster, to end it; UsageError while a living run holds it."""
        request = ClusterRequest(
            name=entry.name, run_id=entry.run_id, provider=entry.provider, kubernetes=entry.kubernetes, nodes=()
        )
        session = cls(request, roots.folder_of(entry), provider=provider, terraform=terraform, ledger=ledger)
        session._has_begun = True  # as far as anybody knows
        session._hold = session._ledger.try_hold(entry.name)
        if session._hold is None:
            what, hint = ("is in use by", "") if entry.keep else ("belongs to", "; it destroys the cluster")
            raise UsageError(f"cluster {entry.name} {what} a run that is alive", hint=f"end that run{hint}")
        return session

    def _up(self, began: float) -> Cluster:
        self.check()
        self._sweep()
        self._hold = self._ledger.hold(self.request.name)
        try:
            self._write_down()
        except BaseException:
            self._let_go()
            raise
        try:
            cluster = self._make()
            self._ledger.change(
                cluster.name, kubeconfig=str(cluster.kubeconfig), kubernetes=cluster.kubernetes, ready=True
            )
        except BaseException as error:
            self._undo(error)
            raise
        self.cluster = cluster
        self._emit(ready_event(cluster, self._spec, time.monotonic() - began))
        return cluster

    def _sweep(self) -> None:
        """Remove what dead runs left: it may hold names, addresses or memory that we need."""
        from koalesce.providers.sweeping import sweep  # it is made of sessions itself

        for one in sweep(self._ledger, lambda entry: ClusterSession.of_entry(entry, ledger=self._ledger)):
            text = (
                f"can't remove {one.name}, left by a dead run: {one.problem}"
                if one.problem
                else f"removed {one.name}, left by a dead run"
            )
            self._emit(PhaseProgress(spec=self._spec, phase="sweep", message=text))

    def _write_down(self) -> None:
        """Have the ledger know of the cluster before anything of it exists."""
        name = self.request.name
        if self._ledger.find(name):
            raise NameInUse(
                f"a cluster {name} exists", hint=f"choose another name, or remove it with: koalesce down {name}"
            )
        self._ledger.begin(
            Entry(
                name=name,
                provider=self.request.provider,
                run_id=self.request.run_id,
                kubernetes=self.request.kubernetes,
                nodes=tuple(node.name for node in self.request.nodes),
                session={
                    **self._notes,
                    **roots.note(self.folder),
                    **({"ttl": self.request.ttl} if self.request.ttl else {}),
                },
            )
        )

    def _make(self) -> Cluster:
        with self._phase("toolchain") as progress:
            self.request = self._provider.prepare(self.request, progress=progress, cancel=self._cancel)
        check_root(self._provider.terraform_root)
        roots.copy(self._provider.terraform_root, self.folder)
        variables = self._provider.variables(self.request, self.folder)
        check_variables(variables)
        terraform = self._terraform(self.folder, variables=variables, on_event=self._on_terraform, cancel=self._cancel)
        with self._phase("terraform init"):
            terraform.init()
        threading.Thread(target=preload, name="preload", daemon=True).start()
        with self._phase("terraform apply"):
            self._has_begun = True
            try:
                terraform.apply()
            except ProvisionError as error:
                raise self._advised(error) from error
            outputs = terraform.output()
            check_outputs(outputs)
        return roots.cluster_of(self.request, outputs, self._provider.faults(self.request.name))

    def _advised(self, error: ProvisionError) -> ProvisionError:
        """An error of Terraform, with the settings of the spec that it's about, where its provider knows them."""
        if not isinstance(self._provider, Advising) or not (
            advice := self._provider.advice(self.request, error.message)
        ):
            return error
        return ProvisionError(error.message, hint="; ".join(filter(None, (advice, error.hint))))

    def _undo(self, error: BaseException) -> None:
        """Destroy what a failed `up` made; Terraform's log stays, for people."""
        try:
            self._end(keep_log=isinstance(error, KoalesceError) and not isinstance(error, Interrupted))
        except TeardownError as teardown:
            what = str(error) or type(error).__name__
            raise TeardownError(
                f"{what}\nand then {teardown.message}", command=teardown.command, forget=teardown.forget
            ) from error

    def _end(self, *, keep_log: bool) -> None:
        """Destroy, tidy up, and forget; TeardownError if any of it can't be done."""
        try:
            self._destroy()
            roots.remove(self.folder, keep_log=keep_log)
            self._forget()
        except OSError as error:
            name = self.request.name
            raise TeardownError(
                f"cluster {name} can't be removed: {_of_system(error)}", command=f"koalesce down {name}"
            ) from error

    def _destroy(self) -> None:
        """Destroy by Terraform, else by the provider's own means; then look that nothing is left. What never began has nothing."""
        end_left()  # a plugin that still runs could make something that nobody knows of
        if not self._has_begun:
            return
        name, failure = self.request.name, ""
        known = self._ledger.find(name)
        if roots.has_state(self.folder):
            try:
                if known is not None and isinstance(self._provider, Freeing):
                    self._provider.free(known, roots.known_ids(self.folder))
                self._terraform(self.folder, on_event=self._on_destroy).destroy()
            except KoalesceError as error:
                failure = without_advice(error.message)
        left = self._remains(known)
        if failure or left:
            left = self._remove() or self._remains_at_last(known)
        if left:
            because = f" ({failure})" if failure else ""
            raise TeardownError(
                f"cluster {name} is not gone{because}; left: {'; '.join(left)}",
                command=f"koalesce down {name}",
                forget=f"koalesce down {name} --forget" if isinstance(self._provider, Abandoning) else "",
            )

    def _remains(self, known: Entry | None) -> list[str]:
        """What is left by what the ledger said before, and by what it says now."""
        now = self._ledger.find(self.request.name)
        entries = [entry for entry in (known, now if now != known else None) if entry is not None]
        return list(dict.fromkeys(thing for entry in entries for thing in self._provider.remains(entry)))

    def _remains_at_last(self, known: Entry | None) -> list[str]:
        """What is left once a supervisor that has removed all else has had the time to end."""
        deadline = time.monotonic() + _ENDING
        while known and known.is_supervised and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return self._remains(known)

    def _remove(self) -> list[str]:
        try:
            self._provider.remove(self.request.name)
        except KoalesceError as error:
            return [error.message]
        return []

    def _forget(self) -> None:
        self._ledger.remove(self.request.name)
        self._let_go()

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def _on_destroy(self, event: TerraformEvent) -> None:
        self._on_terraform(event, phase="terraform destroy")

    def _on_terraform(self, event: TerraformEvent, *, phase: str = "terraform apply") -> None:
        if event.type == "provision_progress" and not event.output.startswith("Executing: "):
            text = event.output.removeprefix(NOTICE)
            noted = text != event.output
            self._emit(PhaseProgress(spec=self._spec, phase=phase, message=text, notice=noted))

    @contextmanager
    def _phase(self, name: str) -> Iterator[Callable[[str], None]]:
        """Tell of a phase: its begin, its progress (by the function that it gives), how it ended."""
        began = time.monotonic()
        self._emit(PhaseStarted(spec=self._spec, phase=name))
        try:
            yield lambda message: self._emit(PhaseProgress(spec=self._spec, phase=name, message=message))
        except OSError as error:
            problem = self._told(error)
            self._finish(name, began, "error", str(problem))
            raise problem from error
        except BaseException as error:
            self._finish(name, began, "error", str(error) or type(error).__name__)
            raise
        self._finish(name, began, "passed", "")

    def _finish(self, name: str, began: float, status: Status, message: str) -> None:
        seconds = round(time.monotonic() - began, 4)
        self._emit(PhaseFinished(spec=self._spec, phase=name, status=status, seconds=seconds, message=message))

    def _told(self, error: OSError) -> ProvisionError:
        """What the system refused, as an error of ours; of a full disk it doesn't name the folder."""
        hint = None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"make room on the disk that holds {self.folder.parent}, or set KOALESCE_STATE_DIR to a folder elsewhere"
        return ProvisionError(f"the cluster can't be made: {_of_system(error)}", hint=hint)


def ready_event(
    cluster: Cluster, spec: str, seconds: float, *, shared: bool = False, reused: bool = False
) -> ClusterReady:
    """That a cluster is up for a spec; `shared`: it was up before, and stays; `reused`: an earlier spec had it made."""
    nodes: tuple[Mapping[str, Any], ...] = tuple(
        {"name": node.name, "role": node.role, "address": node.address, "podCIDR": node.pod_cidr}
        for node in cluster.present
    )
    return ClusterReady(
        spec=spec,
        cluster=cluster.name,
        provider=cluster.provider,
        kubernetes=cluster.kubernetes,
        nodes=nodes,
        capabilities=tuple(sorted(cluster.capabilities)),
        kubeconfig=str(cluster.kubeconfig),
        seconds=round(seconds, 4),
        shared=shared,
        reused=reused,
    )


def _of_system(error: OSError) -> str:
    """What the system says, and of which file."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
