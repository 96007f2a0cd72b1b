"""The project that a spec belongs to: its folder, and what it lets its specs see."""

from __future__ import annotations

import re
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
_OURS = re.compile(r"^\s*\[\s*tool\s*\.\s*koalesce\s*[.\]]", re.MULTILINE)


def project_root(folder: Path) -> Path:
    """The nearest folder upwards with koalesce.toml, a pyproject.toml that has [tool.koalesce], or .git; else the folder itself."""
    start = folder.resolve()
    for candidate in (start, *start.parents):
        if (candidate / _FILE).is_file() or (candidate / ".git").exists() or _is_configured(candidate):
            return candidate
    return start


def _is_configured(folder: Path) -> bool:
    try:
        return _OURS.search((folder / _SHARED).read_text(encoding="utf-8")) is not None
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
        has_own = (home / _FILE).is_file() or not _is_configured(home)
        bare = cls(home, file=_FILE if has_own else _SHARED)
        settings = bare._settings()
        names, globs = (
            bare._texts(settings, "env", "names of variables"),
            bare._texts(settings, "exclude", "globs"),
        )
        run = settings.get("run", {})
        if not isinstance(run, dict):
            raise bare.problem(("run",), f"expected a table of flags, got {run!r}", "[run], and below it parallel = 8")
        return cls(home, frozenset(names), tuple(globs), run, bare.file)

    def problem(self, keys: tuple[str, ...], message: str, hint: str | None = None) -> UsageError:
        """What is wrong with a setting, as an error that says where it stands."""
        from koalesce.spec.toml_lines import line_of  # imported here: most settings are right

        try:
            line = line_of((self.root / self.file).read_text(encoding="utf-8"), [*self._tables, *keys])
        except (OSError, UnicodeDecodeError):
            line = 0
        place = f"{self._shown}:{line}" if line else self._shown
        return UsageError(f"{place}: {'.'.join((*self._tables, *keys))}: {message}", hint=hint)

    def excludes(self, path: Path) -> bool:
        """Whether a file or folder is left out where specs are looked for."""
        if not self.exclude or not (absolute := path.resolve()).is_relative_to(self.root):
            return False
        name = absolute.relative_to(self.root).as_posix()
        return any(fnmatchcase(name, pattern.removeprefix("./").rstrip("/")) for pattern in self.exclude)

    def visible(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What specs may see of an environment."""
        return {name: environment[name] for name in self.env_names if name in environment}

    @property
    def _tables(self) -> tuple[str, ...]:
        """The tables that the settings are in."""
        return ("tool", "koalesce") if self.file == _SHARED else ()

    @property
    def _shown(self) -> str:
        """Its file, as people know it: relative to the working folder where it's below it."""
        path, here = self.root / self.file, Path.cwd()
        return str(path.relative_to(here) if path.is_relative_to(here) else path)

    def _settings(self) -> Mapping[str, Any]:
        path = self.root / self.file
        if not path.is_file():
            return {}
        found: Any = self._toml(path)
        for table in self._tables:
            found = found.get(table, {})
        for name in found:
            if name not in _KNOWN:
                near = did_you_mean(name, _KNOWN)
                hint = near or f"there are the settings env and exclude, and the table {self._table('run')}"
                if name == "tool" and not self._tables:
                    hint = f"tables of {_FILE} have no tool.koalesce before their names: [run]"
                raise self.problem((name,), "unknown setting", hint)
        return dict(found)

    def _table(self, name: str) -> str:
        return f"[{'.'.join((*self._tables, name))}]"

    def _toml(self, path: Path) -> Mapping[str, Any]:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{self._shown}: not UTF-8: {error.reason}", hint="save it as UTF-8") from error
        except OSError as error:
            raise UsageError(f"{self._shown}: can't be read: {error.strerror}") from error
        try:
            import tomllib  # imported here: most projects have no such file

            return tomllib.loads(text)
        except ValueError as error:
            from koalesce.spec.toml_lines import syntax_error

            place, wrong = syntax_error(text, error)
            hint = 'it must be TOML, such as timeout = "10m" below [run]'
            raise UsageError(f"{self._shown}{place}: {wrong[:1].lower()}{wrong[1:]}", hint=hint) from error

    def _texts(self, settings: Mapping[str, Any], name: str, what: str) -> list[str]:
        found = settings.get(name, [])
        if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
            raise self.problem((name,), f"expected a list of {what}, got {found!r}", f'{name} = ["…"]')
        return found
