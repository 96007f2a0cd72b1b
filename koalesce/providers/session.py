"""The life of one cluster: claimed in the ledger, made by Terraform, destroyed by Terraform, and seen to be gone.

Whatever happens between `up` and its end (an error, ^C, a lost machine), the cluster is destroyed or the ledger still knows it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from koalesce.assets import asset
from koalesce.cluster import Cluster, ClusterRequest, Node
from koalesce.errors import Interrupted, KoalesceError, ProvisionError, TeardownError
from koalesce.events import AnyEvent, ClusterReady, PhaseFinished, PhaseProgress, PhaseStarted
from koalesce.kube import Kube
from koalesce.local import ledger
from koalesce.process import Cancel
from koalesce.providers import provider as provider_of
from koalesce.providers.base import Provider
from koalesce.providers.naming import check_name
from koalesce.terraform.client import LOG_FILE, Terraform
from koalesce.terraform.contract import check_outputs, check_variables
from koalesce.terraform.events import TerraformEvent

ROOT = "terraform"  # the copy of the root, in the cluster's folder
STATE_FILE = "terraform.tfstate"
Emit = Callable[[AnyEvent], None]


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


class Claim(Protocol):
    """An entry of the ledger that we hold the lock of."""

    def update(self, **fields: Any) -> None:
        """Write more about the cluster."""

    def keep(self) -> None:
        """Let go of the lock, and have the cluster stay."""

    def remove(self) -> None:
        """Forget the cluster: nothing of it is left."""


class ClusterSession:
    """Makes and unmakes the cluster of a request; `folder` (made if need be, 0700) is the cluster's own.

    `emit` gets phases as events of `spec`. `cancel` ends `up`, never `down`.
    """

    def __init__(
        self,
        request: ClusterRequest,
        folder: Path,
        *,
        spec: str = "",
        cancel: Cancel | None = None,
        provider: Provider | None = None,
        terraform: Callable[..., TerraformClient] = Terraform,
        claim: Callable[..., Claim] = ledger.claim,
    ) -> None:
        self.request = request
        self.folder = folder.absolute()
        self._spec = spec
        self._cancel = cancel
        self._provider = provider or provider_of(request.provider)
        self._terraform = terraform
        self._make_claim = claim
        self._claim: Claim | None = None
        self._emit: Emit = lambda event: None

    def up(self, emit: Emit = lambda event: None) -> Cluster:
        """Make the cluster; if that fails or is interrupted, nothing of it is left when this raises.

        UsageError for a request that the provider never serves, ProvisionError for what this machine lacks or went wrong,
        Interrupted, TeardownError if besides something of it could not be removed.
        """
        self._emit = emit
        began = time.monotonic()
        check_name(self.request.name)
        self.request = self._provider.resolve(self.request)
        self._refuse_what_is_lacking()
        with self._phase("toolchain") as progress:
            self._provider.prepare(self.request, progress=progress, cancel=self._cancel)
        self._claim = self._make_claim(
            self.request.name,
            run_id=self.request.run_id,
            provider=self.request.provider,
            kubernetes=self.request.kubernetes,
            nodes=len(self.request.nodes),
            folder=self.folder,
        )
        try:
            cluster, endpoint = self._make()
        except BaseException as error:
            self._undo(error)
            raise
        self._claim.update(kubeconfig=str(cluster.kubeconfig), endpoint=endpoint)
        emit(self._ready(cluster, time.monotonic() - began))
        return cluster

    def keep(self) -> None:
        """Leave the cluster up when this process ends; `koalesce down` destroys it."""
        if self._claim is not None:
            self._claim.keep()
            self._claim = None

    def down(self) -> None:
        """Destroy the cluster and see that it is gone; TeardownError with the command that does it by hand otherwise."""
        if self._claim is not None:
            self._destroy()
            self._clear()
            self._claim.remove()
            self._claim = None

    @classmethod
    def of_entry(
        cls,
        entry: ledger.Entry,
        *,
        provider: Provider | None = None,
        terraform: Callable[..., TerraformClient] = Terraform,
        take: Callable[[ledger.Entry], Claim] = ledger.take,
    ) -> ClusterSession:
        """The session of a kept or dead cluster, to end it; UsageError while a living run holds it."""
        request = ClusterRequest(
            name=entry.name, run_id=entry.run_id, provider=entry.provider, kubernetes=entry.kubernetes, nodes=()
        )
        session = cls(request, entry.folder, provider=provider, terraform=terraform)
        session._claim = take(entry)
        return session

    def _refuse_what_is_lacking(self) -> None:
        if problems := self._provider.check(self.request):
            raise ProvisionError(
                f"a cluster of provider {self.request.provider} can't be made here: " + "; ".join(problems)
            )

    def _make(self) -> tuple[Cluster, str]:
        variables = self._provider.variables(self.request, self.folder)
        check_variables(variables)
        root = copy_root(self.request.provider, self.folder)
        terraform = self._terraform(root, variables=variables, on_event=self._on_terraform, cancel=self._cancel)
        with self._phase("terraform init"):
            terraform.init()
        with self._phase("terraform apply"):
            terraform.apply()
            outputs = terraform.output()
            check_outputs(outputs)
        return cluster_of(self.request, outputs), str(outputs["api_endpoint"])

    def _undo(self, error: BaseException) -> None:
        """Destroy what a failed `up` made; the log stays, for people."""
        try:
            self._destroy()
            self._clear(keep_logs=isinstance(error, KoalesceError) and not isinstance(error, Interrupted))
        except TeardownError as teardown:
            what = str(error) or type(error).__name__
            raise TeardownError(f"{what}\nand then {teardown.message}", command=teardown.command) from error
        if self._claim is not None:
            self._claim.remove()
            self._claim = None

    def _destroy(self) -> None:
        """Destroy by Terraform, else by the provider's own means; then look that nothing is left."""
        name, failure = self.request.name, ""
        root = self.folder / ROOT
        if (root / STATE_FILE).exists():
            try:
                self._terraform(root, on_event=self._on_terraform).destroy()
            except KoalesceError as error:
                failure = error.message
        left = self._remains()
        if failure or left:
            left = self._remove_by_hand() or self._remains()
        if left:
            because = f" ({failure})" if failure else ""
            raise TeardownError(
                f"cluster {name} is not gone{because}; left: {'; '.join(left)}", command=f"koalesce down {name}"
            )

    def _remains(self) -> list[str]:
        return self._provider.remains(self.request.name)

    def _remove_by_hand(self) -> list[str]:
        try:
            self._provider.remove(self.request.name)
        except KoalesceError as error:
            return [error.message]
        return []

    def _clear(self, *, keep_logs: bool = False) -> None:
        """Remove the cluster's folder: state, keys, kubeconfig; the log of a failed apply may stay."""
        mounts = mounts_below(self.folder)
        if mounts:
            names = ", ".join(map(str, mounts))
            raise TeardownError(f"still mounted: {names}", command=f"koalesce down {self.request.name}")
        log = self.folder / ROOT / LOG_FILE
        if keep_logs and log.exists():
            log.replace(self.folder.with_name(f"{self.folder.name}-{LOG_FILE}"))
        shutil.rmtree(self.folder, ignore_errors=False) if self.folder.exists() else None

    def _on_terraform(self, event: TerraformEvent) -> None:
        if event.type == "provision_progress" and not event.output.startswith("Executing: "):
            self._emit(PhaseProgress(spec=self._spec, phase="terraform apply", message=event.output))

    @contextmanager
    def _phase(self, name: str) -> Iterator[Callable[[str], None]]:
        """Tell of a phase: its begin, its progress (by the function that it gives), how it ended."""
        began = time.monotonic()
        self._emit(PhaseStarted(spec=self._spec, phase=name))
        try:
            yield lambda message: self._emit(PhaseProgress(spec=self._spec, phase=name, message=message))
        except BaseException as error:
            self._finish(name, began, "error", str(error) or type(error).__name__)
            raise
        self._finish(name, began, "passed", "")

    def _finish(self, name: str, began: float, status: Any, message: str) -> None:
        seconds = time.monotonic() - began
        self._emit(PhaseFinished(spec=self._spec, phase=name, status=status, seconds=seconds, message=message))

    def _ready(self, cluster: Cluster, seconds: float) -> ClusterReady:
        nodes: tuple[Mapping[str, Any], ...] = tuple(
            {"name": node.name, "role": node.role, "address": node.address, "podCIDR": node.pod_cidr}
            for node in cluster.nodes
        )
        return ClusterReady(
            spec=self._spec,
            cluster=cluster.name,
            provider=cluster.provider,
            kubernetes=cluster.kubernetes,
            nodes=nodes,
            capabilities=tuple(sorted(cluster.capabilities)),
            kubeconfig=str(cluster.kubeconfig),
            seconds=seconds,
        )


def copy_root(provider: str, folder: Path) -> Path:
    """Copy a provider's Terraform root (and the modules that it shares) into the cluster's folder; returns the copy."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    source = asset("terraform", provider)
    if not source.is_dir():
        raise ProvisionError(
            f"Koalesce's own files are incomplete: there is no {source}", hint="install Koalesce again"
        )
    copy = folder / ROOT
    skip = shutil.ignore_patterns(".terraform", "*.tfstate*", "*.tfvars*", ".terraform.lock.hcl")
    shutil.copytree(source, copy, ignore=skip, dirs_exist_ok=True, copy_function=shutil.copyfile)
    copy.chmod(0o700)
    return copy


def cluster_of(request: ClusterRequest, outputs: Mapping[str, Any]) -> Cluster:
    """The cluster that a root's outputs (which keep the contract) tell of."""
    kubeconfig = Path(outputs["kubeconfig_path"])
    return Cluster(
        name=request.name,
        provider=request.provider,
        kubernetes=request.kubernetes,
        nodes=tuple(_node(entry) for entry in outputs["nodes"]),
        kubeconfig=kubeconfig,
        kube=Kube(kubeconfig),
        dns_ip=outputs["dns_ip"],
        capabilities=frozenset(outputs["capabilities"]),
        pod_cidr=request.pod_cidr,
        service_cidr=request.service_cidr,
        host_exec=tuple(outputs["host_exec"]),
    )


def nodes_of(entry: ledger.Entry) -> tuple[Node, ...]:
    """The nodes of a cluster that is up, as its Terraform state tells; ProvisionError if it can't."""
    root = entry.folder / ROOT
    if not (root / STATE_FILE).exists():
        raise ProvisionError(
            f"cluster {entry.name} isn't up yet, or was not made by Koalesce: there is no state in {root}"
        )
    outputs = Terraform(root).output()
    check_outputs(outputs)
    return tuple(_node(node) for node in outputs["nodes"])


def mounts_below(folder: Path) -> list[Path]:
    """What is mounted in a folder: removing the folder would reach into it."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(folder):
            found.append(point)
    return found


def _node(entry: Mapping[str, Any]) -> Node:
    return Node(
        name=entry["name"],
        role=entry["role"],
        address=entry["address"],
        pod_cidr=entry["pod_cidr"],
        exec=tuple(entry["exec"]),
        logs={component: tuple(argv) for component, argv in entry["logs"].items()},
    )
