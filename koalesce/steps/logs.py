"""The step `logs`: what containers and nodes' components have written, and what not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr, model_validator

from koalesce.cluster import Cluster
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.log_match import LogMatchers
from koalesce.steps.inside.log_sources import ContainerLog, Log, NodeLog
from koalesce.steps.inside.moments import ALL, Since
from koalesce.steps.inside.places import container_names, default_container, fixtures_of, nodes_of, pod_name, unmet
from koalesce.steps.objects.reading import shortened
from koalesce.steps.vantage import Machines, PodSelection, taken
from koalesce.steps.workloads.pods_of import Object, pods_of

_AT_ONCE = 8
Read = Log | Failed | Errored
Sources = list[ContainerLog | NodeLog] | Failed | Errored


class Logs(Machines, LogMatchers, Assertion, key="logs"):
    """Say what is in the logs of pods, of a node's kubelet, containerd and so on, or of what runs on a fixture: texts, lines, how many, and what isn't there.

    All logs that are meant must be so, unless `any`. A pod that isn't there (unless `mayNotExist`), or a container that hasn't started, fails: of
    them nothing is known to be absent. With `consistently` or `never`, what is written meanwhile counts as well. What is there and mustn't be fails
    at once where it can't go from the log again: on nodes and fixtures, and of pods without a controller with `since: test` or `step`, or that are never restarted.
    """

    polls = True

    containers: Literal["all"] | Annotated[list[StrictStr], Field(min_length=1)] | None = None
    """Several of the pods' containers by name, or `all` that they have; `container` is for one."""

    component: StrictStr | None = None
    """Of nodes and fixtures: whose log, such as `kubelet`, `containerd` or `kube-proxy`; which there are, the cluster's provider decides. Fixtures
    have those of a member of etcd (`etcd`), and of what makes a router one (`gobgpd`, or `bgpd` and `zebra`)."""

    since: Since = ALL
    """From when on: `all` (of the container's present run), `test`, `step` (what wasn't there at the step's first look), or a duration such as
    `30s`. The test began when its namespace was made, by the API server's clock, to the second."""

    previous: StrictBool = False
    """The log of the containers' run before this one; there must have been one."""

    any_: StrictBool = Field(default=False, alias="any")
    """One log is enough; default: all of them."""

    @model_validator(mode="after")
    def _fits_together(self) -> Logs:
        of_machines = self.pod is None and self.pods is None
        if of_machines != (self.component is not None):
            raise ValueError(
                "component says whose log it is on a machine: it goes with node, nodes, fixture or fixtures, and they need it"
            )
        if of_machines and (self.previous or self.containers):
            raise ValueError("previous and containers belong to pods")
        if self.container and self.containers:
            raise ValueError("say one of container and containers")
        if self.previous and self.since.word == "step":
            raise ValueError("a run that is over writes nothing any more, so since: step says nothing of it")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands on nodes, where it's about nodes."""
        return taken(written)

    def title(self) -> str:
        """Whose logs."""
        return f"logs of {f'{self.component} on ' if self.component else ''}{self.place()}"

    def attempt(self, context: StepContext) -> Outcome:
        """Read all of them, at the same time."""
        if self.since.word == "step" and not self.demands and not context.lasts:
            said = "since: step, and nothing that must be there: no time has passed in which it could have been written"
            return Errored(f"{said}; say for how long, with consistently: 5s", final=True)
        sources = self._sources(context)
        if not isinstance(sources, list):
            context.memory["looked"] = True  # what comes later has all been written since the step began
            if isinstance(sources, Failed) and context.may_not_exist and not self.demands:
                return Passed("there are no such pods, as it may be")
            return unmet(sources, context)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(sources))) as pool:
            found: list[Read] = list(pool.map(lambda source: source.read(self.since, context), sources))
        context.memory["looked"] = True
        problems = [
            (each, self._problem(each, context, only_grows=source.only_grows(self.since)))
            for source, each in zip(sources, found, strict=True)
        ]
        bad = [problem for _, problem in problems if problem is not None]
        if not bad or (self.any_ and len(bad) < len(found)):
            return self._passed([each for each, problem in problems if problem is None])
        nothing = [each for each in found if not isinstance(each, Log)]
        return unmet(nothing[0], context) if nothing and nothing[0] is bad[0] else _worst(bad, len(found), self.any_)

    def _problem(self, read: Read, context: StepContext, *, only_grows: bool) -> Failed | Errored | None:
        if not isinstance(read, Log):
            return read
        return self.problem(
            read.name, read.text, is_whole=read.is_whole, may_not_exist=context.may_not_exist, only_grows=only_grows
        )

    def _passed(self, good: Sequence[Read]) -> Passed:
        logs = [each for each in good if isinstance(each, Log)]
        values = [log.to_value(self.matched(log.text)) for log in logs]
        where = logs[0].name if len(logs) == 1 else f"{len(logs)} logs"
        is_single = len(values) == 1 and self.is_single and not self.containers
        return Passed(f"{where}: {shortened(self.holds())}", values[0] if is_single else values)

    def _sources(self, context: StepContext) -> Sources:
        if self.component is not None:
            return self._of_machines(self.component, context.cluster)
        pods = self._pods(context)
        if isinstance(pods, Failed):
            return pods
        found: list[ContainerLog | NodeLog] = []
        for pod in pods:
            for container in self._containers(pod):
                if container not in container_names(pod):
                    return Errored(f"pod {pod_name(pod, context)} has no container {container}", final=True)
                name = pod_name(pod, context)
                several = len(container_names(pod)) > 1
                found.append(ContainerLog(pod, container, f"{name} ({container})" if several else name, self.previous))
        return found

    def _of_machines(self, component: str, cluster: Cluster) -> Sources:
        if self.fixture is not None or self.fixtures is not None:
            fixtures = fixtures_of([self.fixture] if self.fixture is not None else self.fixtures or [], cluster)
            return (
                fixtures
                if isinstance(fixtures, Errored)
                else [NodeLog(each, component, "fixture") for each in fixtures]
            )
        nodes = nodes_of([self.node] if self.node is not None else self.nodes or [], cluster)
        return nodes if isinstance(nodes, Errored) else [NodeLog(node, component) for node in nodes]

    def _pods(self, context: StepContext) -> list[Object] | Failed:
        """The pods that are meant; those that have ended have logs, too."""
        if self.pod is None:
            found = pods_of(self.pods or PodSelection(), self.namespace, context)
            return found if isinstance(found, Failed) else _staying(found)
        where = self.namespace or context.namespace
        kind = context.cluster.kube.resource("pods")
        pod: Any = context.view.get(kind, self.pod, where, cancel=context.scope.cancel)
        return [pod] if pod is not None else Failed(f"pod {where}/{self.pod} does not exist", actual="missing")

    def _containers(self, pod: Object) -> list[str]:
        if self.containers == "all":
            return container_names(pod)
        return list(self.containers or [self.container or default_container(pod)])


def _staying(pods: list[Object]) -> list[Object] | Failed:
    found = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return found or Failed("all of the pods are being deleted", expected="at least one pod", actual="none")


def _worst(bad: Sequence[Failed | Errored], total: int, is_any: bool) -> Failed | Errored:
    """One verdict: what keeps us from knowing first, then the first failure, with the others below it."""
    kept = sorted(bad, key=lambda each: not each.final)  # one that can't hold any more is enough
    first = next((each for each in bad if isinstance(each, Errored)), bad[0] if is_any else kept[0])
    if isinstance(first, Errored) or total == 1:
        return first
    is_final = all(each.final for each in bad) if is_any else first.final
    count = f"none of {total} logs is as expected" if is_any else f"{len(bad)} of {total} logs"
    others = "\n".join(["also:", *(each.message for each in bad if each is not first)]) if len(bad) > 1 else ""
    detail = "\n".join(part for part in (first.detail, others) if part)
    blind = len(bad) == total and all(isinstance(each, Failed) and each.saw_nothing for each in bad)
    said = f"{first.message} ({count})"
    return Failed(said, first.expected, first.actual, detail, final=is_final, saw_nothing=blind)
