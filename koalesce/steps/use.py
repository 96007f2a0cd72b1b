"""Run the steps of a group that several tests or specs share."""

from __future__ import annotations

from pydantic import Field, StrictStr, field_validator

from koalesce.steps.base import Step


class Use(Step, key="use"):
    """Run the steps of a group, with parameters: `use: shared/steps.yaml#reachable` and, beside it, `with: {url: "http://web"}`.

    A group stands in a file of its own (`apiVersion: koalesce.dev/v1alpha1`, `kind: Steps`) under `groups`: its `params`, each with a
    `default` or required, its `steps`, and the `outputs` that it gives to the steps after it (or, with `outputs` beside `use`, that those are
    read from). Its steps know `${{ params.NAME }}`, what the whole test knows, and each other's outputs; nothing of the steps around. Paths
    in it are relative to its file. With `foreach` it runs once for each item, and its outputs are lists.
    """

    short_field = "group"

    group: StrictStr = Field(examples=["shared/steps.yaml#reachable"])
    """The group: `FILE#NAME`, or `#NAME` for one of the same file or of a file that the spec includes."""

    @field_validator("group")
    @classmethod
    def _names_a_group(cls, text: str) -> str:
        if "${{" in text:
            raise ValueError("which group it is must be known before the run")
        if not text.partition("#")[2]:
            raise ValueError("write FILE#NAME, or #NAME for a group of an included file")
        return text

    def title(self) -> str:
        """The group's name."""
        return self.group.partition("#")[2]
