"""Files of settings: their value, or the lines that can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.yaml import InvalidDocument
from koalesce.yaml.settings import read_settings


@pytest.mark.parametrize(("text", "value"), [("", None), ("a: [1, x]\n", {"a": [1, "x"]}), ("- 1\n", [1])])
def test_a_file_has_one_value(tmp_path: Path, text: str, value: object) -> None:
    (tmp_path / "a.yaml").write_text(text)

    assert read_settings(tmp_path / "a.yaml") == value


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("machines: [127.0.0.1:, 1\n", ":2:1: "),
        ("a: 1\na: 2\n", ":2:1: "),
        ("a: 1\n---\nb: 1\n", ":3:1: a second document"),
    ],
)
def test_what_cannot_be_read_is_shown_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "a.yaml").write_text(text)

    with pytest.raises(InvalidDocument) as raised:
        read_settings(tmp_path / "a.yaml")

    assert str(raised.value).startswith(f"{tmp_path}/a.yaml{place}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match=r"a\.yaml.*: can't be read: No such file or directory"):
        read_settings(tmp_path / "a.yaml")
