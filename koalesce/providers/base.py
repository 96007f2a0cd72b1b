"""What a cluster provider is: the few things that only it knows. Making and unmaking is Terraform's, the same for all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:  # the names of providers are asked for where no cluster is
    from koalesce.cluster import ClusterRequest, FaultKind, FaultService, Node
    from koalesce.local.ledger import Entry
    from koalesce.process import Cancel


class Provider(Protocol):
    """Turns a request into Terraform variables. One instance serves one cluster."""

    name: str
    makes_clusters: bool  # False: it takes one that others made, which stays
    terraform_root: Path  # the folder with its *.tf, which keep the contract
    fault_kinds: frozenset[FaultKind]  # what it can do to a cluster that is up

    def resolve(self, request: ClusterRequest) -> ClusterRequest:
        """The request with exact versions; UsageError for what this provider never does (touches nothing, starts nothing)."""

    def confirm(self, request: ClusterRequest) -> None:
        """UsageError where the user has yet to say what the request needs, such as which cluster is meant; reads files only."""

    def check(self, request: ClusterRequest) -> list[str]:
        """What this machine or account lacks for it, as sentences; touches nothing, starts nothing."""

    def prepare(
        self, request: ClusterRequest, *, progress: Callable[[str], None], cancel: Cancel | None
    ) -> ClusterRequest:
        """Have at hand what Terraform will need (binaries, images); may take minutes the first time.

        The request as it will be served: one that takes a cluster as it is says what that is like.
        """

    def variables(self, request: ClusterRequest, folder: Path) -> dict[str, Any]:
        """Terraform variables of the contract; `folder` is the root's copy. Call `prepare` before."""

    def faults(self, name: str) -> FaultService | None:
        """Its services that disturb the cluster of this name, which is up; None if it has none."""

    def supply(self, node: Node, images: Sequence[str]) -> str:
        """Have images of the machine's store on a node of a cluster that is up, as they are now; what went wrong, or nothing."""

    def note_first_state(self, name: str, *, wait: bool = False) -> None:
        """Note the state that a cluster which is to be used again has now; nothing where that is of no use.

        With `wait` it is noted when this returns: what is done to the cluster from then on differs from it.
        """

    def reset(self, entry: Entry) -> list[str]:
        """Bring a cluster back to its first state; what differs from it then. UsageError where this provider can't do that."""

    def differences(self, entry: Entry, ignored: Collection[str]) -> list[str]:
        """What differs from the first state that was noted, as sentences, but for what is in the `ignored` namespaces, and these.

        Changes nothing. UsageError where this provider can't tell.
        """

    def remains(self, entry: Entry) -> list[str]:
        """What is still there of a cluster that the ledger knew, listed without asking Terraform; empty if nothing."""

    def remove(self, name: str) -> None:
        """Remove the cluster of this name without Terraform's state; no error if there is none. Safe to repeat."""


@runtime_checkable
class Abandoning(Protocol):
    """A provider whose clusters are on what others have, which may be gone for good before they are destroyed."""

    def abandon(self, entry: Entry) -> str:
        """Remove our own files, whatever may be left elsewhere; how that is removed by hand, should it come back."""


@runtime_checkable
class Advising(Protocol):
    """A provider that knows which of a spec's settings an error of Terraform is about."""

    def advice(self, request: ClusterRequest, said: str) -> str:
        """Which settings have what the error names; nothing where none has."""


@runtime_checkable
class Foreseeing(Protocol):
    """A provider that knows something of its clusters' capabilities before there is one."""

    def absent(self, names: Collection[str]) -> frozenset[str]:
        """Which of these no cluster of its will have; what isn't known isn't among them."""


@runtime_checkable
class Serving(Protocol):
    """A provider whose nodes have all their images from this machine's store."""

    def served(self, entry: Entry) -> Mapping[str, str]:
        """The images that a cluster's nodes asked for by tag, with their digests then; an empty one where it can't be told.

        ProvisionError where that isn't known.
        """


@runtime_checkable
class Freeing(Protocol):
    """A provider whose clusters may come to have what Terraform never heard of, and which keeps Terraform from destroying the rest."""

    def free(self, entry: Entry, known: Collection[str]) -> None:
        """Remove what a cluster has but for what Terraform knows, by its IDs; safe to repeat."""
