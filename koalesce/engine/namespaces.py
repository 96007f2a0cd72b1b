"""A namespace for each test: made before it, removed after it without holding up the next one."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from koalesce.cluster import Cluster
from koalesce.engine.waiting import Waiter
from koalesce.errors import ClusterError
from koalesce.kube import ApiError, View
from koalesce.kube.marks import LONGEST, RUN_LABEL, TEST_LABEL, run_label, slug
from koalesce.spec.namespaces import NamespaceSpec
from koalesce.steps.base import Failed, Outcome, Passed

# A controller manager whose API server was away asks it again after up to a minute (client-go's reflectors), twice if it knows too little.
_ACCOUNT_TIMEOUT = 150.0
_REMOVAL_TIMEOUT = 120.0


def namespace_name(test: str) -> str:
    """A fresh name: what the test is called, and five random characters."""
    return f"{slug(test, LONGEST - 6)}-{secrets.token_hex(3)[:5]}"


def labels(run_id: str, test: str) -> dict[str, str]:
    """What marks an object as made by a test of a run."""
    return {RUN_LABEL: run_label(run_id), TEST_LABEL: _telling(test)}


def _telling(test: str) -> str:
    """A label value for a test's name: one that is cut off still tells it from others that begin alike, such as cells of a matrix."""
    whole = slug(test, len(test) + 1)
    if len(whole) <= LONGEST:
        return whole
    return f"{slug(test, LONGEST - 9)}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A namespace that a test wants. `is_own`: its name is one that nobody else uses."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_own: bool = True


def wanted(spec: NamespaceSpec, fresh: str, marks: Mapping[str, str]) -> Wanted:
    """The namespace that a spec describes; `fresh` is its name where it has none, `marks` are labels of ours."""
    security = {"pod-security.kubernetes.io/enforce": spec.pod_security} if spec.pod_security else {}
    return Wanted(
        name=spec.name or fresh, labels={**spec.labels, **security, **marks}, annotations=spec.annotations,
        is_own=spec.name is None,
    )  # fmt: skip


class Namespaces:
    """The namespaces of a cluster that tests use now.

    Those made here go when the last test that uses them has left them; one that was
    there before is neither changed nor removed.
    """

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()
        self._made: set[str] = set()
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def enter(self, cluster: Cluster, wanted: Wanted, waiter: Waiter) -> None:
        """Have a namespace for a test; raises ApiError as the server answers, ClusterError where it doesn't become usable."""
        with self._of(wanted.name):
            if not self._users[wanted.name] and make_namespace(cluster, wanted, waiter):
                self._made.add(wanted.name)
            self._users[wanted.name] += 1

    def leave(self, cluster: Cluster, name: str) -> None:
        """A test needs it no more."""
        with self._of(name):
            self._users[name] -= 1
            if not self._users[name] and name in self._made:
                self._made.discard(name)
                remove_namespace(cluster, name)

    def _of(self, name: str) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())


def make_namespace(cluster: Cluster, wanted: Wanted, waiter: Waiter) -> bool:
    """Create the namespace and wait for what every pod in it needs, the default service account; False for one that was there already.

    One of the same name that is going away is awaited first. Raises ApiError as the server answers, ClusterError if the account
    doesn't come.
    """
    kube, name = cluster.kube, wanted.name
    metadata: dict[str, Any] = {"name": name, "labels": dict(wanted.labels)}
    if wanted.annotations:
        metadata["annotations"] = dict(wanted.annotations)
    if not wanted.is_own and _is_there(cluster, name, waiter):
        return False
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    accounts = kube.resource("serviceaccounts")

    def account(_view: View) -> Outcome:
        found = kube.get(accounts, "default", name)
        return Passed("there") if found else Failed(f"namespace {name} has no default service account")

    looked = waiter.until(kube, account, timeout=_ACCOUNT_TIMEOUT)
    if not isinstance(looked.outcome, Passed):
        raise ClusterError(f"namespace {name} got no default service account; is the controller manager running?")
    return True


def _is_there(cluster: Cluster, name: str, waiter: Waiter) -> bool:
    """Whether there is a namespace of this name that stays; one that is going away is waited for."""
    kube = cluster.kube
    namespaces = kube.resource("namespaces")

    def gone(_view: View) -> Outcome:
        found = kube.get(namespaces, name)
        is_going = found is not None and found["metadata"].get("deletionTimestamp")
        return Failed(f"namespace {name} is being removed") if is_going else Passed("settled")

    looked = waiter.until(kube, gone, timeout=_REMOVAL_TIMEOUT)
    if not isinstance(looked.outcome, Passed):
        raise ClusterError(f"namespace {name} of an earlier test is still being removed after {_REMOVAL_TIMEOUT:.0f}s")
    return kube.get(namespaces, name) is not None


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Ask for the namespace's removal; the server goes on by itself."""
    try:
        cluster.kube.delete(cluster.kube.resource("namespaces"), name)
    except ApiError as error:
        if error.status != 404:
            raise
