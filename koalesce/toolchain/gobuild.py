"""Builds Go programs from pinned modules, statically and reproducibly."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from koalesce import process
from koalesce.durations import format_seconds
from koalesce.errors import Interrupted, ProvisionError
from koalesce.process import Cancel
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.shelf import FullDisk

_REPORT_EVERY = 20.0
_LAST_LINES = 12
_TIMEOUT = 3 * 3600.0


class BuildFailed(ProvisionError):
    """A tool couldn't be built; shows the last lines of the build."""


class GoMissing(ProvisionError):
    """There is no Go compiler on PATH."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} needs the Go compiler, and there is no `go` on PATH",
            hint="install Go 1.26 or newer (https://go.dev/dl), or supply the binaries (see `koalesce toolchain list`)",
        )


class GoBuilder:
    """Runs `go build` in a module's folder, with the user's own module proxy and caches."""

    def __init__(self, *, progress: Callable[[str], None] = lambda _: None, cancel: Cancel | None = None) -> None:
        self._progress = progress
        self._cancel = cancel

    def build(self, recipe: Recipe, into: Path) -> None:
        """Build a recipe's binaries into an existing folder; raises GoMissing, BuildFailed or FullDisk."""
        name = f"{recipe.tool} {recipe.version}".rstrip()  # an image's program has no version of its own
        go = find_go()
        if go is None:
            raise GoMissing(f"building {name}")
        self._progress(f"building {name} from its Go module: {_expectation(recipe.minutes)}")
        verb = ("test", "-c") if recipe.test else ("build", "-v")
        command = [go, *verb, "-trimpath", "-buildvcs=false", f"-ldflags={_ldflags(recipe)}"]
        if recipe.tags:
            command.append(f"-tags={','.join(recipe.tags)}")
        with tempfile.TemporaryDirectory(prefix=".go-", dir=into) as scratch:
            environment = _environment(cgo=recipe.cgo, scratch=Path(scratch))
            output = f"{into}{os.sep}{recipe.output}"  # a trailing slash: into that folder, by the packages' names
            self._run([*command, "-o", output, *recipe.packages], name, recipe.folder, environment, into.parent)
        for link in recipe.links:
            (into / link).symlink_to(recipe.output)
        if missing := [binary for binary in recipe.binaries if not (into / binary).is_file()]:
            raise BuildFailed(f"building {name} did not make {', '.join(missing)}")

    def _run(self, command: list[str], name: str, folder: Path, environment: dict[str, str], into: Path) -> None:
        watch = _Watch(name, self._progress)
        try:
            result = process.run(
                command,
                cwd=folder,
                env=environment,
                timeout=_TIMEOUT,
                cancel=self._cancel,
                on_line=watch.line,
                dies_with_us=True,
            )
        except process.CommandTimeout as error:
            if error.cancelled:
                raise Interrupted from error
            raise BuildFailed(f"building {name} was not done after {format_seconds(_TIMEOUT)}") from error
        if result.code:
            raise failure(f"building {name} failed", list(watch.last), into)


class _Watch:
    """Follows a build's output: keeps its last lines, and reports now and then how far it is."""

    def __init__(self, name: str, progress: Callable[[str], None]) -> None:
        self.last: deque[str] = deque(maxlen=_LAST_LINES)
        self._name = name
        self._progress = progress
        self._started = self._reported = time.monotonic()
        self._packages = 0
        self._modules = 0

    def line(self, _stream: str, line: str) -> None:
        if line.startswith("go: downloading "):
            self._modules += 1
        elif " " in line or "\t" in line:
            self.last.append(line)
        else:
            self._packages += 1
        now = time.monotonic()
        if now - self._reported >= _REPORT_EVERY:
            self._reported = now
            spent = format_seconds(now - self._started)
            self._progress(f"building {self._name}: {self._modules} modules, {self._packages} packages, {spent}")


def find_go() -> str | None:
    """The Go command on PATH, or where its own installer puts it."""
    usual = Path("/usr/local/go/bin/go")
    return shutil.which("go") or (str(usual) if os.access(usual, os.X_OK) else None)


def _environment(*, cgo: bool, scratch: Path) -> dict[str, str]:
    """The user's environment (proxies, GOPROXY, caches), without what would change the result."""
    kept = {key: value for key, value in os.environ.items() if key not in ("GOARCH", "GOEXPERIMENT")}
    settings = {"CGO_ENABLED": "1" if cgo else "0", "GOOS": "linux", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    return {**kept, **settings, "GOTMPDIR": str(scratch)}


def _ldflags(recipe: Recipe) -> str:
    stamps = [f"-X {variable}" for variable in recipe.variables]
    return " ".join(["-s -w", *([recipe.ldflags] if recipe.ldflags else []), *stamps])


def _expectation(minutes: int) -> str:
    unit = "minute" if minutes == 1 else "minutes"
    return f"about {minutes} {unit} on two cores the first time, kept after that"


def failure(what: str, last: list[str], into: Path) -> ProvisionError:
    """The error for a Go command that failed writing into a folder, with its last lines and what to do about it."""
    text = "\n".join(f"  | {line}" for line in last)
    if "no space left on device" in text:
        return FullDisk(into)
    if any(
        sign in text
        for sign in ("dial tcp", "no such host", "connection refused", "i/o timeout", "disabled by GOPROXY")
    ):
        hint = "the Go module proxy can't be reached: set GOPROXY to one that can, or supply the binaries by hand"
    elif "checksum mismatch" in text or "missing go.sum entry" in text:
        hint = "the module proxy served something else than what is pinned in go.sum: use another GOPROXY"
    else:
        hint = "the output above says why; `koalesce toolchain list` shows other ways to supply it"
    return BuildFailed(f"{what}\n{text}", hint=hint)
