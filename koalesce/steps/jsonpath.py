"""The step `jsonpath`: values of objects, by a path."""

from __future__ import annotations

from typing import Any

from koalesce.kube import Resource
from koalesce.steps.base import Assertion, Failed, Files, Outcome, Passed, StepContext
from koalesce.steps.path_match import PathMatch
from koalesce.steps.reference import Found, Selection


class JsonPath(Selection, PathMatch, Assertion, key="jsonpath"):
    """Look at values of objects by a jsonpath in kubectl's dialect.

    With `KIND/NAME` the path starts at the object, otherwise at the list of objects (`.items[*]`), as with `kubectl get`. A path that
    leads to nothing fails, unless `count` or `exists: false` says so.
    """

    def title(self) -> str:
        """The path and the object."""
        return f"{self.path} of {self.described}"

    def static_problems(self, files: Files) -> list[str]:
        """Operators that don't fit a path with several values."""
        return self.path_problems()

    def attempt(self, context: StepContext) -> Outcome:
        """Look once."""
        found = self.find(context)
        if self.resource.name and not found.objects:
            return self._absent(context)
        document = found.objects[0] if self.resource.name else _list(found)
        mismatch = self.look(document)
        if mismatch is None:
            return Passed(f"{self.described}: {self.path} complies", document)
        if mismatch.actual == "nothing" and context.may_not_exist:
            return Passed(f"{self.described}: {self.path} leads to nothing, as it may", document)
        return Failed(f"{self.described}: {mismatch}", mismatch.expected, mismatch.actual, _names(found))

    def _absent(self, context: StepContext) -> Outcome:
        if context.may_not_exist:
            return Passed(f"{self.described} does not exist, as it may")
        return Failed(f"{self.described} does not exist", self.expected, "missing")


def _list(found: Found) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": found.objects}


def _names(found: Found) -> str:
    """Which objects were looked at, where that isn't plain."""
    resource: Resource = found.resource
    names = [obj["metadata"]["name"] for obj in found.objects]
    if len(names) == 1:
        return ""
    return f"looked at {len(names)} {resource.plural}" + (f": {', '.join(names[:20])}" if names else "")
