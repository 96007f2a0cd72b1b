"""What a new cluster runs of itself: CoreDNS, as everywhere a Deployment in kube-system."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
from collections.abc import Collection, Mapping
from typing import Any

from koalesce.addresses import family_of
from koalesce.assets import asset
from koalesce.local.api import Api
from koalesce.local.datastore import new_object
from koalesce.local.netns import NetNamespace
from koalesce.local.request import API_PORT

_PATHS = {
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/namespaces/kube-system/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/kube-system/deployments",
    "Service": "/api/v1/namespaces/kube-system/services",
    "ReplicaSet": "/apis/apps/v1/namespaces/kube-system/replicasets",
    "Pod": "/api/v1/namespaces/kube-system/pods",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
}
PROVISIONER = "koalesce.dev/local-path"  # of the StorageClass; see `koalesce.local.provisioner`
TOLERATED = "node-role.kubernetes.io/control-plane"  # by CoreDNS' pods
DEPLOYMENT = f"{_PATHS['Deployment']}/coredns"
SERVICE = f"{_PATHS['Service']}/kube-dns"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
ENDPOINTS = f"{SLICES}?labelSelector=kubernetes.io/service-name%3Dkube-dns"
_HASH_LABEL = "pod-template-hash"
_A, _SOA, _AAAA = 1, 6, 28
_QUESTION = "kubernetes.default.svc.cluster.local"


def coredns(image: str, address: str) -> list[tuple[str, Mapping[str, Any]]]:
    """CoreDNS' objects with the paths to create them at, serving at `address`."""
    documents = _template("coredns.yaml")
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
        if document["kind"] == "Service":
            document["spec"]["clusterIP"] = address
    return [(_PATHS[document["kind"]], document) for document in documents]


def _template(name: str) -> list[dict[str, Any]]:
    from ruamel.yaml import YAML  # imported here: it is needed only once, while the API server starts

    return list(YAML(typ="safe").load_all(asset("templates", "local", name)))


def besides(chosen: Collection[str], images: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    """The objects of those addons that a cluster's spec asks for."""
    found = [_storage_class()] if "local-path" in chosen else []
    if "metrics-server" in chosen:
        found += _metrics_server(images["metrics-server"])
    return found


def _storage_class() -> tuple[str, Mapping[str, Any]]:
    metadata = {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    return _PATHS["StorageClass"], {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": metadata,
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _metrics_server(image: str) -> list[tuple[str, Mapping[str, Any]]]:
    documents = _template("metrics-server.yaml")
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return [(_PATHS[document["kind"]], document) for document in documents]


def serves_metrics(api: Api) -> bool:
    """Whether the resource metrics API is there."""
    status, body = api.request("GET", f"{_PATHS['APIService']}/v1beta1.metrics.k8s.io")
    conditions = json.loads(body).get("status", {}).get("conditions", ()) if status == 200 else ()
    return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)


def stored_api_service(address: str, endpoint: str) -> dict[str, str]:
    """The Service `kubernetes`, the address that it has, and where it leads, as keys and values (JSON in base64) of the datastore.

    The API server makes them once it calls itself ready, which is too late for the first pods. Whoever asks it for a Service has its address
    taken first: where the API server ends in between, the address is nobody's, and refused to everybody, for a minute
    (RepairIPAddress of k8s.io/kubernetes/pkg/registry/core/service/ipallocator/controller). What lies there from the start is asked for by nobody.
    """
    name, family = "kubernetes", family_of(address)
    within = {"name": name, "namespace": "default"}
    ports = [{"name": "https", "port": 443, "targetPort": API_PORT, "protocol": "TCP"}]
    service = {
        "type": "ClusterIP",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": [family],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "ports": ports,
        "sessionAffinity": "None",
    }
    taken = {
        "ipaddress.kubernetes.io/ip-family": family,
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    return dict(
        (
            new_object(
                f"services/specs/default/{name}",
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {**within, "labels": {"component": "apiserver", "provider": "kubernetes"}},
                    "spec": service,
                },
            ),
            new_object(
                f"ipaddresses/{address}",
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "IPAddress",
                    "metadata": {"name": address, "labels": taken},
                    "spec": {"parentRef": {"group": "", "resource": "services", **within}},
                },
            ),
            new_object(
                f"endpointslices/default/{name}",
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {**within, "labels": {"kubernetes.io/service-name": name}},
                    "addressType": family_of(endpoint),
                    "endpoints": [{"addresses": [endpoint], "conditions": {"ready": True}}],
                    "ports": [{"name": "https", "port": API_PORT, "protocol": "TCP"}],
                },
            ),
        )
    )


def root_ca(certificate: str) -> tuple[str, Mapping[str, Any]]:
    """The ConfigMap that pods of kube-system mount, as its controller makes it later, and would wait for before they start."""
    metadata = {"name": "kube-root-ca.crt", "namespace": "kube-system"}
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": certificate}}
    return _PATHS["ConfigMap"], document


def replica_set(deployment: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The ReplicaSet of a new Deployment; its controller takes it for its own, by owner and template."""
    spec, metadata = deployment["spec"], deployment["metadata"]
    digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
    label = {_HASH_LABEL: digest}
    template = {**spec["template"], "metadata": {"labels": {**spec["template"]["metadata"]["labels"], **label}}}
    return _PATHS["ReplicaSet"], {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_owner(deployment)],
        },
        "spec": {
            "replicas": spec["replicas"],
            "selector": {"matchLabels": {**spec["selector"]["matchLabels"], **label}},
            "template": template,
        },
    }


def pod(owner: Mapping[str, Any], node: str) -> tuple[str, Mapping[str, Any]]:
    """The one pod of a new ReplicaSet, on a node."""
    template, metadata = owner["spec"]["template"], owner["metadata"]
    return _PATHS["Pod"], {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [_owner(owner)],
        },
        "spec": {**template["spec"], "nodeName": node},
    }


def endpoints(service: Mapping[str, Any], pod: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The endpoints of a new Service whose one pod is ready; their controller takes them for its own, by labels and owner."""
    metadata, address, target = service["metadata"], pod["status"]["podIP"], pod["metadata"]
    name = metadata["name"]
    own = {
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": name,
    }
    endpoint = {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", **{key: target[key] for key in ("name", "namespace", "uid")}},
    }
    return SLICES, {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{name}-",
            "namespace": metadata["namespace"],
            "labels": {**metadata.get("labels", {}), **own},
            "ownerReferences": [_owner(service)],
        },
        "addressType": family_of(address),
        "endpoints": [endpoint],
        "ports": [{key: port[key] for key in ("name", "port", "protocol")} for port in service["spec"]["ports"]],
    }


def states(api: Api) -> str:
    """What the pods of kube-system wait for."""
    lines = []
    for pod in api.get(_PATHS["Pod"])["items"]:
        states = [status["state"] for status in pod["status"].get("containerStatuses", ())]
        lines.append(f"  | {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {json.dumps(states)}")
    return "\n".join(lines)


def _owner(controller: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": controller["apiVersion"],
        "kind": controller["kind"],
        "name": controller["metadata"]["name"],
        "uid": controller["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def answers(namespace: NetNamespace, server: str, zone: str = "", *, seconds: float = 0.15) -> bool:
    """Whether a DNS server, asked from a network namespace, knows a zone, or else the cluster's API Service (RFC 1035, 4.1)."""
    is_ipv6 = family_of(server) == "IPv6"
    with namespace.entered():
        asking = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    with asking, contextlib.suppress(OSError):
        asking.settimeout(seconds)
        asking.sendto(_query(zone, _SOA) if zone else _query(_QUESTION, _AAAA if is_ipv6 else _A), (server, 53))
        answer = asking.recv(512)
        _, flags, _, answers_count = struct.unpack("!HHHH", answer[:8])
        return bool(flags & 0x800F == 0x8000 and answers_count > 0)
    return False


def _query(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x4B4F, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)
