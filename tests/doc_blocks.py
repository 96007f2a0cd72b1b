"""The fenced blocks of documentation, and what they are: files of a project, parts of specs, commands.

A block of YAML whose first line is `# PATH` (`# specs/web.yaml`) is that file of the page's project, and replaces what the page has shown of it before. A comment
`<!-- run: CODE -->` above a block of commands has them run (tests/specs/test_tutorial.py), which must end with that code; lines of a block `text` after it must be
among what they print, where `…` stands for anything. `<!-- fields -->` stands above YAML that is less than a step.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATED = "<!-- Written by"
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^ *(?P=ticks)$", re.MULTILINE | re.DOTALL
)
_FILE = re.compile(r"# ([\w./-]+\.(?:yaml|yml|toml|ini|py))\n")
_RUN = re.compile(r"<!-- run: (\d+) -->\s*$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page. `code` is the exit code of commands that are to be run."""

    page: Path
    line: int
    language: str
    text: str
    code: int | None = None
    is_fields: bool = False

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The path of the file that it is, or nothing."""
        found = _FILE.match(self.text)
        return found.group(1) if found else ""

    @property
    def commands(self) -> list[list[str]]:
        """Its commands as words; comments and what stands before a command in its line (`cd x &&`) or takes its output (`| jq`) are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        parts = [part.partition(" | ")[0] for line in lines for part in line.split(" && ")]
        found = [shlex.split(part, comments=True) for part in parts]
        return [words for words in found if words]


def blocks(page: Path) -> list[Block]:
    """All of a page, in their order."""
    return list(_blocks(page, page.read_text(encoding="utf-8")))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in found["text"].splitlines(keepends=True))
        run = _RUN.search(text[: found.start()])
        yield Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found["language"],
            text=body,
            code=int(run.group(1)) if run else None,
            is_fields=text[: found.start()].rstrip().endswith("<!-- fields -->"),
        )


def inline(page: Path) -> list[str]:
    """What stands in a page's sentences as code."""
    return re.findall(r"(?<!`)`([^`\n]+)`", _FENCE.sub("", page.read_text(encoding="utf-8")))


def pages() -> list[Path]:
    """The pages that people write."""
    own = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in own if page.exists() and not page.read_text(encoding="utf-8").startswith(GENERATED)]
