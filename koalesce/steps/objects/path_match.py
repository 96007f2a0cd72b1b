"""A jsonpath and what it has to lead to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import field_validator

from koalesce.kube import builtin
from koalesce.matching import operators
from koalesce.matching.diff import render
from koalesce.matching.flaws import Flaw
from koalesce.matching.jsonpath import Path, compile_path, describe_nothing
from koalesce.matching.matcher import MatcherFields
from koalesce.matching.mismatch import MISSING, Mismatch
from koalesce.matching.partial import Matching, partial_match
from koalesce.matching.shapes import Shape

# What is said of all values that a path leads to, taken as a list; everything else is said of one value.
_OF_LISTS = frozenset(
    {"all", "any", "none", "count", "unique", "exactly", "atLeast", "atMost", "match", "containsInOrder"}
)
NOTHING = "nothing"  # what a path that leads nowhere has found
_OF_MEMBERS = frozenset({"contains", "notContains"})
_OF_WHOLES = frozenset({"equals", "notEquals"})


class PathMatch(MatcherFields):
    """A path into an object, and a matcher for what is there; without matcher there has to be something."""

    path: str
    """A jsonpath in kubectl's dialect: `{.status.phase}`, `{.items[*].spec.nodeName}`, `{.status.conditions[?(@.type=="Ready")].status}`."""

    @field_validator("path")
    @classmethod
    def _check_path(cls, text: str) -> str:
        if "${{" not in text:
            compile_path(text)
        return text

    def path_problems(self) -> list[str]:
        """What is wrong between the path and the operators, as sentences."""
        if "${{" in self.path or compile_path(self.path).spread != "many":
            return []
        return [
            _ambiguous(self.path, name) for name, operand in self.operators().items() if not _fits_many(name, operand)
        ]

    def look(self, document: Any, match: Matching = partial_match) -> Mismatch | None:
        """The first thing in which the document doesn't comply, or None; `match` says how values are compared."""
        path = compile_path(self.path)
        hits = path.find(document)
        wanted = self.operators()
        if path.is_template and not path.leads_anywhere(document):
            said = "is a text of which no path leads to anything, so this proves nothing"
            return Mismatch(path.text, self.expected, NOTHING, said)
        if not hits:
            return self._look_at_nothing(path, document, wanted, match)
        if not wanted:
            return (
                None if any(hit is not None for hit in hits) else self._at(Mismatch("", "a value", "null", "is null"))
            )
        if "all" in wanted and not match.may_not_exist and (gap := path.lacking(document)) and gap[0]:
            said = f"leads to a value in {gap[1] - gap[0]} of {gap[1]} elements only, all needs one in each"
            return self._at(Mismatch("", render(wanted), f"nothing in {gap[0]} of {gap[1]}", said))
        of_all, of_one = _split(wanted, path.spread)
        is_known = match.shape is not None and path.is_known(match.shape)
        values = replace(match, shape=None, is_object=False, may_lack=is_known)
        found = operators.apply(of_all, hits, values) if of_all else []
        found = found or self._look_at_one(of_one, hits, values)
        return self._at(found[0]) if found else None

    @property
    def expected(self) -> str:
        """What the matcher wants, in a few words."""
        wanted = self.operators()
        return render(wanted) if wanted else "a value"

    def _look_at_nothing(
        self, path: Path, document: Any, wanted: Mapping[str, Any], match: Matching
    ) -> Mismatch | None:
        """No hits pass only where the author speaks of that (`count`, `absent`, `exists: false`), and there was something to look at."""
        if "count" in wanted:
            if found := operators.apply(wanted, [], partial_match):
                return self._at(found[0])
        elif not wanted or any(operators.apply({name: operand}, MISSING, match) for name, operand in wanted.items()):
            return Mismatch(path.text, self.expected, NOTHING, describe_nothing(path, document))
        if match.may_not_exist:
            return None
        said = ""
        if match.shape is not None and (stranger := path.stranger(match.shape)):
            said = f"leads to nothing, and there is no such field {_with_hint(*stranger)}"
        elif not path.is_anchored(document):
            said = describe_nothing(path, document)
        elif unseen := path.unseen(document, match.shape):
            said = f"leads to nothing, as {unseen}"
        if not said:
            return None
        return Mismatch(
            path.text, self.expected, NOTHING, f"{said}, so this proves nothing; say mayNotExist: true if that is meant"
        )

    def _look_at_one(self, wanted: Mapping[str, Any], hits: list[Any], match: Matching) -> list[Mismatch]:
        if not wanted:
            return []
        if len(hits) > 1:
            said = f"leads to {len(hits)} values, {render(hits)}; say all: or any:"
            return [Mismatch("", render(wanted), f"{len(hits)} values", said)]
        return operators.apply(wanted, hits[0], match)

    def _at(self, found: Mismatch) -> Mismatch:
        return Mismatch(self.path.strip(), found.expected, found.actual, str(found))


def path_flaws(path: str, kind: str, *, of_list: bool = False) -> list[Flaw]:
    """What looks mistyped in a path into an object of a kind (or a list of such), as far as a built-in kind's fields tell."""
    if "${{" in path or (resource := builtin.find(kind)) is None:
        return []
    shape = builtin.shape_of(resource.api_version, resource.kind)
    found = compile_path(path).stranger(list_of(shape) if of_list else shape)
    if found is None or found[1] is None:
        return []
    return [Flaw((), f"{path}: {resource.kind} has no field {_with_hint(*found)}")]


def list_of(shape: Shape) -> Shape:
    """The type of a list of objects, as `kubectl get` makes it."""
    return Shape({**shape.types, "List": {"items": f"list of {shape.text}", "kind": "string"}}, "List")


def _with_hint(field: str, meant: str | None) -> str:
    return f"{field}; did you mean {meant}?" if meant else field


def _split(wanted: Mapping[str, Any], spread: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operators that look at all hits as a list, and those that look at the one."""
    if spread == "one":
        return {}, dict(wanted)
    of_all = {
        name
        for name, operand in wanted.items()
        if name in _OF_LISTS or (spread == "many" and _fits_many(name, operand))
    }
    return (
        {name: operand for name, operand in wanted.items() if name in of_all},
        {name: operand for name, operand in wanted.items() if name not in of_all},
    )


def _fits_many(name: str, operand: Any) -> bool:
    """Whether an operator can be said of several values at once."""
    return name in _OF_LISTS | _OF_MEMBERS or name == "exists" or (name in _OF_WHOLES and isinstance(operand, list))


def _ambiguous(path: str, name: str) -> str:
    return f"{path} can lead to several values, of which {name} says nothing; write all: {{{name}: …}} or any: {{{name}: …}}"
