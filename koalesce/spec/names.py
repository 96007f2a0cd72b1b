"""Expressions before they have values: whether each leads to something that will be there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from typing import Any

from koalesce.expressions import Expression, SyntaxProblem, check, find_expressions, paths_of
from koalesce.records import dataclass
from koalesce.spec.entries import Group, StepEntry
from koalesce.spec.known_fields import unknown_field
from koalesce.spec.matrix import axes_of
from koalesce.spec.source import Source
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

_STATIC = frozenset({"vars", "env", "matrix"})
_CLUSTER = _STATIC | {"cluster", "clusters", "nodes", "components", "fixtures"}
_TEST = _CLUSTER | {"setup", "test"}
_STEP = _TEST | {"namespace", "namespaces", "outputs", "node", "others"}
_SETUP_FIELDS = ("namespace", "outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What expressions at one place may say."""

    names: frozenset[str]
    variables: Collection[str] = ()
    axes: Collection[str] = ()
    namespaces: Collection[str] = ()
    cluster: str = ""  # whose nodes are meant; "" for the only one
    outputs: Mapping[str, str] = field(default_factory=dict)
    later_outputs: Mapping[str, str] = field(default_factory=dict)
    params: Collection[str] = ()  # of the group whose steps these are
    items: frozenset[str] = frozenset()  # what `foreach` calls its items, whatever these names mean elsewhere


class ExpressionChecks:
    """Checks every expression of a document against the names that its place has."""

    def __init__(
        self,
        data: Mapping[str, Any],
        source: Source,
        entries: Mapping[Path, list[StepEntry]],
        node_names: Mapping[str, Collection[str]],
        env_names: Collection[str],
    ) -> None:
        self._data = data
        self._source = source
        self._entries = entries
        self._node_names = node_names  # by cluster
        self._clusters = [name for name in node_names if name]
        self._axes = axes_of(data.get("matrix"))
        self._env_names = env_names
        self._variables = _keys(data.get("vars"))
        self._components = [item["name"] for item in _maps(data.get("components")) if isinstance(item.get("name"), str)]
        self._fixtures = _keys(data.get("fixtures"))
        self._setup_outputs = _outputs(entries.get(("setup", "steps"), []))

    def problems(self) -> list[Problem]:
        """Every expression that can't lead anywhere."""
        found: list[Problem] = []
        steps = {entry.where: entry for entries in self._entries.values() for entry in entries}
        for path, node in self._source.document.walk():
            for key in node.keys:
                if "${{" in key:
                    found.append(self._source.problem_at((*path, key), "keys can't have expressions", key=True))
            if isinstance(node.value, str) and "${{" in node.value:
                found += self._check(path, node.value, self._context(path, steps), self._source)
        for entry in steps.values():
            if entry.group is not None:
                found += self._group(entry, entry.group, self._context(entry.where, steps))
        return found

    def _group(self, use: StepEntry, group: Group, outer: _Context) -> Iterator[Problem]:
        """The expressions of a group's steps, and of those that they use in turn."""
        names = (outer.names & _TEST) | {"params", "namespace", "namespaces", "outputs"}
        common = replace(outer, names=frozenset(names), params=tuple(group.params), outputs={}, later_outputs={})
        children = list(use.children)
        for index, child in enumerate(children):
            context = replace(
                common,
                names=common.names | _item_names(child),
                items=_item_names(child),
                outputs=_outputs(children[:index]),
                later_outputs=_outputs(children[index:]),
            )
            for path, text in _texts(child.raw):
                yield from self._check((*child.where, *path), text, context, group.source)
            if child.group is not None:
                yield from self._group(child, child.group, context)
        after = replace(common, outputs=_outputs(children))
        for path, text in _texts(group.outputs):
            yield from self._check((*group.where, "outputs", *path), text, after, group.source)

    def _check(self, path: Path, text: str, context: _Context, source: Source) -> Iterator[Problem]:
        if not context.names:
            yield source.problem_at(path, "expressions can't stand here")
            return
        try:
            expressions = find_expressions(text)
        except SyntaxProblem as error:
            yield source.problem_at(path, str(error))
            return
        for expression in expressions:
            position = source.within(path, expression)
            if message := check(expression, context.names):
                yield source.problem(position, message, where=path)
                continue
            for parsed in paths_of(expression):
                if parsed.root in context.names - context.items and (found := self._below_root(parsed, context)):
                    message, hint = found
                    yield source.problem(position, message, where=path, hint=hint)

    def _below_root(self, expression: Expression, context: _Context) -> tuple[str, str | None] | None:
        """What is wrong with the names after the root, and a hint."""
        first = expression.segments[0] if expression.segments else None
        if isinstance(first, str) and (found := self._unknown_name(expression, first, context)):
            return found
        return unknown_field(expression)

    def _unknown_name(self, expression: Expression, first: str, context: _Context) -> tuple[str, str | None] | None:
        match expression.root:
            case "vars" if first not in context.variables:
                return f'{expression.text}: there is no variable "{first}"', did_you_mean(first, context.variables)
            case "env" if first not in self._env_names:
                hint = did_you_mean(first, self._env_names) or "add it to the list env in koalesce.toml"
                return f"{expression.text}: the project doesn't let its specs see ${first}", hint
            case "components" if first not in self._components:
                return f'{expression.text}: there is no component "{first}"', did_you_mean(first, self._components)
            case "matrix" if first not in context.axes:
                none = None if context.axes else "there is no matrix here"
                return f'{expression.text}: there is no axis "{first}"', did_you_mean(first, context.axes) or none
            case "clusters" if first not in self._clusters:
                return f'{expression.text}: there is no cluster "{first}"', did_you_mean(first, self._clusters)
            case "namespaces" if first not in context.namespaces:
                message = f'{expression.text}: the test has no namespace "{first}"'
                return message, did_you_mean(first, context.namespaces)
            case "nodes" if (names := self._node_names.get(context.cluster)) and first not in names:
                return f'{expression.text}: there is no node "{first}"', did_you_mean(first, names)
            case "params" if first not in context.params:
                return f'{expression.text}: the group has no parameter "{first}"', did_you_mean(first, context.params)
            case "outputs" if first not in context.outputs:
                return _no_output(expression.text, first, context.outputs, context.later_outputs)
            case "fixtures" if first not in self._fixtures:
                return f'{expression.text}: there is no fixture "{first}"', did_you_mean(first, self._fixtures)
            case "setup":
                return self._setup(expression, first)
        return None

    def _setup(self, expression: Expression, first: str) -> tuple[str, str | None] | None:
        if first not in _SETUP_FIELDS:
            return f"{expression.text}: setup has namespace and outputs", did_you_mean(first, _SETUP_FIELDS)
        second = expression.segments[1] if len(expression.segments) > 1 else None
        if first == "outputs" and isinstance(second, str) and second not in self._setup_outputs:
            return _no_output(expression.text, second, self._setup_outputs, {})
        return None

    def _context(self, path: Path, steps: Mapping[Path, StepEntry]) -> _Context:
        """What expressions may say at a path: what there are none of isn't among it."""
        context = self._full_context(path, steps)
        absent = {"clusters"} if not self._clusters else set()
        absent |= {"namespaces"} if not context.namespaces else set()
        return replace(context, names=context.names - absent)

    def _full_context(self, path: Path, steps: Mapping[Path, StepEntry]) -> _Context:
        for length in (5, 4, 3, 2):
            if (entry := steps.get(path[:length])) is not None:
                return self._step_context(entry)
        match path:
            case ("vars", *_):
                names = frozenset({"vars", "env", *(["matrix"] if self._axes else [])})
                return _Context(names=names, variables=self._variables, axes=self._axes)
            case ("matrix", *_):
                return _Context(names=frozenset({"vars", "env"}), variables=self._variables)
            case ("components", int(), "patches", *_):
                return _Context(names=_CLUSTER, variables=self._variables, axes=self._axes, cluster=self._default)
            case ("tests", int(index), "name", *_):
                return _Context(names=frozenset())
            case ("tests", int(index), "matrix", *_):
                return _Context(names=_STATIC, variables=self._variables, axes=self._axes)
            case ("tests", int(index), *_):
                return self._test_context(index, _TEST)
            case ("metadata" | "apiVersion" | "kind", *_):
                return _Context(names=frozenset())
        return _Context(names=_STATIC, variables=self._variables, axes=self._axes)

    @property
    def _default(self) -> str:
        """The cluster that is meant where none is named."""
        return next(iter(self._clusters), "")

    def _test_context(self, index: int, names: frozenset[str]) -> _Context:
        """What expressions may say anywhere in a test."""
        test = self._written_test(index)
        return _Context(
            names=names,
            variables=[*self._variables, *_keys(test.get("vars"))],
            axes=[*self._axes, *axes_of(test.get("matrix"))],
            namespaces=_keys(test.get("namespaces")),
            cluster=_cluster_of(test, self._default),
        )

    def _step_context(self, entry: StepEntry) -> _Context:
        names = _STEP
        if entry.where[0] == "components":
            names = _CLUSTER | {"namespace", "node", "others", "outputs"}
        elif entry.where[0] == "setup":
            names = _STEP - {"setup", "test"}
        names = names | _item_names(entry)
        before, later = self._outputs_around(entry)
        index = entry.where[1]
        if entry.where[0] == "tests" and isinstance(index, int):
            context = self._test_context(index, names)
        else:
            cluster = (
                _cluster_of(self._data.get("setup"), self._default) if entry.where[0] == "setup" else self._default
            )
            context = _Context(names=names, variables=self._variables, axes=self._axes, cluster=cluster)
        cluster = _cluster_of(entry.raw, context.cluster)
        return replace(context, outputs=before, later_outputs=later, cluster=cluster, items=_item_names(entry))

    def _outputs_around(self, entry: StepEntry) -> tuple[dict[str, str], dict[str, str]]:
        """The outputs that are there when a step runs, and those that come later."""
        own = self._entries.get(entry.where[:-1], [])
        before, later = _outputs(own[: entry.index]), _outputs(own[entry.index :])
        main = (*entry.where[:-2], "steps")
        if entry.where[:-1] != main and entry.where[0] in ("tests", "setup"):
            before = {**_outputs(self._entries.get(main, [])), **before}
        return before, later

    def _written_test(self, index: int) -> Mapping[str, Any]:
        tests = self._data.get("tests")
        test = tests[index] if isinstance(tests, list) and index < len(tests) else None
        return test if isinstance(test, dict) else {}


def _cluster_of(written: Any, default: str) -> str:
    """The cluster that a test or step is for; one by an expression is any, none of whose nodes is known."""
    name = written.get("cluster") if isinstance(written, dict) else None
    if not isinstance(name, str):
        return default
    return "?" if "${{" in name else name


def _item_names(entry: StepEntry) -> frozenset[str]:
    """The names that a step's `foreach` adds."""
    foreach = entry.raw.get("foreach")
    if not isinstance(foreach, dict):
        return frozenset()
    item = foreach.get("item")
    return frozenset({"item", "index", *([item] if isinstance(item, str) else [])})


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every text with an expression, with its path."""
    match value:
        case str() if "${{" in value:
            yield path, value
        case dict():
            for key, child in value.items():
                yield from _texts(child, (*path, key))
        case list():
            for index, child in enumerate(value):
                yield from _texts(child, (*path, index))


def _no_output(text: str, name: str, before: Mapping[str, str], later: Mapping[str, str]) -> tuple[str, str | None]:
    if name in later:
        return f'{text}: the output "{name}" is used before it exists', f"{later[name]} makes it"
    return f'{text}: no earlier step has an output "{name}"', did_you_mean(name, before)


def _outputs(entries: list[StepEntry]) -> dict[str, str]:
    """The outputs of steps, with the path of the step that makes each."""
    return {name: entry.path for entry in entries for name in entry.output_names}


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
