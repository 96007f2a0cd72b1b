"""Using a cluster that is up: it was made before, and stays when whoever uses it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.cluster import Cluster, ClusterRequest
from koalesce.errors import ProvisionError, UsageError
from koalesce.events import AnyEvent
from koalesce.local.ledger import Entry, Hold, Ledger, Share
from koalesce.providers import provider as provider_of
from koalesce.providers import roots
from koalesce.providers.base import Provider
from koalesce.providers.session import ready_event
from koalesce.providers.sweeping import find, state
from koalesce.toolchain.reference import outside_of

NETWORK_NOTE, DNS_NOTE = "network", "dns"  # what a spec calls them: a component, where the provider was asked for none


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A cluster that is up, and what it was made with: the variables of the contract."""

    entry: Entry
    variables: Mapping[str, Any]

    @property
    def network(self) -> str:
        """Its pod network: built in, or the component that its spec names."""
        return str(self.entry.session.get(NETWORK_NOTE, self.variables["network"]))

    @property
    def dns(self) -> str:
        """Its DNS: built in, or the component that its spec names."""
        return str(self.entry.session.get(DNS_NOTE, self.variables["dns"]))


def made(name: str) -> Made:
    """The cluster of this name that people keep; UsageError for one that isn't theirs to use."""
    entry = find(name)
    if not entry.ready or state(entry, Ledger()) != "kept":
        raise _not_to_share(name)
    variables = roots.made_with(entry)
    if variables is None:
        raise UsageError(
            f"cluster {name} was made by Terraform alone, so it isn't known what it is like",
            hint="koalesce up SPEC makes one that can be used",
        )
    return Made(entry=entry, variables=variables)


def hold_kept(name: str) -> Hold:
    """Have a kept cluster to oneself; UsageError where it is none, or a run uses it. Whoever takes it lets go of it again."""
    ledger = Ledger()
    entry = find(name)
    if state(entry, ledger) == "running" or not entry.ready:
        raise _not_to_share(name)
    hold = ledger.try_hold(name)
    if hold is None:
        raise UsageError(f"cluster {name} is in use by a run", hint="wait for that run, or end it")
    if not entry.is_supervised and (entry.supervisor is not None or entry.provider == "local"):
        hold.release()
        raise UsageError(f"the processes of cluster {name} have ended", hint=f"koalesce down {name} removes the rest")
    return hold


class JoinedCluster:
    """The use of a cluster that is up, by one spec: while it lasts nobody removes the cluster. `cluster` is there once it is joined."""

    def __init__(self, name: str, *, spec: str = "", provider: Provider | None = None) -> None:
        self._name = name
        self._spec = spec
        self._provider = provider
        self._share: Share | None = None
        self._registries: Sequence[Mapping[str, str]] = ()
        self.cluster: Cluster | None = None

    def up(self, emit: Callable[[AnyEvent], None] = lambda event: None) -> Cluster:
        """The cluster; UsageError if somebody else answers for it by now, ProvisionError if it can't be told where it is."""
        began = time.monotonic()
        self._share = Ledger().try_share(self._name)
        if self._share is None:
            raise _not_to_share(self._name)
        found = made(self._name)  # which nobody can remove any more
        self._registries = found.variables.get("registries") or ()
        provider = self._provider or provider_of(found.entry.provider)
        outputs = roots.outputs_of(found.entry)
        self.cluster = roots.cluster_of(_request(found), outputs, provider.faults(self._name))
        emit(ready_event(self.cluster, self._spec, time.monotonic() - began, shared=True))
        return self.cluster

    def supply(self, images: Sequence[str]) -> None:
        """Have images of the machine's store on its nodes, as they are now; ProvisionError if a node can't get one."""
        if self.cluster is None:
            raise ValueError("up() comes before supply()")
        provider = self._provider or provider_of(self.cluster.provider)
        images = outside_of((registry["name"] for registry in self._registries), images)
        for node in self.cluster.present:
            if images and (problem := provider.supply(node, images)):
                raise ProvisionError(f"{node.name}: {problem}")

    def note(self, network: str, components: Sequence[str]) -> None:
        """Remember the component that has become the network of a cluster without any."""
        found = made(self._name)
        if found.network == "none" and network in components:
            Ledger().change(self._name, session={**found.entry.session, NETWORK_NOTE: network})

    def leave(self) -> None:
        """Let go of it; it stays up."""
        if self._share is not None:
            self._share.release()
            self._share = None


def _request(found: Made) -> ClusterRequest:
    entry, variables = found.entry, found.variables
    return ClusterRequest(
        name=entry.name,
        run_id=entry.run_id,
        provider=entry.provider,
        kubernetes=entry.kubernetes,
        nodes=(),
        pod_cidr=variables["pod_cidr"],
        service_cidr=variables["service_cidr"],
        settings=variables.get("settings") or {},
    )


def _not_to_share(name: str) -> UsageError:
    return UsageError(
        f"cluster {name} is being made, is being removed, or belongs to a run that is alive",
        hint="use one that `koalesce up` made; `koalesce clusters` shows them as kept",
    )
