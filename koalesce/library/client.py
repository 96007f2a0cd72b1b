"""A cluster that is up, for a Python test: objects, commands in pods, and steps as specs have them."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from koalesce.clock import SystemClock
from koalesce.cluster import Cluster, Node
from koalesce.engine.attempts import Interrupt
from koalesce.engine.namespaces import Wanted, make_namespace, namespace_name, remove_namespace
from koalesce.engine.waiting import Waiter
from koalesce.errors import ClusterError
from koalesce.kube import Kube
from koalesce.kube.exec_result import ExecResult
from koalesce.kube.marks import RUN_LABEL, run_label
from koalesce.library.results import StepResult
from koalesce.library.stepping import run_step
from koalesce.steps.objects.reference import ResourceRef
from koalesce.yaml import load_manifests, parse_manifests

Object = dict[str, Any]


class StepFailed(AssertionError):
    """A step of a Python test's failed: the software doesn't do what it says. `result` is all that is known of it."""

    def __init__(self, result: StepResult, explanation: str) -> None:
        super().__init__(explanation)
        self.result = result


class ClusterClient:
    """A cluster, seen from a namespace of it; safe for several threads.

    What isn't here is in `kube` (the whole API as plain dicts), or done by any program that is given `env`.
    """

    def __init__(self, cluster: Cluster, namespace: str = "default") -> None:
        self._cluster = cluster
        self.namespace = namespace

    def __repr__(self) -> str:
        return f"<cluster {self.name}, namespace {self.namespace}>"

    @property
    def name(self) -> str:
        """The cluster's name, as `koalesce clusters` shows it."""
        return self._cluster.name

    @property
    def kubernetes(self) -> str:
        """Its version of Kubernetes."""
        return self._cluster.kubernetes

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Its nodes; `run` of one runs a command on it as root."""
        return self._cluster.nodes

    @property
    def kube(self) -> Kube:
        """Its API: raw dicts in and out."""
        return self._cluster.kube

    @property
    def kubeconfig(self) -> Path:
        """The file that kubectl and others find it by."""
        return self._cluster.kubeconfig

    @property
    def env(self) -> dict[str, str]:
        """The environment of this process with KUBECONFIG, for programs that are started."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def apply(self, *what: str | Path | Mapping[str, Any]) -> list[Object]:
        """Apply objects (server-side), and return them as the server has them then.

        A `Path` is a manifest's file, a text is YAML, a mapping one object. Those without a namespace go to the client's. InvalidDocument for what
        is no manifest, ApiError as the server answers.
        """
        objects = [each for one in what for each in _objects(one)]
        return [self.kube.apply(each, namespace=self.namespace) for each in objects]

    def get(self, resource: str) -> Object | None:
        """The object `KIND/NAME`, or None if there is none; ApiError as the server answers (UnknownKind)."""
        kind, name = _named(resource)
        return self.kube.get(self.kube.resource(kind), name, self.namespace)

    def delete(self, resource: str) -> bool:
        """Ask for the deletion of `KIND/NAME`; False if there was none. It may take its time: `wait_for(…, deleted=True)` waits."""
        kind, name = _named(resource)
        return self.kube.delete(self.kube.resource(kind), name, self.namespace)

    def exec(
        self,
        pod: str,
        command: Sequence[str],
        *,
        container: str | None = None,
        stdin: bytes | None = None,
        timeout: float = 30.0,
    ) -> ExecResult:
        """Run a command in a pod (`web-0`, `pod/web-0`) to its end, within `timeout` seconds: `code`, `out`, `err`. Any code is a result."""
        name = _pod(pod)
        return self.kube.exec(
            name, command, namespace=self.namespace, container=container, stdin=stdin, timeout=timeout
        )

    def logs(self, pod: str, *, container: str | None = None) -> str:
        """What a container of a pod (`web-0`, `pod/web-0`) has written."""
        return self.kube.logs(_pod(pod), namespace=self.namespace, container=container)

    def wait_for(self, resource: str, *, timeout: str = "30s", **fields: Any) -> StepResult:
        """Wait as the step `wait-for` does, by its fields: `wait_for("deployment/web", rollout=True, timeout="60s")`. Raises as `step`."""
        return self.step({"wait-for": {"resource": resource, **fields}, "timeout": timeout})

    def step(self, step: str | Mapping[str, Any], *, disruptive: bool = False) -> StepResult:
        """Run one step as a spec has it, in the client's namespace: YAML, or the same as a mapping.

        Paths in it are relative to the working folder. What it makes is removed again, as at the end of any test.
        StepFailed where it fails, ClusterError where it can't be found out, UsageError where it isn't valid.
        """
        result, status, explanation = run_step(step, self.name, self.namespace, disruptive=disruptive)
        if result is not None and status == "failed":
            raise StepFailed(result, explanation)
        if result is None or status != "passed":
            raise ClusterError(explanation)
        return result

    @contextlib.contextmanager
    def temporary_namespace(self, name: str = "test") -> Iterator[ClusterClient]:
        """A fresh namespace whose name begins with this one, which pods can run in at once; the client of it. It's removed without waiting for it."""
        interrupt = Interrupt(threading.Event())
        waiter = Waiter(clock=SystemClock(), interrupt=interrupt)
        wanted = Wanted(name=namespace_name(name), labels={RUN_LABEL: run_label("python")})
        try:
            make_namespace(self._cluster, wanted, waiter)
            yield ClusterClient(self._cluster, wanted.name)
        finally:
            interrupt.event.set()
            remove_namespace(self._cluster, wanted.name)


def _objects(what: str | Path | Mapping[str, Any]) -> list[Object]:
    match what:
        case Path():
            return [each.object for each in load_manifests([what])]
        case str():
            return [each.object for each in parse_manifests(what, "the manifest")]
        case _:
            return [dict(what)]


def _pod(text: str) -> str:
    """The name of a pod, however it's written."""
    kind, slash, name = text.partition("/")
    if slash and kind not in ("pod", "pods", "po"):
        raise ValueError(f"{text!r} names no pod; write its name, or pod/NAME")
    return name or kind


def _named(resource: str) -> tuple[str, str]:
    reference = ResourceRef.parse(resource)
    if not reference.name:
        raise ValueError(f"{resource!r} names no object; write KIND/NAME, such as pod/web-0")
    return reference.kind, reference.name
