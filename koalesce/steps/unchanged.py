"""The step `unchanged`: nothing moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from koalesce.matching.changes import changes, check_ignorable, without
from koalesce.matching.flaws import Where, refuse
from koalesce.matching.jsonpath import compile_path, describe_nothing
from koalesce.matching.mismatch import Mismatch, and_more
from koalesce.records import dataclass
from koalesce.steps.base import Assertion, Failed, Outcome, Passed, StepContext
from koalesce.steps.objects.path_match import path_flaws
from koalesce.steps.objects.reading import shortened
from koalesce.steps.objects.reference import Found, Selection, named

_SEEN = "unchanged"
_MOST = 20
_ALWAYS = (
    "{.metadata.resourceVersion}",
    "{.metadata.generation}",
    "{.metadata.managedFields}",
)  # counters and traces of changes
_FIXED = ("name", "namespace", "uid", "creationTimestamp")
_ANY = ("[*]", ".*")


def _readable(path: str) -> str:
    if "${{" not in path:
        compile_path(path)
    return path


def _ignorable(path: str) -> str:
    if "${{" not in path:
        check_ignorable(path)
    return path


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class _State:
    """What one object was like: its identity, and the values that count by their paths ("" is the whole of it)."""

    uid: str
    values: Mapping[str, Any]


class Unchanged(Selection, Assertion, key="unchanged"):
    """Nothing moves: objects, or values of them, stay as they are at the first look.

    `consistently: 10s` beside it says for how long, from now on; `stableFor: 10s` waits until they have come to rest for so long. An
    object that comes, goes, or is replaced by another one of its name is a change. Objects and values have to be there at the first
    look, unless `mayNotExist`.
    """

    needs_time: ClassVar[bool] = True

    path: Annotated[str, AfterValidator(_readable)] | None = None
    """A jsonpath to what has to stay as it is; default: all of the object but what counts its changes (`metadata.resourceVersion`, `metadata.generation`, `metadata.managedFields`)."""
    paths: list[Annotated[str, AfterValidator(_readable)]] = Field(default_factory=list)
    """Several of these."""
    ignore: Annotated[list[Annotated[str, AfterValidator(_ignorable)]], BeforeValidator(_one_or_more)] = Field(
        default_factory=list
    )
    """Jsonpaths to what may change, each of which ends with a field or with `[*]`: `{.status.conditions[*].lastHeartbeatTime}`."""

    @model_validator(mode="after")
    def _check_names(self) -> Unchanged:
        written: list[tuple[Where, str]] = [(("path",), self.path)] if self.path is not None else []
        written += [(("paths", index), path) for index, path in enumerate(self.paths)]
        refuse([flaw.under(*where) for where, path in written for flaw in path_flaws(path, self.resource.kind)], self)
        return self

    @model_validator(mode="after")
    def _leaves_something(self) -> Unchanged:
        for path in self._paths:
            for ignored in self.ignore:
                if _covers(ignored, path):
                    raise ValueError(
                        f"ignore: {ignored} leaves nothing of {path}, so that nothing could be seen to move"
                    )
        return self

    def title(self) -> str:
        """What stays."""
        what = ", ".join(self._paths)
        return f"{what} of {self.described} unchanged" if what else f"{self.described} unchanged"

    def attempt(self, context: StepContext) -> Outcome:
        """Look once, and compare with the look before."""
        found = self.look_for(context)
        if not isinstance(found, Found):
            return found
        if problem := self._nothing(context, found):
            return problem
        states = {named(obj, context.namespace): self._state(obj) for obj in found.objects}
        if problem := self._nothing_left(states, found.objects):
            return problem
        before: dict[str, _State] | None = context.memory.get(_SEEN)
        context.memory[_SEEN] = states
        moved = [] if before is None else _differences(before, states)
        if moved:
            return _failed(moved)
        value = {"items": found.objects} if not self.resource.name else next(iter(found.objects), None)
        return Passed(self.title(), value)

    @property
    def _paths(self) -> list[str]:
        return [*([self.path] if self.path is not None else ()), *self.paths]

    def _nothing(self, context: StepContext, found: Found) -> Failed | None:
        """What isn't there at the first look, of which nothing can be said."""
        if _SEEN in context.memory or context.may_not_exist:
            return None
        if not found.objects:
            said = "does not exist" if self.resource.name else "aren't there"
            return Failed(f"{self.described} {said}{found.passed_over}", "there", "missing", saw_nothing=True)
        for obj in found.objects:
            for path in self._paths:
                if not compile_path(path).find(obj):
                    said = f"{named(obj, context.namespace)}: {path} {describe_nothing(compile_path(path), obj)}"
                    return Failed(said, "a value", "nothing", saw_nothing=True)
        return None

    def _nothing_left(self, states: Mapping[str, _State], objects: Sequence[Mapping[str, Any]]) -> Failed | None:
        """What `ignore` leaves nothing of, which could never be seen to move."""
        for (name, state), obj in zip(states.items(), objects if self.ignore else (), strict=False):
            for path, values in state.values.items():
                whole = compile_path(path).find(obj) if path else obj
                if not _is_empty(whole) and _is_empty(values if path else _besides_identity(values)):
                    what = path or "what it has besides its name"
                    said = f"{name}: ignore leaves out all of {what}, so that nothing could be seen to move"
                    return Failed(said, "something that counts", "nothing", saw_nothing=True)
        return None

    def _state(self, obj: dict[str, Any]) -> _State:
        if not self._paths:
            return _State(str(obj["metadata"].get("uid")), {"": without(obj, [*_ALWAYS, *self.ignore])})
        counting = without(obj, self.ignore) if self.ignore else obj
        return _State(
            str(obj["metadata"].get("uid")), {path: compile_path(path).find(counting) for path in self._paths}
        )


def _is_empty(value: Any) -> bool:
    """Whether there is nothing in it but empty maps and lists."""
    if isinstance(value, Mapping):
        return all(map(_is_empty, value.values()))
    return isinstance(value, list) and all(map(_is_empty, value))


def _besides_identity(obj: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what can't change while it's the same one."""
    metadata = {key: value for key, value in obj.get("metadata", {}).items() if key not in _FIXED}
    return {**{key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}, "metadata": metadata}


def _covers(ignored: str, path: str) -> bool:
    """Whether all that a path leads to lies in what is ignored, as far as that can be read from both."""
    if "${{" in ignored + path or compile_path(ignored).is_template or compile_path(path).is_template:
        return False
    left, right = compile_path(ignored).steps, compile_path(path).steps
    left = left[:-1] if left[-1] in _ANY else left
    return len(left) <= len(right) and all(one in (other, *_ANY) for one, other in zip(left, right, strict=False))


def _differences(before: Mapping[str, _State], now: Mapping[str, _State]) -> list[tuple[str, Mismatch]]:
    """What moved, with the name of its object."""
    moved: list[tuple[str, Mismatch]] = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            was, is_now = ("missing", "there") if old is None else ("there", "missing")
            moved.append((name, Mismatch("", was, is_now, "has come" if old is None else "has gone")))
        elif old.uid != new.uid:
            moved.append((name, Mismatch("", old.uid, new.uid, "was replaced by another one of this name")))
        else:
            moved += [
                (name, change.under(path))
                for path, values in old.values.items()
                for change in _of_path(path, values, new.values[path])
            ]
    return moved


def _of_path(path: str, old: Any, new: Any) -> list[Mismatch]:
    """The changes of what one path leads to; where it leads to one value, as changes of that."""
    if path and len(old) == len(new) == 1:
        return changes(old[0], new[0])
    return changes(old, new)


def _failed(moved: list[tuple[str, Mismatch]]) -> Failed:
    name, first = moved[0]
    more = and_more(len(moved) - 1, "change")
    lines = [f"{name}: {change}" for name, change in moved[:_MOST]]
    if len(moved) > _MOST:
        lines.append(f"… and {len(moved) - _MOST} more changes")
    separator = ": " if first.path else " "
    return Failed(f"{name}{separator}{shortened(str(first))}{more}", first.expected, first.actual, "\n".join(lines))
