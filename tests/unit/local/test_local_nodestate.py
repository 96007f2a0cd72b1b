"""What a look at a node makes of its files and routes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ProvisionError
from koalesce.local import nodestate
from koalesce.local.nodestate import NodeState, _files, _routes, _setting, look_again

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


def test_only_what_can_be_set_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "forwarding"
    path.write_text("1\n")
    assert _setting(str(path)) == {str(path): "1"}

    path.chmod(0o444)
    assert _setting(str(path)) == {}


@dataclass
class Answer:
    out: str
    err: str = ""
    code: int = 0


def answering(monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    def run(*_: Any, **__: Any) -> Answer:
        return Answer(out)

    monkeypatch.setattr(nodestate.process, "run", run)


BEFORE = NodeState(
    links={"eth0": {}}, routes=("default via 10.0.0.1 dev eth0",), routes6=(), rules=("priority 0",), rules6=(), queues=(), iptables="",
    iptables6="", sets={}, nft={}, settings={"net/ipv4/ip_forward": "1"}, files={"etc/hosts": (0o100644, "")},
)  # fmt: skip


def test_a_second_look_is_at_routes_and_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [
        "",
        "default via 10.0.0.2 dev eth0 \n",
        "fd00::/64 dev eth0 metric 256 pref medium\n",
        "*filter\nCOMMIT\n",
        "",
    ]
    answering(monkeypatch, "===koalesce===\n".join(parts))

    assert look_again(1, BEFORE) == replace(
        BEFORE,
        routes=("default via 10.0.0.2 dev eth0",),
        routes6=("fd00::/64 dev eth0 metric 256",),
        iptables="*filter\nCOMMIT\n",
    )


def test_a_node_that_has_ended_can_not_be_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "")

    with pytest.raises(ProvisionError, match="can't look at the node of process 1"):
        look_again(1, BEFORE)
