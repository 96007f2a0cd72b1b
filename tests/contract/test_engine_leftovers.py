"""What a run has left in a cluster, as a real API server tells it."""

from __future__ import annotations

from typing import Any

from koalesce.engine.leftovers import Left, left_by
from koalesce.engine.namespaces import labels
from tests.contract.api_server import ApiServer

RUN = "20260301-100000-left0"


def made(kind: str, name: str, *, api: str = "v1", namespace: str | None = None, run: str = RUN, **more: Any) -> Any:
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "labels": labels(run, "a test"), **place},
        **more,
    }


def test_what_is_left_is_found_in_all_kinds_that_the_server_has(api_server: ApiServer, namespace: str) -> None:
    kube = api_server.kube
    kube.create(made("Namespace", "left-by-a-run"))
    kube.create(made("ConfigMap", "goes-with-it", namespace="left-by-a-run"))
    kube.create(made("ConfigMap", "stays", namespace=namespace))
    kube.create(made("ConfigMap", "of-another-run", namespace=namespace, run="another"))
    kube.create(made("ClusterRole", "left", api="rbac.authorization.k8s.io/v1", rules=[]))

    found = left_by(kube, RUN, time=60)

    assert found == [
        Left("clusterroles.rbac.authorization.k8s.io/left"),
        Left("configmaps/stays", namespace),
        Left("namespaces/left-by-a-run"),
    ]
