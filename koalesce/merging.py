"""Settings over settings: maps are merged key by key, anything else is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A new map of both; where both have a key that isn't a map in each, `above` wins."""
    found = dict(below)
    for key, value in above.items():
        there = found.get(key)
        found[key] = merged(there, value) if isinstance(there, Mapping) and isinstance(value, Mapping) else value
    return found
