"""The tutorial, as a reader does it: its files are written, its commands run, on the cluster that the examples share."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.doc_blocks import Block, blocks
from tests.specs.shared import ROOT, Machine

pytestmark = pytest.mark.spec

PAGE = ROOT / "docs" / "tutorial" / "first-spec.md"


def test_the_tutorial_goes_as_it_says(machine: Machine, cluster: str, tmp_path: Path) -> None:
    (tmp_path / "koalesce.toml").touch()
    home = Machine(state=machine.state, home=tmp_path)
    ran, out = 0, ""
    for block in blocks(PAGE):
        if block.file:
            (tmp_path / block.file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.file).write_text(block.text)
        elif block.code is not None:
            ran, out = ran + 1, _run(home, block, cluster)
        elif block.language == "text":
            assert _unseen(block.text, out) == [], f"{block}: it printed\n{out}"

    assert ran == 3


def _run(machine: Machine, block: Block, cluster: str) -> str:
    (words,) = block.commands
    assert words[0] == "koalesce"
    where = ["--cluster", cluster] if words[1] == "run" else []
    done = machine.koalesce(*words[1:], *where)
    assert done.returncode == block.code, f"{block}: {done.returncode}\n{done.stdout}"
    return done.stdout


def _unseen(shown: str, out: str) -> list[str]:
    """Lines of a page that weren't printed; `…` stands for anything in them, and so does a time."""
    printed = [line.strip() for line in out.splitlines()]
    return [line for line in shown.splitlines() if line.strip() and not _is_among(line.strip(), printed)]


def _is_among(line: str, printed: list[str]) -> bool:
    parts = [re.escape(part) for part in re.split(r"…|\d+(?:\.\d+)?m?s\b", line)]
    pattern = re.compile(".*".join(parts))
    return any(pattern.fullmatch(each) for each in printed)
