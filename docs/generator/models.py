"""Models as Markdown: their texts, and tables of their fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from koalesce.spec.reference import FieldText, ModelText

_ELSEWHERE = {
    "Component": "[Component](SPEC#component)",
    "Matcher": "[matcher](MATCHERS)",
    "TextMatcher": "[text matcher](MATCHERS#text-matchers)",
    "Step": "[step](STEPS)",
}


def sections(models: Sequence[ModelText], *, level: int, root: str) -> Iterator[str]:
    """A heading, a text and a table for each model; `root` leads from the page to docs/reference."""
    for model in models:
        yield f"{'#' * level} {model.name}"
        yield from described(model, root=root)


def described(model: ModelText, *, root: str) -> Iterator[str]:
    """The text of a model and the table of its fields."""
    if model.text:
        yield model.text
    if model.fields:
        yield table(model.fields, root=root)
    if model.matches:
        yield f"And the operators of a [matcher]({root}matchers.md)."


def table(fields: Sequence[FieldText], *, root: str) -> str:
    """The fields as rows."""
    rows = ["| field | type | default | |", "|---|---|---|---|"]
    return "\n".join([*rows, *(_row(each, root) for each in fields)])


def _row(each: FieldText, root: str) -> str:
    default = "**required**" if each.required else f"`{each.default}`" if each.default else ""
    cells = (f"`{each.name}`", _linked(each.type, root), default, each.text)
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _linked(words: str, root: str) -> str:
    def link(match: re.Match[str]) -> str:
        name = match[1]
        if name in _ELSEWHERE:
            return (
                _ELSEWHERE[name]
                .replace("MATCHERS", f"{root}matchers.md")
                .replace("STEPS", f"{root}README.md#steps")
                .replace("SPEC", f"{root}spec.md")
            )
        return f"[{name}](#{name.lower()})"

    return re.sub(r"\{(\w+)\}", link, words)


def _cell(text: str) -> str:
    return text.replace("\n\n", "<br>").replace("\n", " ").replace("|", "\\|")
