"""The built-in network `bridge`: a bridge on each node, routes between the nodes, and the fabric that joins them."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence

from koalesce.addresses import BALANCED, FABRIC, Family, family_of
from koalesce.local.noderoot import File
from koalesce.local.request import API_PORT, GATEWAY, PREFIX, FixtureSpec, LocalRequest, NodeSpec, url_host

BRIDGE = "fabric"
_DEFAULT = ipaddress.ip_interface(f"{GATEWAY['IPv4']}/{PREFIX['IPv4']}").network
POD_BRIDGE = "cni0"  # on each node, made with its first pod
_CHAIN = "KOALESCE-MASQUERADE"
_RESTORE: Mapping[Family, str] = {"IPv4": "iptables-restore", "IPv6": "ip6tables-restore"}
_EVERYWHERE: Mapping[Family, str] = {"IPv4": "0.0.0.0/0", "IPv6": "::/0"}
_MULTICAST: Mapping[Family, str] = {"IPv4": "224.0.0.0/4", "IPv6": "ff00::/8"}
# Kernels say "refused" to one peer once a second at most, after a first few, so that many probes at a time of what is closed would see
# some of them "dropped" (icmp(7): icmp_ratelimit).
_EVERY_REFUSAL = {
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/icmp_msgs_per_sec": "10000",
    "net/ipv4/icmp_msgs_burst": "10000",
    "net/ipv6/icmp/ratelimit": "0",
}

# Of each network namespace of a node; `bridge-nf-call` makes Services work between pods of one node.
NODE_SYSCTLS = {
    **_EVERY_REFUSAL,
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/arp_ignore": "0",
    "net/ipv4/conf/all/route_localnet": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
    "net/bridge/bridge-nf-call-arptables": "0",
}

# Of a fixture's network namespace: a host, which forwards nothing, and takes answers that come by another way than it would send them.
FIXTURE_SYSCTLS = {
    **_EVERY_REFUSAL,
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/ping_group_range": "0 2147483647",
}

# Of a router's: it forwards what isn't for itself.
ROUTER_SYSCTLS = {**FIXTURE_SYSCTLS, "net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"}

# Of the cluster's namespace: as a router without a way out it refuses what it can't deliver, where silence would cost time-outs.
_FABRIC_SYSCTLS = {
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}


def fabric_sysctls(families: Sequence[Family]) -> dict[str, str]:
    """What is set in the cluster's namespace; a kernel without IPv6 has no file for it."""
    return {**_FABRIC_SYSCTLS, **({"net/ipv6/conf/all/forwarding": "1"} if "IPv6" in families else {})}


def bridge_of(subnet: str, request: LocalRequest) -> str:
    """The bridge that joins the machines of a subnet; of the one where all are that say none, if it's empty."""
    return f"{BRIDGE}{request.subnets.index(subnet) + 1}" if subnet else BRIDGE


def subnets(request: LocalRequest) -> list[str]:
    """The ip(8) commands that make a bridge for each further subnet, and have the cluster's namespace, the router between them, know where pods are."""
    if not request.subnets:
        return []
    lines = []
    for subnet in request.subnets:
        bridge = bridge_of(subnet, request)
        lines += [f"link add {bridge} type bridge forward_delay 0", _address(_gateways(subnet)["IPv4"], bridge, subnet)]
        lines.append(f"link set {bridge} up")
    return [*lines, *(_pod_routes(request.nodes) if _has_pod_routes(request) else ())]


def fabric(families: Sequence[Family], *more: str) -> list[str]:
    """The ip(8) commands that make the fabric in the cluster's namespace, with more addresses than the gateway's."""
    return [
        f"link add {BRIDGE} type bridge forward_delay 0",
        *(_address(address, BRIDGE) for address in (*(GATEWAY[family] for family in families), *more)),
        f"link set {BRIDGE} up",
    ]


def node_link(number: int) -> str:
    """The link that joins the node of this number to the fabric, in the cluster's namespace."""
    return f"node{number}"


def fixture_link(number: int) -> str:
    """The link that joins the fixture of this number to the fabric, in the cluster's namespace."""
    return f"fixture{number}"


def _address(address: str, link: str, subnet: str = "") -> str:
    """Give a link an address of the fabric. Nobody else has it: IPv6 needn't take a second to find that out (`nodad`)."""
    family = family_of(address)
    length = subnet.partition("/")[2] or PREFIX[family]
    return f"addr add {address}/{length} dev {link}{' nodad' if family == 'IPv6' else ''}"


def port(link: str, pid: int, bridge: str = BRIDGE) -> list[str]:
    """The ip(8) commands that join a node or a fixture to the fabric by a link of this name, in the cluster's namespace."""
    return [
        f"link add {link} type veth peer name eth0 netns {pid}",
        f"link set {link} master {bridge} up",
    ]


def uplink(request: LocalRequest, node: NodeSpec) -> list[str]:
    """The ip(8) commands that set a node's side up, in the node's namespace."""
    lines = [
        "link set lo up",
        *(_address(address, "eth0", node.subnet) for address in node.addresses),
        "link set eth0 up",
        *(f"route add default via {_gateways(node.subnet)[family]}" for family in request.families),
    ]
    if _has_pod_routes(request):  # the router knows those of other subnets
        near = [other for other in request.nodes if other is not node and other.subnet == node.subnet]
        lines += _pod_routes(near)
    return lines


def _has_pod_routes(request: LocalRequest) -> bool:
    return request.network == "bridge" and request.schedulable


def _pod_routes(nodes: Sequence[NodeSpec]) -> list[str]:
    return [
        f"route add {share} via {address}"
        for node in nodes
        for share, address in zip(node.pod_cidrs, node.addresses, strict=True)
    ]


def _gateways(subnet: str) -> Mapping[Family, str]:
    """The router's addresses in a subnet."""
    return {"IPv4": str(ipaddress.IPv4Network(subnet)[1])} if subnet else GATEWAY


def fixture_uplink(request: LocalRequest, fixture: FixtureSpec) -> list[str]:
    """The ip(8) commands that set a fixture's side up: it reaches the fabric (and what is balanced there) alone, until somebody makes routes."""
    gateways = _gateways(fixture.subnet)
    addresses = [_address(address, "eth0", fixture.subnet) for address in fixture.addresses]
    away = [other for other in ("", *request.subnets) if other != fixture.subnet]
    routes = [f"route add {other or _DEFAULT} via {gateways['IPv4']}" for other in away]
    balanced = request.families if "load-balancer" in request.addons else ()
    routes += [f"route add {BALANCED[family]} via {gateways[family]}" for family in balanced]
    if fixture.resolver and _has_pod_routes(request):  # pods ask it by addresses of their own
        routes += [
            f"route add {pods} via {gateways[family]}" for pods, family in _ranges(request) if family in gateways
        ]
        routes += _pod_routes([node for node in request.nodes if node.subnet == fixture.subnet])
    return ["link set lo up", *addresses, "link set eth0 up", *routes]


def _ranges(request: LocalRequest) -> Iterator[tuple[str, Family]]:
    """The ranges of pods beyond a router, where there is one."""
    return zip(request.pod_cidrs, request.families, strict=True) if request.subnets else iter(())


def cni_files(request: LocalRequest, node: NodeSpec, *, mtu: int = 0) -> list[File]:
    """The configuration of the built-in network; none where a component brings its own. `mtu` is that of pods' links (0: that of the machine's)."""
    if request.network != "bridge":
        return []
    bridge = {
        "type": "bridge",
        "bridge": POD_BRIDGE,
        "isGateway": True,
        "ipMasq": False,  # the plugin would hide pods from pods of other nodes; see `masquerading`
        "hairpinMode": True,
        **({"mtu": mtu} if mtu else {}),
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": share}] for share in node.pod_cidrs],
            "routes": [{"dst": _EVERYWHERE[family]} for family in request.families],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}]
    text = json.dumps({"cniVersion": "1.0.0", "name": "koalesce", "plugins": plugins}, indent=2)
    return [File(path="/etc/cni/net.d/10-koalesce.conflist", mode=0o644, text=text)]


def masquerading(
    request: LocalRequest, machines: Mapping[Family, Sequence[str]] | None = None
) -> list[tuple[list[str], str]]:
    """For each family a command and its input: pods show their own addresses but to what is outside the cluster.

    `machines` are the networks of its machines; the fabric, if they aren't given.
    """
    near = machines or {family: (str(network),) for family, network in FABRIC.items()}
    return [
        ([_RESTORE[family], "--noflush", "--wait"], _masquerading(pods, (*near[family], _MULTICAST[family])))
        for pods, family in zip(request.pod_cidrs, request.families, strict=True)
    ]


def first_way(request: LocalRequest, *, opened: bool) -> tuple[list[str], str]:
    """A command and its input: pods reach the API server by its Service's address before kube-proxy leads them there, or no longer so."""
    family = request.families[0]
    server = f"{url_host(request.control.address)}:{API_PORT}"
    asked = f"-s {request.pod_cidrs[0]} -d {request.api_service_ip} -p tcp --dport 443"
    change = f"{'-I' if opened else '-D'} PREROUTING {asked} -j DNAT --to-destination {server}"
    return [_RESTORE[family], "--noflush", "--wait"], f"*nat\n{change}\nCOMMIT\n"


def _masquerading(pods: str, inside: Sequence[str]) -> str:
    returns = "".join(f"-A {_CHAIN} -d {network} -j RETURN\n" for network in (pods, *inside))
    return (
        f"*nat\n:{_CHAIN} - [0:0]\n{returns}-A {_CHAIN} -j MASQUERADE\n-A POSTROUTING -s {pods} -j {_CHAIN}\nCOMMIT\n"
    )
