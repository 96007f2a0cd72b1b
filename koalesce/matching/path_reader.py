"""Reading jsonpaths and templates: from text to segments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from koalesce.matching.regex import compile_regex
from koalesce.matching.segments import Chain, Node, Range, Segment, descend, indexed, named, sliced, union, wildcard
from koalesce.patterns import pattern

_SLICE = pattern(r"(-?\d*):(-?\d*)(?::(-?\d*))?")
_INDEX = pattern(r"-?\d+")
_QUOTED = pattern(r"'([^']*)'|\"([^\"]*)\"")
_LITERAL = pattern(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"", re.DOTALL)
_TURNED = pattern(r"""\(\s*('[^']*'|"[^"]*"|-?[\d.]+|true|false)\s*(==|!=|<=|>=|<|>)\s*(@[^\s=<>!&|]*)\s*\)""")
_COMPARISONS = ("==", "!=", "<", ">", "=~")
_TURNS = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NAME_ENDS = frozenset(" .,[]{}$@")  # kubectl's
_FILTER_NAME_ENDS = frozenset(" .[]{}()=!<>~&|,'\"")


def problem(text: str, what: str) -> ValueError:
    """The error that says what is wrong with a path."""
    return ValueError(f"jsonpath {text!r}: {what}")


class TemplateReader:
    """Reads text with actions in braces."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def nodes(self) -> tuple[Node, ...]:
        """Text, paths and ranges, in order."""
        nodes, ended = self._until_end()
        if ended:
            raise problem(self._text, "{end} without {range …}")
        return tuple(nodes)

    def _until_end(self) -> tuple[list[Node], bool]:
        nodes: list[Node] = []
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
            raise problem(self._text, "a { has no }")
        action = self._text[self._at + 1 : end].strip()
        self._at = end + 1
        return action

    def _node(self, action: str) -> Node:
        if literal := _LITERAL.fullmatch(action):
            return _unescaped(literal[1] if literal[1] is not None else literal[2])
        if action.startswith(("range ", "range\t")):
            over = PathReader(action[6:].strip(), self._text).chain()
            body, ended = self._until_end()
            if not ended:
                raise problem(self._text, "{range …} without {end}")
            return Range(over, tuple(body))
        return PathReader(action, self._text).chain()


class PathReader:
    r"""Reads one path: `.items[*].metadata.labels.app\.kubernetes\.io/name`."""

    def __init__(self, text: str, whole: str, name_ends: frozenset[str] = _NAME_ENDS) -> None:
        self._text = text
        self._whole = whole
        self._name_ends = name_ends
        self.at = 0

    def chain(self) -> Chain:
        """The whole text as one path."""
        rooted = self._text.startswith("$")
        if self._text[:1] in ("$", "@"):
            self.at = 1
        segments = list(self.segments(bare=True))
        if self.at < len(self._text):
            raise problem(self._whole, f"{self._text[self.at]!r} can't stand here: {self._text[self.at :][:40]!r}")
        return Chain(tuple(segments), rooted)

    def segments(self, *, bare: bool) -> Iterator[Segment]:
        """Read on while there is a path; `bare`: it may begin with a name that has no dot."""
        while self.at < len(self._text):
            char = self._text[self.at]
            if self._text.startswith("..", self.at):
                self.at += 1 if self._text[self.at + 2 : self.at + 3] not in ("[", "") else 2
                yield Segment(".", descend, "many")
            elif char == "[":
                yield self._bracket()
            elif char == "." and (self._text[self.at + 1 : self.at + 2] == "[" or self._text in (".", "$.", "@.")):
                self.at += 1
            elif char == "." or (bare and self.at == 0):
                self.at += char == "."
                yield self._name()
            else:
                return

    def _name(self) -> Segment:
        name = ""
        while self.at < len(self._text) and self._text[self.at] not in self._name_ends:
            if self._text[self.at] == "\\" and self.at + 1 < len(self._text):
                self.at += 1
            name += self._text[self.at]
            self.at += 1
        if not name:
            raise problem(self._whole, f"a name is missing before {self._text[self.at :][:20]!r}")
        return wildcard(".*") if name == "*" else named(name)

    def _bracket(self) -> Segment:
        end = _closing(self._text, self.at, "[", "]")
        if end is None:
            raise problem(self._whole, "a [ has no ]")
        inside = self._text[self.at + 1 : end].strip()
        self.at = end + 1
        if inside == "*":
            return wildcard("[*]")
        if inside.startswith("?"):
            return _filtered(inside, self._whole)
        parts = _split(inside)
        if len(parts) == 1:
            return self._part(parts[0])
        chosen = [self._part(part) for part in parts]
        return union(inside, chosen)

    def _part(self, part: str) -> Segment:
        if _INDEX.fullmatch(part):
            return indexed(int(part))
        if (bounds := _SLICE.fullmatch(part)) and bounds[3] != "0":
            return sliced(part, bounds)
        if quoted := _QUOTED.fullmatch(part):
            return _quoted(quoted[1] if quoted[1] is not None else quoted[2], self._whole)
        raise problem(self._whole, f"[{part}] is none of an index, a slice, *, a name in quotes, or a filter ?(…)")


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


def _split(inside: str) -> list[str]:
    """The parts of a union, split at commas outside quotes."""
    parts = re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"])+", inside)
    return [part.strip() for part in parts] or [""]


def _quoted(key: str, whole: str) -> Segment:
    """A key in quotes; as kubectl reads it, dots that aren't escaped separate names, unless the key as a whole exists."""
    if "." not in key:
        return named(key)
    literal = key.replace("\\.", ".")
    names = PathReader(f".{key}", whole).chain()

    def select(value: Any) -> Iterable[Any]:
        if isinstance(value, Mapping) and literal in value:
            return (value[literal],)
        return names.find(value)

    return Segment(f"['{key}']", select)


def _filtered(inside: str, whole: str) -> Segment:
    from jsonpath_ng.exceptions import JSONPathError  # imported here: most paths have no filter
    from jsonpath_ng.ext.parser import parse

    condition = inside[1:].strip()
    if not (condition.startswith("(") and condition.endswith(")")):
        raise problem(whole, f"a filter is written [?(…)], not [{inside}]")
    try:
        text, asked = _filter_text(condition, whole)
        compiled = parse(f"$[?{text}]")
    except (JSONPathError, AttributeError, TypeError) as error:  # its parser trips over some input with these
        raise problem(whole, f"the filter {condition} can't be read: {error}") from error

    def select(value: Any) -> Iterable[Any]:
        return [found.value for found in compiled.find(value)] if isinstance(value, list | dict) else ()

    return Segment(f"[{inside}]", select, "filtered", asked=asked)


def _filter_text(condition: str, whole: str) -> tuple[str, tuple[Chain, ...]]:
    """A filter in kubectl's words as jsonpath-ng wants it: paths first, names in brackets, `&&` in full; what isn't there isn't `!=`.

    With it comes what elements must have: what is compared, and what holds that of which only the existence is asked.
    """
    if turned := _TURNED.fullmatch(condition):
        condition = f"({turned[3]} {_TURNS.get(turned[2], turned[2])} {turned[1]})"
    parts: list[str] = []
    asked: list[Chain] = []
    at = 0
    while at < len(condition):
        char = condition[at]
        if char in "'\"":
            end = _quote_end(condition, at, whole)
            if condition[:at].rstrip().endswith("=~"):
                compile_regex(condition[at + 1 : end - 1])
            parts.append(condition[at:end].replace("\\", "\\\\"))
        elif char == "@":
            if re.search(r"(==|!=|<=|>=|<|>|=~)\s*$", condition[:at]):
                raise problem(whole, "a filter compares with a value, not with another path")
            reader = PathReader(condition[at + 1 :], whole, _FILTER_NAME_ENDS)
            segments = tuple(reader.segments(bare=False))
            path = "@" + "".join(_bracketed(segment, whole) for segment in segments)
            end = at + 1 + reader.at
            rest = condition[end:].lstrip()
            asked.append(Chain(segments if rest.startswith(_COMPARISONS) else segments[:-1]))
            parts.append(f"{path} && {path}" if rest.startswith("!=") else path)
        elif char == "$":
            raise problem(whole, "a filter looks at the element (@), not at the document ($)")
        else:
            end = at + 1
            parts.append(char)
        at = end
    return re.sub(r"(?<!&)&(?!&)", "&&", "".join(parts)), tuple(asked)


def _quote_end(condition: str, at: int, whole: str) -> int:
    end = condition.find(condition[at], at + 1)
    if end < 0:
        raise problem(whole, "a quote in the filter isn't closed")
    return end + 1


def _bracketed(segment: Segment, whole: str) -> str:
    if segment.text.startswith("[?") or segment.text == ".":
        raise problem(whole, "a filter in a filter, or .. in a filter, isn't known")
    if segment.text.startswith("["):
        return segment.text.replace("\\.", ".")
    return segment.text if segment.text == ".*" else f"['{segment.text[1:]}']"
