"""The StorageClass `local-path`: volumes are folders on the disk of the node that the claim's first pod is scheduled to.

It does the part of an external provisioner (https://github.com/kubernetes-sigs/sig-storage-lib-external-provisioner): the scheduler
chooses the node, the controller manager asks for a volume and binds it. As with local path provisioners elsewhere, the size that a claim
asks for isn't enforced; the disk's is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any

from koalesce.addons import VOLUMES
from koalesce.kube import ApiError, Kube, Resource, View
from koalesce.local.addons import PROVISIONER
from koalesce.local.controlling import Events, each_of
from koalesce.records import dataclass

_ASKED = "volume.kubernetes.io/storage-provisioner"
_NODE = "volume.kubernetes.io/selected-node"
_MADE_BY = "pv.kubernetes.io/provisioned-by"
_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})

Run = Callable[[str, Sequence[str]], None]  # runs a command on a node; ClusterError if it's off, or the command fails


@dataclass(slots=True)
class Provisioner:
    """Makes volumes for claims, and removes those that are released."""

    kube: Kube
    run: Run
    events: Events
    _made: dict[str, tuple[str, str]] = field(default_factory=dict)  # those to delete: node and folder by name

    def look(self, view: View) -> None:
        """Make what claims wait for, and remove what nobody claims any more."""
        kinds = {
            name: self.kube.resource(name) for name in ("storageclasses", "persistentvolumeclaims", "persistentvolumes")
        }
        classes = {each["metadata"]["name"]: each for each in view.list(kinds["storageclasses"])}
        volumes = {each["metadata"]["name"]: each for each in view.list(kinds["persistentvolumes"])}
        claims = view.list(kinds["persistentvolumeclaims"])
        gone = [name for name in self._made if name not in volumes]
        each_of(
            *(
                partial(self._provision, claim, classes.get(claim["spec"].get("storageClassName"), {}))
                for claim in claims
                if _is_asked_for(claim) and _name(claim) not in volumes
            ),
            *(partial(self._clear_if_gone, kinds["persistentvolumes"], name) for name in gone),
            *(
                partial(self._delete, kinds["persistentvolumes"], each)
                for each in volumes.values()
                if _is_to_delete(each)
            ),
        )

    def _provision(self, claim: Mapping[str, Any], of: Mapping[str, Any]) -> None:
        if problem := next(_problems(claim, of), None):
            self.events.tell(claim, "ProvisioningFailed", problem)
            return
        volume = _volume(claim, of)
        node, folder = _place(volume)
        self.run(node, ["mkdir", "-p", "-m", "0777", "--", folder])
        if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
            self._made[_name(claim)] = node, folder
        try:
            self.kube.create(volume)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise

    def _delete(self, resource: Resource, volume: Mapping[str, Any]) -> None:
        name = volume["metadata"]["name"]
        self._clear(name, *_place(volume))
        self.kube.delete(resource, name)

    def _clear_if_gone(self, resource: Resource, name: str) -> None:
        """Remove the folder of a volume that somebody has deleted; of one that we have just made, the watch may not have told yet."""
        if self.kube.get(resource, name, metadata_only=True) is None:
            self._clear(name, *self._made[name])

    def _clear(self, name: str, node: str, folder: str) -> None:
        self.run(node, ["rm", "-rf", "--", folder])
        self._made.pop(name, None)


def _is_asked_for(claim: Mapping[str, Any]) -> bool:
    metadata = claim["metadata"]
    asked = (metadata.get("annotations") or {}).get(_ASKED) == PROVISIONER
    return asked and not claim["spec"].get("volumeName") and "deletionTimestamp" not in metadata


def _is_to_delete(volume: Mapping[str, Any]) -> bool:
    return (
        (volume["metadata"].get("annotations") or {}).get(_MADE_BY) == PROVISIONER
        and (volume.get("status") or {}).get("phase") == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        and "deletionTimestamp" not in volume["metadata"]
    )


def _problems(claim: Mapping[str, Any], of: Mapping[str, Any]) -> Iterator[str]:
    """Why there can't be such a volume."""
    spec, annotations = claim["spec"], claim["metadata"].get("annotations") or {}
    if others := sorted({*spec.get("accessModes", ())} - _MODES):
        yield f"a volume on the disk of one node is {' or '.join(sorted(_MODES))}, not {', '.join(others)}"
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        yield f"a volume is a folder on the disk of a node: volumeMode {spec['volumeMode']} is not to be had"
    if spec.get("selector"):
        yield "a volume that is made for a claim has no labels that a selector could take"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        yield "volumes can't be made of other volumes or snapshots"
    if _NODE not in annotations:
        name = (of.get("metadata") or {}).get("name", "of the claim")
        yield f"no node has been chosen: the StorageClass {name} must say volumeBindingMode: WaitForFirstConsumer"


def _name(claim: Mapping[str, Any]) -> str:
    return f"pvc-{claim['metadata']['uid']}"


def _volume(claim: Mapping[str, Any], of: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec = claim["metadata"], claim["spec"]
    node = metadata["annotations"][_NODE]
    folder = f"{VOLUMES}/{_name(claim)}_{metadata['namespace']}_{metadata['name']}"
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _name(claim), "annotations": {_MADE_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": list(spec["accessModes"]),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": of.get("reclaimPolicy", "Delete"),
            "storageClassName": spec.get("storageClassName", ""),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
            },
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
        },
    }


def _place(volume: Mapping[str, Any]) -> tuple[str, str]:
    """The node of a volume and its folder there."""
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    return term["matchExpressions"][0]["values"][0], volume["spec"]["local"]["path"]
