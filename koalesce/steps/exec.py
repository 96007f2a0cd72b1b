"""Run a command in pods, on nodes or on fixtures, and say what it must print."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from koalesce import process
from koalesce.durations import Duration
from koalesce.kube import ApiError, ExecTimeout
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext, Stopped
from koalesce.steps.inside.places import Source, seconds_left, select
from koalesce.steps.inside.pod_processes import end_in_pod
from koalesce.steps.inside.printed import Printed, PrintedMatchers, written
from koalesce.steps.vantage import Machines, taken

_PARALLEL = 16


class Exec(Machines, PrintedMatchers, Assertion, key="exec"):
    """Run a command in a pod, in all pods of a selector or an owner, on a node or a fixture or on several; all of them must do as said.

    It runs once, unless the step has `retry`, `consistently`, `stableFor` or `never`. Outputs of several are lists, whose items have the `name`
    of where it ran. No shell reads it: write `[sh, -c, "…"]` where you want one, or use `script`.
    """

    polls = True

    command: list[StrictStr | StrictInt | StrictFloat] = Field(min_length=1, examples=[["ip", "route"]])
    """The program and its arguments, as a list."""

    stdin: StrictStr | None = None
    """What the command reads on standard input; default: nothing."""

    env: dict[StrictStr, StrictStr | StrictInt | StrictFloat | StrictBool] = Field(default_factory=dict)
    """Environment variables for it; in a pod this needs the program `env` in the container's image."""

    max_time: Duration | None = None
    """How long one run of it may take; default: the step's whole time, which leaves none for a second look."""

    @field_validator("command", mode="before")
    @classmethod
    def _is_a_list(cls, value: Any) -> Any:
        if isinstance(value, str) and "${{" not in value:
            raise ValueError(f"a command is a list of words, such as [{', '.join(value.split())}]: no shell reads it")
        return value

    @model_validator(mode="after")
    def _takes_time(self) -> Exec:
        if self.max_time is not None and not self.max_time.seconds:
            raise ValueError("maxTime must be more than 0")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands on nodes, where it's about nodes."""
        return taken(written)

    def is_retried(self) -> bool:
        """It runs once: a command may change something."""
        return False

    def title(self) -> str:
        """The command and where it runs."""
        return f"exec {' '.join(self._words())} ({self.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Run it everywhere at the same time."""
        sources = select(self, context)
        if not isinstance(sources, list):
            return sources
        if unreachable := [
            source for source in sources if source.kind != "pod" and not (source.machine and source.machine.exec)
        ]:
            return Errored(f"the cluster gives no way to run commands on {unreachable[0].name}", final=True)
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(sources))) as pool:
            results = list(pool.map(lambda source: self._run(source, context), sources))
        if any(isinstance(result, _Unfinished) and result.is_stopped for result in results):
            raise Stopped(self._until_now(results, context))
        if broken := [result for result in results if isinstance(result, Errored)]:
            return broken[0]
        failures = [found for result in results if (found := self._verdict(result, context)) is not None]
        if failures:
            return _worst(failures, len(results))
        values = [result.to_value(named=not self.is_single) for result in results if isinstance(result, Printed)]
        where = sources[0].name if len(results) == 1 else f"{len(results)} places"
        return Passed(f"{where}: as expected", values[0] if self.is_single else values)

    def _until_now(
        self, results: list[Printed | _Unfinished | Errored], context: StepContext
    ) -> Passed | Failed | Errored:
        """What there is to say of commands that were told to end."""
        outcomes: list[Passed | Failed | Errored] = []
        for result in results:
            match result:
                case _Unfinished():
                    outcomes.append(result.ending or self.judge_stopped(result.printed, context))
                case Printed():
                    outcomes.append(self.judge(result, context) or Passed("had ended", result.to_value()))
                case Errored():
                    outcomes.append(result)
        if bad := [outcome for outcome in outcomes if not isinstance(outcome, Passed)]:
            return next((outcome for outcome in bad if isinstance(outcome, Errored)), bad[0])
        values = [outcome.value for outcome in outcomes if isinstance(outcome, Passed)]
        return Passed("was still running when it was stopped", values[0] if self.is_single else values)

    def _words(self) -> list[str]:
        return [str(word) for word in self.command]

    def _whole_command(self) -> list[str]:
        """The words with what sets the environment before them."""
        if not self.env:
            return self._words()
        return ["env", *(f"{name}={written(value)}" for name, value in self.env.items()), *self._words()]

    def _limit(self, context: StepContext) -> float:
        left = seconds_left(context.scope)
        return left if self.max_time is None else min(left, self.max_time.seconds)

    def _run(self, source: Source, context: StepContext) -> Printed | _Unfinished | Errored:
        stdin = None if self.stdin is None else self.stdin.encode()
        timeout, cancel, words = self._limit(context), context.scope.cancel, self._whole_command()
        began = time.monotonic()
        try:
            if source.kind != "pod" and source.machine is not None:
                done = source.machine.run(words, stdin=stdin, timeout=timeout, cancel=cancel)
                return _printed(source, done)
            ended = context.cluster.kube.exec(
                source.pod, words, namespace=source.namespace, container=source.container,
                stdin=stdin, timeout=timeout, cancel=cancel,
            )  # fmt: skip
            return _printed(source, ended)
        except (process.CommandTimeout, ExecTimeout) as error:
            is_left = error.cancelled and source.kind == "pod"
            ending = end_in_pod(source, self._words(), began, context) if is_left else None
            return _Unfinished(Printed.until_now(source.name, error), timeout, error.cancelled, ending)
        except ApiError as error:
            if cancel.is_set() and source.kind == "pod":  # told to end while it was started: it may run all the same
                end_in_pod(source, self._words(), began, context)
            lacks_env = self.env and '"env"' in error.message and "executable file not found" in error.message
            hint = "; setting env needs that program in the container" if lacks_env else ""
            return Errored(f"{source.name}: {error.message}{hint}", final=not error.transient)

    def _verdict(self, result: Printed | _Unfinished | Errored, context: StepContext) -> Failed | None:
        if isinstance(result, _Unfinished):
            return result.verdict()
        return self.judge(result, context) if isinstance(result, Printed) else None


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """A command that was still running when its time was over or when it was told to end. `ending`: it could not be ended."""

    printed: Printed
    seconds: float
    is_stopped: bool
    ending: Errored | None

    def verdict(self) -> Failed:
        message = f"{self.printed.name}: the command was still running after {self.seconds:.1f}s"
        return Failed(message, expected="an end", actual="still running", detail=self.printed.detail())


def _printed(source: Source, result: Any) -> Printed:
    return Printed(
        name=source.name, code=result.code, stdout=result.out, stderr=result.err,
        seconds=result.seconds, truncated=result.truncated,
    )  # fmt: skip


def _worst(failures: list[Failed], places: int) -> Failed:
    """One verdict: the first failure, with how many there are; the details of all."""
    first = failures[0]
    if places == 1:
        return first
    others = [failure.message for failure in failures[1:]]
    detail = "\n".join(part for part in (first.detail, *(["also:", *others] if others else [])) if part)
    message = f"{first.message} ({len(failures)} of {places} places)"
    has_not_run = len(failures) == places and all(failure.saw_nothing for failure in failures)
    return Failed(message, first.expected, first.actual, detail, saw_nothing=has_not_run)
