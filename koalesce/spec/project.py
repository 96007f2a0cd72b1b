"""The project that a spec belongs to: its folder, and what it lets its specs see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from koalesce.errors import UsageError
from koalesce.records import dataclass
from koalesce.yaml.problems import did_you_mean

_FILE = "koalesce.toml"
_KNOWN = ("env", "exclude", "run")
_SHARED = "pyproject.toml"


def project_root(folder: Path) -> Path:
    """The nearest folder upwards with koalesce.toml, a pyproject.toml that has [tool.koalesce], or .git; else the folder itself."""
    start = folder.resolve()
    for candidate in (start, *start.parents):
        if (candidate / _FILE).is_file() or (candidate / ".git").exists() or _is_configured(candidate):
            return candidate
    return start


def _is_configured(folder: Path) -> bool:
    try:
        return "[tool.koalesce" in (folder / _SHARED).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


@dataclass(frozen=True, slots=True)
class Project:
    """A folder, and its settings in koalesce.toml.

    `env` lists the variables of the environment that specs may see. `exclude` lists files and folders (globs, relative to the root;
    `*` matches across folders too) that are left out where specs are looked for below a folder; who names them gets them all the same.
    `run` has flags of `koalesce run`, which the command line reads. `file` is where the settings stand, or would.
    """

    root: Path
    env_names: frozenset[str] = frozenset()
    exclude: tuple[str, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    file: str = _FILE

    @classmethod
    def find(cls, folder: Path, root: Path | None = None) -> Project:
        """The project of a folder; UsageError for settings that can't be read."""
        home = root.resolve() if root is not None else project_root(folder)
        settings = _settings(home)
        _refuse_unknown(settings, home)
        names, globs = _texts(settings, home, "env", "names of variables"), _texts(settings, home, "exclude", "globs")
        run = settings.get("run", {})
        if not isinstance(run, dict):
            raise UsageError(f"the settings of {home}: run takes a table of flags", hint="[run] and then parallel = 8")
        has_own = (home / _FILE).is_file() or not _is_configured(home)
        return cls(home, frozenset(names), tuple(globs), run, _FILE if has_own else _SHARED)

    def excludes(self, path: Path) -> bool:
        """Whether a file or folder is left out where specs are looked for."""
        if not self.exclude or not (absolute := path.resolve()).is_relative_to(self.root):
            return False
        name = absolute.relative_to(self.root).as_posix()
        return any(fnmatchcase(name, pattern.removeprefix("./").rstrip("/")) for pattern in self.exclude)

    def visible(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What specs may see of an environment."""
        return {name: environment[name] for name in self.env_names if name in environment}


def _settings(root: Path) -> Mapping[str, Any]:
    own, shared = root / _FILE, root / _SHARED
    if own.is_file():
        return _toml(own)
    if _is_configured(root):
        found = _toml(shared).get("tool", {}).get("koalesce", {})
        return found if isinstance(found, dict) else {}
    return {}


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        import tomllib  # imported here: most projects have no such file

        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error


def _refuse_unknown(settings: Mapping[str, Any], root: Path) -> None:
    for name in settings:
        if name not in _KNOWN:
            raise UsageError(
                f"the settings of {root}: {name}: unknown setting",
                hint=did_you_mean(name, _KNOWN) or f"there is {', '.join(_KNOWN)}",
            )


def _texts(settings: Mapping[str, Any], root: Path, name: str, what: str) -> list[str]:
    found = settings.get(name, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise UsageError(f"the settings of {root}: {name} takes a list of {what}")
    return found
