"""One run of one step, for one item: whether it applies, what it is bound to, its attempts, its outputs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from koalesce.engine.attempts import Looked
from koalesce.engine.backgrounds import Backgrounds
from koalesce.engine.judging import in_time, outcome_name
from koalesce.engine.looking import Looking
from koalesce.engine.sections import AFTERWARDS, DEFAULT_TIMEOUT, Section
from koalesce.errors import KoalesceError
from koalesce.events import StepFinished
from koalesce.expressions import ExpressionError, find_expressions, has_expression, paths_of, resolve
from koalesce.spec.entries import BoundStep, StepEntry
from koalesce.spec.fields import Output, Places, StepFields
from koalesce.steps.base import Course, Errored, Failed, Outcome, Passed
from koalesce.steps.stop import Stop
from koalesce.steps.use import Use

if TYPE_CHECKING:
    from koalesce.engine.stepping import StepRunner


class StepRun:
    """One run of one step, for one item."""

    def __init__(self, runner: StepRunner, section: Section, index: int, entry: StepEntry) -> None:
        self._runner, self._section, self._index, self._entry = runner, section, index, entry
        self._looking = Looking(runner, section, index, entry)
        self._telling = self._looking.telling

    def run(self, item: Mapping[str, Any]) -> tuple[StepFinished, dict[str, Any]]:
        """Run it to its end, with what `item` adds to the values; the last event, and its outputs."""
        values = {**self._runner.values, **item}
        try:
            if has_expression(place := self._entry.raw.get("cluster")):
                self._runner = self._looking.runner = self._runner.at(str(resolve(place, values)))
                values = {**self._runner.values, **item}
            reason, bound = self._bind(values)
        except KoalesceError as error:
            return self.refuse(str(error)), {}
        if bound is not None and isinstance(bound.step, Stop) and self._runner.backgrounds.find(bound.step.id) is None:
            reason, bound = f"{bound.step.id} was not started", None
        if bound is None:
            return self.skip(reason), {}
        is_told = _tells(self._entry.raw.get("name"), item)
        self._telling.title = bound.title if is_told else f"{bound.title}{_item_suffix(item)}"
        if isinstance(bound.step, Use):
            return self._run_group(bound.fields)
        timeout = self._looking.timeout(bound.fields, self._section.timeout)
        # A course's is of each change, not of all.
        self._telling.start(0.0 if isinstance(bound.step, Course) else timeout, bound.step.ongoing())
        looked = self._looking.look(bound, values, timeout)
        outputs = self._outputs(bound.fields, looked)
        looked = in_time(looked, bound.fields)
        return self._telling.finish(outcome_name(looked.outcome), looked), outputs

    def _run_group(self, fields: StepFields) -> tuple[StepFinished, dict[str, Any]]:
        """Run the steps of the group that a `use` step stands for, with what they may know, and read what the group gives."""
        runner, group, section = self._runner, self._entry.group, self._section
        if group is None:
            raise AssertionError("a use step has a group")
        inner = replace(runner, values={**runner.values, "outputs": {}}, backgrounds=Backgrounds())
        try:
            params = {**group.params, **fields.with_}
            inner.values["params"] = {name: resolve(value, inner.values) for name, value in params.items()}
            worst = inner.run_group(
                replace(section, group=f"{section.group}{self._telling.title}: "), self._index, self._entry
            )
            if worst.status != "passed":
                return worst, {}
            given = resolve(group.outputs, inner.values)
        except ExpressionError as error:
            return self._unread(Errored(f"{group.described}: {error.message}")), {}
        finally:
            runner.backgrounds.adopt(inner.backgrounds)
        looked = Looked(outcome=Passed("", given), attempts=1, seconds=0.0)
        outputs = self._outputs(fields, looked) if fields.outputs else dict(given)
        return (worst, outputs) if isinstance(looked.outcome, Passed) else (self._unread(looked.outcome), {})

    def _unread(self, outcome: Outcome) -> StepFinished:
        """A group whose parameters or outputs can't be had."""
        self._telling.start(0.0)
        return self._telling.finish(outcome_name(outcome), Looked(outcome=outcome, attempts=0, seconds=0.0))

    def refuse(self, reason: str) -> StepFinished:
        """A step that can't even begin."""
        self._telling.start(DEFAULT_TIMEOUT)
        return self._telling.finish("error", Looked(outcome=Errored(reason), attempts=0, seconds=0.0))

    def look_for(self, places: Places) -> list[Any]:
        """The pods or nodes that a `foreach` goes over, as they are now; NoItems where there are none."""
        return self._looking.look_for(places)

    def without_items(self, outcome: Failed | Errored) -> StepFinished:
        """A step over an empty list has observed nothing, and fails, unless it doesn't apply at all."""
        with contextlib.suppress(KoalesceError):
            if reason := self._unmet(self._runner.values):
                return self.skip(reason)
        return self._unread(outcome)

    def skip(self, reason: str) -> StepFinished:
        """A step that doesn't apply."""
        self._telling.start(0.0)
        return self._telling.finish("skipped", Looked(outcome=Passed(reason), attempts=0, seconds=0.0))

    def _bind(self, values: Mapping[str, Any]) -> tuple[str, BoundStep | None]:
        """The step, or why it is left out: that comes first, so that what doesn't apply needs not resolve."""
        if reason := self._unmet(values):
            return reason, None
        if self._entry.foreach is not None and "item" not in values:
            self._entry.items(values)  # raises, with the place, what kept the list from being had
        return "", self._entry.bind(values)

    def _unmet(self, values: Mapping[str, Any]) -> str | None:
        """Why the step doesn't apply: what the cluster lacks, its `if`, or an output that the test never came to make."""
        cluster = self._runner.cluster
        if missing := [name for name in self._entry.required(values) if name not in cluster.capabilities]:
            return f"the cluster lacks {', '.join(missing)}"
        if self._section.name in AFTERWARDS and (missing := self._never_made(values)):
            return f'no step came to make the output "{missing[0]}"'
        condition = self._entry.condition(values)
        if condition is None:
            return None
        return condition.unmet(version=cluster.kubernetes, capabilities=cluster.capabilities)

    def _never_made(self, values: Mapping[str, Any]) -> list[str]:
        """The outputs that the step takes and that aren't there, as the steps which make them were left out or not reached."""
        paths = [path for text in self._entry.expressions for path in paths_of(text)]
        taken = [str(path.segments[0]) for path in paths if path.root == "outputs" and path.segments]
        return [name for name in taken if name not in values.get("outputs", {})]

    def _outputs(self, fields: StepFields, looked: Looked) -> dict[str, Any]:
        """What the step gives to later ones; an output that isn't there is an error of the step."""
        if not isinstance(looked.outcome, Passed):
            return {}
        value = looked.outcome.value
        outputs: dict[str, Any] = {}
        for name, output in fields.outputs.items():
            problem = _read_output(name, output, value, outputs)
            if problem is not None:
                looked.outcome = Failed(problem, final=True)
        return outputs


def _tells(name: Any, item: Mapping[str, Any]) -> bool:
    """Whether the name that a step was given has an expression that tells the runs of its foreach apart."""
    expressions = list(find_expressions(name))
    return any(re.search(rf"\b{re.escape(known)}\b", text) for text in expressions for known in item)


def _item_suffix(item: Mapping[str, Any]) -> str:
    """What tells the runs of a foreach apart: the item's name, or the item, or its number."""
    if not item:
        return ""
    value = item["item"]
    if isinstance(value, Mapping):
        value = value.get("name", item["index"])
    text = value if isinstance(value, str) else json.dumps(value)
    return f" [{text}]"


def _read_output(name: str, output: Output, value: Any, outputs: dict[str, Any]) -> str | None:
    try:
        outputs[name] = output.read(value)
    except ValueError as error:
        return f"output {name}: {error}"
    return None
