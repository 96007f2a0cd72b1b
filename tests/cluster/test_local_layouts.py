"""Control planes as they can be besides, each on a real cluster of its own: versions, families, processes and static pods, an etcd outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from koalesce.addons import ADDONS
from koalesce.cluster import Fault
from koalesce.kube import Kube
from koalesce.local import client
from koalesce.local.ledger import Ledger
from koalesce.local.reset import of_entry
from koalesce.providers.local import LocalProvider
from koalesce.providers.local_faults import LocalFaults
from koalesce.toolchain import Toolchain
from tests.cluster.patience import eventually
from tests.cluster.whole_machine import LOCAL_CLUSTERS
from tests.long import long

NAME = "t-layouts"
OUTSIDE = ("e1", "e2", "e3")

pytestmark = [*LOCAL_CLUSTERS]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a cluster is like; `member` is where a member of etcd can be missed."""

    kubernetes: str
    families: tuple[str, ...]
    control_plane: str
    etcd: Mapping[str, Any]
    controls: int
    member: str

    def __str__(self) -> str:
        return f"{self.kubernetes}-{'+'.join(self.families)}-{self.control_plane}-{self.etcd['mode']}"

    def request(self, folder: Path) -> str:
        """The request for it, with a worker."""
        nodes = [{"name": f"cp-{number}", "role": "control-plane"} for number in range(1, self.controls + 1)]
        fixtures = [{"name": name, "kind": "host"} for name in self.etcd.get("fixtures", ())]
        value = {
            "name": NAME, "kubernetes_version": self.kubernetes, "nodes": [*nodes, {"name": "worker-1", "role": "worker"}],
            "fixtures": fixtures, "ip_families": list(self.families), "control_plane": self.control_plane, "etcd": dict(self.etcd),
            "state_dir": str(folder), "settings": {"timeout": 600},
        }  # fmt: skip
        return json.dumps(value)


LAYOUTS = (
    Layout(
        kubernetes="1.34.4", families=("IPv6",), control_plane="process", etcd={"mode": "process"}, controls=3, member="cp-1"
    ),
    Layout(
        kubernetes="1.34.4", families=("IPv4", "IPv6"), control_plane="static", etcd={"mode": "static"}, controls=3, member="cp-1"
    ),
    Layout(
        kubernetes="1.37.2", families=("IPv6", "IPv4"), control_plane="process", etcd={"mode": "external", "fixtures": OUTSIDE},
        controls=2, member="e1",
    ),
    Layout(
        kubernetes="1.37.2", families=("IPv4",), control_plane="static", etcd={"mode": "external", "fixtures": OUTSIDE},
        controls=1, member="e1",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """A cluster of a layout, and what is done to it."""

    kube: Kube
    faults: LocalFaults
    ledger: Ledger

    def is_whole(self, nodes: int) -> bool:
        """Whether all nodes are Ready."""
        found = self.kube.list(self.kube.resource("nodes"))
        ready = [each["status"] for node in found for each in node["status"]["conditions"] if each["type"] == "Ready"]
        return ready == ["True"] * nodes

    def write(self, name: str) -> None:
        """Make an object, at the second or a later try where the connection was just one to a lost API server."""
        wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}

        def is_there() -> bool:
            if not self.kube.get(self.kube.resource("configmaps"), name, "default"):
                self.kube.create(wanted)
            return True

        eventually(is_there)

    @contextmanager
    def without(self, kind: Any, machine: str, **more: Any) -> Iterator[None]:
        """While a fault lasts."""
        fault = self.faults.begin(Fault(kind=kind, machines=(machine,), **more))
        try:
            yield
        finally:
            fault.undo()


@contextmanager
def made(layout: Layout, folder: Path) -> Iterator[World]:
    ledger = Ledger(folder / "clusters")
    client.up(layout.request(ledger.folder / NAME), ledger=ledger, progress=lambda line: None)
    kube = Kube(ledger.folder / NAME / "kubeconfig")
    try:
        yield World(kube, LocalFaults(name=NAME, kinds=LocalProvider.fault_kinds, ledger=ledger), ledger)
    finally:
        kube.close()
        client.down(NAME, ledger=ledger)


@long
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_it_works_bears_a_loss_and_is_reset(layout: Layout, tmp_path: Path) -> None:
    states = Toolchain().states(layout.kubernetes)
    if lacking := [state.tool for state in states if not state.folder and state.tool not in ADDONS]:
        pytest.skip(f"Kubernetes {layout.kubernetes}: {', '.join(lacking)} not in the toolchain cache")
    with made(layout, tmp_path) as world:
        nodes = layout.controls + 1
        eventually(lambda: world.is_whole(nodes))
        client.note(NAME, ledger=world.ledger, wait=True)

        if layout.controls > 1:
            with world.without("stop-component", "cp-1", component="kube-apiserver"):
                world.write("without-an-api-server")
        with world.without("stop-component", layout.member, component="etcd"):
            world.write("without-a-member")
        if layout.etcd["mode"] == "external":
            with world.without("kill-node", "cp-1"):
                pass
            world.write("after-a-node")
        eventually(lambda: world.is_whole(nodes))

        entry = world.ledger.find(NAME)
        assert entry is not None
        assert of_entry(entry).run() == []
        assert world.kube.get(world.kube.resource("configmaps"), "without-a-member", "default") is None
