"""A namespace for each test: made before it, removed after it without holding up the next one."""

from __future__ import annotations

import re
import secrets

from koalesce.cluster import Cluster
from koalesce.engine.waiting import Waiter
from koalesce.errors import ClusterError
from koalesce.kube import ApiError, View
from koalesce.steps.base import Failed, Outcome, Passed
from koalesce.steps.ownership import RUN_LABEL, TEST_LABEL

_LONGEST = 63
_ACCOUNT_TIMEOUT = 30.0


def slug(text: str, longest: int) -> str:
    """A DNS label of a text: lower case letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "x"


def namespace_name(test: str) -> str:
    """A fresh name: what the test is called, and five random characters."""
    return f"{slug(test, _LONGEST - 6)}-{secrets.token_hex(3)[:5]}"


def labels(run_id: str, test: str) -> dict[str, str]:
    """What marks an object as made by a test of a run."""
    return {RUN_LABEL: slug(run_id, _LONGEST), TEST_LABEL: slug(test, _LONGEST)}


def make_namespace(cluster: Cluster, name: str, marks: dict[str, str], waiter: Waiter) -> None:
    """Create the namespace and wait for what every pod in it needs: the default service account.

    Raises ApiError as the server answers, ClusterError if the account doesn't come.
    """
    kube = cluster.kube
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": marks}})
    accounts = kube.resource("serviceaccounts")

    def account(_view: View) -> Outcome:
        found = kube.get(accounts, "default", name)
        return Passed("there") if found else Failed(f"namespace {name} has no default service account")

    looked = waiter.until(kube, account, timeout=_ACCOUNT_TIMEOUT)
    if not isinstance(looked.outcome, Passed):
        raise ClusterError(f"namespace {name} got no default service account; is the controller manager running?")


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Ask for the namespace's removal; the server goes on by itself."""
    try:
        cluster.kube.delete(cluster.kube.resource("namespaces"), name)
    except ApiError as error:
        if error.status != 404:
            raise
