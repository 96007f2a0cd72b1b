"""Terraform in one folder: init, plan, apply, output, destroy."""

from __future__ import annotations

import errno
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import python_terraform
from python_terraform import IsFlagged

from koalesce.clock import hint_of_time
from koalesce.errors import Interrupted, ProvisionError
from koalesce.process import Cancel, CommandMissing
from koalesce.terraform.binary import find_binary
from koalesce.terraform.events import UI_MAJOR, Diagnostic, TerraformEvent, is_understood, parse
from koalesce.terraform.runner import Ended, Grace, stream
from koalesce.terraform.trying import has_plugins_of, plugin_mirror

VARIABLES_FILE = "koalesce.auto.tfvars.json"  # read by every Terraform command in the folder, also by hand
LOG_FILE = "terraform.log"
_DRAFT = ".terraform.variables"
_LOCK_TIMEOUT = "60s"
_FOREIGN_PREFIXES = ("TF_VAR_", "TF_CLI_ARGS")
_FOREIGN = ("TF_WORKSPACE", "TF_DATA_DIR", "TF_INPUT")
_MISSING_PLUGIN = (
    "Failed to query available provider packages",
    "Failed to resolve provider packages",  # as OpenTofu says of a mirror that it can't read
    "Failed to install provider",
    "Required plugins are not installed",
    "Inconsistent dependency lock file",
)


class _CommandLine(python_terraform.Terraform):  # type: ignore[misc]  # the package has no types
    """python-terraform as the builder of command lines; running them is ours.

    As it is, the package knows no streaming, no signals and no time limits, passes `-force` to destroy (an error since
    Terraform 0.15), turns every misspelt method into a command, and reads the whole state into its attributes.
    """

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no such attribute: {name}")

    def read_state_file(self, file_path: str | None = None) -> None:
        """Leave the state where it is; it may hold secrets."""

    def words(self, command: str, **options: Any) -> list[str]:
        """The argv of a command, never asking and never coloured."""
        return [str(word) for word in self.generate_cmd_string(command, **options)]


class _NoEvents(ProvisionError):
    """A command that doesn't know `-json`."""


class Terraform:
    """Terraform in `folder`, a copy of a root. Raises ProvisionError with Terraform's diagnostics, Interrupted if cancelled.

    `variables` are written to a file of mode 0600 in the folder, never to a command line; None leaves the file of an earlier
    time as it is. `on_event` gets all that Terraform says; the raw stream is kept in `terraform.log` in the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        variables: Mapping[str, Any] | None = None,
        on_event: Callable[[TerraformEvent], None] = lambda event: None,
        cancel: Cancel | None = None,
        binary: Path | None = None,
        grace: Grace | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._binary = binary or find_binary()
        self._command_line = _CommandLine(working_dir=str(self.folder), terraform_bin_path=str(self._binary))
        self._on_event = on_event
        self._cancel = cancel
        self._grace = grace
        self._outputs: dict[str, Any] | None = None
        if variables is not None:
            write_variables(self.folder, variables)

    def init(self) -> None:
        """Make the folder ready: modules, and plugins from the mirror if it has them, else from where Terraform's configuration says.

        Before Terraform 1.9 this command has no events, only text.
        """
        mirror = {"plugin_dir": str(plugin_mirror())} if has_plugins_of(self.folder) else {}
        try:
            self._follow("init", json=IsFlagged, input=False, **mirror)
        except _NoEvents:
            self._follow("init", input=False, no_color=IsFlagged, **mirror)

    def plan(self) -> list[TerraformEvent]:
        """The changes that apply would make, as events of type `planned_change`."""
        events = self._follow("plan", json=IsFlagged, input=False, lock_timeout=_LOCK_TIMEOUT)
        return [event for event in events if event.type == "planned_change"]

    def apply(self) -> None:
        """Make what the root describes, without asking and without looking first at what can't exist yet."""
        events = self._follow(
            "apply", json=IsFlagged, auto_approve=IsFlagged, input=False, refresh=False, lock_timeout=_LOCK_TIMEOUT
        )
        self._outputs = _outputs(events)

    def destroy(self) -> None:
        """Remove all that the state knows."""
        self._follow(
            "destroy", json=IsFlagged, auto_approve=IsFlagged, input=False, refresh=False, lock_timeout=_LOCK_TIMEOUT
        )

    def output(self) -> dict[str, Any]:
        """The outputs' values by name, sensitive ones too."""
        if self._outputs is not None:
            return self._outputs
        printed: list[str] = []
        complaints: list[str] = []

        def on_line(name: str, line: str) -> None:
            (printed if name == "stdout" else complaints).append(line)

        ended = self._run(self._command_line.words("output", json=IsFlagged, no_color=IsFlagged), on_line)
        if ended.code:
            raise ProvisionError(f"{self._name} output failed: {' '.join(' '.join(complaints).split())}")
        # OpenTofu tells before it what it thinks of its own settings, such as a file of $TF_CLI_CONFIG_FILE that isn't there.
        document = "\n".join(itertools.dropwhile(lambda line: not line.startswith(("{", "[")), printed))
        try:
            return {name: entry["value"] for name, entry in json.loads(document).items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProvisionError(f"{self._name} output printed something else than outputs: {error}") from error

    @property
    def _name(self) -> str:
        return self._binary.name

    def _follow(self, command: str, **options: Any) -> list[TerraformEvent]:
        """Run a command that prints events; ProvisionError unless it succeeds."""
        events: list[TerraformEvent] = []

        def on_line(name: str, line: str) -> None:
            event = parse(line) if name == "stdout" else TerraformEvent(type="raw", message=line, level="stderr")
            if line.strip():
                events.append(event)
                self._on_event(event)

        ended = self._run(self._command_line.words(command, **options), on_line)
        if strange := next((event for event in events if not is_understood(event)), None):
            raise ProvisionError(
                f"{self._name} prints version {strange.data.get('ui')} of its event stream; {UI_MAJOR}.x is what we know"
            )
        if ended.code:
            raise self._failure(command, ended, events)
        return events

    def _run(self, words: list[str], on_line: Callable[[str, str], None]) -> Ended:
        if self._cancel is not None and self._cancel.is_set():
            raise Interrupted
        with _open_log(self.folder / LOG_FILE) as log:

            def keep(name: str, line: str) -> None:
                log.write(line + "\n")
                on_line(name, line)

            try:
                ended = stream(
                    words,
                    folder=self.folder,
                    environment=_environment(self.folder),
                    on_line=keep,
                    cancel=self._cancel,
                    grace=self._grace,
                )
            except CommandMissing as error:
                raise ProvisionError(str(error)) from error
        if ended.interrupted:
            raise Interrupted
        return ended

    def _failure(self, command: str, ended: Ended, events: list[TerraformEvent]) -> ProvisionError:
        """What went wrong, by Terraform's own errors; by its last words if it had none."""
        errors = [event.diagnostic for event in events if event.diagnostic and event.diagnostic.severity == "error"]
        if errors:
            lines = "\n".join(_told(errors))
            known = _room(self.folder) or _hint(f"{error.summary} {error.detail}" for error in errors)
            return ProvisionError(f"{self._name} {command} failed: {lines}", hint=known or f"all it said: {self._log}")
        raw = [event.message for event in events if event.type == "raw" and _DUMP not in event.message]
        if any("flag provided but not defined" in line or "Usage: " in line for line in raw):
            return _NoEvents(
                f"{self._binary} is too old: it has no `{command} -json`",
                hint=_NEWER,
            )
        if room := _room(self.folder):
            return ProvisionError(f"{self._name} {command} failed: {os.strerror(errno.ENOSPC)}", hint=room)
        how = f"signal {-ended.code}" if ended.code < 0 else f"exit code {ended.code}"
        last = "\n".join(line for line in raw[-10:])
        said = f"the program is {self._binary}; all it said: {self._log}"
        return ProvisionError(
            f"{self._name} {command} failed: {how}" + (f"\n{last}" if last else ""), hint=_hint(raw) or said
        )

    @property
    def _log(self) -> Path:
        return self.folder / LOG_FILE


_PLUGIN_HINT = (
    "a Terraform plugin could not be had: check the network, or name a mirror (terraform.d/plugins in the root's folder, "
    "or a provider_installation in $TF_CLI_CONFIG_FILE)"
)


_LEAST_ROOM = 64 * 1024  # bytes
_DUMP = "Emergency state dump"  # of a state that could not be written: all of it, with what is sensitive
_NEWER = "use Terraform 1.5 or OpenTofu 1.6, or newer"
_LOCKED = "another Terraform is at work there: wait for its end; of one that was killed, `terraform force-unlock ID` in that folder releases the lock"
# Words of errors, and what to do.
_HINTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (_MISSING_PLUGIN, _PLUGIN_HINT),
    (("Unsupported Terraform Core version", "Unsupported OpenTofu Core version"), _NEWER),
    (("Error acquiring the state lock",), _LOCKED),
)


def _hint(said: Iterable[str]) -> str:
    """What to do about errors that are known; nothing for others."""
    text = "\n".join(said)
    known = next((hint for words, hint in _HINTS if any(word in text for word in words)), "")
    return hint_of_time(text) or (known + _who_builds(text) if known == _PLUGIN_HINT else known)


def _room(folder: Path) -> str:
    """What to do where the folder's disk is full, whatever Terraform, or what it ran, made of that; nothing where it isn't."""
    status = os.statvfs(folder)
    if not status.f_blocks or status.f_bavail * status.f_frsize >= _LEAST_ROOM:
        return ""
    return f"make room on the disk that holds {folder.parent}, or set KOALESCE_STATE_DIR to a folder elsewhere"


def _who_builds(text: str) -> str:
    """What makes a plugin that errors name, where its module can be built."""
    from koalesce.toolchain.plugins import PLUGINS  # only mistakes need it

    made = (name for name, plugin in PLUGINS.items() if plugin.source in text)
    return "".join(f"; `koalesce toolchain plugin {name}` builds it" for name in made)


def _told(errors: list[Diagnostic]) -> Iterator[str]:
    """Errors as texts; what several instances of a resource say alike is told once, with all of their addresses."""
    alike: dict[Diagnostic, list[str]] = {}
    for error in errors:
        alike.setdefault(replace(error, address=""), []).append(error.address)
    for error, addresses in alike.items():
        yield str(replace(error, address=", ".join(dict.fromkeys(filter(None, addresses)))))


def _outputs(events: list[TerraformEvent]) -> dict[str, Any] | None:
    """The outputs that apply told at its end; None if it kept any for itself, as it does with sensitive ones."""
    told = [event.data.get("outputs") for event in events if event.type == "outputs"]
    last = told[-1] if told else None
    if not isinstance(last, dict) or not all(isinstance(entry, dict) and "value" in entry for entry in last.values()):
        return None
    return {name: entry["value"] for name, entry in last.items()}


def write_variables(folder: Path, variables: Mapping[str, Any]) -> Path:
    """Write the variables of a root where Terraform finds them by itself; readable by us alone."""
    path, draft = folder / VARIABLES_FILE, folder / _DRAFT
    draft.unlink(missing_ok=True)  # an older file keeps its mode
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(variables, file, indent=2)
    return draft.replace(path)


def _open_log(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8", buffering=1)


def _environment(folder: Path) -> dict[str, str]:
    """Ours, without what would change which variables, folder or workspace Terraform uses."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN_PREFIXES) and name not in _FOREIGN
    }
    return own | {
        "TF_DATA_DIR": str(folder / ".terraform"),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }
