from __future__ import annotations

import pytest

from koalesce.reporters.text import bar, clean, inert, one_line, shorten


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\ntext", "plain\ntext"),
        ("10.0.0.1 → 10.0.0.2", "10.0.0.1 → 10.0.0.2"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07rest", "rest"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jx", "x"),
        ("\x1b[2Jé", "é"),
        ("a\tb", "a    b"),
        ("a\r\nb", "a\nb"),
        ("a\rb\x00\x7f", "a\ufffdb\ufffd\ufffd"),
        ("a\u202eb\u2066c", "a\ufffdb\ufffdc"),
        ("a\udc80b", "a\ufffdb"),
        ("\x1bPq\x1b\\x\x1b7", "x"),
    ],
)
def test_clean(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_an_unfinished_escape_sequence_does_not_swallow_the_next_line() -> None:
    assert clean("\x1b]0;never ends\nnext") == "\nnext"


def test_one_line() -> None:
    assert one_line("  a\n\tb  c\r\n") == "a b c"


def test_bar_quotes_every_line_but_nothing_for_nothing() -> None:
    assert bar("a\n\n::error::b\n") == ["| a", "|", "| ::error::b"]
    assert bar(" \n") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--- PASS: a::b", "--- PASS: a::b"),
        ("::error::x", "| ::error::x"),
        ("    ::error::x", "|     ::error::x"),
        ("ok ##[error]x", "ok ## [error]x"),
        ("##vso[task.setvariable]x", "## vso[task.setvariable]x"),
        ("##TeamCity[x]", "## TeamCity[x]"),
        ("## heading", "## heading"),
    ],
)
def test_inert(line: str, expected: str) -> None:
    assert inert(line) == expected


def test_shorten_keeps_head_and_tail() -> None:
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefgh", 4) == "ab\n… 4 characters left out …\ngh"
