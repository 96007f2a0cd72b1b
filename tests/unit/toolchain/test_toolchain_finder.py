"""A tool is found by the first way that works."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError, UsageError
from koalesce.toolchain.download import MIRROR, Downloader
from koalesce.toolchain.finder import Finder
from koalesce.toolchain.gobuild import GoBuilder
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.network import Network
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.releases import Download, Release, Releases
from koalesce.toolchain.shelf import Shelf
from tests.unit.toolchain.web import Answer, Web

URL = "https://example.com/v1.2.3/tool.tgz"
TOOL = Release(
    binaries=("tool", "helper"),
    asks=("--version",),
    lowest="1.2.0",
    below="2.0.0",
    downloads=(
        Download(url="https://example.com/v{version}/tool.tgz", checksums="https://example.com/SUMS", folder="bin"),
    ),
)


class NoBuild(GoBuilder):
    """A compiler that only takes notes."""

    def __init__(self) -> None:
        super().__init__()
        self.built: list[str] = []

    def build(self, recipe: Recipe, into: Path) -> None:
        self.built.append(recipe.tool)
        for name in recipe.binaries:
            script(into / name, "1.2.3")


def script(path: Path, version: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {path.name} version v{version}\n")
    path.chmod(0o755)


def module(folder: Path) -> Path:
    place = folder / "tool-1.2.3"
    place.mkdir(parents=True)
    (place / "go.mod").write_text("module x\n")
    text = 'tool = "tool"\nversion = "1.2.3"\npackages = ["."]\nbinaries = ["tool", "helper"]\n'
    (place / "tool.recipe.toml").write_text(text)
    return folder


@pytest.fixture
def builder() -> NoBuild:
    return NoBuild()


@pytest.fixture
def make(tmp_path: Path, builder: NoBuild, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finder]:
    """A finder with a recipe for the tool, and nothing on PATH."""
    monkeypatch.setenv("PATH", "/nonexistent")
    modules = module(tmp_path / "modules")

    def make(*, release: Release = TOOL, pins: dict[str, str] | None = None, **more: Path) -> Finder:
        releases = Releases(versions={}, tools={"tool": release}, pins=pins or {})
        return Finder(
            Shelf(tmp_path / "shelf"),
            releases,
            Downloader(Network()),
            builder,
            modules=(modules,),
            paths=more,
        )

    return make


def published(web: Web, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Put the tool's archive on a server; returns its pin."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name in ("bin/tool", "bin/helper"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"down"))
    monkeypatch.setenv(MIRROR, f"http://{web.address}")
    web.answers["/example.com/v1.2.3/tool.tgz"] = Answer(stream.getvalue())
    return {URL: hashlib.sha256(stream.getvalue()).hexdigest()}


def test_without_anything_else_it_is_built_once(make: Callable[..., Finder], builder: NoBuild) -> None:
    found = make().provide("tool", "1.2.3")
    again = make().provide("tool", "1.2.3")

    assert found.source == "build"
    assert again.source == "cache (build)"
    assert again.folder == found.folder
    assert builder.built == ["tool"]


def test_an_explicit_path_wins(make: Callable[..., Finder], builder: NoBuild, tmp_path: Path) -> None:
    for name in ("tool", "helper"):
        script(tmp_path / "own" / name, "0.0.1")

    found = make(tool=tmp_path / "own").provide("tool", "1.2.3")

    assert (found.source, found.folder) == ("explicit", tmp_path / "own")
    assert builder.built == []


def test_the_environment_names_a_path_too(
    make: Callable[..., Finder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tool", "helper"):
        script(tmp_path / "own" / name, "0.0.1")
    monkeypatch.setenv("KOALESCE_TOOL_TOOL", str(tmp_path / "own" / "tool"))

    assert make().provide("tool", "1.2.3").folder == tmp_path / "own"


def test_an_explicit_path_without_the_binaries_is_an_error(make: Callable[..., Finder], tmp_path: Path) -> None:
    script(tmp_path / "own" / "tool", "1.2.3")

    with pytest.raises(UsageError, match="given for tool, has no helper"):
        make(tool=tmp_path / "own").provide("tool", "1.2.3")


@pytest.mark.parametrize(
    ("version", "source"), [("1.2.0", "PATH"), ("1.9.9", "PATH"), ("1.1.9", "build"), ("2.0.0", "build")]
)
def test_path_is_used_at_a_version_that_fits(
    make: Callable[..., Finder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, source: str
) -> None:
    for name in ("tool", "helper"):
        script(tmp_path / "bin" / name, version)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert make().provide("tool", "1.2.3").source == source


def test_what_is_on_path_is_copied(
    make: Callable[..., Finder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "a" / "tool", "1.2.3")
    script(tmp_path / "b" / "helper", "1.2.3")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:{tmp_path}/b")

    folder = make().provide("tool", "1.2.3").folder

    assert sorted(path.name for path in folder.iterdir()) == ["helper", "tool"]
    assert folder.is_relative_to(tmp_path / "shelf")


def test_path_needs_all_binaries(make: Callable[..., Finder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "bin" / "tool", "1.2.3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert make().provide("tool", "1.2.3").source == "build"


def test_without_bounds_only_the_very_version_fits() -> None:
    exact = Release(binaries=("kubelet",))

    assert exact.fits("1.37.2", "1.37.2")
    assert not exact.fits("1.37.1", "1.37.2")


def test_a_pinned_download_comes_before_a_build(
    make: Callable[..., Finder], builder: NoBuild, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = published(web, monkeypatch)

    found = make(pins=pins).provide("tool", "1.2.3")

    assert found.source == "download"
    assert sorted((path.name, path.read_bytes()) for path in found.folder.iterdir()) == [
        ("helper", b"down"),
        ("tool", b"down"),
    ]
    assert make(pins=pins).provide("tool", "1.2.3").source == "cache (download)"
    assert builder.built == []


def test_a_download_without_a_pin_is_not_used(
    make: Callable[..., Finder], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(web, monkeypatch)

    assert make().provide("tool", "1.2.3").source == "build"
    assert web.asked == []


@pytest.mark.parametrize("answer", [Answer(status=503), Answer(b"something else")])
def test_a_broken_download_falls_through_to_the_build(
    make: Callable[..., Finder], web: Web, monkeypatch: pytest.MonkeyPatch, answer: Answer, tmp_path: Path
) -> None:
    pins = published(web, monkeypatch)
    web.answers["/example.com/v1.2.3/tool.tgz"] = answer

    assert make(pins=pins).provide("tool", "1.2.3").source == "build"
    assert [path.name for path in (tmp_path / "shelf/tool/1.2.3").iterdir() if "download" in path.name] == []


def test_single_files_are_downloaded_one_by_one(
    make: Callable[..., Finder], web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, f"http://{web.address}")
    url = "https://dl.example.com/v1.2.3/" + architecture() + "/{binary}"
    release = Release(binaries=("tool", "helper"), downloads=(Download(url=url, checksums=url + ".sha256"),))
    pins = {}
    for name in release.binaries:
        web.answers[f"/dl.example.com/v1.2.3/{architecture()}/{name}"] = Answer(name.encode())
        pins[url.format(binary=name)] = hashlib.sha256(name.encode()).hexdigest()

    folder = make(release=release, pins=pins).provide("tool", "1.2.3").folder

    assert sorted((path.name, path.stat().st_mode & 0o777) for path in folder.iterdir()) == [
        ("helper", 0o755),
        ("tool", 0o755),
    ]


def test_a_tool_that_cannot_be_had_says_what_was_tried(make: Callable[..., Finder]) -> None:
    with pytest.raises(
        ProvisionError, match=r"tool 9\.9\.9 can't be had: no checksum of its published files"
    ) as caught:
        make().provide("tool", "9.9.9")

    assert "set KOALESCE_TOOL_TOOL" in (caught.value.hint or "")


def test_looking_makes_nothing(make: Callable[..., Finder], builder: NoBuild, tmp_path: Path) -> None:
    assert make().find("tool", "1.2.3") is None
    assert builder.built == []
    assert not (tmp_path / "shelf").exists()
