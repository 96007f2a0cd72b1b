"""Samples out of Prometheus' text format: those of a name and labels, added up, compared with earlier ones, as quantiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from koalesce.records import dataclass
from koalesce.suggestions import closest

Series = tuple[tuple[str, str], ...]  # labels, sorted
Values = dict[Series, float]
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created", "_info")


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of one name; `kind` is what the text says of it: counter, gauge, histogram, …, or unknown."""

    name: str
    kind: str
    values: Values

    @property
    def only_grows(self) -> bool:
        """Whether a value that is less than before means that the counting has started anew."""
        return self.kind == "counter" or (
            self.kind in ("histogram", "summary") and self.name.endswith(("_bucket", "_count"))
        )


def read_samples(text: str, name: str) -> Samples:
    """The samples of a name; ValueError if the text isn't what Prometheus reads. Other lines aren't parsed: there may be thousands."""
    from prometheus_client.parser import text_string_to_metric_families  # imported here: only this step needs it

    families = {name, *(name.removesuffix(suffix) for suffix in _SUFFIXES)}
    wanted = [line for line in text.splitlines() if _is_about(line, name, families)]
    kind, values = "unknown", Values()
    for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
        for sample in family.samples:
            if sample.name == name:
                kind = str(family.type)
                values[tuple(sorted(sample.labels.items()))] = float(sample.value)
    return Samples(name, kind, values)


def names_in(text: str) -> list[str]:
    """The names of all samples, sorted."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return sorted({_name_of(line) for line in lines})


def nearest(name: str, text: str) -> str:
    """What was meant by a name that isn't there, as a clause."""
    names = names_in(text)
    if not names:
        return "the text has no samples at all"
    if found := closest(name, names):
        return f"did you mean {found}?"
    first = name.partition("_")[0]
    alike = [known for known in names if known.startswith(f"{first}_")][:5]
    return f"there are {', '.join(alike)}" if alike else f"there are {len(names)} others, such as {names[0]}"


def changed(now: Samples, before: Values) -> tuple[Values, str]:
    """What came to each series since an earlier look (a new one began with 0), and which went back, if one did."""
    result: Values = {}
    for series, value in now.values.items():
        earlier = before.get(series, 0.0)
        if now.only_grows and value < earlier:
            return {}, f"{shown(now.name, series)} went back from {number(earlier)} to {number(value)}"
        result[series] = value - earlier
    return result, ""


def added(values: Values, by: Iterable[str]) -> Values:
    """The sums over all series that have the same values of some labels; of none if there are none."""
    kept = set(by)
    result: Values = {}
    for series, value in values.items():
        group = tuple((label, text) for label, text in series if label in kept)
        result[group] = result.get(group, 0.0) + value
    return result


def quantiles(buckets: Values, quantile: float) -> Values:
    """The quantile of each histogram, estimated as Prometheus' histogram_quantile does; NaN of one that observed nothing."""
    histograms: dict[Series, list[tuple[float, float]]] = {}
    for series, value in buckets.items():
        labels = dict(series)
        bound = float(labels.pop("le", "nan"))
        histograms.setdefault(tuple(sorted(labels.items())), []).append((bound, value))
    return {series: _quantile(sorted(pairs), quantile) for series, pairs in histograms.items()}


def _quantile(buckets: list[tuple[float, float]], quantile: float) -> float:
    total = buckets[-1][1]
    if not total > 0:
        return math.nan
    rank, lower, below = quantile * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if math.isinf(bound):
                return lower
            if count == below:
                return bound
            start = lower if lower > 0 or bound > 0 else bound
            return start + (bound - start) * (rank - below) / (count - below)
        lower, below = bound, count
    return buckets[-1][0]


def shown(name: str, series: Series) -> str:
    """A series as Prometheus writes it."""
    labels = ", ".join(f'{label}="{value}"' for label, value in series)
    return f"{name}{{{labels}}}" if labels else name


def number(value: float) -> int | float:
    """A value as people write it: whole numbers without a fraction."""
    return int(value) if math.isfinite(value) and value == int(value) else value


def to_json(source: str, series: Series, value: float) -> dict[str, Any]:
    """A sample for outputs."""
    return {"source": source, "labels": dict(series), "value": number(value) if math.isfinite(value) else str(value)}


def with_labels(values: Values, fits: Mapping[str, Any]) -> Values:
    """The series whose labels do: `fits` maps names to predicates on the value, None where there is no such label."""
    return {
        series: value
        for series, value in values.items()
        if all(predicate(dict(series).get(label)) for label, predicate in fits.items())
    }


def _is_about(line: str, name: str, families: set[str]) -> bool:
    if line.startswith("# TYPE "):
        return line.split(" ", 3)[2] in families
    return line.startswith(name) and _name_of(line) == name


def _name_of(line: str) -> str:
    return line.partition("{")[0].partition(" ")[0].strip()
