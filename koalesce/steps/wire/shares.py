"""Who answers behind one address: shares of the answers, and clients that stay with one server."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictFloat, StrictInt, model_validator

from koalesce.matching.mismatch import and_more
from koalesce.models import Model
from koalesce.steps.base import StepContext
from koalesce.steps.wire.destination import Destination, Protocol
from koalesce.steps.wire.probing import Observed

MOST_SAMPLES = 1000
_QUESTIONS = {"TCP": "GET /hostname HTTP/1.0\r\n\r\n", "UDP": "hostname", "SCTP": "hostname"}
_ANSWER = re.compile(r"HTTP/1\.\d 200 .*?\r?\n\r?\n(.*)", re.DOTALL)
_MOST_SHOWN = 8


def _as_share(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return value
    if (found := re.fullmatch(r"(\d+(?:\.\d+)?)%", value)) is None:
        raise ValueError(f'"{value}" is no part of a whole, such as 20% or 0.2')
    return float(found[1]) / 100


Share = Annotated[
    Annotated[StrictFloat, Field(ge=0, le=1)],
    BeforeValidator(_as_share, json_schema_input_type=float | str),
]


class Distribution(Model):
    """How the answers that a source gets are spread over those who give them."""

    backends: Annotated[StrictInt, Field(ge=1)] | None = None
    """How many different ones must answer, neither fewer nor more. Default: exactly the ready pods of the Service, by their names."""

    min: Share | None = None
    """The smallest part of the answers that any of them may give: `20%` or 0.2."""

    max: Share | None = None
    """The largest part of the answers that any of them may give."""

    @model_validator(mode="after")
    def _can_be(self) -> Distribution:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min is {self.min:.0%}, more than max, which is {self.max:.0%}")
        if self.backends and self.min is not None and self.min * self.backends > 1:
            raise ValueError(f"{self.backends} backends can't each give {self.min:.0%} of the answers")
        if self.backends and self.max is not None and self.max * self.backends < 1:
            raise ValueError(
                f"{self.backends} backends, each with at most {self.max:.0%}, don't make all of the answers"
            )
        return self

    def problem(self, given: Counter[str], known: frozenset[str]) -> str:
        """What is wrong with the answers of one source; `known` are those who have to answer, where that isn't said by number."""
        if self.backends is not None and len(given) != self.backends:
            return f"{_listed(given)}; expected {self.backends} different ones"
        if self.backends is None and (missing := sorted(known - set(given))):
            return f"{_listed(given)}; none of {missing[0]}{and_more(len(missing) - 1, 'pod')}"
        if self.backends is None and (strange := sorted(set(given) - known)):
            return f"{_listed(given)}; {strange[0]} is no ready pod of the Service"
        total = given.total()
        for name, number in given.most_common():
            if self.max is not None and number > self.max * total:
                return f"{_listed(given)}; expected at most {self.max:.0%} of {name}"
            if self.min is not None and number < self.min * total:
                return f"{_listed(given)}; expected at least {self.min:.0%} of {name}"
        return ""


def question(protocol: Protocol) -> str:
    """What asks a server for its name."""
    return _QUESTIONS[protocol]


def name_in(observed: Observed, protocol: Protocol) -> str:
    """The name of the server that answered; empty if it didn't say one."""
    if protocol != "TCP":
        return observed.reply.strip()
    found = _ANSWER.fullmatch(observed.reply)
    return found[1].strip() if found else ""


def spread(
    tries: Sequence[Observed], protocol: Protocol, distribution: Distribution | None, known: frozenset[str]
) -> str:
    """What is wrong with who answered these tries, all of which were let through; without a distribution it must be one and the same."""
    given: Counter[str] = Counter()
    for each in tries:
        if each.failure or not (name := name_in(each, protocol)):
            return each.failure or f"the target did not say its name, as agnhost netexec does: {each.reply[:80]!r}"
        given[name] += 1
    if distribution is not None:
        return distribution.problem(given, known)
    return "" if len(given) == 1 else f"{_listed(given)}; expected all of the same one"


def ready_pods(to: Destination, context: StepContext) -> frozenset[str]:
    """The names of the ready pods behind a Service."""
    kind, selector = context.cluster.kube.resource("endpointslices"), f"kubernetes.io/service-name={to.service}"
    namespace = to.namespace or context.namespace
    slices = context.view.list(kind, namespace=namespace, selector=selector, cancel=context.scope.cancel)
    return frozenset(
        endpoint["targetRef"]["name"]
        for each in slices
        for endpoint in each.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        and (endpoint.get("targetRef") or {}).get("kind") == "Pod"
    )


def _listed(given: Counter[str]) -> str:
    shown = ", ".join(f"{name} {number}" for name, number in given.most_common(_MOST_SHOWN))
    return f"answers of {shown}{and_more(max(0, len(given) - _MOST_SHOWN), 'server')}"
