"""Chains that programs of a node look after, on the way back: on a node of which only its looks are real."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from koalesce.local import filters, nodefixes
from koalesce.local.filters import Filters
from koalesce.local.nodestate import NodeState

EMPTY = NodeState(
    links={}, routes=(), routes6=(), rules=(), rules6=(), queues=(), iptables="", iptables6="", sets={}, nft={}, settings={}, files={}
)  # fmt: skip


def proxys(rule: str) -> NodeState:
    text = f"*filter\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j {rule}\nCOMMIT\n"
    return replace(EMPTY, iptables=text)


def routers(rule: str) -> NodeState:
    return replace(EMPTY, iptables=f"*filter\n:KUBE-ROUTER-INPUT - [0:0]\n-A KUBE-ROUTER-INPUT -j {rule}\nCOMMIT\n")


@dataclass
class Machine:
    """A node: what its looks give, and kube-proxy with the time at which it has written its rules."""

    looks: Iterator[NodeState]
    time: float = 0.0
    written: float | None = 0.0
    ended: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    repaired: NodeState | None = None
    families: tuple[bytes, ...] = (b"IPv4", b"IPv6")

    def look(self, _pid: int, _before: NodeState) -> NodeState:
        return next(self.looks)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def get(self, _pid: int, _port: int, _path: str) -> bytes:
        if self.written is None:
            return b""
        metric = b'kubeproxy_sync_proxy_rules_last_%stimestamp_seconds{ip_family="%s"} %f\n'
        queued = b"".join(metric % (b"queued_", family, self.written) for family in (b"IPv4", b"IPv6"))
        return queued + b"".join(metric % (b"", family, self.written) for family in self.families)

    def carry_out(self, found: list[nodefixes.Fix], _pid: int) -> None:
        self.commands += [fix.text for fix in found]
        self.looks = itertools.repeat(self.repaired or next(self.looks))


Make = Callable[[Sequence[NodeState]], Machine]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(looks: Sequence[NodeState]) -> Machine:
        made = Machine(looks=itertools.chain(looks, itertools.repeat(looks[-1])))

        def end_service(_pid: int, name: str) -> None:
            made.ended.append(name)
            if made.written is not None:
                made.written = time.time() + 1

        monkeypatch.setattr(filters, "look_again", made.look)
        monkeypatch.setattr(filters, "get", made.get)
        monkeypatch.setattr(filters, "end_service", end_service)
        monkeypatch.setattr(filters.time, "sleep", made.sleep)
        monkeypatch.setattr(filters.time, "monotonic", lambda: made.time)
        monkeypatch.setattr(filters.nodefixes, "carry_out", made.carry_out)
        return made

    return make


def of(first: NodeState, *, has_other_pods: bool = False) -> Filters:
    return Filters(name="a", pid=1, first=first, has_other_pods=has_other_pods, end=30.0)


def test_rules_that_are_as_they_were_need_no_look(machine: Make) -> None:
    assert of(proxys("RETURN")).put_right(proxys("RETURN")) == []
    assert machine([EMPTY]).ended == []


def test_kube_proxy_is_given_the_time_to_follow(machine: Make) -> None:
    node = machine([proxys("DROP"), proxys("RETURN")])

    assert of(proxys("RETURN")).put_right(proxys("DROP")) == []
    assert node.ended == []


def test_what_kube_proxy_makes_when_it_begins_anew_is_right_from_then_on(machine: Make) -> None:
    """The first state may have been noted before it was done."""
    node, found = machine([proxys("RETURN")]), of(proxys("REJECT"))

    assert found.put_right(proxys("RETURN")) == []
    assert node.ended == ["kube-proxy"]
    assert found.first == proxys("RETURN")


def test_kube_proxy_that_leads_to_another_pod_of_the_same_controller_is_left(machine: Make) -> None:
    node, found = machine([proxys("LED --to 10.244.0.7")]), of(proxys("LED --to 10.244.0.2"))
    found.was, found.is_ = {"10.244.0.2": "dns"}, {"10.244.0.7": "dns"}

    assert found.put_right(proxys("LED --to 10.244.0.7")) == []
    assert (node.ended, node.time) == ([], 0.0)


def test_whose_pods_renewed_rules_lead_to_is_known_from_then_on(machine: Make) -> None:
    node, found = machine([proxys("LED --to 10.244.0.7")]), of(proxys("REJECT"))
    found.was, found.is_ = {"10.244.0.2": "dns"}, {"10.244.0.7": "dns"}

    assert found.put_right(proxys("LED --to 10.244.0.7")) == []
    assert node.ended == ["kube-proxy"]
    assert found.was == {"10.244.0.2": "dns", "10.244.0.7": "dns"}


def test_a_kube_proxy_that_does_not_come_back_is_said(machine: Make) -> None:
    node, found = machine([proxys("DROP")]), of(proxys("RETURN"))
    node.written = None

    assert found.put_right(proxys("DROP")) == ["a: the rules of kube-proxy have changed"]
    assert found.first == proxys("RETURN")


def test_kube_proxy_is_done_once_it_has_written_the_rules_of_both_families(machine: Make) -> None:
    node, found = machine([proxys("DROP")]), of(proxys("RETURN"))
    node.families = (b"IPv4",)

    assert found.put_right(proxys("DROP")) == ["a: the rules of kube-proxy have changed"]


def test_rules_of_kube_router_are_written_as_they_were(machine: Make) -> None:
    node = machine([routers("DROP")])
    node.repaired = routers("RETURN")

    assert of(routers("RETURN")).put_right(routers("DROP")) == []
    assert node.commands == [routers("RETURN").iptables]
    assert node.ended == []


def test_rules_of_kube_router_that_stay_others_are_said(machine: Make) -> None:
    machine([routers("DROP")])

    assert of(routers("RETURN")).put_right(routers("DROP")) == ["a: the rules of kube-router have changed"]


def test_rules_of_kube_router_about_other_pods_are_left(machine: Make) -> None:
    node = machine([routers("DROP")])

    assert of(routers("RETURN"), has_other_pods=True).put_right(routers("DROP")) == []
    assert node.commands == []


def test_routes_that_are_to_be_withdrawn_are_waited_for_and_then_left(machine: Make) -> None:
    learnt = replace(EMPTY, routes=("10.96.0.7 via 198.18.0.11 dev eth0 proto bgp",))
    node = machine([learnt])

    assert of(EMPTY).put_right(learnt) == []
    assert node.time >= 1.0
    assert node.commands == []


def test_routes_that_stay_are_waited_for_once(machine: Make) -> None:
    """Two nodes may have learnt of each other just after the first state was noted."""
    learnt = replace(EMPTY, routes=("10.244.1.0/24 via 198.18.0.11 dev eth0 proto bgp",))
    node, found = machine([learnt]), of(EMPTY)
    found.put_right(learnt)
    waited = node.time

    again = of(EMPTY)
    again.stays = found.stays
    again.put_right(learnt)

    assert waited > 0
    assert node.time == waited
    assert again.first == EMPTY


def test_a_route_that_was_withdrawn_is_waited_for_when_it_comes_again(machine: Make) -> None:
    learnt = replace(EMPTY, routes=("10.96.0.7 via 198.18.0.11 dev eth0 proto bgp",))
    found = of(EMPTY)
    found.stays = frozenset(learnt.routes)
    node = machine([EMPTY])
    found.put_right(EMPTY)

    found.put_right(learnt)

    assert found.stays == frozenset()
    assert node.time > 0
