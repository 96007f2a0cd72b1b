"""What local clusters look after in the API, against a real API server: volumes of local-path, addresses of load balancers."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from koalesce.kube import Kube
from koalesce.local.addons import PROVISIONER, besides
from koalesce.local.balancer import Balancer, Routes
from koalesce.local.controlling import Events, look_after
from koalesce.local.provisioner import Provisioner
from tests.contract.api_server import ApiServer


class Looking:
    """Both controllers at work, and what they do outside of the API."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.ran: list[tuple[str, str]] = []
        self.routes: dict[str, tuple[str, ...]] = {}
        self.stopping = threading.Event()
        events = Events(kube)
        look_after("volumes", Provisioner(kube, self._run, events), kube, self.stopping)
        look_after("addresses", Balancer(kube, ["IPv4"], self._lead, events), kube, self.stopping)

    def _run(self, node: str, command: Sequence[str]) -> None:
        self.ran.append((node, command[0]))

    def _lead(self, routes: Routes) -> None:
        self.routes = dict(routes)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        found = self.kube.get(self.kube.resource(kind), name, namespace)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def looking(api_server: ApiServer) -> Iterator[Looking]:
    kube = Kube(api_server.kubeconfig)
    found = Looking(kube)
    yield found
    found.stopping.set()
    kube.close()


def eventually(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_volume_comes_with_its_claim_and_goes_when_it_is_released(looking: Looking, namespace: str) -> None:
    kube = looking.kube
    ((_, storage_class),) = besides(["local-path"], {})
    kube.create(storage_class)
    asked = {"volume.kubernetes.io/storage-provisioner": PROVISIONER, "volume.kubernetes.io/selected-node": "w1"}
    claim = kube.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": namespace, "annotations": asked},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
    )
    volumes, name = kube.resource("persistentvolumes"), f"pvc-{claim['metadata']['uid']}"
    eventually(lambda: kube.get(volumes, name))
    volume = looking.get("persistentvolumes", name)
    assert claim["spec"]["storageClassName"] == volume["spec"]["storageClassName"] == "local-path"
    assert set(looking.ran) == {("w1", "mkdir")}  # twice if the watch tells late of the volume

    kube.delete(kube.resource("persistentvolumeclaims"), "data", namespace)
    kube.patch(volumes, name, None, {"status": {"phase": "Released"}}, subresource="status")

    eventually(lambda: looking.ran[-1] == ("w1", "rm"))
    # Somebody else takes the finalizer away, once nobody uses the volume.
    eventually(
        lambda: "deletionTimestamp" in (kube.get(volumes, name) or {"metadata": {"deletionTimestamp": ""}})["metadata"]
    )


def test_a_service_is_told_its_address_and_led_to(looking: Looking, namespace: str) -> None:
    kube = looking.kube
    node = f"n-{uuid.uuid4().hex[:6]}"
    status = {
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}],
        "addresses": [{"type": "InternalIP", "address": "198.18.0.10"}],
    }
    kube.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
    kube.patch(kube.resource("nodes"), node, None, {"status": status}, subresource="status")
    kube.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": namespace},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
    )

    def ingress() -> Any:
        return looking.get("services", "web", namespace)["status"]["loadBalancer"].get("ingress")

    eventually(ingress)
    ((address, ways),) = looking.routes.items()
    assert ingress() == [{"ip": address, "ipMode": "VIP"}]
    assert ways == ("198.18.0.10",)

    kube.delete(kube.resource("services"), "web", namespace)
    eventually(lambda: not looking.routes)
    kube.delete(kube.resource("nodes"), node)


def test_a_service_that_wants_what_is_not_to_be_had_has_an_event(looking: Looking, namespace: str) -> None:
    kube = looking.kube
    spec = {"type": "LoadBalancer", "loadBalancerIP": "10.0.0.1", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    kube.create(
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other", "namespace": namespace}, "spec": spec}
    )

    def told() -> list[str]:
        return [each["message"] for each in kube.list(kube.resource("events"), namespace=namespace)]

    eventually(told)
    assert told() == ["the loadBalancerIP 10.0.0.1 is not of 198.19.128.0/17, where addresses of Services are from"]
    kube.delete(kube.resource("services"), "other", namespace)
