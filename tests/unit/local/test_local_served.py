"""Which images a cluster's nodes were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.local.served import Served, read


def test_each_image_has_the_digest_that_it_was_served_with(tmp_path: Path) -> None:
    served = Served(tmp_path)
    assert read(tmp_path) == {}

    served.note("a:1", "sha256:1")
    served.note("a:1", "sha256:1")
    served.note("b:1", "")

    assert read(tmp_path) == {"a:1": "sha256:1", "b:1": ""}
    assert len((tmp_path / "images.jsonl").read_text().splitlines()) == 2


def test_an_image_that_was_two_different_ones_has_none(tmp_path: Path) -> None:
    served = Served(tmp_path)
    for digest in ("sha256:1", "sha256:2", "sha256:1"):
        served.note("a:1", digest)

    assert read(tmp_path) == {"a:1": ""}


def test_what_could_not_be_noted_is_not_known_and_nobody_waits_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    served = Served(folder)
    (folder / "images.jsonl").unlink()
    folder.rename(tmp_path / "gone")

    served.note("a:1", "sha256:1")
    (tmp_path / "gone").rename(folder)
    served.note("b:1", "sha256:1")

    with pytest.raises(FileNotFoundError):
        read(folder)
