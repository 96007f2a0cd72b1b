"""The state that a cluster had when it was made to be kept: noted once, while people may begin to use it; `reset` goes back to it."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from koalesce.errors import KoalesceError, ProvisionError
from koalesce.local import addons, cgroups, objects, stored
from koalesce.local.api import Api
from koalesce.local.datastore import Datastore
from koalesce.local.filters import with_chains_of
from koalesce.local.netns import NetNamespace
from koalesce.local.nodestate import NodeState, look
from koalesce.pki import Pki
from koalesce.records import dataclass

_log = logging.getLogger(__name__)
_FILE, _PENDING = "first.json", "first.pending"
_PLAIN = ("pki", "address", "etcd", "dns", "ready", "static_pods", "running", "pods", "learnt")
_PAUSE = 0.4  # in which nothing changes once the controllers have done their part
_LOOKS = 25
_LOOK = 0.05
_PATIENCE = 60.0
_BEGINNING = 10.0
_MADE_FIRST = "/registry/configmaps/default/kube-root-ca.crt"
_RENEWED = frozenset(("csinodes", "events", "leases", "masterleases", "minions", "peerserverleases"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a cluster's parts are: `machines` are the pids of the inits of nodes and fixtures, the control node first.

    `address` is the API's, `etcd` that of the datastore as the control node reaches it.
    """

    pki: Path
    address: str
    etcd: str
    dns: str
    nodes: tuple[str, ...]
    machines: Mapping[str, int]
    groups: tuple[Path, ...]

    @property
    def control(self) -> int:
        """The pid of the control node's init."""
        return next(iter(self.machines.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstState:
    """Its objects by key; its machines (nodes and fixtures) by name.

    `static_pods` are cgroups of pods that aren't named as a pod of the API is. `ready`, `dns` and `running` are what worked: which nodes
    were Ready, the address of a DNS that answered, and how many pods of each controller were Ready. `pods` tells whose pods have the addresses
    that chains of the machines lead to. `learnt` are routes of machines that their
    programs have learnt since, and keep.
    """

    pki: str
    address: str
    etcd: str
    dns: str
    ready: tuple[str, ...]
    static_pods: tuple[str, ...]
    running: Mapping[str, int]
    objects: Mapping[str, bytes]
    machines: Mapping[str, NodeState]
    pods: Mapping[str, str] = field(default_factory=dict)
    learnt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Keep it in the cluster's folder."""
        value = {
            **{name: getattr(self, name) for name in _PLAIN},
            "objects": {key: base64.b64encode(text).decode() for key, text in self.objects.items()},
            "machines": {name: state.as_json() for name, state in self.machines.items()},
        }
        draft = folder / f"{_FILE}.new"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(value))
        draft.replace(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> FirstState:
        """What `save` has kept; ProvisionError if there is nothing, or what another version of Koalesce has kept."""
        hint = "make the cluster again: koalesce down, then koalesce up"
        try:
            return cls._of(json.loads((folder / _FILE).read_text()))
        except FileNotFoundError as error:
            raise ProvisionError(f"the first state of the cluster in {folder} was not noted", hint=hint) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ProvisionError(
                f"the first state of the cluster in {folder} can't be read: another version of Koalesce has noted it, or it is damaged",
                hint=hint,
            ) from error

    @classmethod
    def _of(cls, value: Mapping[str, Any]) -> FirstState:
        return cls(
            pki=value["pki"],
            address=value["address"],
            etcd=value["etcd"],
            dns=value["dns"],
            ready=tuple(value["ready"]),
            static_pods=tuple(value["static_pods"]),
            running=value["running"],
            objects={key: base64.b64decode(text) for key, text in value["objects"].items()},
            machines={name: NodeState.from_json(state) for name, state in value["machines"].items()},
            pods=value["pods"],
            learnt={name: tuple(lines) for name, lines in value["learnt"].items()},
        )


def is_pending(folder: Path) -> bool:
    """Whether it is being noted."""
    return (folder / _PENDING).exists()


def await_noted(folder: Path) -> None:
    """Wait until it is noted for the first time; ProvisionError if it isn't."""
    deadline, was_pending = time.monotonic() + _PATIENCE, False
    while not (folder / _FILE).exists():
        if (was_pending and not is_pending(folder)) or time.monotonic() > deadline:
            raise ProvisionError(f"the first state of the cluster in {folder} could not be noted")
        was_pending = is_pending(folder)
        time.sleep(_LOOK)


def announce(folder: Path) -> None:
    """Say that it is being noted."""
    (folder / _PENDING).touch()


def note(folder: Path, where: Whereabouts, stopping: threading.Event) -> None:
    """Note the state of a cluster that is up; that it can't be noted is only told in the log, and by `reset`."""
    inside = NetNamespace.of_process(where.control)
    pki = Pki(where.pki)
    api = Api(pki, where.address)
    try:
        datastore = Datastore(pki, inside, where.etcd)
        begin = datastore.revision()
        states = {name: look(pid) for name, pid in where.machines.items()}
        begun = datastore.all(begin)
        _await_controllers(datastore, stopping)
        after = _when_quiet(datastore, stopping)
        found = objects.settled(begun, after)
        if not objects.changes(found, after):  # else somebody uses it already
            states = {
                name: with_chains_of(state, look(where.machines[name], before=state)) for name, state in states.items()
            }
        known = {f"pod{uid}" for uid in objects.pods_of(found)}
        FirstState(
            pki=str(where.pki),
            address=where.address,
            etcd=where.etcd,
            dns=where.dns if where.dns and addons.answers(inside, where.dns) else "",
            ready=tuple(name for name in ready_nodes(api, inside) if name in where.nodes),
            static_pods=tuple(sorted(pod_groups(where.groups).keys() - known)),
            running={what: count for what, count in running_pods(api, inside).items() if f"/registry/{what}" in found},
            objects=found,
            machines=states,
            pods=objects.addresses_of_pods(found),
        ).save(folder)
    except (KoalesceError, OSError, ValueError, KeyError, http.client.HTTPException) as error:
        _log.warning("can't note the first state: %s", error)
    finally:
        stored.read.cache_clear()  # the supervisor goes on without them
        inside.close()
        api.close()
        (folder / _PENDING).unlink(missing_ok=True)


def ready_nodes(api: Api, inside: NetNamespace) -> list[str]:
    """The nodes that are Ready; ClusterError if the API server, as it is reached from the cluster's network, can't say."""
    with inside.entered():
        nodes = api.get("/api/v1/nodes")["items"]
    return [node["metadata"]["name"] for node in nodes if _is_ready(node)]


def running_pods(api: Api, inside: NetNamespace) -> dict[str, int]:
    """How many pods of each controller are Ready, by kind, namespace and name; ClusterError if the API server can't say."""
    with inside.entered():
        pods = api.get("/api/v1/pods")["items"]
    return dict(
        Counter(
            f"{owner['kind'].lower()}s/{pod['metadata']['namespace']}/{owner['name']}"
            for pod in pods
            for owner in pod["metadata"].get("ownerReferences", ())
            if owner.get("controller") and not pod["metadata"].get("deletionTimestamp") and _is_ready(pod)
        )
    )


def _is_ready(thing: Mapping[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in thing["status"].get("conditions", ())}
    return conditions.get("Ready") == "True"


def pod_groups(groups: Iterable[Path]) -> dict[str, list[Path]]:
    """The cgroups of pods below the cluster's, by name."""
    found: dict[str, list[Path]] = {}
    for group in [group for group in groups if "/pids/" in str(group)] or list(groups):  # v1 has many hierarchies
        for place, names, _ in os.walk(group):
            for name in list(names):
                if cgroups.POD.fullmatch(name):
                    found.setdefault(name, []).append(Path(place, name))
                    names.remove(name)
    return found


def _await_controllers(datastore: Datastore, stopping: threading.Event) -> None:
    """Wait until the controller manager has begun: it makes this in every namespace. Nobody is told where it doesn't: its flags may forbid it."""
    deadline = time.monotonic() + _BEGINNING
    while _MADE_FIRST not in datastore.all() and time.monotonic() < deadline:
        if stopping.wait(_LOOK):
            return


def _when_quiet(datastore: Datastore, stopping: threading.Event) -> dict[str, bytes]:
    """The objects once nothing changes any more but what is renewed for ever; after ten seconds, as they are."""
    before: dict[str, bytes] = {}
    for _ in range(_LOOKS):
        now = datastore.all()
        lasting = {key: value for key, value in now.items() if stored.resource_of(key) not in _RENEWED}
        if lasting == before or stopping.wait(_PAUSE):
            break
        before = lasting
    return now
