"""The step `annotate`: set and remove annotations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, StrictStr

from koalesce.steps.objects.marking import MarkAction, Marks, check_keys


class Annotate(MarkAction, key="annotate"):
    """Set and remove annotations, of one object or of all that a selector takes.

    Annotations of an object that isn't the test's own take a test that is `disruptive`, and are put back at its end.
    """

    done_word: ClassVar[str] = "annotated"
    field: ClassVar[str] = "annotations"

    annotations: Annotated[Mapping[StrictStr, StrictStr | None], AfterValidator(check_keys)]
    """What to set; null removes an annotation, if there is one."""

    @property
    def marks(self) -> Marks:
        """The annotations."""
        return self.annotations
