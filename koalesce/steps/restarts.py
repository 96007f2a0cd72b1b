"""The step `restarts`: how often containers have started anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, StrictInt, StrictStr, model_validator

from koalesce.kube import ApiError
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.moments import ALL, Since, moment, parse_time
from koalesce.steps.inside.places import pod_name, seconds_left, unmet
from koalesce.steps.objects.reading import explained
from koalesce.steps.vantage import Pods, PodSelection
from koalesce.steps.workloads.pods import why_not_ready
from koalesce.steps.workloads.pods_of import Object, pods_of

_LAST_LINES = 5
_KINDS = ("initContainerStatuses", "containerStatuses")


class _PodPlace(Model):
    pod: StrictStr | None = None
    """A pod by its name."""

    pods: Pods | None = None
    """Pods by a label selector, or by `{owner: deployment/web}` or `{component: NAME}`; those that are being deleted don't count."""

    namespace: StrictStr | None = None
    """The pods' namespace; default: the test's own."""

    @model_validator(mode="after")
    def _exactly_one_place(self) -> _PodPlace:
        if (self.pod is None) == (self.pods is None):
            raise ValueError("say exactly one of pod and pods")
        return self


class Restarts(_PodPlace, Assertion, key="restarts"):
    """Say how often the containers of pods may have been restarted: never, if nothing else is said.

    What has been restarted too often fails at once, with how the container ended and its last lines. Pods that aren't there (unless
    `mayNotExist`) and a container that hasn't started yet fail, too: of them nothing is known.
    """

    container: StrictStr | None = None
    """Only this container; default: all, init containers included."""

    max: StrictInt = Field(default=0, ge=0)
    """The most restarts that each container may have."""

    since: Since = ALL
    """From when on: `all` (of the pod's life), `test`, `step` (its first look), or a duration such as `10m`. Kubernetes keeps one number for
    the pod's whole life: where it can't be told how many restarts came since, that is an error."""

    def title(self) -> str:
        """Whose restarts."""
        return f"restarts of {f'pod {self.pod}' if self.pod else f'pods {self.pods}'}"

    def attempt(self, context: StepContext) -> Outcome:
        """Count once."""
        pods = self._pods(context)
        if isinstance(pods, Failed):
            return Passed("there are no such pods, as it may be") if context.may_not_exist else unmet(pods, context)
        found = [each for pod in pods for each in self._containers(pod, context)]
        if not found:
            return Errored(f"there is no container {self.container} in {self.title().partition(' of ')[2]}", final=True)
        unstarted = [each for each in found if not each.has_started]
        counted = [(each, self._count(each, context)) for each in found if each.has_started]
        context.memory["looked"] = True
        if unclear := [number for _, number in counted if isinstance(number, Errored)]:
            return unclear[0]
        numbers = [(each, number) for each, number in counted if isinstance(number, int)]
        if bad := [(each, number) for each, number in numbers if number > self.max]:
            return self._failed(bad, context)
        if unstarted:
            return unmet(_not_started(unstarted[0]), context)
        total = sum(number for _, number in numbers)
        items = [{"pod": each.pod_name, "container": each.container, "restarts": number} for each, number in numbers]
        return Passed(
            f"{_counted(total, 'restart')} of {_counted(len(numbers), 'container')}",
            {"restarts": total, "items": items},
        )

    def _pods(self, context: StepContext) -> list[Object] | Failed:
        if self.pod is not None:
            where = self.namespace or context.namespace
            kind = context.cluster.kube.resource("pods")
            pod: Any = context.view.get(kind, self.pod, where, cancel=context.scope.cancel)
            return [pod] if pod is not None else Failed(f"pod {where}/{self.pod} does not exist", actual="missing")
        found = pods_of(self.pods or PodSelection(), self.namespace, context)
        if isinstance(found, Failed):
            return found
        staying = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return staying or Failed("all of the pods are being deleted", expected="at least one pod", actual="none")

    def _containers(self, pod: Object, context: StepContext) -> Iterator[_Container]:
        status = pod.get("status") or {}
        known = {each["name"]: each for kind in _KINDS for each in status.get(kind) or ()}
        for kind in ("initContainers", "containers"):
            for container in (pod.get("spec") or {}).get(kind) or ():
                name = container["name"]
                if self.container in (None, name):
                    yield _Container(pod, pod_name(pod, context), name, known.get(name) or {})

    def _count(self, one: _Container, context: StepContext) -> int | Errored:
        """The restarts of a container since the moment that counts."""
        if self.since.word == "step":
            marks: dict[str, int] = context.memory.setdefault("restarts", {})
            if one.identity not in marks:
                marks[one.identity] = 0 if "looked" in context.memory else one.restarts
            return one.restarts - marks[one.identity]
        start = moment(self.since, context)
        created = parse_time(str(one.pod["metadata"].get("creationTimestamp") or ""))
        if start is None or one.restarts == 0 or (created is not None and created >= start):
            return one.restarts
        ended = parse_time(str((one.last or {}).get("finishedAt") or ""))
        if ended is not None and ended < start:
            return 0
        if self.max == 0 or one.restarts == 1:
            return 1  # at least
        if one.restarts <= self.max:
            return one.restarts
        said = f"{one}: {one.restarts} restarts in all, at least one since then, and nothing tells how many"
        return Errored(f"{said}; say max: 0, or since: step", final=True)

    def _failed(self, bad: list[tuple[_Container, int]], context: StepContext) -> Failed:
        one, number = bad[0]
        more = f" (and {len(bad) - 1} more containers)" if len(bad) > 1 else ""
        times = _counted(number, "restart")
        if number < one.restarts:
            times += f" since the {self.since.word} began" if self.since.word else f" in the last {self.since}"
            times = f"{times if self.since.word == 'step' else f'at least {times}'} ({one.restarts} in all)"
        why = f"; before, it {_ending(one.last)}" if one.last else ""
        lines = _last_lines(one, context)
        detail = [*(f"{each}: {count} restarts" for each, count in bad[1:])]
        detail += ["its last lines:", *(f"  | {line}" for line in lines)] if lines else []
        said = f"{one}: {times}{why}{more}"
        return Failed(said, f"at most {self.max}", str(number), "\n".join(detail), final=not context.patient)


@dataclass(frozen=True, slots=True)
class _Container:
    """One container of a pod, with its status."""

    pod: Object
    pod_name: str
    container: str
    status: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.pod_name}, container {self.container}"

    @property
    def restarts(self) -> int:
        return int(self.status.get("restartCount") or 0)

    @property
    def last(self) -> Object | None:
        """How it ended before."""
        found: Object | None = (self.status.get("lastState") or {}).get("terminated")
        return found

    @property
    def has_started(self) -> bool:
        """Whether it runs or has run."""
        state = self.status.get("state") or {}
        return "running" in state or "terminated" in state or self.last is not None or self.restarts > 0

    @property
    def identity(self) -> str:
        return f"{self.pod['metadata'].get('uid')}/{self.container}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _not_started(one: _Container) -> Failed:
    why = why_not_ready(one.pod)
    said = f" (its pod: {why})" if why else ""
    return Failed(f"{one} hasn't started, so nothing is known of it{said}", "started", "not started")


def _ending(last: Object | None) -> str:
    if not last:
        return "ended"
    how = f"signal {last['signal']}" if last.get("signal") else f"code {last.get('exitCode')}"
    text = explained(last)
    return f"ended with {how}" + (f" ({text})" if text else "")


def _last_lines(one: _Container, context: StepContext) -> list[str]:
    """The last lines of the run before this one; none if they can't be had."""
    metadata = one.pod["metadata"]
    try:
        text = context.cluster.kube.logs(
            metadata["name"], namespace=metadata["namespace"], container=one.container, previous=True,
            tail_lines=_LAST_LINES, timeout=min(5.0, seconds_left(context.scope)), cancel=context.scope.cancel,
        )  # fmt: skip
    except ApiError:
        return []
    return text.splitlines()
