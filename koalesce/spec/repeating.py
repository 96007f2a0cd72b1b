"""The same tests several times (`--count`), and the same specs on several versions (`--kubernetes V,V`), as cells are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from koalesce.errors import UsageError
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.matrix import Cell

_VERSION = "kubernetes"


def repeated(loaded: LoadedSpec, names: Collection[str], count: int) -> LoadedSpec:
    """The spec with only the tests of these names, each so many times: `reaches pods [run=1]`, `[run=2]` and so on."""
    pairs = [
        (test.model_copy(update={"name": f"{test.name} [run={number}]"}), origin)
        for test, origin in zip(loaded.spec.tests, loaded.origins, strict=True)
        if test.name in names
        for number in range(1, count + 1)
    ]
    spec = loaded.spec.model_copy(update={"tests": tuple(test for test, _ in pairs)})
    return replace(loaded, spec=spec, origins=tuple(origin for _, origin in pairs))


def on_versions(loaded: Sequence[LoadedSpec], versions: Sequence[str]) -> list[LoadedSpec]:
    """Each spec once for each version of Kubernetes, on clusters of their own. UsageError for one with such an axis of its own."""
    return [_on(spec, version) for spec in loaded for version in versions]


def _on(loaded: LoadedSpec, version: str) -> LoadedSpec:
    values = loaded.cell.values if loaded.cell is not None else {}
    if _VERSION in values:
        raise UsageError(
            f'{loaded.shown}: its matrix has an axis "{_VERSION}" of its own',
            hint=f"choose its values with --matrix {_VERSION}=…",
        )
    cell = Cell({**values, _VERSION: version})
    shown = f"{loaded.source.path} [{cell}]"
    return replace(loaded, shown=shown, cell=cell, cluster_overrides={_VERSION: version})
