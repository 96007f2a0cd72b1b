"""The step `label`: set and remove labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, StrictStr

from koalesce.steps.objects.marking import MarkAction, Marks, check_keys, check_values


class Label(MarkAction, key="label"):
    """Set and remove labels, of one object or of all that a selector takes.

    Labels of an object that isn't the test's own (a node) take a test that is `disruptive`, and are put back at its end.
    """

    done_word: ClassVar[str] = "labelled"
    field: ClassVar[str] = "labels"

    labels: Annotated[Mapping[StrictStr, StrictStr | None], AfterValidator(check_keys), AfterValidator(check_values)]
    """What to set; null removes a label, if there is one."""

    @property
    def marks(self) -> Marks:
        """The labels."""
        return self.labels
