"""What a failure shows beside its message: what changed while it was waited for, and why pods aren't ready.

Asked for once, when a step has failed: a handful of reads, each with a short time limit, and nothing that can't be had is an error.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from koalesce.clock import Clock
from koalesce.engine.attempts import Looked
from koalesce.errors import KoalesceError
from koalesce.kube import ApiError, Kube, View
from koalesce.kube.errors import LOGS_REMOVED
from koalesce.kube.history import Move, chains
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.objects.reading import is_true, kind_and_name, shortened
from koalesce.steps.workloads.pods import has_ended, is_ready, why_not_ready
from koalesce.steps.workloads.readiness import selector_of

Object = Mapping[str, Any]
_MOST_CHANGES = 10
_MOST_REASONS = 4
_MOST_FOLLOWED = 10  # objects whose pods are asked for
_READ = 2.0  # seconds for one read
_ALL = 4.0  # seconds for all of them
_WORDS = ("True", "False", "Unknown")  # of conditions: the history of their object tells them
# What goes with other conditions of a pod.
_MINOR = (" Initialized: ", " PodReadyToStartContainers: ", " ContainersReady: ", " PodScheduled: ")
_TOLD = (
    ("ImagePull", "ImagePull"),
    ("Back-off restarting", "crashes"),
)  # what a warning says again of a container's state
_SELECTING = ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job", "Service")


@dataclass(slots=True)
class Sights:
    """What the looks of a step saw, with the time from its begin."""

    clock: Clock
    _began: float | None = None
    _last: str | None = None
    _moves: list[tuple[float, str, Move]] = field(default_factory=list)

    def note(self, outcome: Outcome) -> None:
        """One look."""
        now = self.clock.monotonic()
        self._began = now if self._began is None else self._began
        saw = "as expected" if isinstance(outcome, Passed) else getattr(outcome, "actual", None)
        if saw is None:
            return
        if self._last is not None and saw != self._last:
            self._moves.append((now - self._began, "looks", Move("saw", shortened(self._last, 60), shortened(saw, 60))))
        self._last = saw

    def lines(self, history: Sequence[str] = ()) -> list[str]:
        """`looks saw: missing → "1" +0.5s → "2" +3.0s`; nothing while all looks saw the same, or what the history tells as well."""
        states = {state for _, _, move in self._moves for state in (move.was, move.now)}
        last = "→ " + self._moves[-1][2].now.strip('"') + " " if self._moves else ""
        is_known = states <= {*_WORDS, "as expected", "missing"} or any(last in line for line in history)
        return [] if is_known else chains(self._moves)


def explained(looked: Looked, view: View, sights: Sights | None = None) -> Looked:
    """A failure with what changed while it was waited for and, of what it looked at, what isn't ready and why."""
    outcome = looked.outcome
    if not isinstance(outcome, Failed | Errored):
        return looked
    history = _shortlist(view.history())
    changes = _section("what changed meanwhile:", [*(sights.lines(history) if sights else ()), *history])
    why = _section("why:", _new(_reasons(view), outcome)) if isinstance(outcome, Failed) else ()
    detail = "\n".join([*([outcome.detail] if outcome.detail else ()), *changes, *why])
    looked.outcome = replace(outcome, detail=detail)
    return looked


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _shortlist(lines: list[str]) -> list[str]:
    """The lines that say most, in their order."""
    if len(lines) > _MOST_CHANGES:
        lines = [line for line in lines if not any(word in line for word in _MINOR)]
    left_out = len(lines) - _MOST_CHANGES
    return lines if left_out <= 0 else [*lines[:_MOST_CHANGES], f"… and {left_out} more"]


def _new(reasons: Iterable[tuple[str, list[str]]], outcome: Failed) -> list[str]:
    """What the reasons say that the failure doesn't say itself."""
    said = f"{outcome.message}\n{outcome.detail}"
    fresh = []
    for name, clauses in reasons:
        if news := [clause for clause in clauses if clause not in said]:
            fresh.append(f"{name}{' ' if news == clauses else ': '}{'; '.join(news)}")
    more = len(fresh) - _MOST_REASONS
    return fresh if more <= 0 else [*fresh[:_MOST_REASONS], f"… and {more} more"]


def _reasons(view: View) -> Iterator[tuple[str, list[str]]]:
    """What was looked at and isn't ready, and why, in clauses."""
    asked = _Asked(view.kube, time.monotonic() + _ALL)
    objects = [obj for _, obj in view.last_seen()]
    pods = {_uid(obj): obj for obj in objects if obj.get("kind") == "Pod"}
    others = [obj for obj in objects if obj.get("kind") != "Pod" and _is_lacking(obj)]
    for obj in others[:_MOST_FOLLOWED]:
        found = asked.pods_of(obj) if obj.get("kind") in _SELECTING else []
        pods |= {_uid(pod): pod for pod in found}
        if not found and (warning := asked.warning(obj)):
            yield f"{kind_and_name(obj)}:", [warning]
    waiting = [pod for pod in pods.values() if not is_ready(pod) and not _has_succeeded(pod)]
    for number, pod in enumerate(waiting):
        yield kind_and_name(pod), _of_pod(asked, pod) if number < _MOST_REASONS else [why_not_ready(pod)]


def _has_succeeded(pod: Object) -> bool:
    return has_ended(pod) and (pod.get("status") or {}).get("phase") == "Succeeded"


def _of_pod(asked: _Asked, pod: Object) -> list[str]:
    why = why_not_ready(pod)
    warning, words = asked.warning(pod), asked.last_words(pod)
    is_known = warning.partition(": ")[2][:60] in why or any(part in warning and told in why for part, told in _TOLD)
    parts = [why, "" if is_known else warning, f"its last words: {words}" if words else ""]
    return [part for part in parts if part]


_TRIES, _PAUSE = 8, 0.3  # seconds


@dataclass(slots=True)
class _Asked:
    """Reads for an explanation; what can't be had in time is empty."""

    kube: Kube
    deadline: float
    _warnings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def pods_of(self, obj: Object) -> list[dict[str, Any]]:
        """The pods that a workload or a Service selects."""
        selector = selector_of(obj)
        if not selector or self._seconds() <= 0:
            return []
        try:
            pods = self.kube.resource("pods")
            return self.kube.list(pods, namespace=_namespace(obj), selector=selector, timeout=self._seconds())
        except KoalesceError:
            return []

    def warning(self, obj: Object) -> str:
        """The last warning event about an object: `BackOff (7 times): Back-off restarting …`."""
        about = [event for event in self._events(_namespace(obj)) if _is_about(event, obj)]
        if not about:
            return ""
        last = max(about, key=event_time)
        times = int(last.get("count") or (last.get("series") or {}).get("count") or 1)
        said = shortened(str(last.get("message", "")), 200)
        return f"{last.get('reason')}{f' ({times} times)' if times > 1 else ''}: {said}"

    def last_words(self, pod: Object) -> str:
        """The last line that a container wrote before it ended with an error."""
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            state, last = status.get("state") or {}, status.get("lastState") or {}
            ended = state.get("terminated") or last.get("terminated")
            if not ended or not ended.get("exitCode") or self._seconds() <= 0:
                continue
            if words := self._last_line(pod, status["name"], previous="terminated" not in state):
                return words
        return ""

    def _last_line(self, pod: Object, container: str, *, previous: bool) -> str:
        metadata = pod["metadata"]
        for _ in range(_TRIES):
            if self._seconds() <= 0:
                return ""
            try:
                text = self.kube.logs(
                    metadata["name"], namespace=metadata.get("namespace") or "default", container=container,
                    previous=previous, tail_lines=5, timeout=self._seconds(),
                )  # fmt: skip
            except ApiError as error:
                if error.reason != LOGS_REMOVED:
                    return ""
                time.sleep(_PAUSE)  # until the kubelet tells of the container that has ended since
            else:
                lines = [line for line in text.splitlines() if line.strip()]
                return shortened(lines[-1], 200) if lines else ""
        return ""

    def _events(self, namespace: str | None) -> list[dict[str, Any]]:
        where = namespace or "default"
        if where not in self._warnings and self._seconds() > 0:
            try:
                self._warnings[where] = self.kube.list(
                    self.kube.resource("events"),
                    namespace=where,
                    field_selector="type=Warning",
                    timeout=self._seconds(),
                )
            except KoalesceError:
                self._warnings[where] = []
        return self._warnings.get(where, [])

    def _seconds(self) -> float:
        return min(_READ, self.deadline - time.monotonic())


def event_time(event: Object) -> str:
    """When an event was last seen; comparable as text."""
    series = event.get("series") or {}
    found = event.get("lastTimestamp") or series.get("lastObservedTime") or event.get("eventTime")
    return str(found or event["metadata"].get("creationTimestamp") or "")


def _is_about(event: Object, obj: Object) -> bool:
    about = event.get("involvedObject") or {}
    if about.get("uid"):
        return bool(about["uid"] == _uid(obj))
    return bool((about.get("kind"), about.get("name")) == (obj.get("kind"), obj["metadata"]["name"]))


def _is_lacking(obj: Object) -> bool:
    """Whether an object may have something to tell: all but those that say that all is well."""
    status = obj.get("status")
    if obj.get("kind") == "Service" or not isinstance(status, Mapping):
        return obj.get("kind") == "Service" or "/" in str(obj.get("apiVersion"))
    if any(is_true(obj, kind) for kind in ("Ready", "Available", "Established")):
        return False
    wanted = status.get("replicas", status.get("desiredNumberScheduled"))
    ready = status.get("availableReplicas", status.get("readyReplicas", status.get("numberAvailable", 0)))
    specified = (obj.get("spec") or {}).get("replicas", wanted) if isinstance(obj.get("spec"), Mapping) else wanted
    return wanted is None or ready < max(wanted, specified or 0)


def _namespace(obj: Object) -> str | None:
    found = obj["metadata"].get("namespace")
    return str(found) if found else None


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", obj["metadata"]["name"]))
