"""The table of what Koalesce works with: versions, publishers' downloads and their pinned checksums."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.patterns import pattern
from koalesce.records import dataclass
from koalesce.toolchain.machine import architecture

_TABLE = Path(__file__).resolve().parent / "releases.toml"
_VERSION = pattern(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that a publisher offers: the binary itself, or an archive with binaries in `folder`.

    `url` and `checksums` (a file of SHA-256 sums) have places for `{version}`, `{arch}` and `{binary}`.
    """

    url: str
    checksums: str
    folder: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A tool: its binaries, how they tell their version, which versions fit when found, and where they are published."""

    binaries: tuple[str, ...]
    asks: tuple[str, ...] | None = None
    lowest: str = ""
    below: str = ""
    places: tuple[str, ...] = ()
    debian: str = ""
    downloads: tuple[Download, ...] = ()

    def fits(self, found: str, wanted: str) -> bool:
        """Whether a version that was found does for the one that is wanted."""
        if not self.lowest:
            return found == wanted
        return version_key(self.lowest) <= version_key(found) < version_key(self.below)


@dataclass(frozen=True, slots=True, kw_only=True)
class Releases:
    """The whole table."""

    versions: Mapping[str, str]
    tools: Mapping[str, Release]
    pins: Mapping[str, str]

    @classmethod
    def load(cls, recorded: Path) -> Releases:
        """The shipped table, and the pins that were recorded on this machine."""
        data = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
        return cls(
            versions=data["versions"],
            tools={name: _release(entry) for name, entry in data["tools"].items()},
            pins={**data["pins"], **recorded_pins(recorded)},
        )

    def files(self, tool: str, version: str) -> list[tuple[str, str, Download]]:
        """What to download for a tool: (URL, URL of its checksums, entry), one for each file."""
        found = []
        for download in self.tools[tool].downloads:
            names = self.tools[tool].binaries if "{binary}" in download.url else ("",)
            for name in names:
                fields = {"version": version, "arch": architecture(), "binary": name}
                found.append((download.url.format(**fields), download.checksums.format(**fields), download))
        return found


def recorded_pins(path: Path) -> dict[str, str]:
    """The checksums that `koalesce toolchain add` recorded: URL → SHA-256 in hex."""
    try:
        pins = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ProvisionError(
            f"{path} is damaged", hint=f"remove it, then: koalesce toolchain add VERSION ({error})"
        ) from error
    return {str(url): str(pin) for url, pin in pins.items()}


def record_pins(path: Path, pins: Mapping[str, str]) -> None:
    """Add checksums to those recorded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    document = json.dumps({**recorded_pins(path), **pins}, indent=1, sort_keys=True)
    temporary.write_text(document + "\n", encoding="utf-8")
    temporary.replace(path)


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers that compare; what follows them (`-rc.1`) doesn't count."""
    return tuple(int(number) for number in re.findall(r"\d+", version.partition("-")[0]))


def version_in(text: str) -> str | None:
    """The first `X.Y.Z` in what a program prints about itself."""
    found = _VERSION.search(text)
    return found.group() if found else None


def _release(entry: dict[str, object]) -> Release:
    names = {"from": "lowest"}
    fields = {names.get(key, key): tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    downloads = fields.pop("downloads", ())
    assert isinstance(downloads, tuple)  # noqa: S101 - shipped data
    return Release(**fields, downloads=tuple(Download(**download) for download in downloads))  # type: ignore[arg-type]  # shipped data, checked by a test
