"""Foreign text made harmless: no control characters, nothing that a terminal or a CI system takes for a command."""

from __future__ import annotations

import re

# CSI, OSC and the other escape sequences of ECMA-48, also in their 8-bit forms; an OSC ends with BEL or ST.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# C0 but for newline and tab, DEL, C1, lone surrogates, and the marks that reorder text (CVE-2021-42574).
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# GitHub's runner finds `##[command]` anywhere in a line and `::command::` at its start, blanks before it or not
# (actions/runner, ActionCommand.cs); Azure Pipelines `##vso[`, TeamCity `##teamcity[`.
_ANYWHERE = re.compile(r"##(?=\[|vso\[|teamcity\[)", re.IGNORECASE)
_COMMAND = re.compile(r"\s*::")
_CELL = re.compile(r"(.*\.ya?ml) (\[.*\])", re.DOTALL)


def clean(text: str) -> str:
    """The text without escape sequences and control characters; newlines stay, tabs become blanks."""
    text = text.replace("\r\n", "\n").replace("\t", "    ")
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _ESCAPES.sub("", text)) if not _is_plain(text) else text


def one_line(text: str) -> str:
    """The text on a single line, cleaned; runs of blanks and line ends become one blank."""
    return " ".join(clean(text).split())


def location(spec: str, line: int) -> str:
    """A place in a spec, as editors and CI systems find it; the cell of a matrix stands behind it."""
    file, cell = split_cell(spec)
    place = f"{one_line(file)}:{line}" if line else one_line(file)
    return f"{place} {one_line(cell)}" if cell else place


def split_cell(spec: str) -> tuple[str, str]:
    """The file of a spec, and the cell of its matrix (`[kubernetes=1.34]`) or nothing."""
    match = _CELL.fullmatch(spec)
    return (match[1], match[2]) if match else (spec, "")


def bar(text: str) -> list[str]:
    """The lines of a longer text, each behind a bar, so that they are seen to be quoted and none starts a CI command."""
    return [f"| {line}".rstrip() for line in clean(text).rstrip().split("\n")] if text.strip() else []


def inert(line: str) -> str:
    """The line, changed only where a CI system would take it for a command."""
    line = _ANYWHERE.sub("## ", line)
    return f"| {line}" if _COMMAND.match(line) else line


def shorten(text: str, limit: int) -> str:
    """The head and the tail of a text that is longer than `limit` characters, with a word on what is left out."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


def _is_plain(text: str) -> bool:
    return text.isascii() and text.replace("\n", "").isprintable()
