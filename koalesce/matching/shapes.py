"""The types of built-in objects, as far as comparing needs them: names of fields, kinds of plain values, keys of lists.

A type is text: `string`, `integer`, `number`, `boolean`, `quantity`, `time`, `int-or-string`, `any`, the name of a type with fields,
`map of TYPE`, `list of TYPE`, `set of TYPE`, or `list by KEY KEY of TYPE` where elements are told apart by keys.
"""

from __future__ import annotations

from collections.abc import Mapping

from koalesce.records import dataclass

Types = Mapping[str, Mapping[str, str]]
PLAIN = frozenset({"boolean", "int-or-string", "integer", "number", "quantity", "string", "time"})
_MAP, _LIST, _SET, _KEYED = "map of ", "list of ", "set of ", "list by "
_OTHERS = "*"  # a type with this field has any others of this type, too


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of one value."""

    types: Types
    text: str

    def field(self, name: str) -> Shape | None:
        """The type below a key; None if nothing is known of it."""
        if self.text.startswith(_MAP):
            return Shape(self.types, self.text.removeprefix(_MAP))
        fields = self.types.get(self.text, {})
        text = fields.get(name) or fields.get(_OTHERS)
        return Shape(self.types, text) if text else None

    @property
    def element(self) -> Shape | None:
        """The type of a list's elements."""
        if self.text.startswith((_LIST, _SET)):
            return Shape(self.types, self.text.partition(" of ")[2])
        if self.text.startswith(_KEYED):
            return Shape(self.types, self.text.partition(" of ")[2])
        return None

    @property
    def names(self) -> frozenset[str] | None:
        """All fields that there can be; None where any key may be one."""
        fields = self.types.get(self.text)
        return None if fields is None or _OTHERS in fields else frozenset(fields)

    @property
    def keys(self) -> tuple[str, ...]:
        """The fields that tell a list's elements apart, the first of them always."""
        if not self.text.startswith(_KEYED):
            return ()
        return tuple(self.text.removeprefix(_KEYED).partition(" of ")[0].split())

    @property
    def is_set(self) -> bool:
        """Whether it's a list of plain values whose order doesn't count."""
        return self.text.startswith(_SET)

    @property
    def is_list(self) -> bool:
        """Whether it's a list of any form."""
        return self.text.startswith((_LIST, _SET, _KEYED))

    @property
    def is_open(self) -> bool:
        """Whether it's a map whose keys are free."""
        return self.text.startswith(_MAP)
