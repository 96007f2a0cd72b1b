"""Values of the command line for axes of matrices: `--matrix AXIS=VALUE,…`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from koalesce.errors import UsageError
from koalesce.spec.loaded import LoadedSpec
from koalesce.spec.matrix import axes_of, shown_value
from koalesce.spec.values import override
from koalesce.yaml.problems import did_you_mean

Axes = Mapping[str, Sequence[str]]


def choose_values(document: dict[str, Any], chosen: Axes) -> None:
    """Give axes of a document, the spec's own and those of its tests, the values that the command line says."""
    tests = document.get("tests")
    for part in (document, *(tests if isinstance(tests, list) else ())):
        if isinstance(part, dict) and isinstance(part.get("matrix"), dict):
            part["matrix"] = _chosen(part["matrix"], chosen)


def check_axes(loaded: Iterable[LoadedSpec], chosen: Axes) -> None:
    """Raise UsageError for an axis that no spec of the run has."""
    known = sorted({axis for spec in loaded for axis in _axes(spec)})
    for axis in chosen:
        if axis not in known:
            have = f"they have {', '.join(known)}" if known else "they have none"
            raise UsageError(
                f'--matrix {axis}: no spec of this run has an axis "{axis}"', hint=did_you_mean(axis, known) or have
            )


def _axes(loaded: LoadedSpec) -> list[str]:
    found = list(loaded.cell.values) if loaded.cell is not None else []
    return found + [axis for origin in loaded.origins for axis in origin.matrix]


def _chosen(written: Mapping[str, Any], chosen: Axes) -> dict[str, Any]:
    """The matrix with these values; of combinations to exclude and include, those that are still there."""
    mine = {axis: _values(written.get(axis), chosen[axis]) for axis in axes_of(written) if axis in chosen}
    if not mine:
        return dict(written)
    found = {**written, **{axis: values for axis, values in mine.items() if axis in written}}
    for field in ("exclude", "include"):
        if isinstance(written.get(field), list):
            found[field] = [partial for partial in written[field] if _is_among(partial, mine)]
            if not found[field]:
                del found[field]
    return found


def _values(written: Any, words: Sequence[str]) -> list[Any]:
    """What the words mean: a value that the axis has, by the name that reports show, or else what YAML takes it for."""
    there = {_shown(value): value for value in written} if isinstance(written, list) else {}
    return [there[word] if word in there else override(None, word) for word in words]


def _is_among(partial: Any, chosen: Mapping[str, Sequence[Any]]) -> bool:
    if not isinstance(partial, dict):
        return True  # which is said of it later
    return all(
        axis not in partial or _shown(partial[axis]) in {_shown(value) for value in values}
        for axis, values in chosen.items()
    )


def _shown(value: Any) -> str:
    try:
        return shown_value(value)
    except (KeyError, TypeError):  # nothing that could be a value, which is said of it later
        return ""
