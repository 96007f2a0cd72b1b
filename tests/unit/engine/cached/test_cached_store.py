"""Where results are kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from koalesce.engine.cached import store
from koalesce.engine.cached.store import Name, Result, Results
from koalesce.events import TestFinished

RESULT = Result(
    at="2026-03-01T12:00:00Z",
    events=(TestFinished(spec="a.yaml", test="t", status="passed", seconds=1.5, message="", line=3),),
)
NAMES: list[Name] = [("file", "/a"), ("image", "x:1")]


def digests(**of: str) -> Callable[[Name], str]:
    return lambda name: of.get(name[1].strip("/").replace(":", "_"), "")


NOW = digests(a="1", x_1="2")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path / "results")
    made.keep("known", NAMES, NOW, RESULT)
    return made


def test_a_result_is_found_while_all_that_was_read_is_the_same(results: Results) -> None:
    assert results.find("known", NOW) == RESULT


def test_it_is_not_found_once_anything_differs(results: Results) -> None:
    assert results.find("other", NOW) is None
    assert results.find("known", digests(a="2", x_1="2")) is None
    assert results.find("known", digests(a="1")) is None


def test_it_is_found_again_when_a_change_is_taken_back(results: Results) -> None:
    other = digests(a="2", x_1="2")
    results.keep("known", NAMES, other, Result(at="later", events=()))

    assert results.find("known", NOW) == RESULT
    assert results.find("known", other) == Result(at="later", events=())


@pytest.mark.parametrize("suffix", ["inputs", "result"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"no gzip at all",
        lambda content: __import__("gzip").compress(b"[]"),
        lambda content: __import__("gzip").compress(b'{"format": 1}'),
        lambda content: __import__("gzip").compress(b'{"format": 1, "at": "x", "inputs": 7, "events": ["{}"]}'),
        lambda content: __import__("gzip").compress(b'{"format": 0, "at": "x", "inputs": [], "events": []}'),
    ],
    ids=["empty", "cut", "foreign", "list", "incomplete", "wrong", "older"],
)
def test_what_is_damaged_or_older_is_not_there(results: Results, suffix: str, damage: Callable[[bytes], bytes]) -> None:
    (path,) = results.folder.glob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))

    assert results.find("known", NOW) is None

    results.keep("known", NAMES, NOW, RESULT)
    assert results.find("known", NOW) == RESULT


def test_nothing_is_found_where_nothing_was_kept(tmp_path: Path) -> None:
    assert Results(tmp_path / "none").find("known", NOW) is None


def test_only_their_owner_may_look_at_them(results: Results) -> None:
    assert results.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in results.folder.iterdir()} == {0o600}


def test_what_nobody_has_used_for_a_week_goes(results: Results) -> None:
    for path in results.folder.iterdir():
        os.utime(path, (1, 1))

    results.keep("new", NAMES, NOW, RESULT)

    assert results.find("known", NOW) is None
    assert results.find("new", NOW) == RESULT


def test_use_keeps_them(results: Results) -> None:
    for path in results.folder.iterdir():
        os.utime(path, (1, 1))
    assert results.find("known", NOW) == RESULT

    results.keep("new", NAMES, NOW, RESULT)

    assert results.find("known", NOW) == RESULT


def test_there_is_room_for_so_much_and_the_oldest_goes_first(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(["known", "b"]):
        results.keep(name, NAMES, NOW, RESULT)
        for path in results.folder.iterdir():
            os.utime(path, (path.stat().st_mtime - 60 * (2 - number),) * 2)
    monkeypatch.setattr(store, "MOST_FILES", 4)

    results.keep("c", NAMES, NOW, RESULT)

    assert [name for name in ("known", "b", "c") if results.find(name, NOW)] == ["b", "c"]

    monkeypatch.setattr(store, "MOST_BYTES", 1)
    results.keep("d", NAMES, NOW, RESULT)
    assert list(results.folder.iterdir()) == []


def test_all_are_forgotten_at_once(results: Results) -> None:
    assert results.clear() == 1
    assert results.find("known", NOW) is None
    assert results.clear() == 0
