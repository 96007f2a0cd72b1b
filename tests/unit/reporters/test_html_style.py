from __future__ import annotations

import re

import pytest

from koalesce.assets import asset

STYLE = asset("templates", "report", "style.css").read_text(encoding="utf-8")
STATUSES = ("passed", "failed", "error", "skipped", "flaky")
PAIRS = [
    *((ink, paper) for ink in ("ink", "soft", "link") for paper in ("page", "paper", "sunk")),
    *((status, paper) for status in STATUSES for paper in ("paper", "sunk", f"{status}-pale")),
    *(("phase-ink", bar) for bar in ("phase", "teardown")),
    *((kind, "paper") for kind in ("fault", "probe")),
    ("soft", "failed-pale"), ("ink", "error-pale"),
]  # fmt: skip


def palettes() -> list[dict[str, str]]:
    """The colours of the light, the dark and the printed page."""
    return [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in re.findall(r":root \{(.*?)\}", STYLE, re.S)
    ]


def channels(color: str) -> list[int]:
    return [int(color[index : index + 2], 16) for index in (1, 3, 5)]


def mixed(front: str, back: str, share: float) -> str:
    """What is seen of a colour that lets another through."""
    both = zip(channels(front), channels(back), strict=True)
    return "#" + "".join(f"{round(share * one + (1 - share) * other):02x}" for one, other in both)


def luminance(color: str) -> float:
    """As WCAG 2 defines it."""
    shares = [channel / 255 for channel in channels(color)]
    red, green, blue = (each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(front: str, back: str) -> float:
    low, high = sorted((luminance(front), luminance(back)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", range(3), ids=("light", "dark", "print"))
def test_text_stands_out_from_what_is_behind_it(palette: int) -> None:
    colors = palettes()[palette]

    for front, back in PAIRS:
        assert contrast(colors[front], colors[back]) >= 4.5, f"{front} on {back}"


@pytest.mark.parametrize("palette", range(3), ids=("light", "dark", "print"))
def test_the_name_of_a_fault_stands_out_from_its_shadow(palette: int) -> None:
    colors = palettes()[palette]
    (share,) = re.findall(r"rect\.shadow \{ fill: var\(--fault\); fill-opacity: ([\d.]+)", STYLE)

    assert contrast(colors["fault"], mixed(colors["fault"], colors["paper"], float(share))) >= 4.5
