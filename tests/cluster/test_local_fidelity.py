"""A real cluster whose first family is IPv6, with a node of a size and settings of its own."""

from __future__ import annotations

import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.ledger import Ledger
from koalesce.process import run
from tests.cluster.whole_machine import LOCAL_CLUSTERS

NAME = "t-fidelity"


pytestmark = [
    *LOCAL_CLUSTERS,
    pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="the kernel has no IPv6"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kube, dict[str, Any], Path]]:
    """One node of one processor and 2 GiB, of both families, IPv6 first."""
    ledger = Ledger(tmp_path_factory.mktemp("state") / "clusters")
    folder = ledger.folder / NAME
    node = {"name": "cp", "role": "control-plane", "cpu": 1, "memory": 2**31, "kubelet": json.dumps({"maxPods": 7})}
    request = {
        "name": NAME, "kubernetes_version": "1.37.2", "nodes": [node], "ip_families": ["IPv6", "IPv4"], "state_dir": str(folder),
    }  # fmt: skip
    client.up(json.dumps(request), ledger=ledger, progress=lambda line: None)
    kube = Kube(folder / "kubeconfig")
    try:
        yield kube, json.loads((folder / "outputs.json").read_text()), folder
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


Made = tuple[Kube, dict[str, Any], Path]


def test_the_first_family_is_the_primary_one(cluster: Made) -> None:
    kube, outputs, _ = cluster
    (node,) = kube.list(kube.resource("nodes"))
    service = kube.get(kube.resource("services"), "kube-dns", "kube-system")
    (pod,) = kube.list(kube.resource("pods"), namespace="kube-system")

    addresses = [entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert addresses == outputs["nodes"][0]["addresses"] == ["fd4b:6f61:6c65::10", "198.18.0.10"]
    assert node["spec"]["podCIDRs"] == ["fd00:10:244::/64", "10.244.0.0/24"]
    assert service is not None
    assert (service["spec"]["clusterIP"], outputs["dns_ip"]) == ("fd00:10:96::a", "fd00:10:96::a")
    assert [":" in entry["ip"] for entry in pod["status"]["podIPs"]] == [True, False]
    assert {"dual-stack", "ipv6"} <= set(outputs["capabilities"])


@pytest.mark.parametrize("host", ["[fd4b:6f61:6c65::10]", "198.18.0.10", "[fd00:10:96::1]:443"])
def test_the_api_server_is_reached_by_both_families(cluster: Made, host: str) -> None:
    _, outputs, _ = cluster
    url = f"https://{host if host.endswith(':443') else f'{host}:6443'}/livez"
    fetch = ["curl", "-sf", "-m", "5", "--cacert", "/etc/kubernetes/pki/ca.crt", url]

    assert run([*outputs["nodes"][0]["exec"], *fetch], timeout=60).check().out == "ok"


def test_this_machine_reaches_it_as_ever(cluster: Made) -> None:
    _, outputs, _ = cluster
    context = ssl._create_unverified_context()

    with urllib.request.urlopen(f"{outputs['api_endpoint']}/livez", context=context, timeout=60) as answer:
        assert answer.read() == b"ok"


def test_a_node_has_what_it_was_given(cluster: Made) -> None:
    kube, outputs, _ = cluster
    (node,) = kube.list(kube.resource("nodes"))
    script = (
        "grep -h Cpus_allowed_list /proc/1/status; "
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"
    )

    capacity = node["status"]["capacity"]
    assert (capacity["cpu"], capacity["memory"], capacity["pods"]) == ("1", "2Gi", "7")
    processors, limit = run([*outputs["nodes"][0]["exec"], "sh", "-c", script], timeout=60).check().out.splitlines()
    assert processors.split()[1].isdecimal()
    assert limit == str(2**31)
