"""Brings a kept cluster back to its first state, and sees that it is there.

What is in the datastore is changed there, all at once, beneath the living API server: nobody can refuse or delay it, neither webhooks nor
finalizers, and whoever watches is told as of any change. Then pods that are gone are ended at once, and what was left on nodes is undone.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from pathlib import Path

from koalesce.errors import ClusterError, ProvisionError
from koalesce.local import addons, cgroups, firststate, nodefixes, objects, stored
from koalesce.local.api import Api
from koalesce.local.datastore import Datastore
from koalesce.local.filters import Filters, get
from koalesce.local.firststate import FirstState
from koalesce.local.ledger import Entry
from koalesce.local.netns import NetNamespace
from koalesce.local.network import POD_BRIDGE
from koalesce.local.nodestate import NodeState, look
from koalesce.pki import Pki
from koalesce.records import dataclass

_PATIENCE = 60.0
_NOTING = 30.0
_PAUSE = 0.05
_ENDING = 0.5  # seconds after which objects are looked at again while pods' processes end
_SOON = 3.0
_SETTLING = 10.0
_QUIET = 1.0  # seconds in which a network that has begun anew changes nothing any more once it is done
_KUBELET_PORT = 10248


@dataclass(slots=True, kw_only=True)
class Reset:
    """The way back of one cluster, which nobody else uses meanwhile."""

    folder: Path
    first: FirstState
    groups: Sequence[Path]
    pids: Mapping[str, int]
    inside: NetNamespace
    datastore: Datastore
    api: Api
    fixtures: Collection[str] = frozenset()
    _seen: dict[str, NodeState] = field(default_factory=dict)
    _now: Mapping[str, bytes] = field(default_factory=dict)  # the objects that were there last
    _gone: list[Path] = field(default_factory=list)  # cgroups of pods that are not among them
    _end: float = field(default_factory=lambda: time.monotonic() + _PATIENCE)

    def run(self) -> list[str]:
        """Go back; returns what still differs, as sentences."""
        with ThreadPoolExecutor(max(1, len(self.pids))) as pool:
            try:
                changed = self._objects()
                pods = objects.pods_of(self._now)
                # What is in the way of pods' end goes before it; what they take along is looked at after it.
                found = dict(zip(self.pids, pool.map(self._look_and_fix, self.pids), strict=True))
                left = self._until_gone(self._objects)
                # Pods that went have changed nodes, not fixtures.
                touched = [name for name in self.pids if found[name] or (changed and name not in self.fixtures)]
                unlike = [what for each in pool.map(self._fix, touched) for what in each]
                if self._until_gone(self._unsettled, _SOON):  # rules that are missing may be why
                    list(pool.map(self._put_right, self._filters()))
                    left += self._until_gone(self._unsettled)
                if self._has_new_agents(pods):
                    unlike = [what for each in pool.map(self._settle, touched) for what in each]
                filters = self._filters()
                left += unlike + [what for each in pool.map(self._put_right, filters) for what in each]
                self._keep(filters)
                return left or objects.changes(self.first.objects, self.datastore.all()).described()
            except (OSError, http.client.HTTPException) as error:
                raise ClusterError(f"the cluster does not answer: {error}") from error
            finally:
                self.api.close()
                self.inside.close()

    def differences(self, ignored: Collection[str]) -> list[str]:
        """What differs now, as sentences, but for namespaces that are `ignored` and what is in them; nothing is undone."""
        with ThreadPoolExecutor(max(1, len(self.pids))) as pool:
            try:
                found = objects.changes(self.first.objects, self.datastore.all()).outside(ignored).described()
                return found + [what for each in pool.map(self._differences, self.pids) for what in each]
            except (OSError, http.client.HTTPException) as error:
                raise ClusterError(f"the cluster does not answer: {error}") from error
            finally:
                self.api.close()
                self.inside.close()

    def _differences(self, name: str) -> list[str]:
        """What differs of a node or a fixture, but for bridges that stay when the last pod has gone."""
        first = self.first.machines[name]
        now = look(self.pids[name], before=first)
        links = {link: state for link, state in now.links.items() if link != POD_BRIDGE or link in first.links}
        return [f"{name}: {fix.what}" for fix in nodefixes.fixes(first, replace(now, links=links))]

    def _until_gone(self, differing: Callable[[], list[str]], seconds: float = _PATIENCE) -> list[str]:
        end = min(self._end, time.monotonic() + seconds)
        while found := differing():
            if time.monotonic() > end:
                return found
            self._await_the_gone()
        return []

    def _await_the_gone(self) -> None:
        """Wait a moment, or until pods that are gone have ended: to see that costs far less than to look at objects."""
        until = time.monotonic() + _ENDING
        time.sleep(_PAUSE)
        while any(path.exists() for path in self._gone) and time.monotonic() < until:
            time.sleep(_PAUSE)

    def _objects(self) -> list[str]:
        """Undo what differs of the objects, and end what runs of pods that are gone; what there was to do."""
        self._now = self.datastore.all()
        changes = objects.changes(self.first.objects, self._now)
        if changes:
            self.datastore.change(changes.puts, changes.deletes)
        there = {key: value for key, value in self._now.items() if key not in changes.deletes} | changes.puts
        pods = {f"pod{uid}" for uid in objects.pods_of(there)} | {*self.first.static_pods}
        gone = {name: paths for name, paths in firststate.pod_groups(self.groups).items() if name not in pods}
        self._gone = [path for paths in gone.values() for path in paths]
        with contextlib.suppress(OSError):  # they go while one looks
            cgroups.kill(self._gone)
        return [*changes.described(), *(f"processes of {name}" for name in gone)]

    def _fix(self, name: str) -> list[str]:
        """Undo what differs on a node or a fixture; what can't be undone."""
        found = self._look_and_fix(name)
        while found and time.monotonic() < self._end and any(fix.command or fix.path for fix in found):
            found = self._look_and_fix(name)
        return [f"{name}: {fix.what}" for fix in found]

    def _look_and_fix(self, name: str) -> list[nodefixes.Fix]:
        """Undo what differs now; returns what there was."""
        self._seen[name] = look(self.pids[name], before=self.first.machines[name])
        found = nodefixes.fixes(self.first.machines[name], self._seen[name])
        nodefixes.carry_out(found, self.pids[name])
        return found

    def _unsettled(self) -> list[str]:
        # Objects are looked at last: pods that have come meanwhile are among those.
        trouble = self._trouble()
        return [*self._objects(), *trouble]

    def _trouble(self) -> list[str]:
        """What doesn't work: nodes that aren't Ready, kubelets that don't answer, DNS."""
        try:
            ready = firststate.ready_nodes(self.api, self.inside)
            running = firststate.running_pods(self.api, self.inside)
        except ClusterError as error:
            return [error.message]
        found = [f"node {name} is not Ready" for name in self.first.ready if name not in ready]
        found += [
            f"the kubelet of {name} does not answer"
            for name in self.first.ready
            if not get(self.pids[name], _KUBELET_PORT, "/healthz")
        ]
        found += [
            f"Ready pods of {what}: {running.get(what, 0)}, at first {count}"
            for what, count in self.first.running.items()
            if running.get(what, 0) < count
        ]
        if self.first.dns and not addons.answers(self.inside, self.first.dns):
            found.append(f"DNS at {self.first.dns} does not answer")
        return found

    def _has_new_agents(self, before: Collection[str]) -> bool:
        """Whether pods have come that may be the network's: those in their node's own, who make its links, routes and filters anew."""
        after = objects.pods_of(self._now)
        return any(not stored.addresses_of(self._now[key]) for uid, key in after.items() if uid not in before)

    def _settle(self, name: str) -> list[str]:
        """Undo what differs until nothing does for a while; what does even so."""
        end, since = min(self._end, time.monotonic() + _SETTLING), time.monotonic()
        while (found := self._look_and_fix(name)) or time.monotonic() < since + _QUIET:
            if time.monotonic() > end:
                break
            since = time.monotonic() if found else since
            time.sleep(_PAUSE)
        return [f"{name}: {fix.what}" for fix in found]

    def _filters(self) -> list[Filters]:
        pods, first = (objects.pods_of(those).keys() for those in (self._now, self.first.objects))
        addresses = objects.addresses_of_pods(self._now)
        return [
            Filters(
                name=name,
                pid=pid,
                first=self.first.machines[name],
                has_other_pods=pods != first,
                end=self._end,
                was=self.first.pods,
                is_=addresses,
                stays=frozenset(self.first.learnt.get(name, ())),
            )
            for name, pid in self.pids.items()
        ]

    def _put_right(self, filters: Filters) -> list[str]:
        return filters.put_right(self._seen[filters.name])

    def _keep(self, filters: Sequence[Filters]) -> None:
        """Go back to chains as kube-proxy has made them from now on, where at first it wasn't done with them; and know which routes stay."""
        renewed = {each.name: each.first for each in filters}
        learnt = {each.name: tuple(sorted(each.stays)) for each in filters if each.stays}
        if learnt != self.first.learnt or any(
            self.first.machines[name] is not state for name, state in renewed.items()
        ):
            pods = {address: whose for each in filters for address, whose in each.was.items()}
            self.first = replace(
                self.first, machines={**self.first.machines, **renewed}, learnt=learnt, pods={**self.first.pods, **pods}
            )
            self.first.save(self.folder)


def of_entry(entry: Entry) -> Reset:
    """The way back of a cluster that is up; ProvisionError if its first state isn't known, or something of it has ended."""
    folder = Path(entry.folder)
    deadline = time.monotonic() + _NOTING
    while firststate.is_pending(folder) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    first = FirstState.load(folder)
    pids = {name: _pid(folder, name) for name in first.machines}
    fixtures = frozenset(name for name in pids if (folder / "fixtures" / name).exists())
    pki, inside = Pki(Path(first.pki)), NetNamespace.of_process(next(iter(pids.values())))
    return Reset(
        folder=folder,
        first=first,
        groups=[Path(thing.name) for thing in entry.things if thing.kind == "cgroup"],
        pids=pids,
        fixtures=fixtures,
        inside=inside,
        datastore=Datastore(pki, inside, first.etcd),
        api=Api(pki, first.address),
    )


def _pid(folder: Path, name: str) -> int:
    """The pid of the init of a node or a fixture; ProvisionError if it has ended."""
    for kind in ("nodes", "fixtures"):
        with contextlib.suppress(OSError):
            pid = int((folder / kind / name / "process").readlink().name)
            os.kill(pid, 0)
            return pid
    raise ProvisionError(
        f"{name} has ended: it can't be reset", hint="make the cluster again: koalesce down, then koalesce up"
    )
