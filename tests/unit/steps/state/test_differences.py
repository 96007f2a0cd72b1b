"""What differs between two looks at nodes, and what of it doesn't count."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from koalesce.steps.state.differences import differences
from koalesce.steps.state.kept import SETTINGS, files
from koalesce.steps.state.lasting import LASTING, Lasting
from koalesce.steps.state.view import Item

ROUTE = {"dst": "10.244.1.0/24", "gateway": "198.18.0.11", "dev": "eth0", "table": "main", "family": "inet"}


def compared(kind: str, before: Sequence[Item], now: Sequence[Item]) -> list[str]:
    lasting = LASTING[kind]
    return differences(lasting, lasting.of(before), lasting.of(now))


def rule(text: str, chain: str = "FORWARD") -> Item:
    return {"family": "inet", "table": "filter", "chain": chain, "rule": text, "target": "", "comment": ""}


def test_what_is_the_same_in_another_order_is_no_difference() -> None:
    other = {**ROUTE, "dst": "10.244.2.0/24"}

    assert compared("routes", [ROUTE, other], [other, ROUTE]) == []


def test_what_has_come_and_what_has_gone() -> None:
    other = {"dst": "10.9.0.0/16", "dev": "tun0", "family": "inet"}

    assert compared("routes", [ROUTE], [ROUTE, other]) == ["route has come: dst=10.9.0.0/16 dev=tun0 family=inet"]
    assert compared("routes", [ROUTE, other], [ROUTE]) == ["route has gone: dst=10.9.0.0/16 dev=tun0 family=inet"]


def test_an_item_that_is_there_twice_has_come_once() -> None:
    assert compared("iptables", [rule("-j DROP")], [rule("-j DROP"), rule("-j DROP")]) == [
        "rule has come: family=inet table=filter chain=FORWARD rule=-j DROP"
    ]


def test_what_has_changed_is_told_by_its_fields() -> None:
    found = compared("routes", [ROUTE], [{**ROUTE, "gateway": "198.18.0.12"}])

    assert found == ['route inet main 10.244.1.0/24 has changed: .gateway changed from "198.18.0.11" to "198.18.0.12"']


def test_members_of_a_set_are_told_by_themselves() -> None:
    sets = [
        {"name": "pods", "type": "hash:ip", "members": members, "references": 1, "header": {}, "timeouts": {}}
        for members in (["10.244.1.2", "10.244.1.3"], ["10.244.1.3", "10.244.1.4"])
    ]

    assert compared("ipsets", sets[:1], sets[1:]) == ["set pods has changed: .members: -10.244.1.2, +10.244.1.4"]


def test_several_of_one_identity_come_and_go_by_themselves() -> None:
    before = [{"dst": "ff00::/8", "dev": dev, "family": "inet6"} for dev in ("eth0", "veth1")]
    now = [{"dst": "ff00::/8", "dev": dev, "family": "inet6"} for dev in ("veth2", "veth3")]

    assert (
        sorted(line.split(":")[0] for line in compared("routes", before, now))
        == ["route has come"] * 2 + ["route has gone"] * 2
    )


def test_the_order_of_rules_counts() -> None:
    one, two, new = rule("-j ACCEPT"), rule("-j DROP"), rule("-j RETURN")

    assert compared("iptables", [one, two], [two, one]) == ["rules of inet filter FORWARD stand in another order"]
    assert compared("iptables", [one, two], [one, new, two]) == [
        "rule has come: family=inet table=filter chain=FORWARD rule=-j RETURN"
    ]


def test_the_order_of_rules_that_kube_proxy_writes_does_not_count() -> None:
    one, two = rule("-j A", "KUBE-SERVICES"), rule("-j B", "KUBE-SERVICES")

    assert compared("iptables", [one, two], [two, one]) == []


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        ("routes", {**ROUTE, "flags": []}, {**ROUTE, "flags": ["linkdown"]}),
        ("routes", {**ROUTE, "expires": 30}, {**ROUTE, "expires": 28}),
        ("links", {"ifname": "a", "ifindex": 3, "promiscuity": 0}, {"ifname": "a", "ifindex": 9, "promiscuity": 1}),
        (
            "links",
            {"ifname": "a", "linkinfo": {"info_kind": "bridge", "info_data": {"gc_timer": 1.5, "stp_state": 0}}},
            {"ifname": "a", "linkinfo": {"info_kind": "bridge", "info_data": {"gc_timer": 9.1, "stp_state": 0}}},
        ),
        ("addresses", {"ifname": "a", "cidr": "::1/128", "valid_life_time": 9}, {"ifname": "a", "cidr": "::1/128"}),
        ("listeners", {"protocol": "tcp", "port": 80, "pid": 7}, {"protocol": "tcp", "port": 80, "pid": 8}),
        ("processes", {"pid": 7, "name": "a", "command": "a"}, {"pid": 8, "name": "a", "command": "a"}),
        (
            "nftables",
            {"kind": "rule", "handle": 7, "expr": [{"counter": {"packets": 1, "bytes": 60}}, {"drop": None}]},
            {"kind": "rule", "handle": 8, "expr": [{"counter": {"packets": 9, "bytes": 600}}, {"drop": None}]},
        ),
        (
            "nftables",
            {"kind": "set", "name": "s", "elem": [{"elem": {"val": "a", "expires": 9}}, "b"]},
            {"kind": "set", "name": "s", "elem": ["b", {"elem": {"val": "a", "expires": 2}}]},
        ),
        ("nftables", {"kind": "counter", "name": "c", "packets": 1}, {"kind": "counter", "name": "c", "packets": 2}),
        (
            "ipsets",
            {"name": "s", "header": {"hashsize": "64", "maxelem": "9"}, "references": 1, "timeouts": {"a": 9}},
            {"name": "s", "header": {"hashsize": "128", "maxelem": "9"}, "references": 2, "timeouts": {"a": 8}},
        ),
    ],
)
def test_what_passes_by_itself_does_not_count(kind: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    assert compared(kind, [before], [now]) == []


@pytest.mark.parametrize(
    ("kind", "before", "now"),
    [
        ("links", {"ifname": "a", "mtu": 1500}, {"ifname": "a", "mtu": 1450}),
        ("links", {"ifname": "a", "linkinfo": {"info_data": {"id": 1}}}, {"ifname": "a", "linkinfo": {"info_data": {"id": 2}}}),
        ("nftables", {"kind": "rule", "expr": [{"drop": None}]}, {"kind": "rule", "expr": [{"accept": None}]}),
        ("chains", {"chain": "FORWARD", "policy": "ACCEPT"}, {"chain": "FORWARD", "policy": "DROP"}),
        ("ipsets", {"name": "s", "header": {"maxelem": "9"}}, {"name": "s", "header": {"maxelem": "8"}}),
        ("mounts", {"target": "/a", "options": ["rw"]}, {"target": "/a", "options": ["ro"]}),
    ],
)  # fmt: skip
def test_what_somebody_has_set_counts(kind: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    assert compared(kind, [before], [now]) != []


def virtual(port: int, *servers: tuple[str, int, int]) -> Item:
    """A virtual server; its servers have addresses, weights and connections."""
    common = {"port": 8080, "forward": "Masq", "inactive": 0}
    behind = [{"address": address, "weight": weight, "active": active, **common} for address, weight, active in servers]
    return {
        "protocol": "TCP",
        "address": "10.96.0.7",
        "port": port,
        "scheduler": "rr",
        "family": "inet",
        "servers": behind,
    }


def test_connections_of_virtual_servers_pass_and_servers_behind_them_count() -> None:
    before = virtual(80, ("10.244.1.2", 1, 0), ("10.244.2.2", 1, 4))

    assert compared("ipvs", [before], [virtual(80, ("10.244.2.2", 1, 0), ("10.244.1.2", 1, 9))]) == []
    assert compared("ipvs", [before], [virtual(80, ("10.244.1.2", 0, 0), ("10.244.2.2", 1, 0))]) == [
        "virtual server TCP 10.96.0.7 80 has changed: .servers[0].weight changed from 1 to 0"
    ]
    (left,) = compared("ipvs", [], [virtual(81)])
    assert left.startswith("virtual server has come: protocol=TCP address=10.96.0.7 port=81")


@pytest.mark.skipif(Path("/proc/net/ip_vs").exists(), reason="this kernel has IPVS")
def test_without_ipvs_there_are_no_virtual_servers_to_be_left() -> None:
    view = LASTING["ipvs"].view
    done = subprocess.run(["sh", "-ec", view.command], capture_output=True, text=True, check=True)

    assert view.read(done.stdout) == []


def test_neighbours_that_the_kernel_has_found_are_no_state() -> None:
    found = {"dst": "198.18.0.2", "dev": "eth0", "state": ["REACHABLE"]}
    made = {"dst": "10.9.0.2", "dev": "vxlan1", "lladdr": "0e:00", "state": ["PERMANENT"]}

    assert compared("neighbours", [], [found]) == []
    assert compared("neighbours", [], [made]) != []


def test_the_look_at_processes_does_not_see_itself() -> None:
    command = LASTING["processes"].view.command.replace("\n", " ")
    look = {"pid": 9, "name": "sh", "command": f"sh -ec {command}"}

    assert compared("processes", [], [look]) == []


def test_settings_of_a_link_come_and_go_with_it() -> None:
    lasting = LASTING["sysctls"]
    before = SETTINGS.read("/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/eth0/rp_filter:0\n")
    now = SETTINGS.read(
        "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/eth0/rp_filter:2\n"
        "/proc/sys/net/ipv4/conf/eth1.7/rp_filter:1\n"
    )

    assert now[2] == {"name": "net.ipv4.conf.eth1/7.rp_filter", "value": "1", "link": "eth1.7"}
    assert differences(lasting, before, now) == [
        'setting net.ipv4.conf.eth0.rp_filter has changed: .value changed from "0" to "2"'
    ]


def test_settings_of_all_links_are_of_none() -> None:
    (setting,) = SETTINGS.read("/proc/sys/net/ipv4/conf/all/rp_filter:0\n")

    assert setting == {"name": "net.ipv4.conf.all.rp_filter", "value": "0"}


def test_no_settings_at_all_are_none_that_could_be_read() -> None:
    with pytest.raises(ValueError, match="there are no settings"):
        SETTINGS.read("")


def test_files_are_as_they_are_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir(mode=0o755)
    (tmp_path / "sub" / "a b").write_text("x")
    (tmp_path / "sub" / "link").symlink_to("a b")
    view = files([str(tmp_path / "sub"), str(tmp_path / "missing")])

    def look() -> list[Item]:
        done = subprocess.run(["sh", "-ec", view.command], capture_output=True, text=True, check=True)
        return view.read(done.stdout)

    before = look()
    (tmp_path / "sub" / "a b").write_text("y")
    (tmp_path / "missing").write_text("")
    found = differences(Lasting(view, ("path",)), before, look())

    assert sorted(item["type"] for item in before) == ["file", "folder", "link"]
    assert [line.split(" has ")[1].split(" ")[0] for line in found] == ["changed:", "come:"]
    assert ".sha256 changed" in found[0]
