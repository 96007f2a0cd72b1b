"""Run a script on this machine, with the cluster's kubeconfig in its environment."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from koalesce import process
from koalesce.steps.base import Assertion, Failed, Outcome, Passed, StepContext, Stopped
from koalesce.steps.places import seconds_left
from koalesce.steps.printed import Printed, PrintedMatchers


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) and value else value


Words = Annotated[list[StrictStr], BeforeValidator(_as_list)]


class Script(PrintedMatchers, Assertion, key="script"):
    """Run a script on this machine, in the folder of the spec, with its user's rights.

    Its environment is Koalesce's own and: `KUBECONFIG` (the cluster's, so that kubectl works), `NAMESPACE` (the test's),
    `KOALESCE_CLUSTER`, `KOALESCE_PROVIDER`, `KOALESCE_KUBERNETES`, `KOALESCE_DNS_IP`, and `KOALESCE_HOST_EXEC`: the words to put in front
    of a command that must reach the cluster's own addresses. It runs once, unless the step has `retry`.
    """

    polls = True
    short_field = "run"

    run: StrictStr = Field(min_length=1, examples=["kubectl get nodes"])
    """The script's text."""

    interpreter: Words = Field(default=["sh", "-eu"], min_length=1, examples=["python3"])
    """The program that reads it, alone or as a list with its options; the script's path is added at the end."""

    env: dict[str, StrictStr | StrictInt | StrictFloat | StrictBool] = Field(default_factory=dict)
    """More environment variables."""

    stdin: StrictStr | None = None
    """What the script reads on standard input; default: nothing."""

    def is_retried(self) -> bool:
        """It runs once: a script may change something."""
        return False

    def title(self) -> str:
        """Its first line that isn't empty."""
        lines = [line.strip() for line in self.run.splitlines() if line.strip()]
        return f"script {lines[0] if lines else ''}"[:80]

    def attempt(self, context: StepContext) -> Outcome:
        """Run it to its end."""
        timeout = seconds_left(context.scope)
        try:
            with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
                path = Path(folder) / "script"
                path.write_text(self.run, encoding="utf-8")
                result = process.run(
                    [*self.interpreter, path],
                    stdin=None if self.stdin is None else self.stdin.encode(),
                    cwd=context.files.folder,
                    env={**os.environ, **self._environment(context)},
                    timeout=timeout,
                    cancel=context.scope.cancel,
                    dies_with_us=True,
                )
        except process.CommandTimeout as error:
            if error.cancelled:
                raise Stopped(self.judge_stopped(Printed.until_now("", error))) from error
            return _unfinished(error, timeout)
        printed = Printed(
            name="", code=result.code, stdout=result.out, stderr=result.err,
            seconds=result.seconds, truncated=result.truncated,
        )  # fmt: skip
        return self.judge(printed) or Passed("the script did as expected", printed.to_value())

    def _environment(self, context: StepContext) -> Mapping[str, str]:
        cluster = context.cluster
        own = {
            "KUBECONFIG": str(cluster.kubeconfig),
            "NAMESPACE": context.namespace,
            "KOALESCE_CLUSTER": cluster.name,
            "KOALESCE_PROVIDER": cluster.provider,
            "KOALESCE_KUBERNETES": cluster.kubernetes,
            "KOALESCE_DNS_IP": cluster.dns_ip,
            "KOALESCE_HOST_EXEC": shlex.join(cluster.host_exec),
        }
        return {**own, **{name: _text(value) for name, value in self.env.items()}}


def _text(value: str | float | bool) -> str:
    """A value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unfinished(error: process.CommandTimeout, seconds: float) -> Failed:
    so_far = Printed.until_now("", error)
    message = f"the script was still running after {seconds:.1f}s"
    return Failed(message, expected="an end", actual="still running", detail=so_far.detail())
