"""`vars`: values that a spec names, and that the command line may replace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from koalesce.expressions import ExpressionError, SyntaxProblem, find_expressions, paths_of, resolve
from koalesce.spec.source import Source
from koalesce.spec.values import override
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem


def known_variables(
    written: Any,
    *,
    overrides: Mapping[str, Any],
    env: Mapping[str, str],
    outer: Mapping[str, Any],
    source: Source,
    where: Path,
    matrix: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:
    """The variables whose values are known before anything runs, and what is wrong with the others.

    A variable may refer to others and to `env`; those that need something that isn't set, or is only there at run time, are left
    out. `overrides` win over what is written. `outer` are variables of the spec, for those of a test; `matrix` is the cell's.
    """
    if not isinstance(written, dict):
        return {}, []
    replaced = {name: override(written[name], value) for name, value in overrides.items() if name in written}
    work = _Work({**written, **replaced}, env, outer, matrix or {})
    problems: list[Problem] = []
    for name in written:
        try:
            work.value(name, ())
        except ExpressionError as error:
            problems.append(source.problem_at((*where, name), error.message))
    return work.known, problems


class _Work:
    def __init__(
        self, written: Mapping[str, Any], env: Mapping[str, str], outer: Mapping[str, Any], matrix: Mapping[str, Any]
    ) -> None:
        self.known: dict[str, Any] = {}
        self._written = written
        self._env = env
        self._outer = outer
        self._matrix = matrix
        self._circular: set[str] = set()

    def value(self, name: str, path: tuple[str, ...]) -> bool:
        """Find out a variable's value; False if it can't be known yet."""
        if name in self.known:
            return True
        if name in self._circular:  # said already
            return False
        if name in path:
            self._circular |= set(path[path.index(name) :])
            raise ExpressionError(f"vars.{name} refers to itself: {' → '.join([*path[path.index(name) :], name])}")
        written = self._written[name]
        names = _references(written)
        if names is None or not all(self._is_known(root, field, (*path, name)) for root, field in names):
            return False
        scope = {"vars": {**self._outer, **self.known}, "env": self._env, "matrix": self._matrix}
        self.known[name] = resolve(written, scope)
        return True

    def _is_known(self, root: str, field: str | None, path: tuple[str, ...]) -> bool:
        if root in ("env", "matrix"):
            return field in (self._env if root == "env" else self._matrix)
        if root != "vars" or field is None:
            return False
        if field in self._written and not (field == path[-1] and field in self._outer):
            return self.value(field, path)
        return field in self._outer


# What expressions may begin with; anything else in one of CEL is a variable of its own.
_ROOTS = frozenset(
    [
        "vars",
        "env",
        "matrix",
        "cluster",
        "clusters",
        "nodes",
        "namespace",
        "namespaces",
        "outputs",
        "setup",
        "fixtures",
        "components",
        "params",
        "item",
        "index",
        "test",
        "node",
        "others",
    ]
)


def _references(value: Any) -> list[tuple[str, str | None]] | None:
    """The root and the first name of each expression; None if one can't be read (which is said elsewhere)."""
    try:
        expressions = find_expressions(value)
    except SyntaxProblem:
        return None
    found: list[tuple[str, str | None]] = []
    for text in expressions:
        paths = paths_of(text)
        if not paths:
            return None
        if len(paths) > 1 or paths[0].text != text.strip():
            paths = [path for path in paths if path.root in _ROOTS]
        found += [
            (each.root, each.segments[0] if each.segments and isinstance(each.segments[0], str) else None)
            for each in paths
        ]
    return found


def is_known(value: Any, scope: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the scope has all that the value's expressions name: their roots, and the first name below each."""
    references = _references(value)
    return references is not None and all(name in scope.get(root, {}) for root, name in references)


def fill_in_known(value: Any, scope: Mapping[str, Any]) -> Any:
    """The value with those texts filled in whose expressions all lead into the scope; others stay as written."""
    match value:
        case dict():
            return {key: fill_in_known(child, scope) for key, child in value.items()}
        case list():
            return [fill_in_known(child, scope) for child in value]
        case str() if "${{" in value:
            references = _references(value)
            if not references or any(root not in scope for root, _ in references):
                return value
            try:
                return resolve(value, scope)
            except ExpressionError:
                return value
        case _:
            return value
