"""HTML and SVG made of elements: whatever isn't markup already is foreign text, and is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

from koalesce.reporters.text import clean

_VOID = ("br", "hr", "input", "meta")


class Markup(str):
    """Text that is markup."""

    __slots__ = ()


Content = str | Iterable["Content"] | None


def tag(name: str, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """An element. Attributes that are None or False are left out; `class_` is `class`, `aria_label` is `aria-label`."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        parts.append(label if value is True else f'{label}="{escape(f"{value}")}"')
    start = f"<{' '.join(parts)}>"
    return Markup(start if name in _VOID else f"{start}{joined(*content)}</{name}>")


def joined(*content: Content) -> Markup:
    """The contents one after the other."""
    return Markup("".join(map(_one, content)))


def escape(text: str) -> Markup:
    """Text as it is shown: without control characters, and no part of it markup."""
    return text if isinstance(text, Markup) else Markup(html.escape(clean(text)))


def _one(content: Content) -> str:
    if content is None:
        return ""
    return escape(content) if isinstance(content, str) else joined(*content)
