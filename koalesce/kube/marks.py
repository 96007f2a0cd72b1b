"""The labels by which objects tell who made them: a run, a test of it, a component of its spec."""

from __future__ import annotations

import re

RUN_LABEL = "koalesce.dev/run"
TEST_LABEL = "koalesce.dev/test"
COMPONENT_LABEL = "koalesce.dev/component"
LONGEST = 63  # characters of a label's value


def slug(text: str, longest: int) -> str:
    """A DNS label of a text: lower case letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:longest].strip("-") or "x"


def run_label(run_id: str) -> str:
    """The label value for a run's id."""
    return slug(run_id, LONGEST)
