"""What of a machine's network gets in the way, told from what its kernel and its commands say."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from koalesce.local import outside

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def route(link: str, destination: str, mask: str) -> str:
    return f"{link}\t{destination}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0   \n"


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([("tun0", "000012C6", "0000FEFF")], ["198.18.0.0/15 by tun0"]),
        ([("utun", "010012C6", "FFFFFFFF")], ["198.18.0.1/32 by utun"]),
        ([("eth0", "00000000", "00000000"), ("tun0", "00000080", "00000080")], []),
        ([("koalesce-ab12cd", "000013C6", "FCFFFFFF")], []),
        ([("eth0", "000200C0", "00FFFFFF"), ("docker0", "000011AC", "0000FFFF")], []),
    ],
)
def test_who_else_has_the_addresses_of_nodes(routes: list[tuple[str, str, str]], found: list[str]) -> None:
    assert outside.claimed(HEAD + "".join(route(*each) for each in routes)) == found


def test_a_machine_without_routes_claims_nothing(tmp_path: Path) -> None:
    assert outside.claimed(outside.routes(tmp_path)) == []


def chain(kind: str, *rules: str, name: str = "FORWARD", table: str = "ip filter") -> str:
    body = "".join(f"\t\t{line}\n" for line in (kind, *rules))
    return f"table {table} {{\n\tset s {{\n\t\ttype ipv4_addr\n\t}}\n\tchain {name} {{\n{body}\t}}\n}}\n"


FORWARD = "type filter hook forward priority filter; policy {};"


@pytest.mark.parametrize(
    ("ruleset", "found"),
    [
        (chain(FORWARD.format("drop"), 'iifname "docker0" accept'), ["FORWARD of the table ip filter"]),
        (chain(FORWARD.format("accept"), "ct state { established, related } accept"), []),
        (
            chain(FORWARD.format("accept"), 'iifname "lo" accept', "reject with icmpx admin-prohibited", table="inet firewalld"),
            ["FORWARD of the table inet firewalld"],
        ),
        (chain(FORWARD.format("accept"), "counter packets 12 bytes 345 drop"), ["FORWARD of the table ip filter"]),
        (chain(FORWARD.format("accept"), "ip saddr 10.0.0.0/8 drop", "ct state invalid drop"), []),
        (chain("type filter hook input priority filter; policy drop;", name="INPUT"), []),
        (chain(FORWARD.format("drop"), table="bridge koalesce_1"), []),
        (chain(FORWARD.format("drop"), table="ip6 filter"), []),
        ("", []),
    ],
)  # fmt: skip
def test_which_chains_forward_nothing(ruleset: str, found: list[str]) -> None:
    assert [str(each) for each in outside.closed(ruleset)] == found


@pytest.mark.parametrize(
    ("rule", "may"),
    [
        ('iifname "docker0" counter packets 0 bytes 0 accept', False),
        ('iifname "koalesce-*" accept', True),
        ('iifname "ko*" accept', True),
        ('iifname != "docker0" accept', True),
        ('oifname "docker0" accept', False),
        ('oifname "eth0" accept', True),
        ('oifname "eth*" accept', True),
        ("ct state { established, related } accept", False),
        ("ct state established,related accept", False),
        ("ct state established,related,new accept", True),
        ("ct status dnat accept", False),
        ("meta l4proto icmp accept", False),
        ("ip daddr 10.0.0.5 tcp dport 3128 accept", True),
        ("ip saddr 10.0.0.0/8 drop", False),
        ("counter jump OTHER", False),
        ("-A FORWARD -i docker0 ! -o docker0 -j ACCEPT", False),
        ("-A FORWARD -i koalesce-+ -j ACCEPT", True),
        ("-A FORWARD ! -i docker0 -j ACCEPT", True),
        ("-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", False),
        ("-A FORWARD -d 10.0.0.5/32 -j ACCEPT", True),
    ],
)
def test_which_rules_may_let_something_of_clusters_out(tmp_path: Path, rule: str, may: bool) -> None:
    (found,) = outside.closed(chain(FORWARD.format("drop"), rule), ["eth0"])

    assert found.exceptions == ((rule,) if may else ())


def test_rules_are_followed_to_where_they_lead_and_no_further() -> None:
    chains = {
        "FORWARD": [FORWARD.format("drop"), "jump ONE"],
        "ONE": ["goto TWO"],
        "TWO": ["ip daddr 10.0.0.5 accept", "jump ONE"],
    }
    chains["INPUT"] = ["type filter hook input priority filter; policy drop;", "tcp dport 22 accept"]
    body = "".join(
        f"\tchain {name} {{\n" + "".join(f"\t\t{rule}\n" for rule in rules) + "\t}\n" for name, rules in chains.items()
    )

    (found,) = outside.closed(f"table inet filter {{\n{body}}}\n")

    assert found.exceptions == ("ip daddr 10.0.0.5 accept",)


def test_the_ways_out_are_the_links_of_default_routes() -> None:
    table = HEAD + route("eth0", "00000000", "00000000") + route("tun0", "00000080", "00000080")

    assert outside.ways_out(table) == ["eth0"]


def program(folder: Path, name: str, text: str, code: int = 0) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{textwrap.dedent(text)}\nEND\nexit {code}\n")
    path.chmod(0o755)


def test_the_filters_are_those_of_both_kinds(tmp_path: Path) -> None:
    program(tmp_path, "nft", chain(FORWARD.format("drop")))
    program(tmp_path, "iptables-legacy", "-P INPUT ACCEPT\n-P FORWARD DROP\n-A FORWARD -i docker0 -j ACCEPT")
    where = {"PATH": f"{tmp_path}:{os.defpath}"}

    assert list(map(str, outside.filters(environment=where))) == [
        "FORWARD of the table ip filter",
        "FORWARD of iptables-legacy",
    ]
    program(tmp_path, "nft", chain(FORWARD.format("drop")), code=1)
    program(tmp_path, "iptables-legacy", "-P FORWARD ACCEPT")
    assert outside.filters(environment=where) == []


def test_where_there_is_no_nft_iptables_is_asked(tmp_path: Path) -> None:
    (tmp_path / "iptables").write_text("#!/bin/sh\necho '-P FORWARD DROP'\n")
    (tmp_path / "iptables").chmod(0o755)

    assert list(map(str, outside.filters(environment={"PATH": str(tmp_path)}))) == ["FORWARD of iptables"]
