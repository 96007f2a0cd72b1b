"""The provider qemu: what its machines can be, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.cluster import ClusterRequest, NodeRequest
from koalesce.errors import UsageError
from koalesce.providers.qemu import QemuProvider

NODES = (NodeRequest(name="cp", role="control-plane", cpu=1, memory=2**31), NodeRequest(name="w", role="worker"))


def request(**fields: Any) -> ClusterRequest:
    values = {"name": "a", "run_id": "r", "provider": "qemu", "kubernetes": "", "nodes": NODES}
    return ClusterRequest(**{**values, **fields})


def test_nodes_may_have_a_size_of_their_own() -> None:
    assert QemuProvider().resolve(request(kubernetes="1.37")).kubernetes.startswith("1.37.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"egress": "host"}, r"the provider qemu can't serve cluster\.egress\n"),
        ({"nodes": (*NODES, NodeRequest(name="b", role="control-plane"))}, "can't serve several control planes"),
        ({"ip_families": ("IPv4", "IPv6")}, r"cluster\.ipFamilies"),
        (
            {"etcd": {"mode": "external", "endpoints": ["http://192.0.2.1:2379"]}},
            "virtual machines reach no etcd elsewhere",
        ),
        ({"nodes": ()}, "nodes: 0"),
        ({"nodes": (*NODES, NodeRequest(name="s", role="worker", spare=True))}, r"cluster\.nodes\[\]\.spare"),
        ({"nodes": (NodeRequest(name="cp", role="control-plane", memory=2**29),)}, "with 512 MiB can't be the node cp"),
        ({"kube_proxy": "userspace"}, 'the qemu provider has no kube_proxy "userspace"'),
        ({"settings": {"processors": 0}}, r"providers\.qemu\.processors: must be at least 1\n"),
        ({"settings": {"memory": 1}}, r"providers\.qemu\.memory: unknown setting"),
        ({"settings": {"accelerator": "hvf"}}, r"providers\.qemu\.accelerator: must be kvm or tcg\n"),
    ],
)
def test_what_its_machines_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        QemuProvider().resolve(request(**fields))


def test_it_makes_no_faults_and_refuses_what_only_a_supervisor_of_namespaces_can_do() -> None:
    provider = QemuProvider()

    assert (provider.faults("a"), provider.fault_kinds) == (None, frozenset())
