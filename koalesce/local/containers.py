"""Containers of a node's pods: ended, held, and seen to be begun anew by the kubelet."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from koalesce.errors import ClusterError
from koalesce.records import dataclass

_CTR = ("ctr", "--namespace", "k8s.io")
_POD = 'labels."io.kubernetes.pod.{}"=={}'
_NAME = "io.kubernetes.container.name"
_UID = "io.kubernetes.pod.uid"
_KIND = "io.cri-containerd.kind"
_PATIENCE = 5.0
_ASKED = 5.0  # seconds that a container has to end by itself
_STARTED = 90.0  # kubelets wait before they start again what has ended often
_LOOK = 0.05
Run = Callable[[Sequence[str], str], str]


@dataclass(frozen=True, slots=True)
class Containers:
    """Those of one node; `run` runs a command on it."""

    node: str
    run: Run

    def kill(self, ids: Sequence[str]) -> None:
        """End all processes of containers at once, and see that they have ended."""
        for container in ids:
            self._check(container)
            self._signal(container, "SIGKILL", "--all")
        for container in ids:
            self._await(container, ("", "STOPPED"))

    def end(self, ids: Sequence[str]) -> None:
        """Ask containers to end, and end those that don't."""
        for container in ids:
            self._check(container)
            self._signal(container, "SIGTERM")
        deadline = time.monotonic() + _ASKED
        while (left := [one for one in ids if self._state(one) not in ("", "STOPPED")]) and time.monotonic() < deadline:
            time.sleep(_LOOK)
        for container in left:
            self._signal(container, "SIGKILL", "--all")
        for container in left:
            self._await(container, ("", "STOPPED"))

    def pause(self, container: str) -> None:
        """Have a container stand still."""
        self.run((*_CTR, "tasks", "pause", container), "")
        self._await(container, ("PAUSED",))

    def resume(self, container: str) -> None:
        """Have it go on, if it stands still."""
        if self._state(container) == "PAUSED":
            self.run((*_CTR, "tasks", "resume", container), "")

    def check(self, container: str) -> None:
        """Raise ClusterError for a container that doesn't run."""
        self._check(container)

    def of_pod(self, namespace: str, name: str, *, with_sandbox: bool) -> list[str]:
        """The containers of a pod that run, by their ids; with what holds its network, that comes last. ClusterError if none does."""
        wanted = ",".join((_POD.format("namespace", namespace), _POD.format("name", name)))
        states = self._states()
        running = [one for one in self._listed(wanted) if states.get(one) == "RUNNING"]
        kinds = {one: self._labels(one).get(_KIND, "") for one in running}
        found = [one for one in running if kinds[one] != "sandbox"]
        if not found:
            raise ClusterError(f"no container of pod {namespace}/{name} runs on {self.node}")
        return [*found, *(one for one in running if with_sandbox and kinds[one] == "sandbox")]

    def successors(self, ids: Sequence[str]) -> list[Successor]:
        """What is to come after containers that run, to be asked for before they end; sandboxes come with the others."""
        found = []
        for one in ids:
            labels = self._labels(one)
            if labels.get(_KIND) != "sandbox":
                found.append(Successor(self, one, labels.get(_NAME, ""), labels.get(_UID, "")))
        return found

    def next_of(self, before: str, name: str, uid: str) -> str:
        """Another container than before, of the same name in the same pod, that runs; empty if there is none."""
        states = self._states()
        listed = self._listed(f'labels."{_UID}"=={uid},labels."{_NAME}"=={name}')
        return next((one for one in listed if one != before and states.get(one) == "RUNNING"), "")

    def _listed(self, wanted: str) -> list[str]:
        return self.run((*_CTR, "containers", "list", "--quiet", wanted), "").split()

    def _labels(self, container: str) -> dict[str, str]:
        labels: dict[str, str] = json.loads(self.run((*_CTR, "containers", "info", container), "")).get("Labels") or {}
        return labels

    def _signal(self, container: str, name: str, *options: str) -> None:
        try:
            self.run((*_CTR, "tasks", "kill", *options, "--signal", name, container), "")
        except ClusterError:
            if self._state(container) not in ("", "STOPPED"):  # who has ended meanwhile needs no signal
                raise

    def _check(self, container: str) -> None:
        if (state := self._state(container)) != "RUNNING":
            raise ClusterError(f"the container {container} on {self.node} doesn't run: {state or 'it is gone'}")

    def _await(self, container: str, states: Sequence[str]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (state := self._state(container)) not in states:
            if time.monotonic() > deadline:
                raise ClusterError(f"the container {container} on {self.node} is still {state}")
            time.sleep(_LOOK)

    def _state(self, container: str) -> str:
        """The state of a container, as its runtime calls it; empty if it is gone."""
        return self._states().get(container, "")

    def _states(self) -> dict[str, str]:
        lines = (line.split() for line in self.run((*_CTR, "tasks", "list"), "").splitlines())
        return {words[0]: words[2] for words in lines if len(words) > 2}


@dataclass(frozen=True, slots=True)
class Successor:
    """A container that the kubelet is to start in the place of one that was ended."""

    containers: Containers
    before: str
    name: str
    uid: str


def await_all(successors: Sequence[Successor]) -> None:
    """Wait until each of them runs; ClusterError for one that doesn't."""
    deadline = time.monotonic() + _STARTED
    left = list(successors)
    while left := [one for one in left if not one.containers.next_of(one.before, one.name, one.uid)]:
        if time.monotonic() > deadline:
            raise ClusterError(
                f"the container {left[0].name} on {left[0].containers.node} has ended, and isn't started again",
                hint="its pod may say so (restartPolicy), or be gone; what has ended often its kubelet holds back",
            )
        time.sleep(_LOOK)
