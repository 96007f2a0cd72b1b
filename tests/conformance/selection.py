"""Which of upstream's conformance tests are run, which are known to fail, and which are left out, with reasons."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("selection.toml")
_ALONE = ("[Serial]", "[Disruptive]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Tests by their full names; those that fail for a known reason are run too. `first` are patterns of those that last longest."""

    groups: tuple[str, ...]
    run: tuple[str, ...]
    first: tuple[str, ...] = ()
    known_failures: Mapping[str, str]
    left_out: Mapping[str, str]

    def problems(self, offered: Iterable[str]) -> list[str]:
        """What of it doesn't fit the tests that there are: names that nothing has, tests of its groups that it doesn't name."""
        theirs = {name for name in offered if name.startswith(self.groups)}
        named = [*self.run, *self.left_out]
        twice = sorted({name for name in named if named.count(name) > 1})
        return [
            *(f"there is no test {name!r}" for name in sorted({*named, *self.known_failures} - theirs)),
            *(f"neither run nor left out: {name!r}" for name in sorted(theirs - {*named})),
            *(f"named twice: {name!r}" for name in twice),
            *(f"known to fail, but not run: {name!r}" for name in sorted({*self.known_failures} - {*self.run})),
            *(f"begun first, but matches nothing: {each!r}" for each in self.first if not self._matching(each)),
        ]

    def in_order(self) -> list[str]:
        """What is run, those first that last longest: otherwise the end of a run waits for one of them alone."""
        return list(dict.fromkeys([*(name for each in self.first for name in self._matching(each)), *self.run]))

    def _matching(self, pattern: str) -> list[str]:
        return [name for name in self.run if re.search(pattern, name)]


def load(path: Path = FILE) -> Selection:
    """Read the file."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    return Selection(
        groups=tuple(f"[{group}] " for group in data["groups"]),
        run=tuple(data["run"]),
        first=tuple(data["first"]),
        known_failures=data["known-failures"],
        left_out=data["left-out"],
    )


def is_alone(name: str) -> bool:
    """Whether a test wants the cluster to itself."""
    return any(tag in name for tag in _ALONE)
