"""CEL, the expression language of Kubernetes (https://cel.dev), where the extra `koalesce[cel]` is installed: its only importer.

An evaluation that goes wrong gives the library's value of the type ERROR, a text that isn't empty: it is an exception here, and never a result.
Functions that Kubernetes adds (https://kubernetes.io/docs/reference/using-api/cel/) and that are there: `quantity`, `isQuantity`, `ip`, `isIP`,
`cidr`, `isCIDR`, `containsIP`, `containsCIDR`, `family`, `semver`, `isSemver`, `isLessThan`, `isGreaterThan`, `compareTo`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from koalesce.patterns import pattern
from koalesce.records import dataclass

INSTALL = "CEL needs an extra: pip install 'koalesce[cel]'"
_ABSENT = ("NOT_FOUND:", "UNKNOWN: Index error")
_TYPES = {"INT": "a number", "UINT": "a number", "DOUBLE": "a number", "STRING": "a text", "NULL": "null"}
_NAME = pattern(r"[A-Za-z_]\w*")
_STRING = pattern(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.DOTALL)
_REFERENCE = pattern(r"(?<![\w.)\]])([A-Za-z_]\w*+)(?:\s*\??\.\s*\??([A-Za-z_]\w*+)(?!\s*\())?+(?!\s*\()(?!\s*:)")
_WORDS = ("in", "true", "false", "null")
_NO_KEY = pattern(r"NOT_FOUND: Key not found in map : (.*)")
_SAID = pattern(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)")


class CelInvalid(ValueError):
    """It isn't CEL, or names something that isn't there, or can't be of any use for its types."""


class CelFailed(ValueError):
    """It could not be evaluated. `is_absent`: for a key or an item that isn't there, which may yet come."""

    def __init__(self, message: str, *, is_absent: bool = False) -> None:
        super().__init__(message)
        self.is_absent = is_absent


@lru_cache(maxsize=1)
def is_installed() -> bool:
    """Whether there is CEL on this machine."""
    from importlib.util import find_spec  # imported here: most specs have no CEL

    return find_spec("cel_expr_python") is not None


@dataclass(frozen=True, slots=True)
class Program:
    """An expression that compiles, with the names that it may use."""

    text: str
    names: tuple[str, ...]
    _expression: Any

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether it is true; CelFailed where it is neither true nor false."""
        value = self.evaluate(values)
        if not isinstance(value, bool):
            raise CelFailed(f"gives {kind_of(value)}, and must give true or false")
        return value

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Its value as JSON has it; CelFailed where there is none."""
        from cel_expr_python import cel

        found = self._expression.eval(data={name: values[name] for name in self.names if name in values})
        plain = found.plain_value()
        if found.type() == cel.Type.ERROR:
            text = str(plain)
            raise CelFailed(_reason(text), is_absent=text.startswith(_ABSENT))
        return _json(plain)


def check_condition(text: str, names: Iterable[str]) -> None:
    """CelInvalid where it doesn't compile, or can't be true or false."""
    from cel_expr_python import cel

    program = compiled(text, names)
    given = program._expression.return_type()
    if given not in (cel.Type.BOOL, cel.Type.DYN):
        raise CelInvalid(f"gives {_TYPES.get(given.name(), given.name().lower())}, and must give true or false")


def compiled(text: str, names: Iterable[str]) -> Program:
    """The program of an expression; CelInvalid with the place in the text, or where the extra isn't installed."""
    if not is_installed():
        raise CelInvalid(INSTALL)
    return _compiled(text, tuple(sorted(name for name in set(names) if _NAME.fullmatch(name))))


@lru_cache(maxsize=1024)
def _compiled(text: str, names: tuple[str, ...]) -> Program:
    try:
        return Program(text, names, _environment(names).compile(text))
    except RuntimeError as error:
        raise CelInvalid(_said(str(error), text)) from error


@lru_cache(maxsize=64)
def _environment(names: tuple[str, ...]) -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

    from koalesce.expressions import cel_functions  # imported here: most specs have no CEL

    kinds = {
        "text": cel.Type.STRING,
        "double": cel.Type.DOUBLE,
        "int": cel.Type.INT,
        "bool": cel.Type.BOOL,
        "any": cel.Type.DYN,
    }
    overloads: dict[str, list[Any]] = {}
    for function in cel_functions.FUNCTIONS:
        made = cel.Overload(
            id="_".join([function.name, *function.takes]), return_type=kinds[function.gives],
            parameters=[kinds[kind] for kind in function.takes], is_member=function.is_member, impl=function.run,
        )  # fmt: skip
        overloads.setdefault(function.name, []).append(made)
    extensions: list[Callable[[], Any]] = [
        ext_bindings.ExtBindings, ext_encoders.ExtEncoders, ext_math.ExtMath, ext_optional.ExtOptional, ext_strings.ExtStrings,
    ]  # fmt: skip
    return cel.NewEnv(
        variables=dict.fromkeys(names, cel.Type.DYN),
        extensions=[extension() for extension in extensions],
        functions=[cel.FunctionDecl(name, found) for name, found in overloads.items()],
    )


def references(text: str) -> list[tuple[str, str | None]]:
    """The names that an expression may take from outside, each with the field that follows it (its own variables, too)."""
    bare = _STRING.sub('""', text)
    return [(match[1], match[2]) for match in _REFERENCE.finditer(bare) if match[1] not in _WORDS]


def _said(error: str, text: str) -> str:
    """The first thing that the compiler says, with its place."""
    found = _SAID.search(error)
    if found is None:
        return f"can't be compiled: {error.splitlines()[0]}"
    message = (
        found[3].partition(" expecting {")[0].removesuffix(" [INVALID_ARGUMENT]").replace(" (in container '')", "")
    )
    line = f"line {found[1]}, " if "\n" in text.strip() else ""
    return f"{message}, at {line}character {found[2]}"


def _reason(text: str) -> str:
    """What went wrong, without the library's own code for it."""
    if found := _NO_KEY.fullmatch(text):
        return f"there is no {found[1]}"
    return re.sub(r"^[A-Z_]+: ", "", text)


def _json(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case list():
            return [_json(item) for item in value]
        case dict():
            return {str(key): _json(child) for key, child in value.items()}
    raise CelFailed(f"gives {kind_of(value)}, which no spec can hold: make a text of it by string(…)")


def kind_of(value: Any) -> str:
    """What people call the type of a value, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a map"
    return {"timedelta": "a duration", "datetime": "a time", "bytearray": "bytes"}.get(type(value).__name__, "a value")
