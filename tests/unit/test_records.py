"""Data classes whose functions are written late are to callers what the standard library's are."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar

import pytest

from koalesce import records

OPTIONS: tuple[dict[str, bool], ...] = (
    {},
    {"slots": True},
    {"slots": True, "kw_only": True},
    {"slots": True, "eq": False},
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "slots": True, "kw_only": True},
    {"frozen": True, "slots": True, "eq": False},
    {"frozen": True, "slots": True, "order": True},
)


def _point(decorate: Callable[..., Any], **options: bool) -> Any:
    """The same class by either decorator; under its name in this module, so that it can be pickled."""

    class Point:
        """A place."""

        kind: ClassVar[str] = "point"
        x: int
        y: int = 0
        tags: list[str] = field(default_factory=list)
        note: str = field(default="", compare=False, repr=False)
        total: int = field(init=False, default=7)

        def double(self) -> Any:
            this: Any = self
            return dataclasses.replace(this, x=2 * this.x)

    Point.__qualname__ = "Point"
    made = decorate(Point, **options) if options else decorate(Point)
    globals()["Point"] = made
    return made


def _tried(act: Callable[[], Any]) -> Any:
    """What comes of it, in words: both decorators are to say the same."""
    try:
        return repr(act())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _said(made: Any) -> dict[str, Any]:
    """All that can be seen of a class and its instances."""
    one = made(x=1)
    same, other = made(x=1, note="of no account"), made(x=2, y=3, tags=["a"])
    return {
        "repr": repr(other),
        "equal": (one == same, one == other, one == "text", one != other),
        "order": _tried(lambda: sorted([other, one])),
        "hash": _tried(lambda: hash(made(x=1, tags=())) == hash(made(x=1, tags=()))),
        "fields": [(each.name, each.init, each.kw_only) for each in dataclasses.fields(made)],
        "plain": (dataclasses.asdict(other), dataclasses.astuple(other), made.__match_args__, made.kind),
        "replaced": repr(other.double()),
        "set": _tried(lambda: setattr(one, "x", 5)),
        "deleted": _tried(lambda: delattr(one, "y")),
        "after": _tried(lambda: one),
        "missing": _tried(made),
        "extra": _tried(lambda: made(x=1, z=2)),
        "places": _tried(lambda: made(1, 2)),
        "copied": (repr(copy.deepcopy(other)), repr(pickle.loads(pickle.dumps(other)))),
        "own lists": made(x=1).tags is made(x=1).tags,
        "slots": hasattr(other, "__dict__"),
        "doc": made.__doc__,
    }


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "none")
def test_they_are_as_the_standard_librarys(options: dict[str, bool]) -> None:
    expected = _said(_point(dataclasses.dataclass, **options))

    assert _said(_point(records.dataclass, **options)) == expected


@records.dataclass(frozen=True, slots=True)
class Base:
    """Something with a name."""

    name: str


@records.dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Base):
    """Something with a size as well, which has a look at itself."""

    size: int = 0
    twice: list[int] = field(default_factory=list, compare=False)

    def __post_init__(self) -> None:
        self.twice.append(2 * self.size)


class Undecorated(Base):
    """Neither has fields of its own nor functions."""


@records.dataclass(slots=True)
class Told:
    """Says itself how it looks and what equals it."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Told)

    def __hash__(self) -> int:
        return 1


@records.dataclass(slots=True)
class Empty:
    """Has no fields."""


def test_a_class_inherits_fields_and_initializes_all_of_them() -> None:
    made = Derived("a", size=2)

    assert (made.name, made.size, made.twice) == ("a", 2, [4])
    assert made == Derived("a", size=2)
    assert made != Base("a")
    assert repr(Undecorated("b")) == "Undecorated(name='b')"
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        made.name = "c"
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'other'"):
        object.__getattribute__(made, "__setattr__")("other", "c")
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'name'"):
        del Base("a").name


def test_functions_of_its_own_stay() -> None:
    assert repr(Told("a")) == "<a>"
    assert (Told("a") == Told("b"), hash(Told("a"))) == (True, 1)
    assert (repr(Empty()), Empty() == Empty()) == ("Empty()", True)


def test_an_instance_in_itself_is_shown() -> None:
    within: list[Any] = []
    made = Derived("a", twice=within)
    within.append(made)

    assert repr(made) == "Derived(name='a', size=0, twice=[0, ...])"


def test_nothing_is_written_before_it_is_called() -> None:
    @records.dataclass
    class Late:
        """Never made."""

        name: str

    before = Late.__init__
    Late("a")

    assert (before.__code__.co_varnames[:3], Late.__init__.__code__.co_varnames) == (
        ("self", "values", "named"),
        ("self", "name"),
    )
