"""Volumes of the StorageClass local-path: which claims get one, where, and what becomes of those that are released."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import Kube
from koalesce.local.addons import besides
from koalesce.local.controlling import Events
from koalesce.local.provisioner import Provisioner
from tests.fakes import FakeKube, FakeView, api_error

FOLDER = "/var/local-path-provisioner/pvc-1_test_data"
ASKED = {
    "volume.kubernetes.io/storage-provisioner": "koalesce.dev/local-path",
    "volume.kubernetes.io/selected-node": "w1",
}


class World:
    """A cluster with the class, and what was run on its nodes; those that are `off` run nothing."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.kube.define("StorageClass", "storageclasses", group="storage.k8s.io", namespaced=False)
        self.kube.define("PersistentVolume", "persistentvolumes", namespaced=False)
        self.kube.define("PersistentVolumeClaim", "persistentvolumeclaims")
        self.kube.add(*(document for _, document in besides(["local-path"], {})))
        self.ran: list[tuple[str, str]] = []
        self.off: set[str] = set()
        kube = cast("Kube", self.kube)
        self.provisioner = Provisioner(kube, self._run, Events(kube))

    def _run(self, node: str, command: Sequence[str]) -> None:
        if node in self.off:
            raise ClusterError(f"{node} is switched off")
        self.ran.append((node, " ".join(command)))

    def look(self, *, behind: Sequence[str] = ()) -> None:
        """Have it look, by watches that know nothing yet of some kinds."""

        class View(FakeView):
            def list(self, resource: Any, **options: Any) -> list[dict[str, Any]]:
                return [] if resource.plural in behind else super().list(resource, **options)

        self.provisioner.look(cast("Any", View(self.kube)))

    def volumes(self) -> list[dict[str, Any]]:
        return self.kube.list(self.kube.resource("persistentvolumes"))

    def warnings(self) -> list[str]:
        return [event["message"] for event in self.kube.list(self.kube.resource("events"))]


@pytest.fixture
def world() -> World:
    return World()


def claim(name: str = "data", uid: str = "1", annotations: dict[str, str] = ASKED, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "test", "uid": uid, "annotations": annotations},
        "spec": {
            "storageClassName": "local-path", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, **spec
        },
    }  # fmt: skip


def released(world: World, name: str, phase: str = "Released") -> None:
    volume = world.kube.get(world.kube.resource("persistentvolumes"), name)
    assert volume is not None
    world.kube.add({**volume, "status": {"phase": phase}})


def test_a_claim_gets_a_folder_of_the_node_that_was_chosen_for_it(world: World) -> None:
    world.kube.add(claim())

    world.look()
    world.look()

    assert world.ran == [("w1", f"mkdir -p -m 0777 -- {FOLDER}")]
    (volume,) = world.volumes()
    assert volume["metadata"]["name"] == "pvc-1"
    spec = volume["spec"]
    assert (spec["local"], spec["capacity"], spec["persistentVolumeReclaimPolicy"]) == (
        {"path": FOLDER}, {"storage": "1Mi"}, "Delete",
    )  # fmt: skip
    assert (spec["claimRef"]["namespace"], spec["claimRef"]["name"], spec["claimRef"]["uid"]) == ("test", "data", "1")
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["w1"]}]
    assert world.warnings() == []


@pytest.mark.parametrize(
    "other",
    [
        claim(annotations={}),
        claim(annotations={**ASKED, "volume.kubernetes.io/storage-provisioner": "example.com/nfs"}),
        claim(volumeName="by-hand"),
    ],
)
def test_what_is_not_asked_of_it_is_left_alone(world: World, other: dict[str, Any]) -> None:
    world.kube.add(other)

    world.look()

    assert (world.ran, world.volumes(), world.warnings()) == ([], [], [])


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (claim(accessModes=["ReadWriteMany"]), "is ReadWriteOnce or ReadWriteOncePod, not ReadWriteMany"),
        (claim(volumeMode="Block"), "volumeMode Block is not to be had"),
        (claim(selector={"matchLabels": {"a": "b"}}), "no labels that a selector could take"),
        (claim(dataSource={"kind": "VolumeSnapshot", "name": "a"}), "made of other volumes or snapshots"),
        (
            claim(annotations={"volume.kubernetes.io/storage-provisioner": "koalesce.dev/local-path"}),
            "the StorageClass local-path must say volumeBindingMode: WaitForFirstConsumer",
        ),
    ],
)
def test_a_claim_that_can_not_be_met_is_told_why_once(world: World, wanted: dict[str, Any], why: str) -> None:
    world.kube.add(wanted)

    world.look()
    world.look()

    (warning,) = world.warnings()
    assert why in warning
    assert (world.ran, world.volumes()) == ([], [])


def test_a_released_volume_goes_with_its_folder(world: World) -> None:
    world.kube.add(claim())
    world.look()
    released(world, "pvc-1")
    world.kube.remove("persistentvolumeclaims", "data", "test")

    world.look()
    world.look()

    assert world.ran[1:] == [("w1", f"rm -rf -- {FOLDER}")]
    assert world.volumes() == []


@pytest.mark.parametrize(("policy", "phase"), [("Retain", "Released"), ("Delete", "Bound"), ("Delete", "Failed")])
def test_a_volume_that_is_claimed_or_to_be_kept_stays(world: World, policy: str, phase: str) -> None:
    (kept,) = (document for _, document in besides(["local-path"], {}))
    world.kube.add({**kept, "reclaimPolicy": policy}, claim())
    world.look()
    released(world, "pvc-1", phase)

    world.look()

    assert len(world.ran) == len(world.volumes()) == 1


def test_a_volume_of_others_stays(world: World) -> None:
    world.kube.add(claim())
    world.look()
    (volume,) = world.volumes()
    volume["metadata"] = {"name": "by-hand", "uid": "x"}
    world.kube.add({**volume, "status": {"phase": "Released"}})

    world.look()

    assert len(world.volumes()) == 2


def test_the_folder_goes_where_somebody_deletes_the_volume_itself(world: World) -> None:
    world.kube.add(claim())
    world.look()
    world.kube.remove("persistentvolumes", "pvc-1")
    world.kube.remove("persistentvolumeclaims", "data", "test")

    world.look()
    world.look()

    assert world.ran[1:] == [("w1", f"rm -rf -- {FOLDER}")]


def test_a_volume_that_the_watch_has_not_told_of_yet_keeps_its_folder(world: World) -> None:
    world.kube.add(claim())
    world.look()

    world.look(behind=["persistentvolumes", "persistentvolumeclaims"])

    assert world.ran == [("w1", f"mkdir -p -m 0777 -- {FOLDER}")]


def test_a_node_that_is_off_keeps_only_its_own_claims_waiting(world: World) -> None:
    world.off = {"w1"}
    world.kube.add(claim(), claim("other", "2", {**ASKED, "volume.kubernetes.io/selected-node": "w2"}))

    with pytest.raises(ClusterError, match="w1 is switched off"):
        world.look()
    assert [volume["metadata"]["name"] for volume in world.volumes()] == ["pvc-2"]

    world.off = set()
    world.look()
    assert [volume["metadata"]["name"] for volume in world.volumes()] == ["pvc-1", "pvc-2"]


def test_a_volume_that_is_there_already_is_no_error(world: World) -> None:
    world.kube.add(claim())
    world.kube.fail("create", api_error(409, "exists", reason="AlreadyExists"))

    world.look()

    assert world.ran == [("w1", f"mkdir -p -m 0777 -- {FOLDER}")]
