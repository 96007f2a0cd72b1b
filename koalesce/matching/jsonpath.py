"""kubectl's dialect of jsonpath (https://kubernetes.io/docs/reference/kubectl/jsonpath/); its filters are jsonpath-ng's.

Beyond kubectl: braces and the leading dot may be left out, `["key"]` is `['key']`, and filters know `&&`, `||`, `!` and `=~`.
Unlike kubectl an index out of range finds nothing and a slice what there is of it (instead of an error), `[*]` takes the values of a
map, too, text without braces is a path, and `$` in a range is the document. A filter can't compare one path with another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from koalesce.matching.path_reader import PathReader, TemplateReader
from koalesce.matching.segments import Chain, Node, Range, Segment, Spread, children
from koalesce.matching.shapes import Shape
from koalesce.records import dataclass
from koalesce.suggestions import closest

_LONGEST = 2000


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled jsonpath. Safe to share between threads.

    `is_template` is set where text stands around or between braces, or where `range` is used: `find` then gives one string.
    """

    text: str
    nodes: tuple[Node, ...]
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
            found = segment.select_all(found)
            if not found:
                break
            reached += segment.text
        return reached or "."

    def lacking(self, document: Any) -> tuple[int, int] | None:
        """Of how many elements of how many the path lacks the value; None where not each of them is to have one.

        Each is to have one where names alone follow on a single `[*]`: `{.items[*].spec.podCIDR}`.
        """
        segments = self._chain.segments
        many = [index for index, segment in enumerate(segments) if segment.spread != "one"]
        if len(many) != 1 or segments[many[0]].text not in ("[*]", ".*"):
            return None
        if any(segment.name is None for segment in segments[many[0] + 1 :]):
            return None
        elements = len(Chain(segments[: many[0] + 1]).find(document))
        return elements - len(self.find(document)), elements

    def leads_anywhere(self, document: Any) -> bool:
        """Whether there is anything to see: a value, of a template one of any of its paths."""
        return _leads_anywhere(self.nodes, document, document)

    def is_anchored(self, document: Any) -> bool:
        """Whether what should hold the end of the path is there; what a filter leaves nothing of needn't hold anything."""
        found = [document]
        for segment in self._chain.segments[:-1]:
            found = segment.select_all(found)
            if not found:
                return segment.spread == "filtered"
        return True

    def unseen(self, document: Any, shape: Shape | None) -> str | None:
        """What a filter looks at that none of its elements has, nor their type as far as that is known, in a clause; None if there is no such."""
        here, found = shape, [document]
        for segment in self._chain.segments:
            elements = [element for value in found for element in children(value)] if segment.asked else []
            inner = here.element if here else None
            for chain in segment.asked if elements else ():
                if not any(chain.find(element) for element in elements) and not _is_known(chain, inner):
                    count = "the only element" if len(elements) == 1 else f"none of {len(elements)} elements"
                    return f"{count} has {'no ' if len(elements) == 1 else ''}{_written(chain)}, of which its filter {segment.text} speaks"
            found, here = segment.select_all(found), _below(here, segment)
        return None

    def stranger(self, shape: Shape) -> tuple[str, str | None] | None:
        """The path up to its first name that isn't a field of the document's type, and which was meant; None as far as is known."""
        here: Shape | None = shape
        reached = ""
        for segment in self._chain.segments:
            if here is None or segment.text == ".":
                return None
            for chain in segment.asked:
                if here.element is not None and (found := _stranger(chain, here.element)):
                    return f"{reached}[*]{found[0]}", found[1]
            if found := _stranger(Chain((segment,)), here):
                return f"{reached}{found[0]}", found[1]
            here = _below(here, segment)
            reached += segment.text
        return None

    def is_known(self, shape: Shape) -> bool:
        """Whether the path leads to fields of a type that is known, rather than into a map of free keys."""
        here: Shape | None = shape
        for segment in self._chain.segments:
            here = _below(here, segment)
        while here is not None and here.element is not None:
            here = here.element
        return here is not None and here.names is not None

    @property
    def last(self) -> Segment | None:
        """The last part of the path; None for the whole document and for templates."""
        return self._chain.segments[-1] if self._chain.segments else None

    @property
    def steps(self) -> tuple[str, ...]:
        """The parts of the path as they are written, names in one way: `.a`, `[*]`; none for templates."""
        return tuple(segment.text for segment in self._chain.segments)

    def holders(self, document: Any) -> list[Any]:
        """The values in which the last part of the path looks."""
        return Chain(self._chain.segments[:-1]).find(document)

    @property
    def _chain(self) -> Chain:
        """The one chain of a path; one without segments for a template."""
        first = self.nodes[0] if self.nodes and not self.is_template else None
        return first if isinstance(first, Chain) else Chain(())


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
            return Path(text, (PathReader(stripped, text).chain(),), False)
        except ValueError:
            if "{" not in stripped:
                raise
    nodes = TemplateReader(stripped).nodes()
    if len(nodes) == 1 and isinstance(nodes[0], Chain):
        return Path(text, nodes, False)
    return Path(text, TemplateReader(text).nodes(), True)


def describe_nothing(path: Path, document: Any) -> str:
    """Why a path found nothing, in a clause: `matched nothing; nearest existing prefix is .status`."""
    return f"matched nothing; nearest existing prefix is {path.nearest(document)}"


def _render(nodes: Iterable[Node], document: Any, current: Any) -> str:
    parts: list[str] = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, Range):
            parts.extend(
                _render(node.body, document, item) for item in node.over.find(document if node.over.rooted else current)
            )
        else:
            parts.append(" ".join(_printed(value) for value in node.find(document if node.rooted else current)))
    return "".join(parts)


def _leads_anywhere(nodes: Iterable[Node], document: Any, current: Any) -> bool:
    for node in nodes:
        if isinstance(node, Range):
            items = node.over.find(document if node.over.rooted else current)
            if any(_leads_anywhere(node.body, document, item) for item in items):
                return True
        elif isinstance(node, Chain) and node.find(document if node.rooted else current):
            return True
    return False


def _stranger(chain: Chain, shape: Shape) -> tuple[str, str | None] | None:
    """The beginning of a path up to the first name that isn't a field of the type, and which was meant; None as far as is known."""
    here: Shape | None = shape
    for index, segment in enumerate(chain.segments):
        if here is None:
            return None
        if segment.name is not None and here.names is not None and segment.name not in here.names:
            return _written(Chain(chain.segments[: index + 1])), closest(segment.name, here.names)
        here = _below(here, segment)
    return None


def _is_known(chain: Chain, shape: Shape | None) -> bool:
    """Whether each name of a path is a field of its type."""
    for segment in chain.segments:
        if shape is None or (segment.name is not None and segment.name not in (shape.names or ())):
            return False
        shape = _below(shape, segment)
    return True


def _below(shape: Shape | None, segment: Segment) -> Shape | None:
    if shape is None:
        return None
    return shape.element if segment.name is None else shape.field(segment.name)


def _written(chain: Chain) -> str:
    return "".join(segment.text for segment in chain.segments)


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
