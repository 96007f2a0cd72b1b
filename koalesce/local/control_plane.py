"""A node's control plane as plain services: etcd, API server, controller manager, scheduler; their flags and files.

Where there are several, each is as kubeadm makes them: its controllers use the API server beside them, that uses the member of etcd
beside it, and everybody else comes by the virtual address (https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/ha-topology/).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from koalesce.addresses import NODE_PREFIX, Family
from koalesce.local import etcd
from koalesce.local.node import Service
from koalesce.local.nodeinit import LOGS
from koalesce.local.noderoot import File
from koalesce.local.request import API_PORT, ExternalEtcd, FixtureSpec, LocalRequest, NodeSpec, api_url
from koalesce.pki import Pki

PKI = "/etc/kubernetes/pki"
AUDIT = "audit"  # the log's name among those of the node
_AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
_ADMISSION = "/etc/kubernetes/admission.yaml"
# What controllers serve their health and metrics with, on loopback alone.
SERVING = {"tls-cert-file": f"{PKI}/controllers-server.crt", "tls-private-key-file": f"{PKI}/controllers-server.key"}
_ETCD_CLIENT = {
    "etcd-cafile": f"{PKI}/etcd/ca.crt",
    "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
    "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
}
_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_FILES = (
    "ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
    "apiserver-etcd-client.crt", "apiserver-etcd-client.key", "etcd/ca.crt", "front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key", "controllers-server.crt", "controllers-server.key", "sa.key", "sa.pub",
)  # fmt: skip


def files(request: LocalRequest, node: NodeSpec, pki: Pki) -> list[File]:
    """What a node's control plane reads, as kubeadm lays it out."""
    own = api_url(node.address)
    servers = {"admin": request.api_url, "controller-manager": own, "scheduler": own}
    given = _given(request)
    return [
        *(File(path=f"{PKI}/{name}", mode=0o600, text=given.get(name) or pki.text(name)) for name in _FILES),
        *(
            File(path=f"/etc/kubernetes/{user}.conf", mode=0o600, text=pki.kubeconfig(user, server))
            for user, server in servers.items()
        ),
        *(File(path=path, mode=0o600, text=text) for path, text in _own_files(request).items() if text),
        *(etcd.files(pki) if node in request.members else ()),
    ]


def _given(request: LocalRequest) -> dict[str, str]:
    """Those files that an etcd brings along which is there already."""
    if request.datastore is None:
        return {}
    ca, cert, key = _ETCD_CLIENT.values()
    found = {ca: request.datastore.ca, cert: request.datastore.cert, key: request.datastore.key}
    return {path.removeprefix(f"{PKI}/"): text for path, text in found.items()}


def _own_files(request: LocalRequest) -> dict[str, str]:
    return {_AUDIT_POLICY: request.audit_policy, _ADMISSION: request.admission_configuration}


def names(request: LocalRequest, node: NodeSpec) -> list[str]:
    """The components of a node's control plane."""
    return [*([etcd.NAME] if node in request.members else ()), *_COMPONENTS] if node.is_control_plane else []


def services(request: LocalRequest, node: NodeSpec, *, more: Sequence[str] = ()) -> dict[str, Service]:
    """The components of a node's control plane by name, as services; `more` flags win over the others."""
    flags: Mapping[str, Callable[[LocalRequest, NodeSpec], Mapping[str, str]]] = {
        etcd.NAME: etcd.flags,
        "kube-apiserver": _api_server,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
    }
    return {
        name: Service(name=name, argv=[*command(name, flags[name](request, node), request), *more])
        for name in names(request, node)
    }


def member(request: LocalRequest, fixture: FixtureSpec) -> Service:
    """The member of etcd of a fixture."""
    return Service(name=etcd.NAME, argv=command(etcd.NAME, etcd.flags(request, fixture), request))


def command(component: str, flags: Mapping[str, str], request: LocalRequest) -> list[str]:
    """A component's argv: its flags, and over them those that the request gives for it."""
    short = component.removeprefix("kube-")
    chosen = {**flags, **request.args.get(short, {}), **request.args.get(component, {})}
    return [f"/opt/koalesce/bin/{component}", *(f"--{name}={value}" for name, value in chosen.items())]


def gates(request: LocalRequest) -> dict[str, str]:
    """The flag for the feature gates, where there are any."""
    chosen = ",".join(f"{name}={str(on).lower()}" for name, on in sorted(request.feature_gates.items()))
    return {"feature-gates": chosen} if chosen else {}


def _api_server(request: LocalRequest, node: NodeSpec) -> dict[str, str]:
    config = ",".join(f"{name}={value}" for name, value in sorted(request.runtime_config.items()))
    return {
        "advertise-address": node.address,
        "secure-port": str(API_PORT),
        "etcd-servers": etcd.servers(request, node),
        **_etcd_flags(request.datastore),
        "client-ca-file": f"{PKI}/ca.crt",
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP,Hostname",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": ",".join(request.service_cidrs),
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": "true",
        "allow-privileged": "true",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        **({"runtime-config": config} if config else {}),
        **(
            {"audit-policy-file": _AUDIT_POLICY, "audit-log-path": f"{LOGS}/{AUDIT}.log"}
            if request.audit_policy
            else {}
        ),
        **({"admission-control-config-file": _ADMISSION} if request.admission_configuration else {}),
        **gates(request),
    }


def _etcd_flags(datastore: ExternalEtcd | None) -> Mapping[str, str]:
    if datastore is None:
        return _ETCD_CLIENT
    return {"etcd-prefix": datastore.prefix, **(_ETCD_CLIENT if datastore.ca else {})}


def _controller_manager(request: LocalRequest, _node: NodeSpec) -> dict[str, str]:
    return {
        **_client("controller-manager", request),
        "bind-address": "127.0.0.1",
        "client-ca-file": f"{PKI}/ca.crt",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "root-ca-file": f"{PKI}/ca.crt",
        "service-account-private-key-file": f"{PKI}/sa.key",
        "use-service-account-credentials": "true",
        "cluster-signing-cert-file": f"{PKI}/ca.crt",
        "cluster-signing-key-file": f"{PKI}/ca.key",
        "allocate-node-cidrs": "true",
        "cluster-cidr": ",".join(request.pod_cidrs),
        **_node_cidr_sizes(request.families),
        "service-cluster-ip-range": ",".join(request.service_cidrs),
        "flex-volume-plugin-dir": "/var/lib/kubelet/volume-plugins",
        # At the default rate (20 requests a second) making its service-account clients takes five seconds.
        "kube-api-qps": "1000",
        "kube-api-burst": "2000",
        **gates(request),
    }


def _node_cidr_sizes(families: Sequence[Family]) -> dict[str, str]:
    """The one flag for clusters of one family, which clusters of both may not have."""
    if len(families) == 1:
        return {"node-cidr-mask-size": str(NODE_PREFIX[families[0]])}
    return {f"node-cidr-mask-size-{family.lower()}": str(NODE_PREFIX[family]) for family in families}


def _scheduler(request: LocalRequest, _node: NodeSpec) -> dict[str, str]:
    return {**_client("scheduler", request), "bind-address": "127.0.0.1", **gates(request)}


def _client(user: str, request: LocalRequest) -> dict[str, str]:
    kubeconfig = f"/etc/kubernetes/{user}.conf"
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "leader-elect": str(request.has_failover).lower(),
        # Without a certificate each makes two RSA keys first, which takes a third of a second of a processor.
        **SERVING,
    }
