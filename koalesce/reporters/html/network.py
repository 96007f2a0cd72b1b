"""Machines in a drawing: those of the cluster below the others, and the ways of lines between them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from koalesce.reporters.html.markup import Content, Markup, tag

_MOST_IN_A_ROW = 12  # machines
_EDGE = 4
Place = tuple[int, int]
Ends = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large things are drawn: from box to box, between the rows, and a box itself; `bow` is what a bow is deeper for each box that it passes."""

    step: int
    between: int
    box: tuple[int, int]
    bow: int
    letters: int


LARGE = Size(step=170, between=150, box=(130, 40), bow=26, letters=19)
SMALL = Size(step=116, between=84, box=(98, 34), bow=14, letters=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The way of a line: a straight one between the rows, a bow within one, so that it passes by the machines between."""

    begin: Place
    control: tuple[float, float]
    end: Place

    def __str__(self) -> str:
        (x1, y1), (x, y), (x2, y2) = self.begin, self.control, self.end
        return f"M {x1} {y1} Q {x:.0f} {y:.0f} {x2} {y2}"

    def at(self, part: float) -> tuple[float, float]:
        """The place where this part of it is over."""
        x, y = (
            (1 - part) ** 2 * a + 2 * part * (1 - part) * b + part**2 * c
            for a, b, c in zip(self.begin, self.control, self.end, strict=True)
        )
        return x, y


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Where machines are in a drawing of this width and height."""

    places: Mapping[str, Place]
    nodes: Collection[str]
    width: int
    height: int
    size: Size

    def course(self, ends: Ends) -> Course:
        """The way from one machine to another."""
        (x1, y1), (x2, y2) = (self.places[end] for end in ends)
        depth = 0
        if y1 == y2:
            depth = 2 * _bow(self.size, abs(x2 - x1) // self.size.step) * (1 if ends[0] in self.nodes else -1)
        return Course(begin=(x1, y1), control=((x1 + x2) / 2, (y1 + y2) / 2 + depth), end=(x2, y2))

    def box(self, name: str, below: str, *, told: str, class_: str = "") -> Markup:
        """A machine, with some words below its name; `told` is what one reads of it on asking."""
        wide, high = self.size.box
        x, y = self.places[name]
        shown = name if len(name) <= self.size.letters else f"{name[: self.size.letters - 1]}…"
        kind = "node" if name in self.nodes else "other"
        return tag(
            "g",
            tag("title", told),
            tag("rect", x=x - wide // 2, y=y - high // 2, width=wide, height=high, rx="6", class_=f"{kind} {class_}".strip()),
            tag("text", shown, x=x, y=y - 3, text_anchor="middle", class_="name"),
            tag("text", below, x=x, y=y + 13 * high // 40, text_anchor="middle"),
        )  # fmt: skip

    def picture(self, title: str, *content: Content) -> Markup:
        """The drawing."""
        return tag(
            "svg", tag("title", title), *content,
            viewBox=f"0 0 {self.width} {self.height}", width=f"{self.width}", role="img",
        )  # fmt: skip


def arranged(nodes: Sequence[str], lines: Iterable[Ends], size: Size) -> Network | None:
    """Places for the machines at the ends of lines; None if they are too many for a drawing."""
    lines = list(lines)
    names = list(dict.fromkeys(name for ends in lines for name in ends))
    below = [name for name in nodes if name in names]
    above = sorted(name for name in names if name not in below)
    width = max(len(above), len(below))
    if width > _MOST_IN_A_ROW:
        return None
    whole = size.step * width + 10
    half = size.box[1] // 2
    up, down = (_room(row, lines, size) for row in (above, below))
    top = _EDGE + (up if above else half)
    bottom = top + size.between if above else top
    height = (bottom + down if below else top + half) + _EDGE
    places = {**_row(above, whole, top, size), **_row(below, whole, bottom, size)}
    return Network(places=places, nodes=below, width=whole, height=height, size=size)


def _room(row: Sequence[str], lines: Iterable[Ends], size: Size) -> int:
    """How far it is from the middle of a row to its outer side: to that of its boxes, or to the peak of the deepest bow."""
    spans = [abs(row.index(a) - row.index(b)) for a, b in lines if a in row and b in row]
    return max([size.box[1] // 2, *(_bow(size, span) for span in spans)])


def _bow(size: Size, span: int) -> int:
    """How deep a bow is to a machine so many places on."""
    return size.bow * span + size.box[1] // 2 + 2


def _row(names: Sequence[str], whole: int, y: int, size: Size) -> dict[str, Place]:
    first = (whole - size.step * (len(names) - 1)) // 2
    return {name: (first + size.step * number, y) for number, name in enumerate(names)}
