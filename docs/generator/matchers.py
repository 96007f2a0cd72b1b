"""Matchers: every operator, with what a failure says of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.kube import builtin
from koalesce.matching.operators import OPERATORS
from koalesce.spec.reference import Reference

# An operand for each operator; for those that count, the pattern beside them is the second.
_SAMPLES: Mapping[str, Any] = {
    "equals": 3,
    "notEquals": "x",
    "contains": "kube",
    "notContains": "error",
    "matches": "^v1\\.",
    "notMatches": "rc",
    "gt": 2,
    "ge": "500m",
    "lt": "64Mi",
    "le": 1,
    "in": [200, 204],
    "notIn": [500],
    "inCIDR": "10.244.0.0/16",
    "count": 3,
    "unique": True,
    "absent": True,
    "allOf": [{"ge": 1}, {"lt": 5}],
    "anyOf": [{"equals": 0}, {"gt": 100}],
    "before": "2026-01-31T12:00:00Z",
    "after": "2026-01-31T12:00:00Z",
    "olderThan": "5m",
    "newerThan": "1h",
    "semver": ">=1.34 <1.38",
    "exists": True,
    "all": {"ready": True},
    "any": {"type": "Ready"},
    "none": {"type": "Failed"},
    "exactly": (2, {"type": "Ready"}),
    "atLeast": (1, {"type": "Ready"}),
    "atMost": (1, {"type": "Failed"}),
    "containsInOrder": [{"name": "a"}, {"name": "b"}],
}

_INTRODUCTION = """\
A matcher says what a value must be like: `status: {ge: 200, lt: 300}`. It's a map of operators, all of which must hold. A bare value stands for
`equals`, where a matcher is asked for (`status: 200`).

Inside of a pattern (the `match` of `assert`, `json` of `exec` and `curl`), a map that consists of operators only is a matcher; any other map matches a
part of the actual map, and a list matches element by element: as many elements, in the same order; some lists of objects match by keys (below). `all`,
`any`, `none` and the counting operators look at the elements of a list whatever their number."""

_LISTS = """\
In objects (`match`, `where`, `anyOf` and `allOf` of assertions on objects), lists match as Kubernetes merges them:

- **By keys**, at any place and among others: the lists of the table, wherever they stand in objects of built-in kinds, and `conditions` by `type` in
  the status of every other kind. The first key has to be written, as a plain value; the others count where they are written.
- **As sets**, each element that is written at any place and among others: lists of plain values such as `metadata.finalizers` and `spec.podCIDRs` of nodes.
- **Element by element**, as many and in the same order: every other list, every list in which an element lacks its key, and every empty list.
- **Equal in every part**: `{equals: […]}`, whatever the list. **In part**: `{contains: […]}`, `{any: …}`, `{all: …}`, whatever the list."""

_TEXT = """\
What is printed, a body and a header are texts: line breaks at their end don't count, a bare text or number stands for `equals`, and besides the operators there is
`json`: the text is read as JSON and matched in part.

```yaml
stdout: {json: {items: {any: {name: web}}}}
```"""


def matchers(reference: Reference) -> Iterator[str]:
    """The operators as a table, and texts."""
    yield "# Matchers"
    yield _INTRODUCTION
    yield "## Operators"
    texts = {each.name: each.text for each in reference.model("Matcher").fields}
    rows = ["| operator | holds for | written | a failure says: expected … |", "|---|---|---|---|"]
    rows += [_row(name, texts[name]) for name in OPERATORS]
    yield "\n".join(rows)
    yield "`exactly`, `atLeast` and `atMost` need `match` beside them: the pattern whose matches they count."
    yield "## Lists"
    yield _LISTS
    yield "\n".join(["| by | lists |", "|---|---|", *_keyed()])
    yield "## Text matchers"
    yield _TEXT


def _keyed() -> Iterator[str]:
    """A row for each combination of keys, with the lists that have them; conditions, which many have, in one word."""
    by_keys: dict[tuple[str, ...], list[str]] = {}
    for name, keys in builtin.keyed_lists().items():
        place, _, field = name.partition(".")
        by_keys.setdefault(keys, []).append(
            "`conditions` of any kind" if field == "conditions" else f"`{field}` of {place}"
        )
    for keys, names in sorted(by_keys.items()):
        yield f"| {', '.join(f'`{key}`' for key in keys)} | {', '.join(dict.fromkeys(names))} |"


def _row(name: str, text: str) -> str:
    sample = _SAMPLES[name]
    written = (
        f"{name}: {_flow(sample[0])}, match: {_flow(sample[1])}"
        if isinstance(sample, tuple)
        else f"{name}: {_flow(sample)}"
    )
    phrase = OPERATORS[name].phrase(sample)
    return f"| `{name}` | {text} | `{{{written}}}` | {phrase} |".replace("\n", " ")


def _flow(value: Any) -> str:
    """A value as it's written in a spec."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {_flow(child)}" for key, child in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(child) for child in value) + "]"
        case str() if value.isalnum():
            return value
        case _:
            return json.dumps(value)
