"""Finds out by trying what this machine's kernel can do for a node, as capabilities that specs can require."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from koalesce.capabilities import CAPABILITIES
from koalesce.local.health import Finding
from koalesce.local.request import LocalRequest

# What every local cluster can do, whatever the kernel.
ALWAYS = ("chaos", "disruption", "host-exec", "node-exec", "node-kill", "privileged")
_FOU = "ip fou add port 5555 ipproto 4"
# Each is tried in a network namespace of its own, with the commands that a node has; it works if its command ends with 0.
_TRIALS = {
    "dummy": "ip link add t1 type dummy",
    "fou": f"{_FOU} || {{ modprobe fou && {_FOU}; }}",  # unlike other modules it isn't loaded by being used
    "geneve": "ip link add t2 type geneve id 1 remote 127.0.0.2",
    "gre": "ip link add t3 type gre local 127.0.0.1 remote 127.0.0.2",
    "ipip": "ip link add t4 type ipip local 127.0.0.1 remote 127.0.0.2",
    "ipset": "ipset create t5 hash:ip",
    "iptables": "iptables -A OUTPUT -d 127.0.0.2 -j ACCEPT",
    "ipv6": "ip -6 addr add fd00::1/128 dev lo",
    "ipvlan": "ip link add t6 type veth peer name t7 && ip link add link t6 name t8 type ipvlan",
    "ipvs": "test -e /proc/net/ip_vs || { modprobe ip_vs && test -e /proc/net/ip_vs; }",
    "macvlan": "ip link add t9 type veth peer name t10 && ip link add link t9 name t11 type macvlan",
    "netem": "tc qdisc add dev lo root netem delay 1ms",
    "nftables": "nft add table ip t12",
    "sctp": "test -e /proc/net/sctp || { modprobe sctp && test -e /proc/net/sctp; }",
    "tbf": "tc qdisc add dev lo root tbf rate 1mbit burst 32kb latency 50ms",
    "vlan": "ip link add t13 type veth peer name t14 && ip link add link t13 name t15 type vlan id 7",
    "vrf": "ip link add t16 type vrf table 10",
    "vxlan": "ip link add t17 type vxlan id 1 dstport 4789 dev lo",
    "wireguard": "ip link add t18 type wireguard",
}


TRIED = frozenset(_TRIALS)  # what is found out by trying
_BEGUN = "-"  # what trials say that could begin

# The module of the kernel that a trial takes, and the option that the kernel is built with, where it's one that kernels do without.
_PARTS = {
    "dummy": ("dummy", "DUMMY"),
    "fou": ("fou", "NET_FOU"),
    "geneve": ("geneve", "GENEVE"),
    "gre": ("ip_gre", "NET_IPGRE"),
    "ipip": ("ipip", "NET_IPIP"),
    "ipset": ("ip_set", "IP_SET"),
    "iptables": ("ip_tables", "IP_NF_IPTABLES"),
    "ipv6": ("ipv6", "IPV6"),
    "ipvlan": ("ipvlan", "IPVLAN"),
    "ipvs": ("ip_vs", "IP_VS"),
    "macvlan": ("macvlan", "MACVLAN"),
    "netem": ("sch_netem", "NET_SCH_NETEM"),
    "nftables": ("nf_tables", "NF_TABLES"),
    "sctp": ("sctp", "IP_SCTP"),
    "tbf": ("sch_tbf", "NET_SCH_TBF"),
    "vlan": ("8021q", "VLAN_8021Q"),
    "vrf": ("vrf", "NET_VRF"),
    "vxlan": ("vxlan", "VXLAN"),
    "wireguard": ("wireguard", "WIREGUARD"),
}


def of_kernel(run: Callable[[Sequence[str]], str], names: Collection[str] = TRIED) -> frozenset[str]:
    """Which of these trials say that a kernel can do; `run` runs a command where they are made, and returns its output."""
    return frozenset(set(names) & _tried(run, names))


def lacking(run: Callable[[Sequence[str]], str], names: Collection[str]) -> frozenset[str]:
    """Which of these capabilities a kernel doesn't have, of those that can be tried; none where nothing can be tried."""
    wanted = TRIED & set(names)
    found = _tried(run, wanted) if wanted else set()
    return wanted - found if _BEGUN in found else frozenset()


def _tried(run: Callable[[Sequence[str]], str], names: Collection[str]) -> set[str]:
    lines = [f"( {_TRIALS[name]} ) >/dev/null 2>&1 && echo {name}" for name in sorted(names)]
    script = "\n".join([f"ip link set lo up && echo {_BEGUN}", *lines, "true"])
    return set(run(["unshare", "--net", "sh", "-c", script]).split())


def findings(run: Callable[[Sequence[str]], str]) -> list[Finding]:
    """What of it can be tried this machine's kernel can do, and what helps where it can't."""
    can = of_kernel(run)
    found = [Finding("kernel", "good", f"what specs may require: {', '.join(sorted(can))}")] if can else []
    for name in sorted(TRIED - can):
        module, option = _PARTS[name]
        what = CAPABILITIES[name]
        text = f"no {name if name == what.lower() else f'{name} ({what})'}: what requires it is skipped"
        found.append(Finding(name, "noted", text, f"modprobe {module}, or a kernel with CONFIG_{option}"))
    return found


def probe(
    request: LocalRequest,
    run: Callable[[Sequence[str]], str],
    *,
    cgroup_version: int,
    always: Collection[str] = ALWAYS,
) -> frozenset[str]:
    """What the cluster can do, besides what it can `always`; `run` runs a command on one of its nodes and returns its output."""
    chosen = ["egress"] if request.egress == "host" else []
    chosen += ["dual-stack"] if len(request.families) > 1 else []
    chosen += [*request.addons, *(["pull-secrets"] if request.registries else [])]
    return frozenset({*always, f"cgroup-v{cgroup_version}", *chosen, *of_kernel(run)})
