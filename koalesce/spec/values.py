"""What the command line says instead of a spec's variables: `--values FILE`, `--set NAME=VALUE`, `--set-string NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from koalesce.errors import UsageError
from koalesce.merging import merged
from koalesce.yaml import InvalidDocument, read
from koalesce.yaml.problems import did_you_mean

if TYPE_CHECKING:
    from koalesce.spec.loaded import LoadedSpec


class Exactly(str):
    """A text that is meant as a text, whatever it looks like."""

    __slots__ = ()


def override(written: Any, value: Any) -> Any:
    """A variable's value with what the command line says instead: maps are merged, anything else is replaced.

    A word of `--set` becomes what YAML takes it for, but stays a text where the spec's own value is one.
    """
    if isinstance(written, dict) and isinstance(value, Mapping):
        return {**written, **{key: override(written.get(key), child) for key, child in value.items()}}
    if isinstance(value, Mapping):
        return {key: override(None, child) for key, child in value.items()}
    if isinstance(value, Exactly) or not isinstance(value, str) or isinstance(written, str):
        return _plain(value)
    documents, problems = read(value, "")
    return documents[0].value if len(documents) == 1 and not problems else value


def _plain(value: Any) -> Any:
    """The value without the marks of texts."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return str(value) if isinstance(value, Exactly) else value


def overrides(
    files: Sequence[Path], words: Iterable[tuple[str, str]], texts: Iterable[tuple[str, str]] = ()
) -> dict[str, Any]:
    """All that a command line says, as one tree: later files win over earlier ones, `--set` over files, `--set-string` over both."""
    found: dict[str, Any] = {}
    for file in files:
        found = merged(found, _read(file))
    for name, word in words:
        found = merged(found, _nested(name, word))
    for name, text in texts:
        found = merged(found, _nested(name, Exactly(text)))
    return found


def check_settable(loaded: Sequence[LoadedSpec], given: Mapping[str, Any]) -> None:
    """Raise UsageError for a value that the command line gives and none of the specs has a place for: a typo would change nothing."""
    declared = [each for spec in loaded for each in (spec.spec.vars, *(test.vars for test in spec.spec.tests))]
    names = sorted({name for each in declared for name in each})
    for path in _paths(given):
        places = [each for each in declared if path[0] in each]
        if not places:
            have = f"they have {', '.join(names)}" if names else "they have none"
            raise UsageError(
                f'--set {path[0]}: no spec of this run has a variable "{path[0]}"',
                hint=did_you_mean(path[0], names) or have,
            )
        problems = [_problem(each, path) for each in places]
        if all(problems) and problems[0] is not None:
            raise problems[0]


def _problem(declared: Mapping[str, Any], path: Sequence[str]) -> UsageError | None:
    """Why a map of variables has no place for a name below one of its own; None if it has. An empty map takes anything."""
    current: Any = declared
    for depth, part in enumerate(path):
        above = ".".join(path[:depth])
        if not isinstance(current, Mapping):
            return UsageError(f"--set {'.'.join(path)}: {above} is no map, so nothing in it can be set")
        if depth and not current:
            return None
        if part not in current:
            hint = did_you_mean(part, list(current)) or f"there are {', '.join(current)}"
            return UsageError(f'--set {".".join(path)}: {above} has no "{part}"', hint=hint)
        current = current[part]
    return None


def _paths(given: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in given.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, (*above, name))
        else:
            yield (*above, name)


def _nested(name: str, value: str) -> dict[str, Any]:
    parts = name.split(".")
    if not all(parts):
        raise UsageError(f"--set {name}={value}: {name} is no name", hint="NAME=VALUE, or NAME.FIELD=VALUE in a map")
    tree: Any = value
    for part in reversed(parts):
        tree = {part: tree}
    return tree  # type: ignore[no-any-return]  # one part at least makes it a dict


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"--values {file}: can't be read: {reason}") from error
    documents, problems = read(text, str(file))
    if problems:
        raise InvalidDocument(problems)
    if not documents or documents[0].value is None:
        return {}
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        raise UsageError(f"--values {file}: not one map of variables", hint="write NAME: VALUE, a line for each")
    return _exactly(documents[0].value)  # type: ignore[no-any-return]  # a dict in, a dict out


def _exactly(value: Any) -> Any:
    """The value with its texts marked as such: YAML has said already what is one."""
    match value:
        case dict():
            return {key: _exactly(child) for key, child in value.items()}
        case list():
            return [_exactly(child) for child in value]
        case str():
            return Exactly(value)
    return value
