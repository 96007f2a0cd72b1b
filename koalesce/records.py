"""Data classes that cost little until they are used: `dataclass` as the standard library's, but `__init__` is written when it's first called.

The standard library writes, and has Python parse and compile, six functions for each class when its module is loaded: a third of what a short command
took, which makes instances of few of the classes that it loads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    import operator
    import reprlib

    _MADE_ANEW = object()

    def dataclass(cls=None, /, *, frozen=False, slots=False, kw_only=False, eq=True, order=False):
        """As `dataclasses.dataclass`, with those of its options that we use; what it makes is one to all of `dataclasses`."""

        def wrap(plain):
            own = frozenset(plain.__dict__)
            made = dataclasses.dataclass(plain, init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)
            added = {"__init__": _first_init(made, frozen), "__repr__": _repr(made)}
            if eq:
                added |= _equality(made, frozen)
            if order:
                added |= _order(made)
            if frozen:
                added |= _frozen(made)
            for name, function in added.items():
                if name not in own or (name == "__hash__" and plain.__hash__ is None):
                    setattr(made, name, function)
            return made

        return wrap if cls is None else wrap(cls)

    def _first_init(made, frozen):
        def initialize(self, /, *values, **named):
            made.__init__ = written = _init(made, frozen)
            written(self, *values, **named)

        return initialize

    def _init(made, frozen):
        """What sets an instance's fields, as Python that is compiled: it's called as often as any function."""
        known = {"_set": object.__setattr__, "_MADE_ANEW": _MADE_ANEW}
        places, named, lines = [], [], []
        for field in dataclasses.fields(made):
            value = name = field.name
            is_default, is_made = (each is not dataclasses.MISSING for each in (field.default, field.default_factory))
            known[f"_of_{name}"] = field.default_factory if is_made else field.default
            if not field.init:
                if not (is_default or is_made):
                    continue
                value = f"_of_{name}()" if is_made else f"_of_{name}"
            else:
                default = "=_MADE_ANEW" if is_made else f"=_of_{name}" if is_default else ""
                (named if field.kw_only else places).append(name + default)
                if is_made:
                    value = f"_of_{name}() if {name} is _MADE_ANEW else {name}"
            lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
        if hasattr(made, "__post_init__"):
            lines.append("self.__post_init__()")
        parameters = ", ".join(["self", *places, *(["*", *named] if named else [])])
        exec(f"def __init__({parameters}):\n  " + "\n  ".join(lines or ["pass"]), known)  # noqa: S102 - of our own names
        written = known["__init__"]
        written.__qualname__, written.__module__ = f"{made.__qualname__}.__init__", made.__module__
        return written

    def _repr(made):
        names = [field.name for field in dataclasses.fields(made) if field.repr]

        @reprlib.recursive_repr()
        def show(self):
            return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

        return show

    def _equality(made, frozen):
        fields = dataclasses.fields(made)
        compared = _values([field.name for field in fields if field.compare])
        hashed = _values([field.name for field in fields if (field.compare if field.hash is None else field.hash)])

        def equals(self, other):
            return compared(self) == compared(other) if other.__class__ is self.__class__ else NotImplemented

        def hashed_alike(self):
            return hash(hashed(self))

        return {"__eq__": equals, "__hash__": hashed_alike if frozen else None}

    def _order(made):
        compared = _values([field.name for field in dataclasses.fields(made) if field.compare])

        def comparing(compare):
            return lambda self, other: (
                compare(compared(self), compared(other)) if other.__class__ is self.__class__ else NotImplemented
            )

        return {f"__{name}__": comparing(getattr(operator, name)) for name in ("lt", "le", "gt", "ge")}

    def _values(names):
        """What gets these fields of an instance, as a tuple."""
        return (
            operator.attrgetter(*names) if len(names) > 1 else lambda each: tuple(getattr(each, name) for name in names)
        )

    def _frozen(made):
        names = tuple(field.name for field in dataclasses.fields(made))

        def assign(self, name, value):
            if type(self) is made or name in names:
                raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
            super(made, self).__setattr__(name, value)

        def delete(self, name):
            if type(self) is made or name in names:
                raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
            super(made, self).__delattr__(name)

        def state(self):
            return [getattr(self, name) for name in names]

        def restore(self, values):
            for name, value in zip(names, values, strict=True):
                object.__setattr__(self, name, value)

        changing = {"__setattr__": assign, "__delattr__": delete}
        return changing | ({"__getstate__": state, "__setstate__": restore} if "__slots__" in made.__dict__ else {})
