"""What a connection is made to: pods, Services, nodes or addresses, each with a port."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StrictInt, StrictStr, model_validator
from pydantic.alias_generators import to_camel

from koalesce.addresses import Family, family_of
from koalesce.models import Model
from koalesce.records import dataclass
from koalesce.steps.base import Errored, Failed, StepContext
from koalesce.steps.inside.places import fixtures_of, nodes_of, pod_addresses, pod_name, select_pods
from koalesce.steps.vantage import FixtureNames, NodeNames, Pods

Protocol = Literal["TCP", "UDP", "SCTP"]
Via = Literal["podIP", "hostPort", "clusterIP", "serviceName", "nodePort", "externalIP"]
Object = Mapping[str, Any]
_NO_PORT = "to show that it serves nothing there, probe its cluster IP as an address"
_BY_SERVICE = ("clusterIP", "serviceName", "nodePort", "externalIP")
_BY_POD = ("podIP", "hostPort")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_number(value: Any) -> Any:
    """Outputs that were read as text are numbers, too."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


Port = Annotated[Annotated[StrictInt, Field(ge=1, le=65535)] | StrictStr, BeforeValidator(_as_number)]


def address_in(written: Any) -> Any:
    """The address of a destination as it is written; None if it's another thing."""
    return written.get("address") if isinstance(written, Mapping) else None


class Destination(Model):
    """What to connect to: exactly one of `pod`, `pods`, `service`, `node`, `nodes`, `fixture`, `fixtures` and `address`, with a port."""

    places: ClassVar[tuple[str, ...]] = ("pod", "pods", "service", "node", "nodes", "fixture", "fixtures", "address")

    pod: StrictStr | None = None
    """A pod by its name."""

    pods: Pods | None = None
    """Pods by a label selector: `{selector: app=server}`."""

    service: StrictStr | None = None
    """A Service by its name."""

    node: StrictStr | None = None
    """A node by its name, at its own address."""

    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""

    fixture: StrictStr | None = None
    """A machine outside of the cluster, by its name in the spec's `fixtures`."""

    fixtures: FixtureNames | None = None
    """Several of them: `all` or a list of names."""

    address: Annotated[list[StrictStr], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    """An address or name, or several: whatever may be reached or not."""

    namespace: StrictStr | None = None
    """The namespace of pods and Services; default: the test's own."""

    port: Port | None = None
    """The port: a number, or its name in the pods' or the Service's definition; a Service's only port needs not be said. A Service must have
    the port: to show that it serves nothing on another, say its address as `address`."""

    protocol: Protocol = "TCP"
    """TCP or SCTP (the handshake must be completed), or UDP (a datagram must be answered). SCTP is what few kernels have: a test that names it here is skipped where the
    capability `sctp` is absent."""

    via: (
        Annotated[list[Via], BeforeValidator(_as_list, json_schema_input_type=Via | list[Via]), Field(min_length=1)]
        | None
    ) = None
    """How a Service is reached: clusterIP (default), serviceName, nodePort (on each node), externalIP (those of its spec, and those that a load balancer gave it), or several of them.
    How pods are: podIP (default), hostPort (at their node's address, by the port there for the one that is said), or both."""

    @model_validator(mode="after")
    def _is_complete(self) -> Destination:
        given = [name for name in self.places if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"found {' and '.join(map(to_camel, given))}" if given else "none is there"
            raise ValueError(f"say exactly one of {', '.join(map(to_camel, self.places))}; {found}")
        kind = given[0]
        if kind not in ("pod", "pods", "service"):
            if self.namespace is not None:
                raise ValueError(f"namespace belongs to pods and Services, not to {kind}")
            if any(isinstance(port, str) and "${{" not in port for port in self.said_ports):
                raise ValueError(f"a port of {kind} is a number, only those of pods and Services have names")
        if kind != "service" and not self.said_ports:
            raise ValueError("port is missing")
        self._check_via(kind)
        return self

    def _check_via(self, kind: str) -> None:
        fitting = _BY_SERVICE if kind == "service" else _BY_POD if kind in ("pod", "pods") else ()
        if wrong := [via for via in self.via or () if via not in fitting]:
            raise ValueError(f"{kind} can't be reached via {wrong[0]}; it takes {', '.join(fitting) or 'no via'}")

    @property
    def said_ports(self) -> list[Port]:
        """The ports that are said."""
        return [] if self.port is None else [self.port]

    def place(self) -> str:
        """The destination in a few words."""
        name = next(name for name in self.places if getattr(self, name) is not None)
        value = getattr(self, name)
        if name == "pods":
            return f"pods {value}"
        return f"{name} {', '.join(value) if isinstance(value, list) else value}"

    def endpoints(self, family: Family | None, context: StepContext) -> Endpoints:
        """All that is meant, or why it can't be had (yet)."""
        try:
            return list(self._endpoints(family, context))
        except Unmet as unmet:
            return unmet.outcome

    def _endpoints(self, family: Family | None, context: StepContext) -> Iterator[Endpoint]:
        if self.service is not None:
            yield from self._of_service(self.service, family, context)
        elif self.node is not None or self.nodes is not None:
            names = [self.node] if self.node is not None else self.nodes or []
            for name, address in node_addresses(names, family, context):
                yield Endpoint(name=name, host=address, port=_number(self.port), node=name, uid=name, kind="node")
        elif self.fixture is not None or self.fixtures is not None:
            yield from self._of_fixtures(self.fixtures or [self.fixture or ""], family, context)
        elif self.address is not None:
            for address in self.address:
                yield Endpoint(name=address, host=address, port=_number(self.port), kind="address")
        else:
            yield from self._of_pods(family, context)

    def _of_fixtures(self, names: str | list[str], family: Family | None, context: StepContext) -> Iterator[Endpoint]:
        found = fixtures_of(names, context.cluster)
        if isinstance(found, Errored):
            raise Unmet(found)
        for each in found:
            host = _chosen(each.addresses, family, f"fixture {each.name}")
            yield Endpoint(name=each.name, host=host, port=_number(self.port), uid=each.name, kind="fixture")

    def _of_pods(self, family: Family | None, context: StepContext) -> Iterator[Endpoint]:
        found = select_pods(self.pod, self.pods, self.namespace, context)
        if isinstance(found, Failed):
            raise Unmet(found)
        for pod in found:
            name = pod_name(pod, context)
            at = Endpoint(
                name=name, host="", port=pod_port(pod, self.port, name), kind="pod",
                node=pod.get("spec", {}).get("nodeName", ""), uid=pod["metadata"].get("uid", name),
                labels=pod["metadata"].get("labels") or {},
            )  # fmt: skip
            for via in self.via or ["podIP"]:
                if via == "hostPort":
                    yield _by_host_port(pod, at, family, context)
                else:
                    yield replace(at, host=_chosen(pod_addresses(pod), family, f"pod {name}"))

    def _of_service(self, name: str, family: Family | None, context: StepContext) -> Iterator[Endpoint]:
        namespace = self.namespace or context.namespace
        kind = context.cluster.kube.resource("services")
        service = context.view.get(kind, name, namespace, cancel=context.scope.cancel)
        if service is None:
            raise Unmet(Failed(f"service {namespace}/{name} does not exist", actual="missing"))
        shown = name if namespace == context.namespace else f"{namespace}/{name}"
        port = service_port(service, self.port, self.protocol, shown, otherwise=_NO_PORT)
        for via in self.via or ["clusterIP"]:
            if via == "nodePort":
                yield from _by_node_port(shown, port, family, context)
            elif via == "serviceName":
                host = f"{name}.{namespace}.svc"
                yield Endpoint(name=f"{shown} by name", host=host, port=port["port"], kind="service")
            elif via == "externalIP":
                for host in _external(service, family, shown):
                    yield Endpoint(name=f"{shown} at {host}", host=host, port=port["port"], kind="service")
            else:
                host = _cluster_ip(service, family, shown)
                yield Endpoint(name=shown, host=host, port=port["port"], kind="service")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One thing to connect to. `node` is where it runs, empty where that isn't one node.

    `own_port` is the port in the pod where `port` is another, which is translated; `plain` the name where that was made longer to be told from others.
    """

    name: str
    host: str
    port: int
    kind: Literal["pod", "service", "node", "fixture", "address"]
    node: str = ""
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    own_port: int = 0
    protocol: Protocol = "TCP"
    family: Family | None = None
    plain: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def label(self) -> str:
        """Its name and where that is."""
        return str(self) if self.name == self.host else f"{self.name} ({self})"


Endpoints = list[Endpoint] | Failed | Errored


class Unmet(Exception):
    """What keeps a step from knowing where to connect: no error, but an outcome on its way up."""

    def __init__(self, outcome: Failed | Errored) -> None:
        super().__init__(outcome.message)
        self.outcome = outcome


def node_addresses(
    names: str | Sequence[str], family: Family | None, context: StepContext
) -> Iterator[tuple[str, str]]:
    """Name and address of each node; the address is what the API server knows of it, of a family if one is asked for."""
    found = nodes_of(names if isinstance(names, str) else list(names), context.cluster)
    if isinstance(found, Errored):
        raise Unmet(found)
    kind = context.cluster.kube.resource("nodes")
    for node in found:
        known = context.view.get(kind, node.name, cancel=context.scope.cancel) or {}
        listed = [
            each["address"] for each in known.get("status", {}).get("addresses", ()) if each["type"] == "InternalIP"
        ]
        yield node.name, _chosen(listed or node.addresses, family, f"node {node.name}")


def _chosen(addresses: Sequence[str], family: Family | None, owner: str) -> str:
    fitting = [address for address in addresses if family is None or family_of(address) == family]
    if not fitting:
        raise Unmet(Failed(f"{owner} has no {family or 'IP'} address (yet)", expected="an address", actual="none"))
    return fitting[0]


def _number(port: int | str | None) -> int:
    return int(port or 0)


def pod_port(pod: Object, port: int | str | None, name: str) -> int:
    """The number of a pod's port, by number or name."""
    if not isinstance(port, str):
        return _number(port)
    containers = pod.get("spec", {}).get("containers", ())
    ports = [each for container in containers for each in container.get("ports") or ()]
    for each in ports:
        if each.get("name") == port:
            return int(each["containerPort"])
    names = ", ".join(sorted(each["name"] for each in ports if each.get("name"))) or "none"
    raise Unmet(Errored(f'pod {name} has no port "{port}"; its named ports: {names}', final=True))


def service_port(service: Object, port: int | str | None, protocol: str, name: str, *, otherwise: str = "") -> Object:
    """A Service's port as its spec has it, by number or name; the only one of the protocol where none is said.

    A number that it doesn't have is a slip of the spec, not a port that the network keeps shut; `otherwise` says what to write where
    that is meant. A headless Service only gives names to its pods, whose ports it needn't list.
    """
    spec = service.get("spec", {})
    ports: list[Object] = spec.get("ports") or []
    of_protocol = [each for each in ports if each.get("protocol", "TCP") == protocol]
    if port is None and len(of_protocol) == 1:
        return of_protocol[0]
    for each in of_protocol:
        if port is not None and port in (each.get("name"), each["port"]):
            return each
    if isinstance(port, int) and _is_headless(spec):
        return {"port": port}
    wanted = f"no {protocol} port {json.dumps(port)}" if port else f"not exactly one {protocol} port, so say which"
    hint = f"; {otherwise}" if otherwise and isinstance(port, int) else ""
    raise Unmet(Errored(f"service {name} has {wanted}; its ports: {_listed(ports)}{hint}", final=True))


def _listed(ports: Sequence[Object]) -> str:
    """A Service's ports: names, numbers and protocols."""
    said = (f"{each.get('name', '')} {each['port']}/{each.get('protocol', 'TCP')}".strip() for each in ports)
    return ", ".join(said) or "none"


def _is_headless(spec: Object) -> bool:
    return spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None"


def _cluster_ip(service: Object, family: Family | None, name: str) -> str:
    spec = service.get("spec", {})
    if _is_headless(spec):
        raise Unmet(Errored(f"service {name} has no cluster IP; reach it via serviceName, or its pods", final=True))
    listed = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return _chosen(listed, family, f"service {name}")


def _external(service: Object, family: Family | None, name: str) -> list[str]:
    """The addresses at which it's to be had from outside."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    listed = [*(service.get("spec", {}).get("externalIPs") or ()), *(each["ip"] for each in given if each.get("ip"))]
    fitting = [address for address in dict.fromkeys(listed) if family is None or family_of(address) == family]
    if not fitting:
        said = f"service {name} has no external {family or 'IP'} address (yet)"
        raise Unmet(Failed(said, expected="an address", actual="none"))
    return fitting


def _by_host_port(pod: Object, endpoint: Endpoint, family: Family | None, context: StepContext) -> Endpoint:
    """A pod's port at its node's address."""
    ports = [each for one in pod.get("spec", {}).get("containers", ()) for each in one.get("ports") or ()]
    given = {int(each["containerPort"]): each for each in ports if each.get("hostPort")}
    if (found := given.get(endpoint.port)) is None:
        listed = ", ".join(f"{number} at {each['hostPort']}" for number, each in sorted(given.items())) or "none"
        said = f"pod {endpoint.name} has no host port for port {endpoint.port}; its host ports: {listed}"
        raise Unmet(Errored(said, final=True))
    ((_, address),) = node_addresses([endpoint.node], family, context)
    name = f"{endpoint.name} on {endpoint.node}"
    host = found.get("hostIP") or address
    return replace(endpoint, name=name, host=host, port=int(found["hostPort"]), own_port=endpoint.port)


def _by_node_port(name: str, port: Object, family: Family | None, context: StepContext) -> Iterator[Endpoint]:
    if not port.get("nodePort"):
        raise Unmet(
            Failed(f"service {name} has no node port for port {port['port']}", expected="a node port", actual="none")
        )
    for node, address in node_addresses("all", family, context):
        yield Endpoint(name=f"{name} on {node}", host=address, port=port["nodePort"], kind="service")
