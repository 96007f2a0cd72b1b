"""What brings a node back: from two looks at it, commands."""

from __future__ import annotations

import dataclasses
import stat
from typing import Any

import pytest

from koalesce.local import iptables
from koalesce.local.nodefixes import fixes
from koalesce.local.nodestate import NodeState

REGULAR = stat.S_IFREG | 0o644
LINK = {"up": True, "mtu": 1500, "master": "", "of_pod": False, "addresses": ["198.18.0.10/16"]}
FIRST = NodeState(
    links={"eth0": LINK},
    routes=("default via 198.18.0.1 dev eth0",),
    routes6=(),
    rules=("from all lookup main priority 32766",),
    rules6=(),
    queues=(("eth0", "noqueue"),),
    iptables="*nat\n:OUTPUT ACCEPT [1:2]\n:KUBE-SERVICES - [0:0]\n:OURS - [0:0]\n-A OUTPUT -j KUBE-SERVICES\n-A OURS -j RETURN\nCOMMIT\n",
    iptables6="",
    sets={"first": ("create first hash:ip", "add first 10.0.0.1")},
    nft={"inet ours": "table inet ours {\n}\n"},
    settings={"net/ipv4/ip_forward": "1"},
    files={"etc/hosts": (REGULAR, "YQ=="), "opt/cni/bin/bridge": (REGULAR, "=400 1")},
)


def changed(**fields: Any) -> NodeState:
    return dataclasses.replace(FIRST, **fields)


def test_a_node_that_is_as_it_was_needs_nothing() -> None:
    assert fixes(FIRST, FIRST) == []
    assert NodeState.from_json(FIRST.as_json()) == FIRST


@pytest.mark.parametrize(
    ("now", "command"),
    [
        (changed(links={"eth0": LINK, "new": LINK}), "ip link del new"),
        (changed(links={"eth0": {**LINK, "up": False}}), "ip link set eth0 up"),
        (changed(links={"eth0": {**LINK, "mtu": 1400}}), "ip link set eth0 mtu 1500"),
        (changed(links={"eth0": {**LINK, "master": "br"}}), "ip link set eth0 nomaster"),
        (changed(links={"eth0": {**LINK, "addresses": []}}), "ip addr add 198.18.0.10/16 dev eth0"),
        (changed(routes=()), "ip route add default via 198.18.0.1 dev eth0"),
        (changed(routes=(*FIRST.routes, "10.8.0.0/16 via 10.9.9.2 dev x")), "ip route del 10.8.0.0/16 via 10.9.9.2 dev x"),
        (changed(rules6=("from all lookup 7 priority 1",)), "ip -6 rule del from all lookup 7 priority 1"),
        (changed(queues=(("eth0", "netem"),)), "tc qdisc del dev eth0 root"),
        (changed(queues=(("eth0", "noqueue"), ("eth0", "clsact"))), "tc qdisc del dev eth0 clsact"),
        (changed(sets={**FIRST.sets, "new": ("create new hash:ip",)}), "ipset destroy new"),
        (changed(sets={"first": ("create first hash:ip",)}), "ipset restore -exist"),
        (changed(nft={}), "nft -f -"),
    ],
)  # fmt: skip
def test_what_differs_has_a_command_that_undoes_it(now: NodeState, command: str) -> None:
    assert [" ".join(fix.command) for fix in fixes(FIRST, now)] == [command]


def test_links_of_living_pods_and_of_the_kernel_stay() -> None:
    pod, bridge = {**LINK, "of_pod": True, "master": "cni0"}, {**LINK, "addresses": ["10.244.0.1/24"]}

    assert fixes(FIRST, changed(links={"eth0": LINK, "veth1": pod, "cni0": bridge, "tunl0": LINK})) == []


def test_a_bridge_keeps_the_address_that_living_pods_need() -> None:
    bare, bridge = {**LINK, "addresses": []}, {**LINK, "addresses": ["10.244.1.1/24"]}
    pod = {**LINK, "of_pod": True, "master": "kube-bridge"}
    first = dataclasses.replace(FIRST, links={"eth0": LINK, "kube-bridge": bare})

    assert fixes(first, changed(links={"eth0": LINK, "kube-bridge": bridge, "veth1": pod})) == []
    (fix,) = fixes(first, changed(links={"eth0": LINK, "kube-bridge": bridge}))
    assert " ".join(fix.command) == "ip addr del 10.244.1.1/24 dev kube-bridge"


def test_settings_and_files_are_written() -> None:
    now = changed(
        settings={"net/ipv4/ip_forward": "0"},
        files={"etc/new": (REGULAR, "Yg=="), "opt/cni/bin/bridge": (REGULAR, "=400 1")},
    )

    assert [(fix.path, fix.text, fix.content) for fix in fixes(FIRST, now)] == [
        ("etc/hosts", "", (REGULAR, "YQ==")),
        ("etc/new", "", None),
        ("net/ipv4/ip_forward", "1", None),
    ]


def test_what_can_not_be_undone_is_said() -> None:
    now = changed(links={}, routes=FIRST.routes, queues=(), files={"etc/hosts": (REGULAR, "YQ==")})

    assert [(fix.what, fix.command, fix.path) for fix in fixes(FIRST, now)] == [
        ("file /opt/cni/bin/bridge is missing, or has changed, and is too large for a copy to have been kept", (), ""),
        ("link eth0 is missing", (), ""),
    ]


def test_tables_come_back_but_for_chains_that_kubernetes_looks_after() -> None:
    now = (
        "*nat\n:OUTPUT DROP [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:MESS - [0:0]\n-A OUTPUT -j MESS\n-A OUTPUT -j KUBE-SERVICES\n"
        "-A KUBE-SERVICES -j MESS\n-A KUBE-SERVICES -j KUBE-NODEPORTS\nCOMMIT\n"
    )

    (fix,) = fixes(FIRST, changed(iptables=now))

    assert fix.command == ("iptables-restore", "--noflush", "--wait", "--table=nat")
    assert fix.text.splitlines() == [
        "*nat", ":OUTPUT ACCEPT [0:0]", ":OURS - [0:0]", "-F OUTPUT", "-A OUTPUT -j KUBE-SERVICES", "-D KUBE-SERVICES -j MESS",
        "-A OURS -j RETURN", "-F MESS", "-X MESS", "COMMIT",
    ]  # fmt: skip


def test_counters_and_the_order_of_services_are_no_change() -> None:
    first = "*nat\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j X\n-A KUBE-SERVICES -j Y\nCOMMIT\n"
    now = "*nat\n:KUBE-SERVICES - [7:7]\n-A KUBE-SERVICES -j Y\n-A KUBE-SERVICES -j X\nCOMMIT\n"

    assert iptables.restoring(first, now) == {}
    assert not iptables.proxys_differ(first, now)
    assert iptables.proxys_differ(first, now.replace("-A KUBE-SERVICES -j X\n", ""))


def proxys(*endpoints: tuple[str, str], port: int = 53) -> str:
    """What kube-proxy writes for a Service of two ports whose pods have these addresses, each with the name of its chain."""
    lines = ["*nat", ":KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]", *(f":KUBE-SEP-{name} - [0:0]" for name, _ in endpoints)]
    for name, address in endpoints:
        plain = address.strip("[]")
        size = 128 if ":" in address else 32
        lines += [
            f'-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> {address}:53" -j KUBE-SEP-{name}',
            f'-A KUBE-SEP-{name} -s {plain}/{size} -m comment --comment "kube-system/kube-dns:dns" -j KUBE-MARK-MASQ',
            f'-A KUBE-SEP-{name} -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination {address}:{port}',
        ]
    return "\n".join([*lines, "COMMIT\n"])


ONE, TWO = "YIL6JZP7A3QYXJU2", "N4G2XR5TDX7PQE7P"


@pytest.mark.parametrize(
    ("was", "is_"), [("10.244.0.2", "10.244.0.21"), ("10.244.0.21", "10.244.0.2"), ("[fd00::2]", "[fd00::2:2]")]
)
def test_another_pod_of_the_same_controller_is_no_change(was: str, is_: str) -> None:
    first, now = proxys((ONE, was)), proxys((TWO, is_))
    pods = [{address.strip("[]"): "dns", "10.244.0.9": "other"} for address in (was, is_)]

    assert iptables.proxys_differ(first, now)
    assert not iptables.proxys_differ(first, now, was=pods[0], is_=pods[1])
    assert iptables.proxys_differ(first, now, was=pods[0], is_={is_.strip("[]"): "another"})
    assert iptables.proxys_differ(first, proxys((TWO, is_), port=54), was=pods[0], is_=pods[1])


def test_a_pod_that_has_gone_and_is_still_led_to_is_a_change() -> None:
    first, now = proxys((ONE, "10.244.0.2")), proxys((ONE, "10.244.0.2"), (TWO, "10.244.0.3"))

    assert iptables.proxys_differ(first, now, was={"10.244.0.2": "dns"}, is_={"10.244.0.3": "dns"})
    assert not iptables.proxys_differ(
        first, proxys((TWO, "10.244.0.3")), was={"10.244.0.2": "dns"}, is_={"10.244.0.3": "dns"}
    )


def test_a_chain_that_leads_to_another_endpoint_than_it_says_is_a_change() -> None:
    first = proxys((ONE, "10.244.0.2"), (TWO, "10.244.0.3"))
    swapped = first.replace(f"-j KUBE-SEP-{ONE}", "-j X").replace(f"-j KUBE-SEP-{TWO}", f"-j KUBE-SEP-{ONE}")

    assert iptables.proxys_differ(first, swapped.replace("-j X", f"-j KUBE-SEP-{TWO}"))


def test_a_table_of_later_is_emptied() -> None:
    assert iptables.restoring("", "*raw\n:OUTPUT ACCEPT [0:0]\n:MESS - [0:0]\n-A OUTPUT -j MESS\nCOMMIT\n") == {
        "raw": "*raw\n:OUTPUT ACCEPT [0:0]\n-F OUTPUT\n-F MESS\n-X MESS\nCOMMIT\n"
    }


def test_chains_of_a_name_like_kubernetes_that_nobody_looks_after_go() -> None:
    text = FIRST.iptables.replace(":OURS", ":KUBE-MESS - [0:0]\n:OURS")

    (fix,) = fixes(FIRST, changed(iptables=text))

    assert fix.text == "*nat\n-F KUBE-MESS\n-X KUBE-MESS\nCOMMIT\n"


def test_chains_of_services_that_are_gone_do_not_come_back_and_nothing_leads_to_them() -> None:
    gone = "KUBE-SEP-ABCDEFGH2345ABCD"
    first = f"*nat\n:OUTPUT ACCEPT [0:0]\n:{gone} - [0:0]\n-A OUTPUT -j {gone}\n-A {gone} -j RETURN\nCOMMIT\n"

    assert iptables.restoring(first, "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n") == {}


def test_a_chain_that_is_always_there_comes_back_with_what_leads_to_it() -> None:
    first = "*nat\n:OUTPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A OUTPUT -j KUBE-SERVICES\nCOMMIT\n"

    assert iptables.restoring(first, "*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n") == {
        "nat": first.replace("-A OUTPUT", "-F OUTPUT\n-A OUTPUT")
    }


def test_rules_of_kube_router_are_told_apart_by_what_they_say() -> None:
    """It draws the names of its chains anew each time."""
    one, other = "KUBE-POD-FW-ABCDEFGH2345ABCD", "KUBE-POD-FW-ZYXWVUTS7654ZYXW"
    first = f"*filter\n:KUBE-ROUTER-INPUT - [0:0]\n:{one} - [0:0]\n-A KUBE-ROUTER-INPUT -s 10.244.0.2/32 -j {one}\n-A {one} -j REJECT\nCOMMIT\n"
    now = first.replace(one, other)

    assert iptables.restoring(first, now) == {}
    assert not iptables.routers_differ(first, now)
    assert not iptables.proxys_differ(first, now.replace("REJECT", "ACCEPT"))
    assert iptables.routers_differ(first, now.replace("REJECT", "ACCEPT"))
    assert iptables.restoring(first, now, stays=iptables.is_proxys) == {
        "filter": first.replace("COMMIT", f"-F {other}\n-X {other}\nCOMMIT")
    }


def test_chains_that_somebody_looks_after_are_taken_from_a_later_look() -> None:
    first = "*filter\n:INPUT ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n-A INPUT -j KUBE-SERVICES\n-A KUBE-SERVICES -j REJECT\nCOMMIT\n"
    now = first.replace("-A KUBE-SERVICES -j REJECT", "-A KUBE-SERVICES -j RETURN\n-A INPUT -j DROP")

    assert iptables.renewed(first, now, iptables.is_looked_after) == first.replace("REJECT", "RETURN")


def test_routes_that_a_routing_program_changes_are_its_own() -> None:
    learnt = "10.244.1.0/24 via 198.18.0.11 dev eth0 proto 17"
    first = changed(routes=(learnt, "10.96.0.1 via 198.18.0.11 dev eth0 proto bgp metric 20"))
    by_others = ("10.244.1.0/24 via 198.18.0.12 dev eth0 proto 17", "10.96.0.7 via 198.18.0.11 dev eth0 proto bgp")

    found = fixes(first, changed(routes=by_others))

    assert [" ".join(fix.command) for fix in found] == [f"ip route add {first.routes[1]}"]


def test_a_route_in_another_table_is_another_one() -> None:
    first = changed(routes=("10.1.0.0/24 via 198.18.0.11 dev eth0 table 77 proto bird",))

    found = fixes(first, changed(routes=("10.1.0.0/24 via 198.18.0.11 dev eth0 proto bird",)))

    assert [fix.command[:3] for fix in found] == [("ip", "route", "add")]
