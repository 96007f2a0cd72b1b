"""How the objects of a cluster differ from those that it had at first, and what in its datastore undoes that."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field

from koalesce.local import stored
from koalesce.records import dataclass

Objects = Mapping[str, bytes]
# What the cluster's own parts renew all the time.
_RENEWED = ("csinodes", "masterleases", "peerserverleases")
_API_SERVER = "/registry/leases/kube-system/apiserver-"  # each start of one has a lease of its own
_NODES = "/registry/minions/"
_NAMESPACES = "/registry/namespaces/"
_SHARED_OUT = ("/registry/ipaddresses/", "/registry/ranges/")  # to Services, and taken back a while after these
_SHORTEST = 4  # parts of the key of an object that is in no namespace
_PODS = "/registry/pods/"
_SETS = "/registry/replicasets/"
_OWN_BUNDLES = "/registry/clustertrustbundles/kubernetes.io:"  # of the controller manager's signers
# What controllers make again and again from what people have made.
_FOLLOWING = ("endpointslices", "pods")
_ENDPOINTS = "/registry/services/endpoints/"
_SERVICES = "/registry/services/specs/"
# What has its pods replaced when it is put back, which its controller would do one by one.
_WITH_PODS = ("daemonsets", "replicasets", "statefulsets")
# What the controller manager makes in every namespace.
_OF_NAMESPACES = (("configmaps", "kube-root-ca.crt"), ("serviceaccounts", "default"))


@dataclass(slots=True)
class Changes:
    """What to write and to delete, by key."""

    puts: dict[str, bytes] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)

    def outside(self, namespaces: Collection[str]) -> Changes:
        """Those of objects that are in none of these namespaces, nor one of them, nor the book-keeping of Services' addresses and ports."""
        own = {f"{_NAMESPACES}{name}" for name in namespaces}

        def is_outside(key: str) -> bool:
            parts = key.split("/")
            if key in own or key.startswith(_SHARED_OUT):
                return False
            return not (len(parts) > _SHORTEST and parts[-2] in namespaces)

        return Changes(
            puts={key: value for key, value in self.puts.items() if is_outside(key)},
            deletes=[key for key in self.deletes if is_outside(key)],
        )

    def described(self) -> list[str]:
        """What differs, a line for each object, for people; events tell of the reset itself for a while."""
        new = sorted(key for key in self.deletes if stored.resource_of(key) != "events")
        return [
            *(f"{_shown(key)} was not there at first" for key in new),
            *(f"{_shown(key)} is missing, or has changed" for key in sorted(self.puts)),
        ]


def settled(begun: Objects, after: Objects) -> dict[str, bytes]:
    """The first state: what there was when it was asked for, as it was a little later, when the controllers had done their part.

    Objects that came in between are of it only if controllers make them by themselves: others may be a user's first.
    """
    known = _uids(begun)
    # Later ones would be of a rollout; those that come so early are a Deployment's first.
    sets = {
        key for key, value in after.items() if key.startswith(_SETS) and stored.read(key, value).controller in known
    }
    known |= _uids({key: after[key] for key in sets})
    return {
        key: value
        for key, value in after.items()
        if key in begun or key in sets or _is_made_by_itself(key, value, known, begun)
    }


def changes(first: Objects, now: Objects) -> Changes:
    """What turns the objects that there are now into those of the first state. What passes by itself is left: status, leases, events that are gone."""
    found, known = Changes(), _uids(first)
    for key in now.keys() - first.keys():
        if not _may_stay(key, now[key], known, first):
            found.deletes.append(key)
    for key, value in first.items():
        if key not in now:
            if _is_to_come_back(key, value):
                found.puts[key] = value
        elif value != now[key]:
            _undo_change(found, key, value, now[key], known)
    found.deletes += _outdated(found.puts, first, now)
    return found


def pods_of(objects: Objects) -> dict[str, str]:
    """The UIDs of the pods that there are, with their keys."""
    return {stored.read(key, value).uid: key for key, value in objects.items() if key.startswith(_PODS)}


def addresses_of_pods(objects: Objects) -> dict[str, str]:
    """Whose pods have which addresses: those of one controller are told by its UID, any other by its own."""
    pods = [(stored.read(key, value), value) for key, value in objects.items() if key.startswith(_PODS)]
    return {address: pod.controller or pod.uid for pod, value in pods for address in stored.addresses_of(value)}


def _outdated(puts: Objects, first: Objects, now: Objects) -> list[str]:
    """Later pods of what is put back: they are of another form, or too many."""
    owners = {stored.read(key, value).uid for key, value in puts.items() if stored.resource_of(key) in _WITH_PODS}
    later = [key for key in now if key.startswith(_PODS) and _is_another(key, first, now)] if owners else []
    return [key for key in later if stored.read(key, now[key]).controller in owners & _uids(first)]


def _is_another(key: str, first: Objects, now: Objects) -> bool:
    """Whether an object that there is now isn't the one that had its key at first, if any had."""
    return key not in first or stored.read(key, first[key]).uid != stored.read(key, now[key]).uid


def _undo_change(found: Changes, key: str, first: bytes, now: bytes, known: frozenset[str]) -> None:
    resource = stored.resource_of(key)
    if resource in (*_RENEWED, "events", "leases", "endpointslices") or key.startswith(_ENDPOINTS):
        return
    was, is_ = stored.read(key, first), stored.read(key, now)
    if was.essence == is_.essence:
        return
    if resource == "pods" and was.controller:
        # Of a StatefulSet and of a node's own (static ones), another has the same name: those are left to their controllers as any.
        if was.uid == is_.uid or is_.controller not in known:
            found.deletes.append(key)  # its controller makes another
    elif key.startswith(_NODES):
        found.puts[key] = stored.with_status_of(first, now)
    else:
        found.puts[key] = first


def _may_stay(key: str, value: bytes, known: frozenset[str], first: Objects) -> bool:
    if key.startswith("/registry/csinodes/"):
        return _NODES + key.rpartition("/")[2] in first
    renewed = stored.resource_of(key) in _RENEWED or key.startswith(_API_SERVER)
    return renewed or _is_made_by_itself(key, value, known, first)


def _is_made_by_itself(key: str, value: bytes, known: frozenset[str], first: Objects) -> bool:
    """Whether controllers make it of what there was at first."""
    parts = key.split("/")
    resource = parts[2]
    if resource in _FOLLOWING:
        return stored.read(key, value).controller in known
    if key.startswith(_ENDPOINTS):
        return key.replace(_ENDPOINTS, _SERVICES) in first
    if key.startswith(_OWN_BUNDLES):
        return True
    return (resource, parts[-1]) in _OF_NAMESPACES and f"{_NAMESPACES}{parts[3]}" in first


def _is_to_come_back(key: str, value: bytes) -> bool:
    resource = stored.resource_of(key)
    if resource in ("events", "leases", *_RENEWED) or key.startswith(_ENDPOINTS):
        return False
    return resource not in _FOLLOWING or not stored.read(key, value).controller


def _uids(objects: Objects) -> frozenset[str]:
    return frozenset(uid for key, value in objects.items() if (uid := stored.read(key, value).uid))


def _shown(key: str) -> str:
    """A key as people name the object: `pods/default/a`."""
    return key.removeprefix("/registry/").replace("services/specs/", "services/").replace("minions/", "nodes/")
