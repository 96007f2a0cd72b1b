"""What is wrong with `chaos`, `nodes` and `snapshot` steps, as far as it can be known before anything starts: where they stand, and what they are about.

Works on the data as written, so that a mistake elsewhere hides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.entries import StepEntry
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem, did_you_mean

CAPABILITY = "chaos"
_KEY = "chaos"
_NODES = "nodes"
_SNAPSHOT = "snapshot"
_GROUPS = {"all": ("control-plane", "worker"), "workers": ("worker",), "controlPlane": ("control-plane",)}


def fault_problems(
    data: Mapping[str, Any], entries: Mapping[Path, list[StepEntry]], clusters: Mapping[str, ClusterSpec | None]
) -> Iterator[Problem]:
    """Every problem of these steps; `clusters` are those of the spec by name, the default first, None for one that isn't valid."""
    written = data.get("fixtures")
    fixtures = frozenset(written if isinstance(written, dict) else ())
    for where, listed in entries.items():
        test = data["tests"][where[1]] if where[0] == "tests" and isinstance(where[1], int) else {}
        removed: set[str] = set()  # by earlier steps
        for entry in (step for each in listed for step in each.family):
            if entry.key not in (_KEY, _NODES, _SNAPSHOT):
                continue
            is_alone = where[0] == "setup" and entry.key == _SNAPSHOT  # which only looks
            if test.get("disruptive") is not True and not is_alone:
                yield entry.problem((entry.key,), "only a test that says disruptive: true may do this", key=True)
            name = entry.raw.get("cluster") or test.get("cluster") or next(iter(clusters))
            if (cluster := clusters.get(str(name))) is not None:
                found = _Chaos(entry, cluster, fixtures, _is_optional(data, test, entry), frozenset(removed))
                yield from found.problems() if entry.key == _KEY else found.unknown_nodes()
                removed |= found.removed()


def _is_optional(*places: Mapping[str, Any] | StepEntry) -> bool:
    """Whether it's left out where it can't be done."""
    said = [place.raw if isinstance(place, StepEntry) else place for place in places]
    return any(CAPABILITY in (each.get("requires") or ()) for each in said)


@dataclass(frozen=True, slots=True)
class _Chaos:
    """One such step, on a cluster."""

    entry: StepEntry
    cluster: ClusterSpec
    fixtures: frozenset[str]
    is_optional: bool
    away: frozenset[str]

    def problems(self) -> Iterator[Problem]:
        if (refusal := self._refusal()) is not None:
            yield refusal
            return
        body = self.entry.raw[_KEY]
        for verb, target in body.items() if isinstance(body, Mapping) else ():
            if isinstance(target, Mapping):
                sides = ("from", "to") if verb == "partition" else ()
                for side in sides:
                    yield from self._unknown_nodes((verb, side), target.get(side))
                yield from self._unknown_nodes((verb,), target)
                yield from self._misdirected(verb, target)
                if verb == "fillDisk":
                    yield from self._without_disk(target)

    def unknown_nodes(self) -> Iterator[Problem]:
        """Nodes that the cluster doesn't have."""
        body = self.entry.raw[self.entry.key]
        if self.entry.key == _SNAPSHOT:
            yield from self._unknown_nodes((), body)
            return
        for verb, target in body.items() if isinstance(body, Mapping) else ():
            yield from self._unknown_nodes((verb,), target)
            if verb in ("add", "remove") and isinstance(target, Mapping):
                yield from self._immovable(verb, target)

    def _immovable(self, verb: str, target: Mapping[str, Any]) -> Iterator[Problem]:
        """Nodes that can't join, as they are there from the start, or that can't leave."""
        several = target.get("nodes")
        names: list[Any] = [target.get("node"), *(several if isinstance(several, list) else ())]
        for node in self.cluster.node_requests():
            if node.name in names and verb == "add" and not node.spare and node.name not in self.away:
                yield self.entry.problem(
                    (self.entry.key, verb),
                    f"{node.name} is there from the start",
                    key=True,
                    hint="say spare: true of the node, or remove it before",
                )
            if (
                verb == "remove"
                and node.role == "control-plane"
                and (node.name in names or several in ("all", "controlPlane"))
            ):
                yield self.entry.problem(
                    (self.entry.key, verb), f"{node.name} runs a control plane, which can't be removed", key=True
                )

    def removed(self) -> set[str]:
        """The nodes that are gone after it."""
        body = self.entry.raw[self.entry.key]
        target = body.get("remove") if self.entry.key == _NODES and isinstance(body, Mapping) else None
        return set(_chosen(target, self._roles)) if isinstance(target, Mapping) else set()

    def _refusal(self) -> Problem | None:
        """What the cluster's provider can't do."""
        from koalesce.providers import REGISTRY
        from koalesce.steps.chaos import Chaos

        step = self.entry.draft.step if self.entry.draft is not None else None
        factory = REGISTRY.get(self.cluster.provider)
        if not isinstance(step, Chaos) or factory is None or self.is_optional or step.kind in factory().fault_kinds:
            return None
        hint = f"requires: [{CAPABILITY}] leaves it out there"
        return self.entry.problem((_KEY,), f"the provider {self.cluster.provider} can't do this", key=True, hint=hint)

    @property
    def _roles(self) -> dict[str, str]:
        return {node.name: node.role for node in self.cluster.node_requests()}

    def _unknown_nodes(self, where: Path, target: Any) -> Iterator[Problem]:
        if not isinstance(target, Mapping) or not self._roles or self.cluster.provider == "kubeconfig":
            return
        several = target.get("nodes")
        names: list[tuple[Path, Any]] = [((*where, "node"), target.get("node"))]
        names += [((*where, "nodes", n), name) for n, name in enumerate(several if isinstance(several, list) else ())]
        for path, name in names:
            if isinstance(name, str) and "${{" not in name and name not in self._roles:
                hint = did_you_mean(name, self._roles) or f"there are: {', '.join(self._roles)}"
                yield self.entry.problem((self.entry.key, *path), f'there is no node "{name}"', hint=hint)

    def _without_disk(self, target: Mapping[str, Any]) -> Iterator[Problem]:
        """A disk that a node doesn't have."""
        path = target.get("path")
        if not isinstance(path, str) or "${{" in path or self.cluster.provider == "kubeconfig":
            return
        disks = {node.name: [disk.path for disk in node.disks] for node in self.cluster.node_requests()}
        for name in _chosen(target, self._roles):
            if path not in disks[name]:
                hint = f"it has {', '.join(disks[name])}" if disks[name] else "give it one under nodes: disks"
                near = did_you_mean(path, disks[name])
                yield self.entry.problem((_KEY, "fillDisk", "path"), f"{name} has no disk {path}", hint=near or hint)

    def _misdirected(self, verb: str, target: Mapping[str, Any]) -> Iterator[Problem]:
        """A component where it doesn't run, and a node that can't be switched off."""
        component, roles = target.get("component"), self._roles
        where = (_KEY, verb, "component")
        chosen = _chosen(target, roles)
        if component == "kube-proxy" and self.cluster.kube_proxy == "none":
            yield self.entry.problem(where, "the cluster has no kube-proxy", hint="its kubeProxy is none")
        for off in _switched_off(verb, chosen) if component is None and target.get("process") is None else ():
            if lost := _too_many_members(off, self.cluster.etcd_members):
                yield self.entry.problem((_KEY, verb), lost, key=True)
        homes = self._homes(component) if isinstance(component, str) else ()
        outside = [name for name in _fixtures(target) if name in self.fixtures]
        for name in (*chosen, *outside) if component is not None else ():
            if name not in homes:
                hint = f"{', '.join(homes)} {'does' if len(homes) == 1 else 'do'}" if homes else None
                yield self.entry.problem(where, f"{name} runs no {component}", hint=hint)

    def _homes(self, component: str) -> Sequence[str]:
        """The machines that run a component."""
        from koalesce.steps.faults.targets import CONTROL_PLANE

        if component == "etcd":
            return self.cluster.etcd_members
        return [name for name, role in self._roles.items() if component not in CONTROL_PLANE or role == "control-plane"]


def _chosen(target: Mapping[str, Any], roles: Mapping[str, str]) -> Sequence[str]:
    """The nodes that a target is about, as far as they can be known."""
    several = target.get("nodes")
    if isinstance(several, str):
        return [name for name, role in roles.items() if role in _GROUPS.get(several, ())]
    named = [target.get("node"), *(several if isinstance(several, list) else ())]
    return [name for name in named if isinstance(name, str) and name in roles]


def _fixtures(target: Mapping[str, Any]) -> Sequence[str]:
    """The machines outside of the cluster that a target names."""
    several = target.get("fixtures")
    named = [target.get("fixture"), *(several if isinstance(several, list) else ())]
    return [name for name in named if isinstance(name, str)]


def _switched_off(verb: str, chosen: Sequence[str]) -> Iterator[Sequence[str]]:
    """The nodes that are off at the same time: those that are restarted go one after the other."""
    if verb == "kill":
        yield chosen
    elif verb == "restart":
        yield from ([name] for name in chosen)


def _too_many_members(chosen: Sequence[str], members: Sequence[str]) -> str:
    """Why nodes can't be switched off: most members of etcd have to be left. Empty if they can."""
    lost = [name for name in members if name in chosen]
    if not lost or 2 * (len(members) - len(lost)) > len(members):
        return ""
    if len(members) == 1:
        return f"{lost[0]} can't be switched off: it holds the cluster's state, which would be lost"
    return f"{', '.join(lost)} can't be switched off: most of etcd's {len(members)} members have to be left"
