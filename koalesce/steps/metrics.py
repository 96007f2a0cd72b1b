"""The step `metrics`: values that programs tell of themselves, in Prometheus' text format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from koalesce.durations import Duration
from koalesce.matching.matcher import Matcher
from koalesce.matching.mismatch import MISSING
from koalesce.matching.numbers import NumberMatcher
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside import metric_samples as samples
from koalesce.steps.inside.metric_samples import Samples, Series, Values
from koalesce.steps.inside.metric_sources import MetricSource, Page
from koalesce.steps.inside.moments import TEST, Since
from koalesce.steps.inside.places import unmet
from koalesce.steps.inside.printed import TextMatcher
from koalesce.steps.vantage import taken_on_wire
from koalesce.suggestions import closest

_OVER = 5.0
_SHOWN = 10


class Metrics(MetricSource, Assertion, key="metrics"):
    """Say which value a metric has, or by how much it changed: of a pod, a Service, a node's kubelet, the API server, or behind a URL.

    A metric that isn't there fails, and so do labels that no series has; with `sum`, `mayNotExist` takes them for 0. All series that fit must
    be as said, of each source, unless `any`. `delta` and `rate` compare with an earlier look: the test's first at this metric of this source,
    which an earlier `metrics` step must have made, or this step's own first (`since: step`).
    """

    polls = True

    name: StrictStr = Field(min_length=1, examples=["coredns_dns_requests_total"])
    """The metric as it's written in the text: `x_total`, `x_count`, `x_sum`; for `quantile` a histogram's name without `_bucket`."""

    labels: dict[str, TextMatcher] = Field(default_factory=dict)
    """Only series with these labels, each a text or a matcher: `{type: A, zone: {matches: "^cluster"}}`."""

    value: NumberMatcher | None = None
    """The value: a number, or a matcher such as `{gt: 0}`."""

    delta: NumberMatcher | None = None
    """By how much it changed since the earlier look; a series that wasn't there began with 0. A counter that went back fails."""

    rate: NumberMatcher | None = None
    """By how much it changed per second since the earlier look."""

    count: NumberMatcher | None = None
    """How many series there are that fit (after `sum`, how many sums)."""

    sum_: StrictBool | list[StrictStr] = Field(default=False, alias="sum")
    """Add the series up before looking at them: `true` all of a source, `[code]` those with the same `code`, which at least one
    series must have."""

    quantile: StrictFloat | StrictInt | None = Field(default=None, ge=0, le=1)
    """Look at this quantile of a histogram, estimated from its buckets as Prometheus does: `0.99`."""

    any_: StrictBool = Field(default=False, alias="any")
    """One series of one source is enough; default: all."""

    since: Since = TEST
    """For `delta` and `rate`, which look to compare with: `test` or `step`."""

    over: Duration | None = None
    """How long after the earlier look to judge `delta` and `rate` at the earliest; default: 5s with `since: step`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Metrics:
        given = [word for word in ("value", "delta", "rate") if getattr(self, word) is not None]
        if len(given) > 1:
            raise ValueError(f"say one of value, delta and rate; found {' and '.join(given)}")
        if self.since.word not in ("test", "step"):
            raise ValueError("metrics compare since: test or since: step; what was before isn't known")
        is_compared = self.delta is not None or self.rate is not None
        if not is_compared and {"since", "over"} & self.model_fields_set:
            raise ValueError("since and over are for delta and rate")
        if self.quantile is not None and (self.rate is not None or self.name.endswith("_bucket")):
            raise ValueError("quantile is of a histogram by its name without _bucket, by value or delta")
        return self

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """Of a URL: a way into the network of where it's asked from."""
        return taken_on_wire(written.get("from"), written.get("url")) if written.get("url") else frozenset()

    def title(self) -> str:
        """The metric and where."""
        return f"metrics {self.name} ({self.place()})"

    def attempt(self, context: StepContext) -> Outcome:
        """Read them once from each source."""
        if self.rate is not None and self.since.word == "step" and context.lasts:
            said = "a rate since: step is itself over a time"
            return Errored(f"{said}; leave out consistently, stableFor and never, and say over: 30s", final=True)
        pages = self.pages(context)
        if not isinstance(pages, list):
            return unmet(pages, context)
        looks: list[_Look] = []
        for page in pages:
            look = self._look(page, context)
            if not isinstance(look, _Look):
                return unmet(look, context) if isinstance(look, Failed) else look
            looks.append(look)
        return self._judged(looks)

    @property
    def _sample(self) -> str:
        return self.name if self.quantile is None else f"{self.name}_bucket"

    def _look(self, page: Page, context: StepContext) -> _Look | Failed | Errored:
        """The values of a source that the matchers are about, or why there are none."""
        try:
            read = samples.read_samples(page.text, self._sample)
        except ValueError as error:
            return Failed(f"{page.name}: this is no text for Prometheus: {error}", "metrics", "something else")
        before = self._earlier(page, read, context)
        found = Samples(read.name, read.kind, self._with_labels(read.values))
        if not found.values and (problem := self._absent(page, read, context)):
            return problem
        if problem := self._no_such_group(page, found, context):
            return problem
        if isinstance(before, Failed | Errored):
            return before
        if self.delta is None and self.rate is None:
            return _Look(page.name, self._combined(found.values))
        values, back = samples.changed(found, before.values)
        if back:
            return Failed(f"{page.name}: {back}: what counts it has started anew", "more than before", "less")
        if self.rate is not None:
            values = {series: value / before.seconds for series, value in values.items()}
        return _Look(page.name, self._combined(values))

    def _with_labels(self, values: Values) -> Values:
        fits = {label: _predicate(matcher) for label, matcher in self.labels.items()}
        return samples.with_labels(values, fits)

    def _combined(self, values: Values) -> Values:
        if self.sum_:
            by = self.sum_ if isinstance(self.sum_, list) else []
            values = samples.added(values, [*by, "le"] if self.quantile is not None else by)
            if self.sum_ is True and self.quantile is None and not values:
                values = {(): 0.0}
        return values if self.quantile is None else samples.quantiles(values, float(self.quantile))

    def _earlier(self, page: Page, read: Samples, context: StepContext) -> _Before | Failed | Errored:
        """The look to compare with; each look is noted, if it's the first of the test or of the step."""
        now = context.scope.now()
        marks, key = context.sightings.marks, ("metrics", page.identity, self._sample)
        own: dict[str, tuple[float, Values]] = context.memory.setdefault("metrics", {})
        is_first_step = key not in marks or context.memory.get("marked", {}).get(key, False)
        if key not in marks:
            marks[key] = (now, read.values)
            context.memory.setdefault("marked", {})[key] = True
        at, values = own.setdefault(page.identity, (now, read.values)) if self.since.word == "step" else marks[key]
        if self.delta is None and self.rate is None:
            return _Before(values, 1.0)
        if self.since.word == "test" and is_first_step:
            said = f"{page.name}: no earlier step of this test has looked at {self.name}, so there is nothing to compare with"
            return Errored(f"{said}; put a metrics step without delta and rate before, or say since: step", final=True)
        needed = self.over.seconds if self.over else _OVER if self.since.word == "step" and not context.lasts else 0.0
        passed = now - at
        if passed < needed or (self.rate is not None and passed <= 0):
            said = f"{page.name}: only {Duration(passed)} have passed since the look to compare with"
            return Failed(said, f"at least {Duration(needed)}", str(Duration(passed)))
        return _Before(values, passed)

    def _absent(self, page: Page, read: Samples, context: StepContext) -> Failed | None:
        """What is said of a metric, or of labels, that aren't there."""
        if context.may_not_exist:
            return None
        if not read.values:
            said = f"{page.name}: there is no metric {self._sample}; {samples.nearest(self._sample, page.text)}"
            return Failed(said, self._sample, "missing")
        lines = [samples.shown(read.name, series) for series in list(read.values)[:_SHOWN]]
        more = [f"… and {len(read.values) - _SHOWN} more"] if len(read.values) > _SHOWN else []
        wanted = ", ".join(f"{label} {_written(matcher)}" for label, matcher in self.labels.items())
        said = f"{page.name}: no series of {self._sample} has {wanted}{self._label_hint(read)}"
        return Failed(said, wanted, f"{len(read.values)} others", "\n".join(["there are:", *lines, *more]))

    def _no_such_group(self, page: Page, found: Samples, context: StepContext) -> Failed | None:
        """What is said of labels to sum up by that no series has: all series would be one sum."""
        if not isinstance(self.sum_, list) or not found.values or context.may_not_exist:
            return None
        known = {label for series in found.values for label, _ in series}
        unknown = next((label for label in self.sum_ if label not in known), None)
        if unknown is None:
            return None
        meant = closest(unknown, known)
        hint = f"did you mean {meant}?" if meant else f"they have {', '.join(sorted(known)) or 'no labels at all'}"
        said = f"{page.name}: no series of {self._sample} has the label {unknown} to sum up by; {hint}"
        return Failed(said, f"the label {unknown}", "missing", saw_nothing=True)

    def _label_hint(self, read: Samples) -> str:
        known = {label for series in read.values for label, _ in series}
        unknown = [label for label in self.labels if label not in known]
        return f"; it has no label {unknown[0]}, only {', '.join(sorted(known)) or 'none'}" if unknown else ""

    def _judged(self, looks: list[_Look]) -> Outcome:
        """One verdict for all sources."""
        what, matcher = self._asked()
        good: list[tuple[_Look, Series, float]] = []
        bad: list[Failed] = []
        for look in looks:
            if self.count is not None and (wrong := self.count.check(len(look.values))):
                bad.append(
                    Failed(
                        f"{look.name}: the number of series of {self.name} {wrong.message}",
                        wrong.expected,
                        wrong.actual,
                    )
                )
            for series, value in look.values.items():
                failed = self._mismatch(look, series, value, what, matcher)
                if failed is None:
                    good.append((look, series, value))
                else:
                    bad.append(failed)
        if bad and not (self.any_ and good):
            total = len(bad) + len(good)
            count = f" ({len(bad)} of {total} series)" if total > 1 else ""
            others = "\n".join(["also:", *(each.message for each in bad[1:_SHOWN])]) if len(bad) > 1 else ""
            blind = not good and all(each.saw_nothing for each in bad)
            return Failed(f"{bad[0].message}{count}", bad[0].expected, bad[0].actual, others, saw_nothing=blind)
        return self._passed(looks, good)

    def _asked(self) -> tuple[str, Matcher | None]:
        what = "" if self.quantile is None else f"the {self.quantile} quantile of "
        if self.delta is not None:
            return f"{what}the change of ", self.delta
        if self.rate is not None:
            return "the rate per second of ", self.rate
        return what, self.value

    def _mismatch(self, look: _Look, series: Series, value: float, what: str, matcher: Matcher | None) -> Failed | None:
        if matcher is None:
            return None
        name = f"{look.name}: {what}{samples.shown(self.name, series)}"
        if math.isnan(value):
            said = "nothing was observed" if self.quantile is not None else "it is NaN, which is no number"
            return Failed(f"{name}: {said}", str(matcher.operators()), "NaN", saw_nothing=True)
        plain = samples.number(value) if math.isfinite(value) else ("+Inf" if value > 0 else "-Inf")
        wrong = matcher.check(plain)
        return None if wrong is None else Failed(f"{name} {wrong.message}", wrong.expected, wrong.actual)

    def _passed(self, looks: list[_Look], good: list[tuple[_Look, Series, float]]) -> Passed:
        items = [samples.to_json(look.name, series, value) for look, series, value in good]
        value: dict[str, Any] = {"samples": items}
        if self.is_single and len(items) == 1:
            value["value"] = items[0]["value"]
        where = looks[0].name if len(looks) == 1 else f"{len(looks)} sources"
        said = f"{value['value']}" if "value" in value else f"{len(items)} series as expected"
        return Passed(f"{where}: {self.name}: {said}", value)


@dataclass(frozen=True, slots=True)
class _Look:
    """The values of one source that the matchers are about."""

    name: str
    values: Values


@dataclass(frozen=True, slots=True)
class _Before:
    """What an earlier look saw, and how many seconds ago that was."""

    values: Values
    seconds: float


def _predicate(matcher: TextMatcher) -> Any:
    def fits(text: str | None) -> bool:
        if text is not None:
            return matcher.look(text) is None
        return matcher.lines is None and not matcher.wants_json and matcher.check(MISSING) is None

    return fits


def _written(matcher: TextMatcher) -> str:
    given = matcher.operators()
    return f'"{given["equals"]}"' if set(given) == {"equals"} else str(given)
