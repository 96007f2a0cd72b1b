"""Using a cluster that is up: who may, and that it stays."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import Node
from koalesce.errors import ProvisionError, UsageError
from koalesce.events import AnyEvent, ClusterReady
from koalesce.local.ledger import Entry, Ledger, Process
from koalesce.providers.joining import JoinedCluster, made
from koalesce.providers.session import ClusterSession
from koalesce.providers.sweeping import state, sweep

LIVING = Process.of(os.getpid())
NODE = {"name": "one", "role": "control-plane", "address": "198.18.0.10", "pod_cidr": "10.244.0.0/24"}
VARIABLES = {
    "nodes": [{"name": "one", "role": "control-plane"}], "network": "none", "dns": "coredns",
    "pod_cidr": "10.1.0.0/16", "service_cidr": "10.2.0.0/16",
}  # fmt: skip
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
"""


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A cluster that `koalesce up` has made and kept."""
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path))
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    root, own = tmp_path / "terraform" / "dev", tmp_path / "own"
    root.mkdir(parents=True)
    own.mkdir()
    (root / "koalesce.auto.tfvars.json").write_text(json.dumps(VARIABLES))
    outputs = {
        "nodes": [NODE | {"exec": ["nsenter"], "logs": {}}], "kubeconfig_path": str(tmp_path / "kubeconfig"),
        "capabilities": ["node-exec"], "dns_ip": "10.2.0.10", "host_exec": [],
    }  # fmt: skip
    (own / "outputs.json").write_text(json.dumps(outputs))
    entry = Entry(
        name="dev", kubernetes="1.37.2", folder=str(own), keep=True, ready=True, supervisor=LIVING,
        session={"terraform": str(root), "network": "kube-router"},
    )  # fmt: skip
    Ledger().add(entry)
    return entry


def test_a_kept_cluster_can_be_used_and_stays(entry: Entry) -> None:
    events: list[AnyEvent] = []
    joined = JoinedCluster("dev", spec="a.yaml")

    cluster = joined.up(events.append)
    joined.leave()

    assert (cluster.name, cluster.kubernetes, cluster.pod_cidr) == ("dev", "1.37.2", "10.1.0.0/16")
    assert [node.name for node in cluster.nodes] == ["one"]
    (ready,) = events
    assert isinstance(ready, ClusterReady)
    assert (ready.cluster, ready.spec, ready.shared) == ("dev", "a.yaml", True)
    assert Ledger().find("dev") is not None
    assert state(entry, Ledger()) == "kept"


def test_several_may_use_it_at_once_and_nobody_removes_it_meanwhile(entry: Entry) -> None:
    first, second = JoinedCluster("dev"), JoinedCluster("dev")
    first.up()
    second.up()
    first.leave()

    with pytest.raises(UsageError, match="cluster dev is in use by a run that is alive"):
        ClusterSession.of_entry(entry)
    assert sweep() == []

    second.leave()
    ClusterSession.of_entry(entry)


@pytest.mark.parametrize("change", [{"keep": False}, {"ready": False}])
def test_a_cluster_of_somebody_else_is_not_used(entry: Entry, change: dict[str, Any]) -> None:
    Ledger().change("dev", **change)

    with pytest.raises(UsageError, match="cluster dev is being made"):
        JoinedCluster("dev").up()


def test_a_cluster_that_is_being_removed_is_not_used(entry: Entry) -> None:
    with Ledger().hold("dev"), pytest.raises(UsageError, match="is being removed"):
        JoinedCluster("dev").up()


def test_an_unknown_cluster_is_told_with_those_that_are_up(entry: Entry) -> None:
    with pytest.raises(UsageError) as caught:
        made("def")

    assert (caught.value.message, caught.value.hint) == ('no cluster is called "def"', "up are: dev")


def test_of_a_cluster_of_plain_terraform_too_little_is_known(entry: Entry) -> None:
    Ledger().change("dev", session={"terraform": "/nowhere"})

    with pytest.raises(UsageError, match="cluster dev was made by Terraform alone"):
        made("dev")


def test_a_component_that_becomes_the_network_of_a_cluster_without_any_is_remembered(entry: Entry) -> None:
    Ledger().change("dev", session={"terraform": entry.session["terraform"]})
    assert made("dev").network == "none"

    JoinedCluster("dev").note("flannel", ["flannel"])
    JoinedCluster("dev").note("kube-router", ["kube-router"])

    assert made("dev").network == "flannel"


@dataclass
class Provider:
    problem: str = ""
    supplied: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def faults(self, name: str) -> None:
        return None

    def supply(self, node: Node, images: Sequence[str]) -> str:
        self.supplied.append((node.name, tuple(images)))
        return self.problem


def test_images_that_may_have_changed_are_brought_to_its_nodes(entry: Entry) -> None:
    provider = Provider()
    joined = JoinedCluster("dev", provider=provider)  # type: ignore[arg-type]  # what it needs of one
    joined.up()

    joined.supply(())
    joined.supply(("docker.io/x/router:dev",))
    joined.leave()

    assert provider.supplied == [("one", ("docker.io/x/router:dev",))]


def test_an_image_that_a_node_can_not_get_is_an_error(entry: Entry) -> None:
    joined = JoinedCluster("dev", provider=Provider("x can't be pulled: 404"))  # type: ignore[arg-type]  # what it needs of one
    joined.up()

    with pytest.raises(ProvisionError, match="one: x can't be pulled: 404"):
        joined.supply(("x",))
    joined.leave()


def test_what_its_provider_was_told_of_probes_is_known_to_who_joins_it(entry: Entry) -> None:
    file = Path(entry.session["terraform"]) / "koalesce.auto.tfvars.json"
    file.write_text(json.dumps({**VARIABLES, "settings": {"probe_image": "mirror.example/agnhost:1"}}))

    cluster = JoinedCluster("dev").up()

    assert cluster.probe_image == "mirror.example/agnhost:1"
