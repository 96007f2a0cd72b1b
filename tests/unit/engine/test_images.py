"""The images of a spec: given, built, pulled, or not to be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.engine.images import Images, provide_images
from koalesce.errors import ProvisionError
from koalesce.spec.cluster import ImageSource
from koalesce.spec.files import SpecFiles
from koalesce.toolchain import ImageStore, ImageUnavailable, Toolchain


class FakeStore:
    """Knows what it was given."""

    def __init__(self, *known: str) -> None:
        self.known = set(known)
        self.archives: list[tuple[Path, str | None]] = []

    normalize = staticmethod(ImageStore.normalize)

    def has(self, ref: str) -> bool:
        return self.normalize(ref) in self.known

    def add_archive(self, path: Path, ref: str | None = None) -> list[str]:
        self.archives.append((path, ref))
        self.known.add(self.normalize(ref or "unnamed"))
        return [self.normalize(ref or "unnamed")]

    def pull(self, ref: str, **_options: Any) -> str:
        raise ImageUnavailable(ref, "the registry can't be reached")


class FakeToolchain:
    def __init__(self, store: FakeStore) -> None:
        self.images = store

    def build_image(self, definition: Path, *, root: Path, reads: Callable[[Path], object]) -> str:
        assert definition.is_relative_to(root)
        return self.images.add_archive(definition, "built:1")[0]


def provide(
    store: FakeStore,
    root: Path,
    *sources: Mapping[str, Any],
    overrides: Mapping[str, Path] | None = None,
    needed: tuple[str, ...] = (),
) -> Images:
    return provide_images(
        [ImageSource.model_validate(source) for source in sources], overrides=overrides or {}, needed=needed,
        files=SpecFiles(root, root), values={"vars": {"version": "2"}}, toolchain=cast("Toolchain", FakeToolchain(store)),
        progress=lambda _: None, cancel=None,
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "image.tar").write_bytes(b"")
    return tmp_path


def test_an_archive_gives_an_image(root: Path) -> None:
    images = provide(FakeStore(), root, {"ref": "web:${{ vars.version }}", "archive": "image.tar"})

    assert images == Images(given=("docker.io/library/web:2",), needed=())


def test_the_command_line_wins_over_the_spec(root: Path) -> None:
    store = FakeStore()

    provide(store, root, {"ref": "web:2", "archive": "image.tar"}, overrides={"web:2": root / "mine.tar"})

    assert store.archives == [(root / "mine.tar", "web:2")]


def test_what_is_in_the_store_is_not_pulled(root: Path) -> None:
    images = provide(FakeStore("docker.io/library/web:2"), root, needed=("web:2",))

    assert images.needed == ("docker.io/library/web:2",)


def test_an_image_that_can_not_be_had_is_named_with_the_ways_to_supply_it(root: Path) -> None:
    with pytest.raises(ImageUnavailable) as caught:
        provide(FakeStore(), root, needed=("web:2",))

    assert "web:2" in caught.value.message
    assert "--image" in (caught.value.hint or "")


def test_a_definition_must_make_the_image_that_is_asked_for(root: Path) -> None:
    with pytest.raises(
        ProvisionError, match=r"makes the image docker\.io/library/built:1, not docker\.io/library/other:1"
    ):
        provide(FakeStore(), root, {"ref": "other:1", "build": "image.tar"})
