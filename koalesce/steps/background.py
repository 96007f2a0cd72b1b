"""Start a step and go on with the next ones; `stop` ends it and says how it must have gone."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import WithJsonSchema

from koalesce.steps.base import Step
from koalesce.steps.identifier import Identifier


class InBackground(Step, key="background"):
    """Start a step and go on with the next ones at once. A `stop` with its id in the same list of steps has to end it.

    It runs until it ends by itself, until its `stop`, or until its own `timeout`; when the test fails or is interrupted before, it's ended.
    `name`, `timeout`, `retry`, `stableFor`, `consistently` and `never` may stand beside its type, everything else beside `background` or at
    the `stop`: what it printed or saw is there only then. With `consistently` or `never` it watches over the steps between the two: it has to
    hold at every look until the `stop`, or until its time is over, whichever is first.
    """

    id: Identifier
    """Its name, for `stop`; no other step of the test has it."""

    run: Annotated[dict[str, Any], WithJsonSchema({"type": "object", "title": "Step"})]
    """The step, as it would stand in the list."""

    def title(self) -> str:
        """Its name."""
        return f"start {self.id}"
