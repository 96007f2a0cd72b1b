"""The engine's waiting, and its manifests, against a real API server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.clock import SystemClock
from koalesce.engine.attempts import Interrupt
from koalesce.engine.waiting import Waiter
from koalesce.kube import Kube, View
from koalesce.kube.limits import Limits
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.yaml import load_manifests
from tests.contract.api_server import ApiServer

QUICK = Limits(silence=1.0, trust=0.4, catch_up=0.5, least=0.5)  # a hundred seconds in two


@pytest.fixture
def kube(api_server: ApiServer) -> Iterator[Kube]:
    kube = Kube(api_server.kubeconfig, limits=QUICK)
    yield kube
    kube.close()


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


class Wait:
    """A wait for a value of a config map, in a thread of its own: `seen` are its outcomes, `told` counts the changes told."""

    def __init__(self, kube: Kube, namespace: str, wanted: str) -> None:
        self.kube, self.namespace, self.wanted = kube, namespace, wanted
        self.seen: list[Outcome] = []
        self.saw = threading.Condition()
        self.result: Any = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        waiter = Waiter(clock=SystemClock(), interrupt=Interrupt(threading.Event()))
        self.result = waiter.until(self.kube, self._look, timeout=60, seen=self._see)

    def _look(self, view: View) -> Outcome:
        found = view.get(self.kube.resource("configmaps"), "c", self.namespace, timeout=1.0)
        value = found["data"]["value"] if found else "missing"
        return Passed("there", view.history()) if value == self.wanted else Failed(f"it is {value}")

    def _see(self, _attempt: int, outcome: Outcome) -> None:
        with self.saw:
            self.seen.append(outcome)
            self.saw.notify_all()

    def until(self, kind: type[Outcome]) -> bool:
        """Whether a look had such an outcome within half a minute."""
        with self.saw:
            return self.saw.wait_for(lambda: any(isinstance(outcome, kind) for outcome in self.seen), 30)


def test_an_api_server_that_stands_still_is_noticed_reported_and_survived(
    api_server: ApiServer, kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koalesce.engine.attempts.SAFETY_LOOK", 0.6)
    api_server.kube.create(config_map("c", namespace, value="1"))
    wait = Wait(kube, namespace, "3")
    assert wait.until(Failed)

    with api_server.frozen():
        is_noticed = wait.until(Errored)
    api_server.kube.apply(config_map("c", namespace, value="2"))
    api_server.kube.apply(config_map("c", namespace, value="3"))
    wait.thread.join(30)

    assert is_noticed, wait.seen
    messages = [outcome.message for outcome in wait.seen if isinstance(outcome, Errored)]
    assert all("configmaps" in message for message in messages), messages
    assert isinstance(wait.result.outcome, Passed)
    values = [outcome.message for outcome in wait.seen if isinstance(outcome, Failed)]
    assert set(values) <= {"it is 1", "it is 2"}
    assert not [line for line in wait.result.outcome.value if "created" in line or "deleted" in line]


MANIFEST = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: texts
  annotations: {when: "2026-01-01", plain: 2026-01-01T00:00:00Z}
data:
  time: 12:30
  date: 2026-01-01
  quoted: "on"
  version: 1.10.0
  multi: |
    a: 0644
immutable: on
---
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {tier: a-1}}
spec:
  automountServiceAccountToken: off
  hostNetwork: no
  terminationGracePeriodSeconds: 0x10
  containers:
  - {name: c, image: c, command: [sh, -c, 'echo "$(date)"'], ports: [{containerPort: 8_080}]}
  volumes:
  - {name: config, configMap: {name: texts, defaultMode: 0644, items: [{key: time, path: time, mode: 0o400}]}}
  - {name: secret, secret: {secretName: s, defaultMode: 256}}
  - {name: space, emptyDir: {sizeLimit: 1Gi}}
---
apiVersion: v1
kind: Service
metadata: {name: service}
spec: {ports: [{name: a, port: 80, targetPort: 0x1F90}, {name: "y", port: 81, targetPort: "y"}], publishNotReadyAddresses: yes}
"""


def test_manifests_reach_the_api_as_kubectl_would_send_them(
    api_server: ApiServer, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST)
    theirs = json.loads(
        api_server.kubectl("apply", "--dry-run=server", "-o", "json", "-n", namespace, "-f", str(file))
    )["items"]

    ours = [kube.apply(manifest.object, namespace=namespace, dry_run=True) for manifest in load_manifests([file])]

    assert [_comparable(obj) for obj in ours] == [_comparable(obj) for obj in theirs]


def _comparable(obj: dict[str, Any]) -> dict[str, Any]:
    """An object without what differs from request to request, and what kubectl notes for itself."""
    metadata = {key: value for key, value in obj["metadata"].items() if key in ("name", "namespace", "labels")}
    notes = obj["metadata"].get("annotations") or {}
    metadata["annotations"] = {key: value for key, value in notes.items() if not key.startswith("kubectl.")}
    spec = {key: value for key, value in obj.get("spec", {}).items() if key not in ("clusterIP", "clusterIPs")}
    return {**obj, "metadata": metadata, "spec": spec}
