"""`if`: when a step or a test is left out, as plain comparisons."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import Field, field_validator, model_validator

from koalesce.expressions import has_expression
from koalesce.matching.matcher import MatcherFields
from koalesce.matching.versions import is_in_range, parse_range, parse_version
from koalesce.spec.common import Capability, Text


class Condition(MatcherFields):
    """When the step (or test) runs; all that is said must hold, otherwise it's skipped.

    Where the value and its matcher take only what is known before there is a cluster (`vars`, `matrix`, `env`), a test is skipped without one, and
    a spec of which no other test is to run (or a cell of its matrix) makes none, nor images and tools for it, and has no setup.
    """

    version: Text | None = Field(default=None, examples=[">=1.36", ">=1.34 <1.37"])
    """Comparisons with the cluster's Kubernetes version, all of which must hold."""

    capability: Capability | None = None
    """A capability that the cluster must have."""

    value: Any = None
    """A value, usually an expression, that the matcher beside it must fit."""

    @field_validator("version")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None and not has_expression(text):
            parse_range(text)
        return text

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        has_value = "value" in self.model_fields_set
        if not (self.version or self.capability or has_value):
            raise ValueError("says nothing; give version, capability, or value with a matcher such as equals")
        if has_value != bool(self.operators()):
            raise ValueError("value and a matcher (equals, matches, gt …) go together")
        return self

    def unmet(self, *, version: str, capabilities: Collection[str]) -> str | None:
        """Why the condition doesn't hold, as the reason of a skip; None if it does."""
        if self.version and not version_fits(version, self.version):
            return f"needs Kubernetes {self.version}, this is {version}"
        if self.capability and self.capability not in capabilities:
            return f"needs the capability {self.capability}"
        return self.unmet_value()

    def unmet_value(self) -> str | None:
        """Why the value doesn't fit its matcher, whatever the cluster is like; None if it does, or if there is none."""
        mismatch = self.check(self.value) if self.operators() else None
        return None if mismatch is None else f"if: {mismatch.message}"


def version_fits(version: str, wanted: str) -> bool:
    """Whether a Kubernetes version fits all comparisons, each as exact as it's written (`1.37` is any 1.37.x).

    What vendors put after the numbers (`-gke.1000`) doesn't count.
    """
    known = parse_version(version.partition("-")[0])
    return known is not None and is_in_range(known, wanted)
