"""Reading objects through a view, within the time that a step has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from koalesce.kube import Resource, UnknownKind
from koalesce.records import dataclass
from koalesce.steps.base import StepContext

if TYPE_CHECKING:
    from koalesce.kube import View
    from koalesce.process import Cancel

_LONGEST = 30.0


@dataclass(frozen=True, slots=True)
class Reader:
    """A view with a time limit for each read.

    `memory` is kept from one attempt to the next; `has_fixed_nodes`: nothing adds nodes where pods lack room.
    """

    view: View
    timeout: float = _LONGEST
    cancel: Cancel | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    has_fixed_nodes: bool = False

    @classmethod
    def of(cls, context: StepContext) -> Reader:
        """The reader of a step."""
        return cls(
            context.view, max(1.0, min(_LONGEST, context.scope.remaining())), context.scope.cancel,
            memory=context.memory, has_fixed_nodes=context.cluster.has_fixed_nodes,
        )  # fmt: skip

    def kind(self, name: str) -> Resource:
        """The kind of this name; UnknownKind, with the likely one."""
        return _hinted(lambda: self.view.kube.resource(name))

    def kind_of(self, obj: Mapping[str, Any]) -> Resource:
        """The kind of an object; UnknownKind, with the likely one."""
        return _hinted(lambda: self.view.kube.resource_of(obj))

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """The object, or None."""
        return self.view.get(
            resource, name, namespace if resource.namespaced else None, timeout=self.timeout, cancel=self.cancel
        )

    def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a namespace (None: of all) that a selector takes."""
        return self.view.list(
            resource, namespace=namespace if resource.namespaced else None, selector=selector,
            timeout=self.timeout, cancel=self.cancel,
        )  # fmt: skip


def _hinted(find: Callable[[], Resource]) -> Resource:
    """What is found; an unknown kind has its suggestion in the message, which is all that a step's outcome shows."""
    try:
        return find()
    except UnknownKind as error:
        raise UnknownKind(f"{error.message}; {error.hint}" if error.hint else error.message) from error


def kind_and_name(obj: Mapping[str, Any]) -> str:
    """An object as people call it: `pod/web-0`."""
    return f"{obj['kind'].lower()}/{obj['metadata']['name']}"


def condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of this type in an object's status, upper and lower case being the same; None if it has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if str(found.get("type", "")).lower() == kind.lower()), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether an object has this condition, and it is True."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def explained(found: Mapping[str, Any] | None) -> str:
    """Reason and message of a condition (or container state) in a clause that can be appended; empty if it has neither."""
    if not found:
        return ""
    text = ": ".join(str(found[key]).strip() for key in ("reason", "message") if found.get(key))
    return shortened(text)


def shortened(text: str, width: int = 240) -> str:
    """A text on one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
