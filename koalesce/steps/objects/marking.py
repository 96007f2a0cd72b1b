"""Labels and annotations: what steps that set them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import StrictBool

from koalesce.patterns import pattern
from koalesce.steps.base import Failed
from koalesce.steps.objects.acting import Approach
from koalesce.steps.objects.targets import TargetAction

_NAME = pattern(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = pattern(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_VALUE = pattern(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_OURS = "koalesce.dev/"

Marks = Mapping[str, str | None]


class MarkAction(TargetAction):
    """Set and remove entries of a map in the metadata of objects."""

    field: ClassVar[str]

    overwrite: StrictBool = False
    """Whether an entry that has another value may be changed; without it that is a failure, as in kubectl."""

    @property
    @abstractmethod
    def marks(self) -> Marks:
        """What to set, and (null) what to remove."""

    def change(self, approach: Approach) -> dict[str, Any] | Failed:
        """Set and remove them on one object, as it was looked at."""
        metadata = approach.expected()["metadata"]
        before = metadata.get(self.field) or {}
        others = {key: before[key] for key, value in self.marks.items() if value is not None and key in before}
        taken = {key: value for key, value in others.items() if value != self.marks[key]}
        if taken and not self.overwrite:
            key, value = next(iter(taken.items()))
            said = f'{approach.place} has {key} "{value}" already; say overwrite: true to change it'
            return Failed(said, str(self.marks[key]), value, final=True)
        body = {"metadata": {self.field: dict(self.marks), "resourceVersion": metadata["resourceVersion"]}}
        place = approach.place
        return place.kube.patch(
            place.resource, place.name, place.namespace, body, field_manager=self.field_manager, dry_run=self.dry_run
        )


def check_keys(marks: Marks) -> Marks:
    """Raise ValueError for what is no key of a label or annotation, and for those that say whose an object is."""
    if not marks:
        raise ValueError("says nothing; write KEY: VALUE, or KEY: null to remove one")
    for key in marks:
        if "${{" in key:
            continue
        prefix, slash, name = key.rpartition("/")
        if not _NAME.fullmatch(name) or (slash and not (len(prefix) <= 253 and _PREFIX.fullmatch(prefix))):
            raise ValueError(
                f'"{key}" is no key: at most 63 letters, digits, "-", "_" and ".", with a prefix as in example.com/tier'
            )
        if key.startswith(_OURS):
            raise ValueError(f'"{key}" is what Koalesce knows the owner of an object by; choose another key')
    return marks


def check_values(marks: Marks) -> Marks:
    """Raise ValueError for what is no value of a label."""
    for key, value in marks.items():
        if value is not None and "${{" not in value and not _VALUE.fullmatch(value):
            raise ValueError(f'"{value}" is no value of a label ({key}): at most 63 letters, digits, "-", "_" and "."')
    return marks
