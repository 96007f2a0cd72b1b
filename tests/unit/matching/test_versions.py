from __future__ import annotations

import pytest

from koalesce.matching.versions import is_in_range, parse_range, parse_version


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("v1.37.2", ">=1.36", True),
        ("1.37.2", ">=1.36 <1.37", False),
        ("1.37.2", ">=1.36, <1.38", True),
        ("1.37.2", "1.37", True),
        ("1.37.2", "=1.37.1", False),
        ("1.37.2", "!=1.37.1", True),
        ("1.37.2", "!=1.37", False),
        ("1.37", ">1.36.9", True),
        ("1.37", "1.37.0", True),
        ("1.37.2+k3s1", "1.37.2", True),
        ("1.10.0", ">1.9.0", True),
        ("1.37.0-rc.1", "<1.37.0", True),
        ("1.37.0-rc.1", ">=1.37", True),
        ("1.37.0-rc.1", ">1.37.0-beta.2", True),
        ("1.37.0-rc.2", "<1.37.0-rc.10", True),
        ("1.37.0-rc.1", ">1.37.0-rc", True),
        ("1.37.0-1", "<1.37.0-alpha", True),
    ],
)
def test_versions_are_compared_as_exactly_as_is_written(version: str, wanted: str, fits: bool) -> None:
    parsed = parse_version(version)

    assert parsed is not None
    assert is_in_range(parsed, wanted) == fits


@pytest.mark.parametrize("text", ["", "one", "1.x", "1.2.3.4", "v", "1..2", "-1.0", "latest"])
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize("text", ["", " ", ">=", ">= one", "1.36 ||", "~1.2", ">=1.2 <"])
def test_what_is_no_comparison(text: str) -> None:
    with pytest.raises(ValueError, match="no comparison of versions"):
        parse_range(text)
