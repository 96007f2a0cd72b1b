"""When a cluster counts as being back: on looks and answers that are given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.errors import ClusterError, ProvisionError
from koalesce.local import reset
from koalesce.local.firststate import FirstState
from koalesce.local.nodefixes import Fix
from koalesce.local.nodestate import NodeState
from koalesce.local.reset import Reset

FIRST = FirstState(
    pki="", address="", etcd="", dns="10.96.0.10", ready=("a",), static_pods=(), running={"daemonsets/net/agent": 2}, objects={},
    machines={},
)  # fmt: skip
AGAIN = Fix(what="route 10.8.0.0/16 is missing", command=("ip", "route", "add", "10.8.0.0/16"))


class Datastore:
    """What is in one; nothing unless it's said."""

    def __init__(self, found: dict[str, bytes] | None = None) -> None:
        self.found = found or {}

    def all(self) -> dict[str, bytes]:
        return self.found


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(reset, "time", made)
    return made


def back(**given: Any) -> Reset:
    unused: Any = None
    return Reset(
        folder=Path(), first=FIRST, groups=(), pids={"a": 1}, inside=unused, datastore=unused, api=unused, **given
    )


def answering(monkeypatch: pytest.MonkeyPatch, *, pods: int = 2, ready: list[str] | None = None, kubelet: bytes = b"ok", dns: bool = True) -> None:  # fmt: skip
    monkeypatch.setattr(reset.firststate, "ready_nodes", lambda *_: ["a"] if ready is None else ready)
    monkeypatch.setattr(reset.firststate, "running_pods", lambda *_: {"daemonsets/net/agent": pods})
    monkeypatch.setattr(reset, "get", lambda *_: kubelet)
    monkeypatch.setattr(reset.addons, "answers", lambda *_: dns)


def test_a_cluster_that_works_as_at_first_has_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch)

    assert back()._trouble() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pods": 1}, "Ready pods of daemonsets/net/agent: 1, at first 2"),
        ({"ready": []}, "node a is not Ready"),
        ({"kubelet": b""}, "the kubelet of a does not answer"),
        ({"dns": False}, "DNS at 10.96.0.10 does not answer"),
    ],
)
def test_what_worked_at_first_is_to_work_again(monkeypatch: pytest.MonkeyPatch, given: Any, said: str) -> None:
    answering(monkeypatch, **given)

    assert back()._trouble() == [said]


def test_an_api_server_that_can_not_be_asked_is_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> list[str]:
        raise ClusterError("GET /api/v1/nodes: no connection")

    answering(monkeypatch)
    monkeypatch.setattr(reset.firststate, "ready_nodes", refuse)

    assert back()._trouble() == ["GET /api/v1/nodes: no connection"]


def looks(monkeypatch: pytest.MonkeyPatch, clock: Clock, changes_until: float) -> list[float]:
    """A node on which somebody changes things again until a time; returns when it was looked at."""
    asked: list[float] = []

    def look(_: Reset, _name: str) -> list[Fix]:
        asked.append(clock.now)
        return [AGAIN] if clock.now < changes_until else []

    monkeypatch.setattr(Reset, "_look_and_fix", look)
    return asked


def test_a_network_that_begins_anew_is_looked_after_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    asked = looks(monkeypatch, clock, changes_until=3.0)

    assert back()._settle("a") == []
    assert 3.0 + reset._QUIET <= asked[-1] < 3.0 + 2 * reset._QUIET


def test_objects_are_seldom_looked_at_while_pods_end(clock: Clock, tmp_path: Path) -> None:
    asked: list[float] = []

    def differing() -> list[str]:
        asked.append(clock.now)
        if clock.now > 3.0:
            again._gone[0].rmdir()
        return ["processes of pod1"] if again._gone[0].exists() else []

    again = back()
    again._gone = [tmp_path / "pod1"]
    again._gone[0].mkdir()

    assert again._until_gone(differing) == []
    assert len(asked) < 3.0 / reset._ENDING + 3


def test_what_differs_after_pods_have_ended_is_looked_at_at_once(clock: Clock) -> None:
    again = back()

    assert again._until_gone(lambda: [] if clock.now else ["configmaps/a/b was not there at first"]) == []
    assert clock.now < reset._ENDING


def test_only_pods_in_their_nodes_own_network_may_make_it_anew() -> None:
    def pod(uid: str, address: str) -> bytes:
        status = {"hostIPs": [{"ip": "198.18.0.10"}], "podIPs": [{"ip": address}]}
        return json.dumps({"metadata": {"uid": uid}, "status": status}).encode()

    found = {"/registry/pods/a/dns": pod("p1", "10.244.0.2"), "/registry/pods/a/agent": pod("p2", "198.18.0.10")}
    again = back()
    again._now = found

    assert again._has_new_agents({"p1"})
    assert not again._has_new_agents({"p2"})


def test_what_somebody_changes_again_and_again_is_said(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    looks(monkeypatch, clock, changes_until=1000.0)

    assert back()._settle("a") == [f"a: {AGAIN.what}"]
    assert clock.now < 1000.0


def test_routes_that_programs_keep_are_known_to_the_next_reset(tmp_path: Path) -> None:
    unused: Any = None
    node = NodeState(
        links={}, routes=(), routes6=(), rules=(), rules6=(), queues=(), iptables="", iptables6="", sets={}, nft={}, settings={}, files={},
    )  # fmt: skip
    again = Reset(
        folder=tmp_path, first=replace(FIRST, machines={"a": node}), groups=(), pids={"a": 1}, inside=unused,
        datastore=cast("Any", Datastore()), api=unused,
    )  # fmt: skip
    (found,) = again._filters()
    found.stays = frozenset({"10.244.1.0/24 via 198.18.0.11 dev eth0 proto 17"})

    again._keep([found])

    assert [each.stays for each in again._filters()] == [found.stays]
    assert FirstState.load(tmp_path) == again.first


@pytest.mark.parametrize("text", ["{}", '{"pki": ', "[]"])
def test_a_first_state_that_another_version_noted_is_told(tmp_path: Path, text: str) -> None:
    FIRST.save(tmp_path)
    assert FirstState.load(tmp_path) == FIRST

    (tmp_path / "first.json").write_text(text)

    with pytest.raises(ProvisionError, match="another version of Koalesce has noted it, or it is damaged"):
        FirstState.load(tmp_path)
