"""Run a script on this machine, with the cluster's kubeconfig in its environment."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.steps.base import Assertion, Failed, Files, Outcome, Passed, StepContext, Stopped
from koalesce.steps.inside.places import seconds_left
from koalesce.steps.inside.printed import Printed, PrintedMatchers, written

if TYPE_CHECKING:
    from koalesce import process


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) and value else value


_LONGEST_FIRST_LINE = 256
Words = Annotated[list[StrictStr], BeforeValidator(_as_list)]


class Script(PrintedMatchers, Assertion, key="script"):
    """Run a script on this machine, in the folder of the spec, with its user's rights.

    Its environment is Koalesce's own and: `KUBECONFIG` (the cluster's, so that kubectl works), `NAMESPACE` (the test's),
    `KOALESCE_CLUSTER`, `KOALESCE_PROVIDER`, `KOALESCE_KUBERNETES`, `KOALESCE_DNS_IP`, and `KOALESCE_HOST_EXEC`: the words to put in front
    of a command that must reach the cluster's own addresses. It runs once, unless the step has `retry`.
    """

    polls = True
    short_field = "run"

    run: StrictStr | None = Field(default=None, min_length=1, examples=["kubectl get nodes"])
    """The script's text."""

    file: StrictStr | None = Field(default=None, min_length=1, examples=["scripts/check.sh"])
    """A file with the script, relative to the spec, instead of its text."""

    args: list[StrictStr | StrictInt | StrictFloat] = Field(default_factory=list)
    """The script's arguments."""

    interpreter: Words | None = Field(default=None, min_length=1, examples=["python3"])
    """The program that reads it, alone or as a list with its options; the script's path and `args` are added at the end. Default: what the
    script names in a first line such as `#!/usr/bin/env python3`, otherwise `[sh, -eu]`."""

    cwd: StrictStr | None = None
    """The folder that it runs in, relative to the spec and within the project; default: the spec's own."""

    env: dict[str, StrictStr | StrictInt | StrictFloat | StrictBool] = Field(default_factory=dict)
    """More environment variables."""

    stdin: StrictStr | None = None
    """What the script reads on standard input; default: nothing."""

    max_time: Duration | None = None
    """How long one run of it may take; default: the step's whole time, which leaves none for a second look."""

    @model_validator(mode="after")
    def _one_script(self) -> Script:
        if (self.run is None) == (self.file is None):
            raise ValueError(
                f"script needs exactly one of run and file; {'found both' if self.run else 'none is there'}"
            )
        if self.max_time is not None and not self.max_time.seconds:
            raise ValueError("maxTime must be more than 0")
        return self

    def static_problems(self, files: Files) -> list[str]:
        """A file or a folder that isn't there, or outside of the project."""
        found: list[str] = []
        for name, path, is_right in (("file", self.file, Path.is_file), ("cwd", self.cwd, Path.is_dir)):
            if path is None or "${{" in path:
                continue
            try:
                if not is_right(files.confined(path)):
                    found.append(f"{name}: {path} is no {'file' if name == 'file' else 'folder'}")
            except UsageError as error:
                found.append(f"{name}: {error}")
        return found

    def is_retried(self) -> bool:
        """It runs once: a script may change something."""
        return False

    def title(self) -> str:
        """Its file, or its first line that isn't empty."""
        if self.file is not None:
            return " ".join(["script", self.file, *map(str, self.args)])[:80]
        lines = [line.strip() for line in (self.run or "").splitlines() if line.strip() and not line.startswith("#!")]
        return f"script {lines[0] if lines else ''}"[:80]

    def attempt(self, context: StepContext) -> Outcome:
        """Run it to its end."""
        from koalesce import process

        context.files.beyond("a script runs on this machine")
        left = seconds_left(context.scope)
        timeout = left if self.max_time is None else min(left, self.max_time.seconds)
        try:
            with self._script(context.files) as path:
                result = process.run(
                    [*(self.interpreter or _named_interpreter(path)), path, *map(str, self.args)],
                    stdin=None if self.stdin is None else self.stdin.encode(),
                    cwd=context.files.folder if self.cwd is None else context.files.confined(self.cwd),
                    env={**os.environ, **self._environment(context)},
                    timeout=timeout,
                    cancel=context.scope.cancel,
                    dies_with_us=True,
                )
        except process.CommandTimeout as error:
            if error.cancelled:
                raise Stopped(self.judge_stopped(Printed.until_now("", error), context)) from error
            return _unfinished(error, timeout)
        printed = Printed(
            name="", code=result.code, stdout=result.out, stderr=result.err,
            seconds=result.seconds, truncated=result.truncated,
        )  # fmt: skip
        return self.judge(printed, context) or Passed("the script did as expected", printed.to_value())

    @contextlib.contextmanager
    def _script(self, files: Files) -> Iterator[Path]:
        """The script as a file, which goes away again if it was given as text."""
        if self.file is not None:
            yield files.confined(self.file)
            return
        import tempfile

        with tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
            path = Path(folder) / "script"
            path.write_text(self.run or "", encoding="utf-8")
            yield path

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
        return {**own, **{name: written(value) for name, value in self.env.items()}}


def _named_interpreter(script: Path) -> list[str]:
    """What the first line of a script names as its interpreter; a shell that stops at errors if it names none."""
    try:
        with script.open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE).decode("utf-8", "replace").rstrip()
    except OSError as error:
        raise UsageError(f"{script.name}: can't be read: {error.strerror}") from error
    return first[2:].split() if first.startswith("#!") and first[2:].split() else ["sh", "-eu"]


def _unfinished(error: process.CommandTimeout, seconds: float) -> Failed:
    so_far = Printed.until_now("", error)
    message = f"the script was still running after {seconds:.1f}s"
    return Failed(message, expected="an end", actual="still running", detail=so_far.detail())
