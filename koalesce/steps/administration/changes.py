"""Changes of a node that can be taken back by themselves, whatever else has become of the node meanwhile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StrictStr

from koalesce.errors import ClusterError
from koalesce.kube import ApiError
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.faults.targets import NodesOfIt
from koalesce.steps.objects.marking import check_keys, check_values
from koalesce.steps.objects.ownership import Place

Object = Mapping[str, Any]
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
_CONFLICT = 409
_UNDO_TRIES = 10


class Change(ABC):
    """Something to have so on a node."""

    done: str

    @abstractmethod
    def body(self, node: Object) -> dict[str, Any]:
        """The merge patch that makes it so; empty where it's so already."""

    @abstractmethod
    def reverse(self, node: Object) -> Change:
        """The change that makes it as it is on this node."""

    def missing(self, _node: Object) -> str:
        """What is to be taken away and isn't there, in words; empty if all is."""
        return ""


@dataclass(frozen=True, slots=True)
class _Cordoning(Change):
    is_on: bool

    @property
    def done(self) -> str:  # type: ignore[override]  # of a frozen class
        return "cordoned" if self.is_on else "uncordoned"

    def body(self, node: Object) -> dict[str, Any]:
        is_so = bool(node["spec"].get("unschedulable")) == self.is_on
        return {} if is_so else {"spec": {"unschedulable": self.is_on or None}}

    def reverse(self, node: Object) -> Change:
        return _Cordoning(bool(node["spec"].get("unschedulable")))


def cordoning(*, is_on: bool) -> Change:
    """New pods don't come to a node, or come again."""
    return _Cordoning(is_on)


@dataclass(frozen=True, slots=True)
class _Labelling(Change):
    labels: Mapping[str, str | None]
    done: str = "labelled"

    def body(self, node: Object) -> dict[str, Any]:
        now = node["metadata"].get("labels") or {}
        changed = {key: value for key, value in self.labels.items() if now.get(key) != value}
        return {"metadata": {"labels": changed}} if changed else {}

    def reverse(self, node: Object) -> Change:
        now = node["metadata"].get("labels") or {}
        return _Labelling({key: now.get(key) for key in self.labels})


@dataclass(frozen=True, slots=True)
class _Tainting(Change):
    """`gone` are pairs of a key and an effect (empty: any)."""

    taints: Sequence[Mapping[str, Any]] = ()
    gone: Sequence[tuple[str, str]] = field(default=())

    @property
    def done(self) -> str:  # type: ignore[override]  # of a frozen class
        return "tainted" if self.taints else "have the taint no more"

    def body(self, node: Object) -> dict[str, Any]:
        now = list(node["spec"].get("taints") or ())
        ours = {_key(taint) for taint in self.taints}
        kept = [taint for taint in now if _key(taint) not in ours and not self._is_gone(taint)]
        wanted = [*kept, *map(dict, self.taints)]
        if sorted(map(_whole, wanted)) == sorted(map(_whole, now)):
            return {}
        return {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": wanted}}

    def reverse(self, node: Object) -> Change:
        now = list(node["spec"].get("taints") or ())
        ours = {_key(taint) for taint in self.taints}
        touched = [taint for taint in now if _key(taint) in ours or self._is_gone(taint)]
        added = ours - {_key(taint) for taint in now}
        return _Tainting(taints=touched, gone=sorted(added))

    def missing(self, node: Object) -> str:
        now = [_key(taint) for taint in node["spec"].get("taints") or ()]
        for key, effect in self.gone:
            if not any(known == key and effect in ("", its) for known, its in now):
                return f"taint {key}:{effect}" if effect else f"taint {key}"
        return ""

    def _is_gone(self, taint: Mapping[str, Any]) -> bool:
        key, its = _key(taint)
        return any(known == key and effect in ("", its) for known, effect in self.gone)


def _key(taint: Mapping[str, Any]) -> tuple[str, str]:
    return taint["key"], taint["effect"]


def _whole(taint: Mapping[str, Any]) -> tuple[str, str, str]:
    return (*_key(taint), taint.get("value") or "")


class NodeTaint(Model):
    """A taint."""

    key: StrictStr = Field(min_length=1)
    """Its key."""

    value: StrictStr = ""
    """Its value."""

    effect: Effect
    """What it does to pods that don't tolerate it: `NoSchedule`, `PreferNoSchedule` or `NoExecute`, which sends them away."""


class TaintKey(Model):
    """Taints of a key."""

    key: StrictStr = Field(min_length=1)
    """The key."""

    effect: Effect | None = None
    """Only with this effect; default: with any."""


class Labelled(NodesOfIt):
    """Nodes and labels."""

    labels: Annotated[Mapping[StrictStr, StrictStr | None], AfterValidator(check_keys), AfterValidator(check_values)]
    """What to set; null removes a label, if there is one."""

    def change(self) -> Change:
        """To have these labels."""
        return _Labelling(self.labels)


class Tainted(NodesOfIt):
    """Nodes and taints."""

    taints: list[NodeTaint] = Field(min_length=1)
    """The taints."""

    def change(self) -> Change:
        """To have these taints."""
        return _Tainting([each.model_dump(exclude_defaults=True) for each in self.taints])


class Untainted(NodesOfIt):
    """Nodes and keys of taints."""

    taints: list[TaintKey] = Field(min_length=1)
    """The taints that go."""

    def change(self) -> Change:
        """To have none of these taints."""
        return _Tainting(gone=[(each.key, each.effect or "") for each in self.taints])


def put_back(place: Place, change: Change) -> Callable[[], None]:
    """Makes a change that takes one back; a node that is gone needs none."""

    def undo() -> None:
        for _ in range(_UNDO_TRIES):
            node = place.kube.get(place.resource, place.name, None)
            body = change.body(node) if node is not None else {}
            if not body:
                return
            try:
                place.kube.patch(place.resource, place.name, None, body)
            except ApiError as error:
                if error.status == _CONFLICT:
                    continue
                raise
            return
        raise ClusterError("it is changed by somebody else all the time")

    return undo
