"""The step types, by their keys in specs."""

from koalesce.steps.base import Step

STEPS: dict[str, type[Step]] = {}
