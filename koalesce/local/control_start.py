"""Starts control planes, each component as a service or as a static pod of its node."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from koalesce.local import control_plane, etcd, static_pods
from koalesce.local.api import Api, Deadline
from koalesce.local.datastore import Datastore
from koalesce.local.netns import NetNamespace
from koalesce.local.node import RunningNode
from koalesce.local.request import FixtureSpec, LocalRequest, NodeSpec
from koalesce.pki import Pki
from koalesce.records import dataclass

_PODS = f"/api/v1/namespaces/{static_pods.NAMESPACE}/pods"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlStart:
    """The start of the control planes of a cluster; `images` are those of static pods by component, `nodes` all machines."""

    request: LocalRequest
    images: Mapping[str, str]
    nodes: Mapping[str, RunningNode]
    pki: Pki
    deadline: Deadline

    def start(self, spec: NodeSpec, *names: str, more: Sequence[str] = ()) -> None:
        """Start components of a node, with more flags than they have otherwise."""
        node, services = self.nodes[spec.name], control_plane.services(self.request, spec, more=more)
        for name in names:
            if name in self.request.static:
                static_pods.give(node, static_pods.manifest(self.request, spec, services[name].argv, self.images[name]))
            else:
                node.start(services[name])

    def start_members(self) -> None:
        """Start etcd."""
        for spec in self.request.members:
            if isinstance(spec, NodeSpec):
                self.start(spec, etcd.NAME)
            else:
                self.nodes[spec.name].start(control_plane.member(self.request, spec))

    def start_api(self, spec: NodeSpec) -> None:
        """Start the API server of a further control plane, and then what waits for that."""
        self.start(spec, "kube-apiserver")
        self.start_controllers(spec)

    def start_controllers(self, spec: NodeSpec) -> None:
        """Start those that wait, second by second, for the API server beside them to say that it is healthy: once it is."""
        self.await_api_of(spec, "/healthz")
        self.start(spec, "kube-controller-manager", "kube-scheduler")

    def rejoin(self, spec: NodeSpec) -> None:
        """Start the member of etcd of a node that has lost its data: as a new one, in the place of the former."""
        living = (member for member in self.request.members if not self.nodes[member.name].has_ended)
        other = next(member for member in living if member != spec)
        inside = NetNamespace.of_process(self.nodes[other.name].pid)
        datastore = Datastore(self.pki, inside)
        self.deadline.until(
            f"etcd to take {spec.name} as a new member",
            lambda: datastore.replace_member(spec.name, etcd.peer_url(spec)),
            why=lambda: self.said_by([other], etcd.NAME),
        )
        inside.close()
        self.start(spec, etcd.NAME, more=etcd.JOINING)

    def await_api_of(self, spec: NodeSpec, path: str) -> None:
        """Wait until the API server of a node answers with 200."""
        api = Api(self.pki, spec.address)
        self.await_answer(api, path, spec)
        api.close()

    def await_answer(self, api: Api, path: str, spec: NodeSpec) -> None:
        """Wait until an API server, which is that of a node, answers with 200."""
        self.deadline.until(
            f"the API server of {spec.name} to answer to {path}",
            lambda: api.request("GET", path)[0] == 200,
            why=lambda: self.said_by([spec], *self._starters, "kube-apiserver", etcd.NAME),
        )

    @property
    def _starters(self) -> Sequence[str]:
        """Who starts API servers but the init of their nodes: of a static pod that never began, only its kubelet knows why."""
        return ("kubelet",) if "kube-apiserver" in self.request.static else ()

    def await_shown(self, api: Api) -> None:
        """Wait until the API shows the static pods."""
        wanted = {
            static_pods.pod_name(component, spec.name)
            for spec in self.request.controls
            for component in control_plane.names(self.request, spec)
            if component in self.request.static
        }
        self.deadline.until(
            "the API to show the static pods",
            lambda: wanted <= _pods(api),
            why=lambda: f"there is no {', no '.join(sorted(wanted - _pods(api)))}",
        )

    def said_by(self, specs: Sequence[NodeSpec | FixtureSpec], *services: str) -> str:
        """The last lines that services of nodes wrote, for messages."""
        return "\n".join(text for spec in specs if (text := said(self.nodes[spec.name], *services)))


def said(node: RunningNode, *services: str) -> str:
    """The last lines that services of a node wrote, for messages."""
    tails = {service: node.log_tail(service) for service in services}
    return "\n".join(
        f"{service} on {node.name} said last:\n" + "\n".join(f"  | {line}" for line in tail.splitlines())
        for service, tail in tails.items()
        if tail
    )


def _pods(api: Api) -> set[str]:
    status, body = api.request("GET", _PODS)
    return {pod["metadata"]["name"] for pod in json.loads(body)["items"]} if status == 200 else set()
