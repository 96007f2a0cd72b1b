"""`reset` on a real cluster: whatever a test has done to it is undone, and what was there at first still works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import KoalesceError
from koalesce.kube import ApiError, Kube, Resource
from koalesce.local import client, firststate
from koalesce.local.ledger import Entry, Ledger
from koalesce.local.reset import of_entry
from koalesce.process import run
from koalesce.providers.roots import machines_of
from koalesce.toolchain import Toolchain
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS

NAME = "t-reset"
VERSION = "1.37.2"
MESS = """
ip link add mess type bridge && ip link set mess up && ip addr add 10.9.9.1/24 dev mess && ip route add 10.8.0.0/16 via 10.9.9.2
ip rule add from 10.7.0.0/16 table 77; ip route add default via 198.18.0.1 table 77; ip link set eth0 mtu 1400
iptables -t nat -N MESS; iptables -t nat -A MESS -j RETURN; iptables -t nat -I KUBE-SERVICES -j MESS
ipset create mess hash:ip; iptables -I INPUT -m set --match-set mess src -j DROP
nft add table inet mess; nft add chain inet mess c
echo 5 > /proc/sys/net/ipv4/conf/eth0/arp_announce
echo 198.51.100.1 mess >> /etc/hosts; echo '{}' > /etc/cni/net.d/99-mess.conf
"""
KIND = {
    "group": "example.com", "scope": "Namespaced", "names": {"kind": "Mess", "plural": "messes"},
    "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
}  # fmt: skip
PASSING = ("events", "leases", "componentstatuses")
HOOK = {
    "name": "no.example.com", "clientConfig": {"url": "https://127.0.0.1:1/"}, "sideEffects": "None", "admissionReviewVersions": ["v1"],
    "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
}  # fmt: skip
SEEN = "ip -br link; ip route; ip rule; iptables-save | grep MESS; ipset list -n; nft list tables; cat /etc/hosts; ls /etc/cni/net.d"


pytestmark = [*LOCAL_CLUSTERS]


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entry]:
    """A cluster as plain Terraform makes it: it notes its first state by itself."""
    folder = tmp_path_factory.mktemp("reset")
    ledger = Ledger(folder / "clusters")
    nodes = [{"name": "control-plane", "role": "control-plane"}, {"name": "worker-1", "role": "worker"}]
    request = {"name": NAME, "kubernetes_version": VERSION, "nodes": nodes, "state_dir": str(folder / NAME)}
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    eventually(lambda: (folder / NAME / "first.json").exists())
    found = ledger.find(NAME)
    assert found is not None
    yield found
    client.down(NAME, ledger=ledger)


@pytest.fixture(scope="module")
def kube(entry: Entry) -> Iterator[Kube]:
    kube = Kube(Path(entry.kubeconfig))
    yield kube
    kube.close()


def on_nodes(entry: Entry, script: str) -> list[str]:
    return [run([*node.exec, "sh", "-c", script], timeout=60).out for node in machines_of(entry)]


def uids(kube: Kube) -> set[str]:
    """What there is, but for what passes."""
    found = set()
    kube.forget_kinds()
    for resource in kube.resources():
        if "list" in resource.verbs and resource.name.partition(".")[0] not in PASSING:
            found |= {f"{resource.name} {each['metadata']['name']}" for each in kube.list(resource)}
    return found


def test_a_cluster_that_nobody_touched_is_as_it_was(entry: Entry) -> None:
    assert of_entry(entry).run() == []


def test_nodes_are_as_they_were(entry: Entry) -> None:
    before = [text.splitlines() for text in on_nodes(entry, SEEN)]
    on_nodes(entry, MESS)
    assert all("mess" in text for text in on_nodes(entry, SEEN))

    assert of_entry(entry).run() == []

    after = [text.splitlines() for text in on_nodes(entry, SEEN)]
    assert [sorted({*one} ^ {*other}) for one, other in zip(before, after, strict=True)] == [[], []]


def test_rules_of_kube_proxy_that_somebody_removed_come_back(entry: Entry) -> None:
    """It looks after them only when Services change: it has to begin anew."""
    rules = "iptables -t nat -S KUBE-SERVICES | sort"
    before = on_nodes(entry, rules)
    assert all("default/kubernetes" in text for text in before)
    on_nodes(entry, "iptables -t nat -F KUBE-SERVICES")

    assert of_entry(entry).run() == []

    assert on_nodes(entry, rules) == before


def test_another_pod_of_coredns_is_nothing_to_undo(entry: Entry, kube: Kube) -> None:
    """Its address is another, and so is what kube-proxy has made of it."""
    proxies = "grep -l '^kube-proxy$' /proc/[0-9]*/comm"
    before, first = on_nodes(entry, proxies), dns_pods(kube)
    for name in first:
        kube.delete(kube.resource("pod"), name, "kube-system")
    eventually(lambda: dns_pods(kube) and not dns_pods(kube).keys() & first.keys())

    assert of_entry(entry).run() == []

    assert all(before)
    assert on_nodes(entry, proxies) == before
    (address,) = dns_pods(kube).values()
    assert address not in first.values()
    assert all(address in rules for rules in on_nodes(entry, "iptables -t nat -S"))


def test_objects_are_as_they_were_whatever_resists(entry: Entry, kube: Kube) -> None:
    """Finalizers that nobody removes, a webhook that refuses everything, instances of a kind of its own, changed add-ons."""
    before = uids(kube)
    image = Toolchain().local_cluster(VERSION).images["pause"]
    pods = {"metadata": {"labels": {"app": "mess"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    labels = {"matchLabels": {"app": "mess"}}
    for document in (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mess"}},
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "messes.example.com"}, "spec": KIND},
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "mess", "namespace": "mess"},
            "spec": {"replicas": 3, "selector": labels, "template": pods},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "stays", "namespace": "default", "finalizers": ["example.com/never"]}},
    ):  # fmt: skip
        kube.create(document)
    kube.patch(kube.resource("configmap"), "coredns", "kube-system", {"data": {"Corefile": "nonsense"}})
    kube.patch(kube.resource("node"), "worker-1", None, {"spec": {"unschedulable": True}})
    kube.delete(kube.resource("clusterrole"), "view")
    eventually(lambda: "mess" in {pod["metadata"]["labels"].get("app") for pod in running(kube)})
    eventually(lambda: instance(kube))
    kube.create({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "no"}, "webhooks": [HOOK]})  # fmt: skip

    assert of_entry(entry).run() == []

    eventually(lambda: "messes" not in {resource.name for resource in served(kube)})
    assert uids(kube) == before
    assert not kube.get(kube.resource("node"), "worker-1")["spec"].get("unschedulable")
    assert "kubernetes" in kube.get(kube.resource("configmap"), "coredns", "kube-system")["data"]["Corefile"]
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mess"}})
    assert of_entry(entry).run() == []


def served(kube: Kube) -> tuple[Resource, ...]:
    """The kinds that there are now; the API server forgets one a little after its objects."""
    kube.forget_kinds()
    return kube.resources()


def running(kube: Kube) -> list[dict[str, Any]]:
    return [pod for pod in kube.list(kube.resource("pod")) if pod["status"].get("phase") == "Running"]


def dns_pods(kube: Kube) -> dict[str, str]:
    """CoreDNS' pods that run, with their addresses."""
    found = (pod for pod in running(kube) if pod["metadata"].get("labels", {}).get("k8s-app") == "kube-dns")
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in found}


def instance(kube: Kube) -> bool:
    """Make an instance of the new kind, once it is served."""
    try:
        kube.forget_kinds()
        kube.create({"apiVersion": "example.com/v1", "kind": "Mess", "metadata": {"name": "a", "namespace": "mess"}})
    except ApiError:
        return False
    return True


def test_a_first_state_that_was_not_noted_is_an_error(entry: Entry, tmp_path: Path) -> None:
    with pytest.raises(KoalesceError, match="was not noted"):
        firststate.FirstState.load(tmp_path)
