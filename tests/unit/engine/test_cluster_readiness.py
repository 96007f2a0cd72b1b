"""Waiting for a cluster's DNS: a pod that a network in the making has refused is made anew, and no other."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from koalesce.cluster import Cluster
from koalesce.engine.readiness import await_dns
from koalesce.engine.waiting import Waiter
from koalesce.errors import ProvisionError
from koalesce.steps.base import Outcome, Passed
from tests.fakes import FakeKube, FakeView, made

LOOKS = 20
READY = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}


class World(FakeKube):
    """A cluster whose ReplicaSet of CoreDNS makes a pod for each that goes; the network takes only the pod of this number."""

    def __init__(self, *, taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.count = 0
        self.add(made("Deployment", "coredns", api="apps/v1", namespace="kube-system", spec={"replicas": 1}))

    def pod(self, *, refused: bool = True, age: int = 10, address: str = "", app: str = "kube-dns") -> None:
        self.count += 1
        name = f"pod-{self.count}"
        pod = made("Pod", name, namespace="kube-system", labels={"k8s-app": app}, status={"podIP": address})
        pod["metadata"] |= {"uid": name, "creationTimestamp": (self.time - timedelta(seconds=age)).isoformat()}
        self.add(pod)
        if self.count == self.taken:
            found = self.objects[self._key(self.resource("deployments"), "coredns", "kube-system")]
            self.add({**found, "status": READY})
        elif refused:
            event = made("Event", name, namespace="kube-system", reason="FailedCreatePodSandBox")
            self.add({**event, "involvedObject": {"kind": "Pod", "uid": name}})

    def delete(self, *words: Any, **options: Any) -> bool:
        done = super().delete(*words, **options)
        self.pod()
        return done

    def await_dns(self) -> list[str]:
        """Wait for it through some looks, and return the pods that were deleted meanwhile."""
        await_dns(cast("Waiter", self), cast("Cluster", SimpleNamespace(kube=self)))
        return self.deleted

    def until(self, kube: Any, look: Any, **_options: Any) -> Any:
        outcome: Outcome | None = None
        for _ in range(LOOKS):
            if isinstance(outcome := look(FakeView(kube)), Passed):
                break
        return SimpleNamespace(outcome=outcome)

    @property
    def deleted(self) -> list[str]:
        return [what["name"] for verb, what in self.requests if verb == "delete"]


def test_a_pod_that_got_no_network_is_made_anew_until_one_gets_it() -> None:
    world = World(taken=3)
    world.pod()

    assert world.await_dns() == ["pod-1", "pod-2"]


@pytest.mark.parametrize(
    "pod",
    [{"refused": False}, {"age": 0}, {"address": "10.244.0.3"}, {"app": "another"}],
    ids=["it was not refused", "it was just made", "it got an address since", "it is somebody else's"],
)
def test_other_pods_stay(pod: dict[str, Any]) -> None:
    world = World(taken=0)
    world.pod(**pod)

    with pytest.raises(ProvisionError, match=r"^cluster DNS did not come up within 120s: "):
        world.await_dns()

    assert world.deleted == []


def test_where_no_pod_ever_gets_a_network_one_stays_for_people_to_look_at() -> None:
    world = World(taken=0)
    world.pod()

    with pytest.raises(ProvisionError, match="cluster DNS did not come up"):
        world.await_dns()

    assert world.deleted == [f"pod-{number}" for number in range(1, 9)]
