"""What a look at a node makes of its files and routes."""

from __future__ import annotations

from pathlib import Path

from koalesce.local.nodestate import _files, _routes

PLUGIN = "opt/cni/bin/flannel"
SIZE = 300 * 1024


def _write(root: Path, content: bytes) -> None:
    """Write it at another time than before, by a clock that may be a coarse one."""
    path = root / PLUGIN
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_ctime_ns if path.exists() else 0
    while not path.exists() or path.stat().st_ctime_ns == before:
        path.write_bytes(content)


def test_a_large_file_that_was_written_again_with_the_same_content_has_not_changed(tmp_path: Path) -> None:
    _write(tmp_path, b"a" * SIZE)
    first = _files(tmp_path, {})
    _write(tmp_path, b"a" * SIZE)

    assert _files(tmp_path, first) == first
    assert _files(tmp_path, {}) != first  # the time of its last change is another


def test_a_large_file_with_other_content_of_the_same_size_has_changed(tmp_path: Path) -> None:
    _write(tmp_path, b"a" * SIZE)
    first = _files(tmp_path, {})
    _write(tmp_path, b"b" * SIZE)

    assert _files(tmp_path, first) != first


def test_routes_are_told_apart_by_their_next_hops_not_by_the_numbers_of_these() -> None:
    one = "10.96.0.1 nhid 10 proto bgp metric 20 \n\tnexthop via 198.18.0.11 dev eth0 weight 1 \n"
    via = "10.244.0.0/24 nhid 7 via 198.18.0.11 dev eth0 proto bgp metric 20 linkdown \n"

    assert _routes(one) == _routes(one.replace("10 proto", "12 proto"))
    assert _routes(via) == ("10.244.0.0/24 via 198.18.0.11 dev eth0 proto bgp metric 20",)
