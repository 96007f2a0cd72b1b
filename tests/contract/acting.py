"""Runs steps as the engine does, against a real API server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from koalesce.clock import SystemClock
from koalesce.cluster import Cluster
from koalesce.engine.attempts import Interrupt
from koalesce.engine.scopes import TestScope
from koalesce.engine.stepping import Section, StepRunner
from koalesce.events import StepFinished
from koalesce.spec import load
from koalesce.steps.sightings import Sightings
from tests.contract.api_server import ApiServer

LABELS = {"koalesce.dev/run": "r1", "koalesce.dev/test": "t1"}
HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\ntests:\n  - name: t\n    steps:\n"


class Acting:
    """A test of the real server whose steps the engine runs; `end` is the test's end."""

    def __init__(self, server: ApiServer, namespace: str, root: Path) -> None:
        self.kube = server.kube
        self.namespace = namespace
        self.root = root
        self.values: dict[str, Any] = {"outputs": {}, "namespace": namespace}
        self._scope = TestScope(cancel=threading.Event())
        self._sightings = Sightings()
        self._interrupt = Interrupt(threading.Event())
        self.cluster = Cluster(
            name="c", provider="kubeconfig", kubernetes="1.37.2", nodes=(), kubeconfig=server.kubeconfig, kube=self.kube,
            dns_ip="", capabilities=frozenset(), pod_cidr="", service_cidr="",
        )  # fmt: skip
        (root / ".git").mkdir(exist_ok=True)

    def run(self, step: str, *, disruptive: bool = False, timeout: float = 5.0) -> StepFinished:
        """One step, written as it stands in a spec, to its end."""
        spec = self.root / "_spec.yaml"
        lines = step.strip().splitlines()
        head = HEAD.replace("    steps:", "    disruptive: true\n    steps:") if disruptive else HEAD
        spec.write_text(head + "\n".join([f"      - {lines[0]}", *(f"        {line}" for line in lines[1:])]) + "\n")
        loaded = load(spec, env={})
        runner = StepRunner(
            cluster=self.cluster, namespace=self.namespace, scope=self._scope, clock=SystemClock(),
            interrupt=self._interrupt, files=loaded.files, emit=lambda _event: None, labels=LABELS,
            values=self.values, sightings=self._sightings, disruptive=disruptive,
        )  # fmt: skip
        section = Section(spec="s", test="t", name="steps", timeout=timeout)
        return runner.run(section, 0, loaded.spec.tests[0].steps[0])

    def end(self) -> list[str]:
        """Undo what is to be undone; what went wrong."""
        return self._scope.unwind()

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """An object of the test's namespace, or of the cluster."""
        return self.kube.get(self.kube.resource(kind), name, self.namespace)
