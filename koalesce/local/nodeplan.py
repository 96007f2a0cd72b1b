"""Plans a node or a fixture: which of the host's files it sees, which files of its own it gets, which cgroups it joins."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from koalesce.local import control_plane, etcd, kubelet, network, resolvers, routers
from koalesce.local.cgroups import Layout
from koalesce.local.node import ENVIRONMENT
from koalesce.local.nodeinit import InitConfig
from koalesce.local.noderoot import Bind, File, Overlay, RootPlan
from koalesce.local.request import FixtureSpec, LocalRequest, NodeSpec
from koalesce.local.resources import Share, read_meminfo
from koalesce.pki import Pki
from koalesce.toolchain import LocalTools

PROBE = "koalesce-probe"
_EMPTY = ("/etc/cni/net.d", "/etc/kubernetes/manifests", "/run/lock", "/var/lib/kubelet/volume-plugins")
_OVERLAID = ("/var/lib/containerd", "/var/lib/koalesce", "/var/lib/kubelet")
_TOOLS = "/opt/koalesce"
_BINARIES = {
    "kubernetes": ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl"),
    "etcd": ("etcd", "etcdctl", "etcdutl"),
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
}
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("services", "protocols", "rpc", "ethertypes", "netconfig", "ld.so.conf")
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# The kernel has these once for the whole machine. A kubelet wants certain values, and a node an identity of its own.
_KERNEL = {
    "/proc/sys/vm/overcommit_memory": "1\n",
    "/proc/sys/vm/panic_on_oom": "0\n",
    "/proc/sys/kernel/panic": "10\n",
    "/proc/sys/kernel/panic_on_oops": "1\n",
    "/proc/sys/kernel/keys/root_maxkeys": "1000000\n",
    "/proc/sys/kernel/keys/root_maxbytes": "25000000\n",
}


def plan(
    request: LocalRequest,
    node: NodeSpec,
    tools: LocalTools,
    pki: Pki,
    *,
    folder: Path,
    layout: Layout,
    cgroups: Sequence[Path],
    on_disk: bool,
    share: Share,
) -> InitConfig:
    """Everything that the init of a node is told.

    `share` is what it has of the machine's processors and memory. `folder` is the node's own on this machine, `on_disk`: whether overlays can be made there (else they are kept in memory).
    """
    # Nothing answers there unless the cluster has egress: then a look-up fails at once and not after a time-out.
    files = _identity(node.name, request.nodes, request.resolvers or [request.gateway]) + _borrowed(tools)
    if request.schedulable:
        sandbox = tools.images["pause"]
        files += kubelet.files(
            request, node, pki, sandbox=sandbox, cgroup_version=layout.version, reserved=share.reserved()
        )
        files += [kubelet.mirror_file(request), *network.cni_files(request, node)]
    if node.is_control_plane:
        files += control_plane.files(request, node, pki)
    binds: list[Bind] = [{"source": str(folder / "var"), "target": "/var", "writable": True}, *_tool_binds(tools)]
    root = RootPlan(
        root=str(folder / "root"),
        usr=[*(str(root / "usr") for root in tools.system), "/usr"],
        links=_links(tools),
        binds=binds + _unmerged(),
        overlays=[_cni_plugins(tools)],
        tmpfs={
            **({etcd.DATA: 0} if node in request.members else {}),
            **({} if on_disk else dict.fromkeys(_OVERLAID, 0)),
            **{disk.path: disk.size for disk in node.disks},
        },
        cgroups=layout.mounts(),
        folders=list(_EMPTY),
        files=files,
        masks={**_KERNEL, **_identity_masks(), **share.masks(read_meminfo())},
        sysctls=network.NODE_SYSCTLS,
    )
    return _told(node.name, root, layout, cgroups)


def _told(name: str, root: RootPlan, layout: Layout, cgroups: Sequence[Path]) -> InitConfig:
    return InitConfig(
        hostname=name,
        parent=os.getpid(),
        cgroups=[str(path) for path in cgroups],
        evacuate=layout.evacuation,
        root=root,
        environment=ENVIRONMENT,
    )


def plan_fixture(
    request: LocalRequest,
    fixture: FixtureSpec,
    tools: LocalTools,
    pki: Pki,
    *,
    folder: Path,
    layout: Layout,
    cgroups: Sequence[Path],
) -> InitConfig:
    """Everything that the init of a fixture is told: a machine as nodes are, with nothing of a cluster on it but the probe, or a member of etcd.

    A router has its program's files besides, which no other machine sees.
    """
    router, is_member = fixture.router, fixture in request.members
    program = routers.PROGRAMS[router.program] if router else None
    layers = [*([Path(tools.routers[router.program])] if router else []), *tools.system]
    own = {f"{_TOOLS}/{PROBE}": tools.probe, **({f"{_TOOLS}/etcd": tools.etcd} if is_member else {})}
    if fixture.resolver and tools.resolver:
        own[resolvers.PROGRAM] = tools.resolver
    binds = [Bind(source=str(source), target=target, writable=False) for target, source in own.items()]
    # Without a resolver nothing answers on its own address unless a test has something answer there: a look-up fails at once.
    files = _identity(
        fixture.name,
        [*request.nodes, *request.fixtures],
        ["127.0.0.1"] if fixture.resolver else request.resolvers or ["127.0.0.1"],
        groups=program.groups if program else (),
    )
    files += [*_borrowed(tools), *(routers.files(router) if router else ())]
    files += resolvers.files(fixture.resolver) if fixture.resolver else []
    links = {**_host_links(tools), f"{_TOOLS}/bin/{PROBE}": f"../{PROBE}"}
    if is_member:
        files += etcd.files(pki)
        links |= _tool_links("etcd", tools.etcd)
    root = RootPlan(
        root=str(folder / "root"),
        usr=[*(str(layer / "usr") for layer in layers if layer != Path("/")), "/usr"],
        links=links,
        binds=[Bind(source=str(folder / "var"), target="/var", writable=True), *binds, *_unmerged()],
        overlays=[],
        tmpfs={etcd.DATA: 0} if is_member else {},
        cgroups=layout.mounts(),
        folders=["/run/lock", *(program.folders if program else ())],
        files=files,
        masks={**_KERNEL, **_identity_masks()},
        sysctls=network.ROUTER_SYSCTLS if router else network.FIXTURE_SYSCTLS,
    )
    return _told(fixture.name, root, layout, cgroups)


def _identity(
    name: str, known: Sequence[NodeSpec | FixtureSpec], name_servers: Sequence[str], *, groups: Sequence[str] = ()
) -> list[File]:
    hosts = "".join(f"{address} {other.name}\n" for other in known for address in other.addresses)
    texts = {
        "hostname": f"{name}\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{hosts}",
        "resolv.conf": "".join(f"nameserver {address}\n" for address in name_servers),
        "machine-id": f"{uuid.uuid4().hex}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n",
        "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"
        + "".join(f"{group}:x:{900 + number}:root\n" for number, group in enumerate(groups)),
        "subuid": "",
        "subgid": "",
    }
    return [File(path=f"/etc/{name}", mode=0o644, text=text) for name, text in texts.items()]


def _identity_masks() -> dict[str, str]:
    identity = str(uuid.uuid4())
    return {
        "/proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
        "/sys/class/dmi/id/product_uuid": f"{identity}\n",
        "/sys/class/dmi/id/product_serial": f"{identity}\n",
    }


def _borrowed(tools: LocalTools) -> list[File]:
    """Public tables of the host that programs need: names of services and protocols, trusted authorities."""
    roots = [*tools.system, Path("/")]
    paths = [f"etc/{name}" for name in _ETC]
    paths += sorted(
        {f"etc/iproute2/{p.name}" for root in roots for p in (root / "etc/iproute2").glob("*") if p.is_file()}
    )
    files = []
    for path in paths:
        if found := next((root / path for root in roots if (root / path).is_file()), None):
            files.append(File(path=f"/{path}", mode=0o644, text=found.read_text(errors="replace")))
    if bundle := next((Path(path) for path in _BUNDLES if Path(path).is_file()), None):
        files.append(File(path=_BUNDLES[0], mode=0o644, text=bundle.read_text(errors="replace")))
    return files


def _links(tools: LocalTools) -> dict[str, str]:
    """Links below the root: those of any machine here, and one for each tool."""
    return {**_host_links(tools), **tool_links(tools)}


def tool_links(tools: LocalTools) -> dict[str, str]:
    """The links in the folder of a node's PATH that has all tools."""
    links: dict[str, str] = {}
    for name, folder in _tool_folders(tools).items():
        links |= _tool_links(name, folder)
    links[f"{_TOOLS}/bin/runc"] = "../runc"
    links[f"{_TOOLS}/bin/{PROBE}"] = f"../{PROBE}"
    return links


def _tool_links(name: str, folder: Path) -> dict[str, str]:
    return {f"{_TOOLS}/bin/{binary}": f"../{name}/{binary}" for binary in _BINARIES[name] if (folder / binary).exists()}


def _host_links(tools: LocalTools) -> dict[str, str]:
    """Those of a merged /usr as the host has them, and alternatives."""
    links = {f"/{name}": f"usr/{name}" for name in _MERGED if Path(f"/{name}").is_symlink()}
    links["/etc/os-release"] = "../usr/lib/os-release"
    links["/etc/mtab"] = "/proc/self/mounts"
    links["/var/run"] = "/run"
    for root in (Path("/"), *tools.system):
        for path in (root / "etc/alternatives").glob("*"):
            if path.is_symlink() and path.suffix != ".gz":
                links[f"/etc/alternatives/{path.name}"] = str(path.readlink())
    return links


def _tool_folders(tools: LocalTools) -> dict[str, Path]:
    return {"kubernetes": tools.kubernetes, "etcd": tools.etcd, "containerd": tools.containerd}


def _tool_binds(tools: LocalTools) -> list[Bind]:
    places = tool_places(tools).items()
    return [{"source": str(source), "target": target, "writable": False} for target, source in places]


def tool_places(tools: LocalTools) -> dict[str, Path]:
    """Where on a node the folders and binaries of its tools are."""
    places = {f"{_TOOLS}/{name}": folder for name, folder in _tool_folders(tools).items()}
    return {**places, f"{_TOOLS}/runc": tools.runc, f"{_TOOLS}/{PROBE}": tools.probe}


def _cni_plugins(tools: LocalTools) -> Overlay:
    """Plugins in a folder that the node may write to, as components do that bring their own, without copying ours."""
    own = "/var/lib/koalesce/cni"
    return {"target": "/opt/cni/bin", "lower": [str(tools.cni)], "upper": f"{own}/upper", "work": f"{own}/work"}


def _unmerged() -> list[Bind]:
    """A host without merged /usr has folders of its own at the root."""
    paths = [f"/{name}" for name in _MERGED if Path(f"/{name}").is_dir() and not Path(f"/{name}").is_symlink()]
    return [{"source": path, "target": path, "writable": False} for path in paths]
