"""The logs of containers and of nodes' components, from the moment on that a step asks for."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from koalesce import process
from koalesce.cluster import Machine
from koalesce.errors import ClusterError
from koalesce.kube import ApiError
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.log_times import lines_since, node_time
from koalesce.steps.inside.moments import Since, moment, parse_time, written
from koalesce.steps.inside.places import seconds_left

Object = Mapping[str, Any]
_POD_MOST = 16 * 1024 * 1024  # what Kube.logs reads at most
_NODE_MOST = 3_500_000
_FRACTION = re.compile(r"\.(\d+)")
# Prints the size of the log (from line $1 on), its number of lines, the node's time, and then the log's end.
_READ = 'from=$1; most=$2; shift 2; "$@" | tail -n "+$from" | { wc -lc; date "+%s %z"; } && "$@" | tail -n "+$from" | tail -c "$most"'


@dataclass(frozen=True, slots=True)
class Log:
    """What was written from the wanted moment on; `is_whole`: nothing of that is missing."""

    name: str
    text: str
    is_whole: bool = True
    labels: Mapping[str, str] | None = None

    def to_value(self, matched: list[str]) -> dict[str, Any]:
        """What outputs read."""
        return {**(self.labels or {}), "text": self.text.rstrip("\n"), "lines": matched}


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """The log of one container of a pod."""

    pod: Object
    container: str
    name: str
    previous: bool = False

    def only_grows(self, since: Since) -> bool:
        """Whether what is in the log stays in it: no restart begins another one that alone counts, and nobody puts another pod in this one's place."""
        owners = self.pod["metadata"].get("ownerReferences") or ()
        is_alone = not any(owner.get("controller") for owner in owners)
        never_again = (self.pod.get("spec") or {}).get("restartPolicy") == "Never"
        stays = since.word in ("test", "step") or (since.word == "all" and never_again)
        return is_alone and stays and not self.previous

    def read(self, since: Since, context: StepContext) -> Log | Failed:
        """Its log; Failed while it hasn't started (or wasn't restarted, where the run before this one is asked for)."""
        status = _status(self.pod, self.container)
        if problem := self._not_there(status):
            return problem
        try:
            return self._since_step(status, context) if since.word == "step" else self._since(since, status, context)
        except ApiError as error:
            if error.status in (0, 401, 403) or error.status >= 500:
                raise
            return Failed(f"{self.name}: {error.message}", "a log", "none")  # 400, 404: it's being made, or was removed

    def _not_there(self, status: Object) -> Failed | None:
        state: Object = status.get("state") or {}
        if self.previous:
            if _last(status) or status.get("restartCount"):
                return None
            said = f"{self.name} was never restarted, so there is no log of a run before this one"
            return Failed(said, "a restart", "none")
        if "running" in state or "terminated" in state or _last(status):
            return None
        reason = (state.get("waiting") or {}).get("reason")
        said = f" ({reason})" if reason else ""
        return Failed(
            f"{self.name} hasn't started{said}, so there is no log yet", "started", str(reason or "not started")
        )

    def _since(self, since: Since, status: Object, context: StepContext) -> Log:
        window = _window(since, context)
        log = self._log(self._text(context, **window))
        last = _last(status)
        if self.previous or since.word == "all" or last is None or "waiting" in (status.get("state") or {}):
            return log
        start = moment(since, context)
        if start is None or (parse_time(str(last.get("finishedAt"))) or start) < start:
            return log
        reaches_back = (parse_time(str(last.get("startedAt"))) or start) <= start or status.get("restartCount") == 1
        return self._with_previous(log, context, window, is_whole=reaches_back)

    def _since_step(self, status: Object, context: StepContext) -> Log:
        """What was written after the last line that was there at the first look; a container that came later counts as a whole."""
        marks: dict[str, _Mark] = context.memory.setdefault("log marks", {})
        identity = f"{self.pod['metadata'].get('uid')}/{self.container}"
        restarts = int(status.get("restartCount") or 0)
        if "looked" not in context.memory:
            stamped = self._text(context, tail_lines=1, timestamps=True).splitlines()
            marks[identity] = _Mark(stamped[-1].partition(" ")[0] if stamped else "", restarts)
            return self._log("")
        mark = marks.get(identity, _Mark("", 0))
        if restarts == mark.restarts:
            return self._after(mark, context)
        log = self._log(self._text(context))
        if "waiting" in (status.get("state") or {}):  # its log is that of the run before this one
            return self._after(mark, context)
        before = self._after(mark, context, previous=True)
        return Log(log.name, before.text + "\n" + log.text, restarts == mark.restarts + 1, log.labels)

    def _after(self, mark: _Mark, context: StepContext, *, previous: bool = False) -> Log:
        time = parse_time(mark.stamp)
        window = {"since_time": written(time)} if time else {}
        lines = self._text(context, timestamps=True, previous=previous, **window).splitlines()
        pairs = [line.partition(" ")[::2] for line in lines]
        kept = [rest for stamp, rest in pairs if not mark.stamp or _nanoseconds(stamp) > _nanoseconds(mark.stamp)]
        return self._log("\n".join(kept))

    def _with_previous(self, log: Log, context: StepContext, window: Mapping[str, Any], *, is_whole: bool) -> Log:
        """The log with that of the run before this one, which ended within the time that is asked for."""
        try:
            before = self._text(context, previous=True, **window)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
            before, is_whole = "", False  # the kubelet has cleared it away
        return Log(log.name, before + log.text, log.is_whole and is_whole, log.labels)

    def _text(self, context: StepContext, *, previous: bool = False, **options: Any) -> str:
        metadata = self.pod["metadata"]
        return context.cluster.kube.logs(
            metadata["name"], namespace=metadata["namespace"], container=self.container,
            previous=previous or self.previous, timeout=seconds_left(context.scope), cancel=context.scope.cancel, **options,
        )  # fmt: skip

    def _log(self, text: str) -> Log:
        labels = {"pod": str(self.pod["metadata"]["name"]), "container": self.container}
        return Log(self.name, text, len(text) < _POD_MOST, labels)


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a container had come at the first look: the time of its last line, and how often it had been restarted."""

    stamp: str
    restarts: int


@dataclass(frozen=True, slots=True)
class NodeLog:
    """The log of a component on a node (kubelet, containerd, kube-proxy or another), or on a fixture."""

    node: Machine
    component: str
    kind: Literal["node", "fixture"] = "node"

    @property
    def name(self) -> str:
        """How it's called in messages."""
        return f"{self.component} on {self.node.name}"

    def only_grows(self, since: Since) -> bool:
        """Whether what is in the log stays in it: not where only its last while counts."""
        return bool(since.word)

    def read(self, since: Since, context: StepContext) -> Log | Failed | Errored:
        """Its log; Errored where there is none."""
        command = self.node.logs.get(self.component)
        if command is None:
            known = ", ".join(sorted(self.node.logs)) or "none"
            return Errored(f"{self.node.name} has no log of {self.component}; it has {known}", final=True)
        first = self._first_line(since, context)
        result = self._run(command, first, context)
        if result is None or result.code:
            said = f": {result.err.strip() or f'code {result.code}'}" if result else ": no answer in time"
            return Errored(f"{self.name}: the log can't be read with {shlex.join(command)}{said}", late=result is None)
        counted, clock, text = (*result.out.split("\n", 2), "", "")[:3]
        lines, size = (int(number) for number in counted.split())
        if since.word == "step" and first == 1 and "looked" not in context.memory:
            context.memory.setdefault("log marks", {})[self.name] = lines
            return self._log("", is_whole=True)
        if not size and result.err.strip():
            return Errored(f"{self.name}: {result.err.strip()[-500:]}")
        return self._from(since, text, size <= _NODE_MOST, clock, context)

    def _first_line(self, since: Since, context: StepContext) -> int:
        if since.word != "step":
            return 1
        return int(context.memory.get("log marks", {}).get(self.name, 0)) + 1

    def _run(self, command: tuple[str, ...], first: int, context: StepContext) -> process.Result | None:
        words = ["sh", "-c", _READ, "sh", str(first), str(_NODE_MOST), *command]
        try:
            return self.node.run(words, timeout=seconds_left(context.scope), cancel=context.scope.cancel)
        except process.CommandTimeout as error:
            if error.cancelled:
                raise
            return None

    def _from(self, since: Since, text: str, is_whole: bool, clock: str, context: StepContext) -> Log | Errored:
        if not is_whole:
            text = text.partition("\n")[2]  # the first line is a part of one
        start = moment(since, context)
        if start is None:
            return self._log(text, is_whole=is_whole)
        try:
            kept, reaches_back = lines_since(text, start, node_time(clock))
        except ValueError as error:
            return Errored(
                f"{self.name}: {error}, so nothing can be said since then; write since: step or since: all", final=True
            )
        return self._log(kept, is_whole=is_whole or reaches_back)

    def _log(self, text: str, *, is_whole: bool) -> Log:
        return Log(self.name, text, is_whole, {self.kind: self.node.name, "component": self.component})


def _window(since: Since, context: StepContext) -> dict[str, Any]:
    if since.word == "all":
        return {}
    if not since.word:
        return {"since_seconds": max(1, math.ceil(since.seconds))}  # by the kubelet's own clock
    start = moment(since, context)
    return {"since_time": written(start)} if start else {}


def _nanoseconds(stamp: str) -> tuple[datetime, str]:
    """A time as the kubelet writes it before a line, to its last digit."""
    time, fraction = parse_time(stamp), _FRACTION.search(stamp)
    if time is None:
        raise ClusterError(f"the kubelet's time before a line can't be read: {stamp[:40]!r}")
    return time.replace(microsecond=0), f"{fraction[1] if fraction else '0':0<9}"


def _last(status: Object) -> Object | None:
    """How the run before this one ended."""
    found: Object | None = (status.get("lastState") or {}).get("terminated")
    return found


def _status(pod: Object, container: str) -> Object:
    status = pod.get("status") or {}
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    found: list[Object] = [each for kind in kinds for each in status.get(kind) or () if each["name"] == container]
    return found[0] if found else {}
