"""From text to nodes, by way of the parser's events: limits, tags, keys and aliases are judged here, all with their place.

The parser in C (libyaml) is the quick way; what it refuses, or is known to take more leniently, is read by the one in Python,
whose word counts: the same file gives the same answer with and without the C library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from koalesce.patterns import pattern
from koalesce.records import dataclass
from koalesce.yaml.nodes import Node, Path, format_path
from koalesce.yaml.problems import Position, Problem, did_you_mean
from koalesce.yaml.scalars import ScalarError, core, kubectl

try:
    from ruamel.yaml import cyaml as _cyaml
except ImportError:  # the C library is an extra of ruamel.yaml
    _HAS_C = False
else:
    _HAS_C = True

Rules = Literal["spec", "manifest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file may cost: bytes, documents, nesting, values once aliases are written out."""

    size: int = 1 << 20
    documents: int = 1_000
    depth: int = 100
    values: int = 100_000


SPEC_LIMITS = Limits()
MANIFEST_LIMITS = Limits(size=32 << 20, documents=10_000, values=3_000_000)
_PURE_RETRY_SIZE = 1 << 20
_TAG = "tag:yaml.org,2002:"
_HARMLESS_TAGS = {_TAG + "map", _TAG + "seq"}
_TYPED_TAGS = {
    _TAG + name: kind for name, kind in (("int", int), ("float", (int, float)), ("bool", bool), ("null", type(None)))
}
# Tabs that separate, and anchors with a colon: the parser in C takes them. (In manifests they may: kubectl's parser does.)
_TAKEN_DIFFERENTLY = pattern(r"\t|[&*][^\s,\[\]{}]*:(?=\s)")
_SURROGATE = pattern("[\ud800-\udfff]")


def read(
    text: str, path: str, *, rules: Rules = "spec", limits: Limits | None = None, pure: bool = False
) -> tuple[list[Node], list[Problem]]:
    """The documents of a text and everything wrong with its form; documents after a syntax error are missing.

    `pure` takes the parser in Python from the start.
    """
    bounds = limits or (SPEC_LIMITS if rules == "spec" else MANIFEST_LIMITS)
    if len(text) > bounds.size:
        message = f"the file has {len(text):,} characters; at most {bounds.size:,} are read"
        return [], [Problem.at(path, text[:200], Position(1, 1), message)]
    if pure or not _HAS_C or (rules == "spec" and _TAKEN_DIFFERENTLY.search(text)):
        return _Reading(text, path, rules, bounds).run(_pure_events(text))
    reading = _Reading(text, path, rules, bounds)
    documents, problems = reading.run(_c_events(text))
    if reading.broken and len(text) <= _PURE_RETRY_SIZE:
        return _Reading(text, path, rules, bounds).run(_pure_events(text))
    return documents, problems


def _c_events(text: str) -> Iterator[Any]:
    loader = _cyaml.CBaseLoader(text)
    while (event := loader.get_event()) is not None:
        yield event


def _pure_events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML  # imported here: seldom needed, and slow to load

    yield from YAML(typ="safe", pure=True).parse(text)


class _Stop(Exception):
    """Control flow: the rest of the file isn't worth reading."""


class _Open:
    """A collection that is being read."""

    __slots__ = ("anchor", "key", "key_position", "merged", "node", "path")

    def __init__(self, node: Node, anchor: str | None, path: Path) -> None:
        self.node = node
        self.anchor = anchor
        self.path = path
        self.key: str | None = None
        self.key_position: Position | None = None
        self.merged: list[Node] = []


class _Reading:
    """One pass over the events of a text."""

    def __init__(self, text: str, path: str, rules: Rules, limits: Limits) -> None:
        self.broken = False
        self._text = text
        self._path = path
        self._rules = rules
        self._limits = limits
        self._resolve = core if rules == "spec" else kubectl
        self._documents: list[Node] = []
        self._problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._values = 0
        self._skip_value = False

    def run(self, events: Iterator[Any]) -> tuple[list[Node], list[Problem]]:
        try:
            for event in events:
                self._take(event)
        except _Stop:
            pass
        except ReaderError as error:
            self.broken = True
            self._add(
                _position_of(self._text, error.position),
                f"a character that YAML doesn't allow: {_code(error.character)}",
            )
        except MarkedYAMLError as error:
            self.broken = True
            self._syntax_error(error)
        except (YAMLError, ValueError, RecursionError) as error:
            self.broken = True
            self._add(Position(1, 1), f"not valid YAML: {error}")
        return self._documents, self._problems

    def _take(self, event: Any) -> None:
        handler = _HANDLERS.get(type(event).__name__)
        if handler is not None:
            handler(self, event)

    def _document(self, event: Any) -> None:
        self._anchors = {}
        if self._rules == "spec" and (event.version or event.tags):
            line = next((number for number, line in enumerate(self._text.splitlines(), 1) if line.startswith("%")), 1)
            self._add(Position(line, 1), "directives (%YAML, %TAG) are not supported; specs are YAML 1.2")
        if len(self._documents) >= self._limits.documents:
            self._add(_place(event), f"the file has more than {self._limits.documents:,} documents")
            raise _Stop

    def _scalar(self, event: Any) -> None:
        position = _place(event)
        value: Any = event.value
        plain = event.implicit[0] and event.style in (None, "")
        try:
            if event.tag is not None:
                value = self._tagged(event)
            elif plain:
                value = self._resolve(value)
        except ScalarError as error:
            self._add(position, str(error), self._where())
        if isinstance(value, str) and _SURROGATE.search(value):
            self._add(position, "half of a surrogate pair is no character", self._where())
            value = _SURROGATE.sub("\ufffd", value)
        if self._expects_key():
            self._key(event, value, plain, position)
        else:
            self._attach(Node(value, position), event.anchor)

    def _tagged(self, event: Any) -> Any:
        """The value of a scalar with a tag; only manifests may have some, and of these only those of JSON's types."""
        if self._rules == "manifest" and event.tag in (_TAG + "str", "!"):
            return event.value
        if self._rules == "manifest" and (kind := _TYPED_TAGS.get(event.tag)) is not None:
            value = self._resolve(event.value)
            if isinstance(value, kind):
                return value
            raise ScalarError(f"{event.value!r} is not of the type that its tag says")
        raise ScalarError(_tag_message(event.tag))

    def _expects_key(self) -> bool:
        return (
            bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key_position is None
        )

    def _key(self, event: Any, value: Any, plain: bool, position: Position) -> None:
        top = self._stack[-1]
        top.key_position = position
        self._skip_value = False
        if event.anchor is not None:
            self._anchors[event.anchor] = Node(value, position)
        if plain and event.value == "<<" and event.tag is None:
            top.key = "<<"
            return
        top.key = self._key_text(event.value, value, position)
        if top.key in top.node.keys:
            first = top.node.keys[top.key]
            message = f"the key stands here twice; the first is in line {first.line}"
            self._add(position, message, format_path((*top.path, top.key)))

    def _key_text(self, written: str, value: Any, position: Position) -> str:
        """The key as a text; kubectl makes texts of numbers and booleans, a spec has to quote them."""
        if isinstance(value, str):
            return value
        if self._rules == "spec" or value is None:
            self._add(position, f'keys are texts; quote this one: "{written}"', self._where())
            return written
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _begin(self, event: Any) -> None:
        value: dict[str, Any] | list[Any] = {} if type(event).__name__ == "MappingStartEvent" else []
        position = _place(event)
        if event.tag is not None and not (self._rules == "manifest" and event.tag in _HARMLESS_TAGS):
            self._add(position, _tag_message(event.tag), self._where())
        if self._expects_key():
            self._add(position, "keys are texts, not lists or maps", self._where())
            raise _Stop
        if len(self._stack) >= self._limits.depth:
            self._add(position, f"nested more than {self._limits.depth} levels deep", "")
            raise _Stop
        node = Node(value, position)
        node.children = {} if isinstance(value, dict) else []
        self._stack.append(_Open(node, event.anchor, self._path_here()))

    def _end(self, _event: Any) -> None:
        top = self._stack.pop()
        for source in top.merged:
            _merge(top.node, source)
        self._attach(top.node, top.anchor)

    def _alias(self, event: Any) -> None:
        position = _place(event)
        if any(entry.anchor == event.anchor for entry in self._stack):
            self._add(position, f"the alias *{event.anchor} stands inside of what it refers to", self._where())
            raise _Stop
        target = self._anchors.get(event.anchor)
        if target is None:
            self._add(
                position, f"nothing is called &{event.anchor}", self._where(), did_you_mean(event.anchor, self._anchors)
            )
            target = Node(None, position)
        if len(self._stack) + target.height > self._limits.depth:
            self._add(position, f"nested more than {self._limits.depth} levels deep", "")
            raise _Stop
        self._values += target.size
        self._check_values(position)
        if self._expects_key():
            self._stack[-1].key_position = position
            self._stack[-1].key = self._key_text(str(target.value), target.value, position)
            return
        self._attach(target, None)

    def _attach(self, node: Node, anchor: str | None) -> None:
        """Put a finished value into the collection that it stands in, or make it a document."""
        if anchor is not None:
            self._anchors[anchor] = node
        self._values += 1
        self._check_values(node.position)
        if not self._stack:
            self._documents.append(node)
            return
        top = self._stack[-1]
        parent = top.node
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent.children, list):
            parent.children.append(node)
            parent.value.append(node.value)
            return
        key, position = top.key, top.key_position
        top.key = top.key_position = None
        if key is None or position is None:
            raise ValueError("a value without a key")
        if key == "<<":
            self._merge_later(top, node, position)
        elif key not in parent.keys:
            parent.keys[key] = position
            parent.children[key] = node
            parent.value[key] = node.value

    def _merge_later(self, top: _Open, node: Node, position: Position) -> None:
        sources = node.children if isinstance(node.children, list) and node.children else [node]
        for source in sources:
            if isinstance(source.value, dict):
                top.merged.append(source)
            else:
                self._add(position, "<< takes a map, or a list of maps", self._where())

    def _check_values(self, position: Position) -> None:
        if self._values > self._limits.values:
            self._add(position, f"more than {self._limits.values:,} values once aliases are written out", "")
            raise _Stop

    def _path_here(self) -> Path:
        if not self._stack:
            return ()
        top = self._stack[-1]
        step = len(top.node.value) if isinstance(top.node.value, list) else (top.key or "")
        return (*top.path, step)

    def _where(self) -> str:
        return format_path(self._path_here()).rstrip(".")

    def _add(self, position: Position, message: str, where: str = "", hint: str | None = None) -> None:
        self._problems.append(Problem.at(self._path, self._text, position, message, where=where, hint=hint))

    def _syntax_error(self, error: MarkedYAMLError) -> None:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        if "'\\t'" in str(error.problem):
            self._add(position, "a tab where YAML wants spaces", hint="indent and separate with spaces")
            return
        context = f"{error.context}, " if error.context else ""
        self._add(position, f"not valid YAML: {context}{error.problem}", hint=_syntax_hint(str(error.problem)))


_HANDLERS: Mapping[str, Callable[[_Reading, Any], None]] = {
    "AliasEvent": _Reading._alias,
    "DocumentStartEvent": _Reading._document,
    "MappingEndEvent": _Reading._end,
    "MappingStartEvent": _Reading._begin,
    "ScalarEvent": _Reading._scalar,
    "SequenceEndEvent": _Reading._end,
    "SequenceStartEvent": _Reading._begin,
}


def _merge(target: Node, source: Node) -> None:
    """YAML's `<<`: what the map itself says stays."""
    assert isinstance(target.children, dict)  # noqa: S101 - only maps have merges
    for key, child in source.children.items() if isinstance(source.children, dict) else ():
        if key not in target.keys:
            target.keys[key] = source.keys[key]
            target.children[key] = child
            target.value[key] = child.value


def _place(event: Any) -> Position:
    start, end = event.start_mark, event.end_mark
    length = end.column - start.column if end.line == start.line else 1
    return Position(start.line + 1, start.column + 1, max(1, length))


def _position_of(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


def _code(character: Any) -> str:
    number = character if isinstance(character, int) else ord(character)
    return f"U+{number:04X}"


def _tag_message(tag: str) -> str:
    shown = tag.replace(_TAG, "!!")
    return f"the tag {shown} is not supported; quote what is a text"


def _syntax_hint(problem: str) -> str | None:
    if "mapping values are not allowed" in problem:
        return "quote a text that contains ': ', and check the indentation"
    if "'%'" in problem or "'@'" in problem or "'`'" in problem:
        return "quote a text that begins with this character"
    return None
