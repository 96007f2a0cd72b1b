"""A kind of state: how a node is asked for it, and how the answer is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from koalesce.records import dataclass

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """`command` is a script for `sh -e`; `read` makes items of what it prints (ValueError if it can't).

    `keys` are the fields by which people know an item, where it has more than a line takes. `fields` are those that an item can have, where they are few and known; None: whatever the kernel's own tool gives.
    `maps` are the fields whose values can be maps; None: any.
    """

    command: str
    read: Callable[[str], list[Item]]
    fields: frozenset[str] | None = None
    noun: str = "item"
    keys: tuple[str, ...] = ()
    maps: frozenset[str] | None = frozenset()
