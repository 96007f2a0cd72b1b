"""The control plane as plain services of its node: etcd, API server, controller manager, scheduler; their flags and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from koalesce.addresses import NODE_PREFIX, Family
from koalesce.local.node import Service
from koalesce.local.nodeinit import LOGS
from koalesce.local.noderoot import File
from koalesce.local.request import API_PORT, LocalRequest
from koalesce.pki import Pki

PKI = "/etc/kubernetes/pki"
AUDIT = "audit"  # the log's name among those of the node
_AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
_ADMISSION = "/etc/kubernetes/admission.yaml"
ETCD_DATA = "/var/lib/etcd"
ETCD_PORT = 2379
SERVICES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_FILES = (
    "ca.crt", "ca.key", "apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key",
    "apiserver-etcd-client.crt", "apiserver-etcd-client.key", "etcd/ca.crt", "etcd/server.crt", "etcd/server.key",
    "etcd/peer.crt", "etcd/peer.key", "front-proxy-ca.crt", "front-proxy-client.crt", "front-proxy-client.key", "sa.key", "sa.pub",
)  # fmt: skip


def files(request: LocalRequest, pki: Pki) -> list[File]:
    """What the control plane reads, as kubeadm lays it out."""
    kubeconfigs = {"admin": "admin", "controller-manager": "controller-manager", "scheduler": "scheduler"}
    return [
        *(File(path=f"{PKI}/{name}", mode=0o600, text=pki.text(name)) for name in _FILES),
        *(
            File(path=f"/etc/kubernetes/{name}.conf", mode=0o600, text=pki.kubeconfig(user, request.api_url))
            for name, user in kubeconfigs.items()
        ),
        *(File(path=path, mode=0o600, text=text) for path, text in _own_files(request).items() if text),
    ]


def _own_files(request: LocalRequest) -> dict[str, str]:
    return {_AUDIT_POLICY: request.audit_policy, _ADMISSION: request.admission_configuration}


def services(request: LocalRequest) -> dict[str, Service]:
    """The services by name."""
    flags = {
        "etcd": _etcd(request),
        "kube-apiserver": _api_server(request),
        "kube-controller-manager": _controller_manager(request),
        "kube-scheduler": _scheduler(request),
    }
    return {name: Service(name=name, argv=command(name, flags[name], request)) for name in SERVICES}


def command(component: str, flags: Mapping[str, str], request: LocalRequest) -> list[str]:
    """A component's argv: its flags, and over them those that the request gives for it."""
    short = component.removeprefix("kube-")
    chosen = {**flags, **request.args.get(short, {}), **request.args.get(component, {})}
    return [f"/opt/koalesce/bin/{component}", *(f"--{name}={value}" for name, value in chosen.items())]


def _gates(request: LocalRequest) -> dict[str, str]:
    gates = ",".join(f"{name}={str(on).lower()}" for name, on in sorted(request.feature_gates.items()))
    return {"feature-gates": gates} if gates else {}


def _etcd(request: LocalRequest) -> dict[str, str]:
    client, peer = f"https://127.0.0.1:{ETCD_PORT}", "https://127.0.0.1:2380"
    return {
        "name": request.control.name,
        "data-dir": ETCD_DATA,
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"{request.control.name}={peer}",
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "cert-file": f"{PKI}/etcd/server.crt",
        "key-file": f"{PKI}/etcd/server.key",
        "client-cert-auth": "true",
        "trusted-ca-file": f"{PKI}/etcd/ca.crt",
        "peer-cert-file": f"{PKI}/etcd/peer.crt",
        "peer-key-file": f"{PKI}/etcd/peer.key",
        "peer-client-cert-auth": "true",
        "peer-trusted-ca-file": f"{PKI}/etcd/ca.crt",
        # The data lies on a tmpfs and doesn't outlive the cluster.
        "unsafe-no-fsync": "true",
        "heartbeat-interval": "50",
        "election-timeout": "250",
        # A reset changes all that it changes at once, so that no controller acts on half of it.
        "max-txn-ops": "100000",
    }


def _api_server(request: LocalRequest) -> dict[str, str]:
    config = ",".join(f"{name}={value}" for name, value in sorted(request.runtime_config.items()))
    return {
        "advertise-address": request.control.address,
        "secure-port": str(API_PORT),
        "etcd-servers": f"https://127.0.0.1:{ETCD_PORT}",
        "etcd-cafile": f"{PKI}/etcd/ca.crt",
        "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
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
        **_gates(request),
    }


def _controller_manager(request: LocalRequest) -> dict[str, str]:
    return {
        **_client("controller-manager"),
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
        **_gates(request),
    }


def _node_cidr_sizes(families: Sequence[Family]) -> dict[str, str]:
    """The one flag for clusters of one family, which clusters of both may not have."""
    if len(families) == 1:
        return {"node-cidr-mask-size": str(NODE_PREFIX[families[0]])}
    return {f"node-cidr-mask-size-{family.lower()}": str(NODE_PREFIX[family]) for family in families}


def _scheduler(request: LocalRequest) -> dict[str, str]:
    return {**_client("scheduler"), "bind-address": "127.0.0.1", **_gates(request)}


def _client(user: str) -> dict[str, str]:
    kubeconfig = f"/etc/kubernetes/{user}.conf"
    return {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "leader-elect": "false",
    }
