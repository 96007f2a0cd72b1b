"""The images of a spec, had before anything starts: given, built, or pulled once for the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.expressions import resolve
from koalesce.process import Cancel
from koalesce.spec.cluster import ImageSource
from koalesce.spec.files import SpecFiles
from koalesce.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """References that the cluster can run: `given` by the spec or the command line, `needed` by manifests."""

    given: tuple[str, ...]
    needed: tuple[str, ...]


def provide_images(
    sources: Iterable[ImageSource],
    *,
    overrides: Mapping[str, Path],
    needed: Iterable[str],
    files: SpecFiles,
    values: Mapping[str, Any],
    toolchain: Toolchain,
    progress: Callable[[str], None],
    cancel: Cancel | None,
) -> Images:
    """Have every image in the machine's store.

    An image of the command line wins over one of the spec. ImageUnavailable, within seconds, for one that can't be had.
    """
    store = toolchain.images
    given = [ref for wanted, archive in overrides.items() for ref in store.add_archive(archive, wanted)]
    for source in sources:
        ref = resolve(source.ref, values) if source.ref else None
        if ref is not None and store.normalize(ref) in given:
            continue
        given += _provide(source, ref, files, values, toolchain, progress, cancel)
    normal = dict.fromkeys(store.normalize(ref) for ref in needed)
    for ref in normal:
        if not store.has(ref):
            progress(f"pulling {ref}")
            store.pull(ref, progress=progress, cancel=cancel)
    return Images(given=tuple(dict.fromkeys(given)), needed=tuple(normal))


def _provide(
    source: ImageSource,
    ref: str | None,
    files: SpecFiles,
    values: Mapping[str, Any],
    toolchain: Toolchain,
    progress: Callable[[str], None],
    cancel: Cancel | None,
) -> list[str]:
    store = toolchain.images
    if place := source.archive or source.folder:
        return store.add_archive(_one_file(files, resolve(place, values)), ref)
    if source.build:
        definition = _one_file(files, resolve(source.build, values))
        built = toolchain.build_image(definition, root=files.root, reads=files.takes)
        if ref is not None and store.normalize(ref) != built:
            raise ProvisionError(f"{source.build} makes the image {built}, not {store.normalize(ref)}")
        return [built]
    if ref is None:
        raise ProvisionError("an image of the spec has neither a reference nor a source")
    return [store.normalize(ref)] if store.has(ref) else [store.pull(ref, progress=progress, cancel=cancel)]


def _one_file(files: SpecFiles, path: str) -> Path:
    found = files.resolve(path)
    if len(found) != 1:
        raise ProvisionError(f"{path} are {len(found)} files; an image comes from one")
    return found[0]
