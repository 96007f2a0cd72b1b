"""Taking things away from a kernel, and putting them back: in a network namespace, as on a node."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.local import shaping
from koalesce.local.hoststate import Run, host_state
from koalesce.local.netns import NetNamespace

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


@pytest.fixture
def inside() -> Iterator[Callable[[Sequence[str], str], str]]:
    """Runs commands in a network namespace of its own, with a link `l0` of 10.97.0.1/24 that is up."""
    name = f"koaltest-{os.getpid()}-h"
    subprocess.run(["ip", "netns", "add", name], check=True)

    def run(words: Sequence[str], text: str = "") -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", name, *words], input=text, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    try:
        run(["ip", "link", "add", "l0", "type", "veth", "peer", "name", "l1"])
        for words in ("link set l1 up", "link set l0 up", "address add 10.97.0.1/24 dev l0"):
            run(["ip", *words.split()])
        yield run
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def made(run: Run, *lines: str) -> None:
    for line in lines:
        run(line.split(), "")


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"route": "10.96.1.0/24"}, ["ip route add 10.96.1.0/24 via 10.97.0.2 dev l0 proto static metric 7"]),
    ({"route": "default", "table": "77"}, ["ip route add default via 10.97.0.2 table 77"]),
    ({"rule": 500}, ["ip rule add pref 500 from 10.9.0.0/16 iif l0 lookup 77"]),
    (
        {"chain": "MINE", "table": "nat"},
        ["iptables -t nat -N MINE", "iptables -t nat -A MINE -d 10.1.1.1/32 -p tcp -m tcp --dport 80 -j RETURN", "iptables -t nat -A MINE -j ACCEPT"],
    ),
    ({"ipset": "mine"}, ["ipset create mine hash:net", "ipset add mine 10.1.0.0/16", "ipset add mine 10.2.0.0/16"]),
    (
        {"nft_chain": "ip mine input"},
        ["nft add table ip mine", "nft add chain ip mine input { type filter hook input priority 0 ; }", "nft add rule ip mine input tcp dport 80 counter accept", "nft add rule ip mine input ip saddr 10.0.0.0/8 drop"],
    ),
    (
        {"nft_set": "ip mine known"},
        ["nft add table ip mine", "nft add set ip mine known { type ipv4_addr ; flags interval,timeout ; }", "nft add element ip mine known { 203.0.113.0/25 timeout 1h }", "nft add element ip mine known { 198.51.100.7 }"],
    ),
    (
        {"nft_set": "ip mine doors"},
        ["nft add table ip mine", "nft add chain ip mine web", "nft add map ip mine doors { type inet_service : verdict ; }", "nft add element ip mine doors { 80 : goto web }"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "lines"), CASES, ids=[str(wanted) for wanted, _ in CASES])
def test_what_is_removed_is_put_back_as_it_was(inside: Run, wanted: dict[str, Any], lines: list[str]) -> None:
    if shutil.which(lines[0].split()[0]) is None:
        pytest.skip(f"this machine has no {lines[0].split()[0]}")
    made(inside, *lines)
    state = host_state(wanted)
    before = state.lines(inside)

    taken = state.take(inside)

    assert (taken, state.lines(inside)) == (before, [])
    assert before
    state.put_back(inside, taken)
    assert state.lines(inside) == before
    state.put_back(inside, ["nonsense"])  # it is there: nothing is to be done
    assert state.lines(inside) == before


def test_what_is_not_there_cannot_be_removed(inside: Run) -> None:
    with pytest.raises(ClusterError, match=r"there is no route to 10\.96\.9\.0/24 in table main"):
        host_state({"route": "10.96.9.0/24"}).take(inside)


def test_a_link_is_shaped_and_then_as_before(inside: Run) -> None:
    words = shaping.discipline({"rate": "10mbit"})
    here = NetNamespace(os.open(f"/run/netns/koaltest-{os.getpid()}-h", os.O_RDONLY))

    with here.entered():
        shaping.shape("l0", words)
        with pytest.raises(ClusterError, match="tc qdisc add"):  # there is one already
            shaping.shape("l0", words)
    assert "tbf" in inside(["tc", "qdisc", "show", "dev", "l0"], "")
    with here.entered():
        shaping.unshape("l0")

    here.close()
    assert "tbf" not in inside(["tc", "qdisc", "show", "dev", "l0"], "")
