"""kubectl's dialect of jsonpath (https://kubernetes.io/docs/reference/kubectl/jsonpath/); its filters are jsonpath-ng's.

Beyond kubectl: braces and the leading dot may be left out, `["key"]` is `['key']`, and filters know `&&`, `||`, `!` and `=~`.
Unlike kubectl an index out of range finds nothing (instead of an error), and `$` in a range is the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from koalesce.matching.mismatch import MISSING, member

_LONGEST = 2000
_SLICE = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_INDEX = re.compile(r"-?\d+")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_NAME_ENDS = frozenset(" .,[]{}$@")  # kubectl's
_FILTER_NAME_ENDS = frozenset(" .[]{}()=!<>~&|,'\"")

_Select = Callable[[Any], Iterable[Any]]
Spread = Literal["one", "filtered", "many"]


@dataclass(frozen=True, slots=True)
class _Segment:
    """One part of a path: how it is written after its prefix, what it selects of one value, and how much that can be."""

    text: str
    select: _Select
    spread: Spread = "one"


@dataclass(frozen=True, slots=True)
class _Chain:
    """Segments in a row; `rooted`: written with `$`, so that a range doesn't change where it begins."""

    segments: tuple[_Segment, ...]
    rooted: bool = False

    def find(self, document: Any) -> list[Any]:
        found = [document]
        for segment in self.segments:
            found = [value for one in found for value in segment.select(one)]
        return found


@dataclass(frozen=True, slots=True)
class _Range:
    """`{range PATH}…{end}`."""

    over: _Chain
    body: tuple[_Node, ...]


_Node = str | _Chain | _Range


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled jsonpath. Safe to share between threads.

    `is_template` is set where text stands around or between braces, or where `range` is used: `find` then gives one string.
    """

    text: str
    nodes: tuple[_Node, ...]
    is_template: bool

    @property
    def spread(self) -> Spread:
        """How much it can lead to: `one` value, those that a filter leaves (often one), or `many` by a wildcard, slice, union or `..`."""
        found = {segment.spread for segment in self._chain.segments}
        return "many" if "many" in found else "filtered" if "filtered" in found else "one"

    def find(self, document: Any) -> list[Any]:
        """The values that the path leads to, in order; empty if there are none."""
        if self.is_template:
            return [self.render(document)]
        return self._chain.find(document)

    def render(self, document: Any) -> str:
        """The text that `kubectl get -o jsonpath=…` prints."""
        return _render(self.nodes, document, document)

    def nearest(self, document: Any) -> str:
        """The longest beginning of the path that still leads to something, as a path; "." if none of it does."""
        reached, found = "", [document]
        for segment in self._chain.segments:
            found = [value for one in found for value in segment.select(one)]
            if not found:
                break
            reached += segment.text
        return reached or "."

    @property
    def _chain(self) -> _Chain:
        """The one chain of a path; one without segments for a template."""
        first = self.nodes[0] if self.nodes and not self.is_template else None
        return first if isinstance(first, _Chain) else _Chain(())


def compile_path(text: str) -> Path:
    """Read a jsonpath; ValueError says in a sentence what is wrong with it. Compiled paths are kept."""
    if len(text) > _LONGEST:
        raise ValueError(f"a jsonpath has at most {_LONGEST} characters, this one has {len(text)}")
    return _compile(text)


@lru_cache(maxsize=1024)
def _compile(text: str) -> Path:
    stripped = text.strip()
    if not stripped:
        raise ValueError("the jsonpath is empty; write {.} for the whole object")
    if not stripped.startswith("{"):
        try:
            return Path(text, (_PathReader(stripped, text).chain(),), False)
        except ValueError:
            if "{" not in stripped:
                raise
    nodes = _TemplateReader(stripped).nodes()
    if len(nodes) == 1 and isinstance(nodes[0], _Chain):
        return Path(text, nodes, False)
    return Path(text, _TemplateReader(text).nodes(), True)


def _problem(text: str, what: str) -> ValueError:
    return ValueError(f"jsonpath {text!r}: {what}")


def _render(nodes: Iterable[_Node], document: Any, current: Any) -> str:
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, _Range):
            parts.extend(
                _render(node.body, document, item) for item in node.over.find(document if node.over.rooted else current)
            )
        else:
            parts.append(" ".join(_printed(value) for value in node.find(document if node.rooted else current)))
    return "".join(parts)


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


class _TemplateReader:
    """Reads text with actions in braces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def nodes(self) -> tuple[_Node, ...]:
        nodes, ended = self._until_end()
        if ended:
            raise _problem(self._text, "{end} without {range …}")
        return tuple(nodes)

    def _until_end(self) -> tuple[list[_Node], bool]:
        nodes: list[_Node] = []
        while self._at < len(self._text):
            if self._text[self._at] != "{":
                brace = self._text.find("{", self._at)
                end = len(self._text) if brace < 0 else brace
                nodes.append(self._text[self._at : end])
                self._at = end
                continue
            action = self._action()
            if action == "end":
                return nodes, True
            nodes.append(self._node(action))
        return nodes, False

    def _action(self) -> str:
        end = _closing(self._text, self._at, "{", "}")
        if end is None:
            raise _problem(self._text, "a { has no }")
        action = self._text[self._at + 1 : end].strip()
        self._at = end + 1
        return action

    def _node(self, action: str) -> _Node:
        if literal := _QUOTED.fullmatch(action):
            return _unescaped(literal[1] if literal[1] is not None else literal[2])
        if action.startswith(("range ", "range\t")):
            over = _PathReader(action[6:].strip(), self._text).chain()
            body, ended = self._until_end()
            if not ended:
                raise _problem(self._text, "{range …} without {end}")
            return _Range(over, tuple(body))
        return _PathReader(action, self._text).chain()


def _unescaped(literal: str) -> str:
    simple = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
    return re.sub(r"\\(.)", lambda found: simple.get(found[1], found[0]), literal)


def _closing(text: str, start: int, opening: str, closing: str) -> int | None:
    """The index of the bracket that closes the one at `start`, quotes and nesting minded."""
    depth, quote, at = 0, "", start
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if depth == 0:
                return at
        at += 1
    return None


class _PathReader:
    r"""Reads one path: `.items[*].metadata.labels.app\.kubernetes\.io/name`."""

    def __init__(self, text: str, whole: str, name_ends: frozenset[str] = _NAME_ENDS) -> None:
        self._text = text
        self._whole = whole
        self._name_ends = name_ends
        self.at = 0

    def chain(self) -> _Chain:
        rooted = self._text.startswith("$")
        if self._text[:1] in ("$", "@"):
            self.at = 1
        segments = list(self.segments(bare=True))
        if self.at < len(self._text):
            raise _problem(self._whole, f"{self._text[self.at]!r} can't stand here: {self._text[self.at :][:40]!r}")
        return _Chain(tuple(segments), rooted)

    def segments(self, *, bare: bool) -> Iterator[_Segment]:
        """Read on while there is a path; `bare`: it may begin with a name that has no dot."""
        while self.at < len(self._text):
            char = self._text[self.at]
            if self._text.startswith("..", self.at):
                self.at += 1 if self._text[self.at + 2 : self.at + 3] not in ("[", "") else 2
                yield _Segment(".", _descend, "many")
            elif char == "[":
                yield self._bracket()
            elif char == "." and (self._text[self.at + 1 : self.at + 2] == "[" or self._text in (".", "$.", "@.")):
                self.at += 1
            elif char == "." or (bare and self.at == 0):
                self.at += char == "."
                yield self._name()
            else:
                return

    def _name(self) -> _Segment:
        name = ""
        while self.at < len(self._text) and self._text[self.at] not in self._name_ends:
            if self._text[self.at] == "\\" and self.at + 1 < len(self._text):
                self.at += 1
            name += self._text[self.at]
            self.at += 1
        if not name:
            raise _problem(self._whole, f"a name is missing before {self._text[self.at :][:20]!r}")
        return _wildcard(".*") if name == "*" else _named(name)

    def _bracket(self) -> _Segment:
        end = _closing(self._text, self.at, "[", "]")
        if end is None:
            raise _problem(self._whole, "a [ has no ]")
        inside = self._text[self.at + 1 : end].strip()
        self.at = end + 1
        if inside == "*":
            return _wildcard("[*]")
        if inside.startswith("?"):
            return _filtered(inside, self._whole)
        parts = _split(inside)
        if len(parts) == 1:
            return self._part(parts[0])
        chosen = [self._part(part) for part in parts]
        return _Segment(f"[{inside}]", lambda value: [hit for one in chosen for hit in one.select(value)], "many")

    def _part(self, part: str) -> _Segment:
        if _INDEX.fullmatch(part):
            return _indexed(int(part))
        if (bounds := _SLICE.fullmatch(part)) and bounds[3] != "0":
            return _sliced(part, bounds)
        if quoted := _QUOTED.fullmatch(part):
            return _quoted(quoted[1] if quoted[1] is not None else quoted[2], self._whole)
        raise _problem(self._whole, f"[{part}] is none of an index, a slice, *, a name in quotes, or a filter ?(…)")


def _split(inside: str) -> list[str]:
    """The parts of a union, split at commas outside quotes."""
    parts = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"])+", inside)
    return [part.strip() for part in parts] or [""]


def _named(name: str) -> _Segment:
    def select(value: Any) -> Iterable[Any]:
        return (value[name],) if isinstance(value, Mapping) and name in value else ()

    return _Segment(member("", name), select)


def _indexed(index: int) -> _Segment:
    def select(value: Any) -> Iterable[Any]:
        return (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()

    return _Segment(f"[{index}]", select)


def _sliced(text: str, bounds: re.Match[str]) -> _Segment:
    start, stop, step = (int(part) if part else None for part in bounds.groups())
    wanted = slice(start, stop, step)
    return _Segment(f"[{text}]", lambda value: value[wanted] if isinstance(value, list) else (), "many")


def _wildcard(text: str) -> _Segment:
    return _Segment(text, _children, "many")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for child in _children(value):
        yield from _descend(child)


def _quoted(key: str, whole: str) -> _Segment:
    """A key in quotes; as kubectl reads it, dots that aren't escaped separate names, unless the key as a whole exists."""
    if "." not in key:
        return _named(key)
    literal = key.replace("\\.", ".")
    names = _PathReader(f".{key}", whole).chain()

    def select(value: Any) -> Iterable[Any]:
        if isinstance(value, Mapping) and literal in value:
            return (value[literal],)
        return names.find(value)

    return _Segment(f"['{key}']", select)


def _filtered(inside: str, whole: str) -> _Segment:
    from jsonpath_ng.exceptions import JSONPathError  # imported here: most paths have no filter
    from jsonpath_ng.ext.parser import parse

    condition = inside[1:].strip()
    if not (condition.startswith("(") and condition.endswith(")")):
        raise _problem(whole, f"a filter is written [?(…)], not [{inside}]")
    try:
        compiled = parse(f"$[?{_filter_text(condition, whole)}]")
    except (JSONPathError, AttributeError, TypeError) as error:  # its parser trips over some input with these
        raise _problem(whole, f"the filter {condition} can't be read: {error}") from error

    def select(value: Any) -> Iterable[Any]:
        return [found.value for found in compiled.find(value)] if isinstance(value, list | dict) else ()

    return _Segment(f"[{inside}]", select, "filtered")


def _filter_text(condition: str, whole: str) -> str:
    """A filter in kubectl's words as jsonpath-ng wants it: names in brackets, `&&` in full."""
    parts: list[str] = []
    at = 0
    while at < len(condition):
        char = condition[at]
        if char in "'\"":
            end = _quote_end(condition, at, whole)
            parts.append(condition[at:end].replace("\\", "\\\\"))
        elif char == "@":
            if re.search(r"(==|!=|<=|>=|<|>|=~)\s*$", condition[:at]):
                raise _problem(whole, "a filter compares with a value, not with another path")
            reader = _PathReader(condition[at + 1 :], whole, _FILTER_NAME_ENDS)
            parts.append("@" + "".join(_bracketed(segment, whole) for segment in reader.segments(bare=False)))
            end = at + 1 + reader.at
        elif char == "$":
            raise _problem(whole, "a filter looks at the element (@), not at the document ($)")
        else:
            end = at + 1
            parts.append(char)
        at = end
    return re.sub(r"(?<!&)&(?!&)", "&&", "".join(parts))


def _quote_end(condition: str, at: int, whole: str) -> int:
    end = condition.find(condition[at], at + 1)
    if end < 0:
        raise _problem(whole, "a quote in the filter isn't closed")
    return end + 1


def _bracketed(segment: _Segment, whole: str) -> str:
    if segment.text.startswith("[?") or segment.text == ".":
        raise _problem(whole, "a filter in a filter, or .. in a filter, isn't known")
    if segment.text.startswith("["):
        return segment.text.replace("\\.", ".")
    return segment.text if segment.text == ".*" else f"['{segment.text[1:]}']"


def describe_nothing(path: Path, document: Any) -> str:
    """Why a path found nothing, in a clause: `matched nothing; nearest existing prefix is .status`."""
    return f"matched nothing; nearest existing prefix is {path.nearest(document)}"


def first(path: Path, document: Any) -> Any:
    """The first value of a path, or MISSING."""
    found = path.find(document)
    return found[0] if found else MISSING
