"""Regular expressions that are compiled later."""

from __future__ import annotations

import re

import pytest

from koalesce.patterns import pattern


def test_it_is_what_a_compiled_expression_is() -> None:
    words = pattern(r"(?P<word>[a-z]+)", re.IGNORECASE)

    found = words.fullmatch("Word")

    assert found is not None
    assert found["word"] == "Word"
    assert words.sub("x", "a b") == "x x"
    assert words.pattern == r"(?P<word>[a-z]+)"


def test_it_is_compiled_when_it_is_first_used() -> None:
    broken = pattern("(")

    with pytest.raises(re.error):
        broken.search("x")
