"""The step `jsonpath`: values of objects, by a path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import model_validator

from koalesce.kube import Resource, builtin
from koalesce.matching.flaws import refuse
from koalesce.matching.partial import Matching
from koalesce.steps.base import Assertion, Errored, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.objects.comparing import matching
from koalesce.steps.objects.path_match import NOTHING, PathMatch, list_of, path_flaws
from koalesce.steps.objects.reference import Found, Selection


class JsonPath(Selection, PathMatch, Assertion, key="jsonpath"):
    """Look at values of objects by a jsonpath in kubectl's dialect.

    With `KIND/NAME` the path starts at the object, otherwise at the list of objects (`.items[*]`), as with `kubectl get`. A path that
    leads to nothing fails, unless `count`, `absent` or `exists: false` says so, and what should hold it is there: that a mistyped path
    leads nowhere proves nothing. Nor does a filter about a field that none of the elements has, unless their kind is built in and has such a
    field, nor a selection that never met an object. `mayNotExist: true` passes over both.
    """

    @model_validator(mode="after")
    def _check_names(self) -> JsonPath:
        flaws = path_flaws(self.path, self.resource.kind, of_list=not self.resource.name)
        refuse([flaw.under("path") for flaw in flaws], self)
        return self

    def title(self) -> str:
        """The path and the object."""
        return f"{self.path} of {self.described}"

    def static_problems(self, files: Files) -> list[str]:
        """Operators that don't fit a path with several values."""
        return self.path_problems()

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        found = self.look_for(context)
        if not isinstance(found, Found):
            return self._of_unknown_kind(context, found)
        if self.resource.name and not found.objects:
            return self._absent(context)
        if not found.objects and not context.may_not_exist and not self.was_seen(context, found):
            said = f"there are no {self.described}{found.passed_over}; say mayNotExist: true if there may be none"
            return Failed(said, self.expected, "no objects", saw_nothing=True)
        document = found.objects[0] if self.resource.name else _list(found)
        mismatch = self.look(document, self._matching(context, found))
        if mismatch is None:
            return Passed(f"{self.described}: {self.path} complies", document)
        has_seen_nothing = mismatch.actual == NOTHING
        if has_seen_nothing and context.may_not_exist and not context.negated:
            return Passed(f"{self.described}: {self.path} leads to nothing, as it may", document)
        said = f"{self.described}: {mismatch}"
        return Failed(said, mismatch.expected, mismatch.actual, _names(found), saw_nothing=has_seen_nothing)

    def _matching(self, context: StepContext, found: Found) -> Matching:
        """How values are compared; the document's type is known where that of its objects is."""
        shape = builtin.shape_of(found.resource.api_version, found.resource.kind)
        if not self.resource.name:
            shape = list_of(shape)
        return replace(matching(context, {"apiVersion": "", "kind": ""}), shape=shape)

    def _of_unknown_kind(self, context: StepContext, why: Failed | Errored) -> Outcome:
        if isinstance(why, Failed) and context.may_not_exist and not context.negated:
            return Passed(f"there are no {self.described}, nor their kind, as it may be")
        return why

    def _absent(self, context: StepContext) -> Outcome:
        if context.may_not_exist and not context.negated:
            return Passed(f"{self.described} does not exist, as it may")
        return Failed(f"{self.described} does not exist", self.expected, "missing", saw_nothing=True)


def _list(found: Found) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": found.objects}


def _names(found: Found) -> str:
    """Which objects were looked at, where that isn't plain."""
    resource: Resource = found.resource
    names = [obj["metadata"]["name"] for obj in found.objects]
    if len(names) == 1:
        return ""
    return f"looked at {len(names)} {resource.plural}" + (f": {', '.join(names[:20])}" if names else "")
