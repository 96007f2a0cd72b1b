"""Hand-written fakes of what steps are given: an API server in memory, its view, nodes, a scope and files.

A test arranges a `FakeCluster`, makes a `StepContext` of it with `context(cluster)`, and looks at whole values afterwards:
`cluster.kube.requests` holds what was sent, `cluster.scope.deferred` what would be undone.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast, get_args

from ruamel.yaml import YAML

from koalesce.capabilities import with_implied
from koalesce.cluster import Cluster, Fault, FaultKind, FaultService, Fixture, Node
from koalesce.errors import ClusterError, UsageError
from koalesce.kube import ApiError, ExecResult, Kube, Resource, UnknownKind, View
from koalesce.process import Result
from koalesce.steps import STEPS
from koalesce.steps.base import StepContext

VERBS = ("create", "delete", "get", "list", "patch", "watch")
_KINDS = (
    ("", "v1", "Pod", "pods", True, "po"),
    ("", "v1", "Node", "nodes", False, "no"),
    ("", "v1", "Namespace", "namespaces", False, "ns"),
    ("", "v1", "Service", "services", True, "svc"),
    ("", "v1", "ConfigMap", "configmaps", True, "cm"),
    ("", "v1", "Secret", "secrets", True, ""),
    ("", "v1", "Event", "events", True, "ev"),
    ("", "v1", "ServiceAccount", "serviceaccounts", True, "sa"),
    ("apps", "v1", "Deployment", "deployments", True, "deploy"),
    ("apps", "v1", "DaemonSet", "daemonsets", True, "ds"),
    ("apps", "v1", "StatefulSet", "statefulsets", True, "sts"),
    ("apps", "v1", "ReplicaSet", "replicasets", True, "rs"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, "pdb"),
    ("batch", "v1", "Job", "jobs", True, ""),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", True, ""),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, "netpol"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, ""),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False, "crd"),
    ("apiregistration.k8s.io", "v1", "APIService", "apiservices", False, ""),
)
_Key = tuple[str, str, str, str]  # group, plural, namespace, name


def api_error(status: int, message: str, *, reason: str = "") -> ApiError:
    """An answer of the API server that isn't a success; status 0 means that there was no connection."""
    return ApiError(message, status=status, reason=reason)


def made(
    kind: str,
    name: str,
    *,
    api: str = "v1",
    namespace: str | None = None,
    labels: Mapping[str, str] | None = None,
    owner: tuple[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """An object: `made("Pod", "web-0", namespace="n", labels={}, owner=("ReplicaSet", "web-1"), status={…})`."""
    metadata: dict[str, Any] = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1], "uid": f"uid-{owner[1]}"}]
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def matches_selector(labels: Mapping[str, str], selector: str) -> bool:
    """Whether labels fit a selector of `a=b`, `a!=b`, `a`, `!a` terms joined by commas."""
    return all(_term(labels, term.strip()) for term in selector.split(",") if term.strip())


def _term(labels: Mapping[str, str], term: str) -> bool:
    if "!=" in term:
        key, value = term.split("!=", 1)
        return labels.get(key.strip()) != value.strip()
    if "=" in term:
        key, value = term.replace("==", "=").split("=", 1)
        return labels.get(key.strip()) == value.strip()
    return term[1:] not in labels if term.startswith("!") else term in labels


class FakeKube:
    """An API server in memory with the interface of `koalesce.kube.Kube`.

    `requests` lists (verb, what) of everything that changes the cluster; `fail(verb, error, …)` answers the next requests of a
    verb with errors; `on_exec` and `on_logs` answer `exec` and `logs`.
    """

    def __init__(self) -> None:
        self.kinds: list[tuple[Resource, str]] = []
        for group, version, kind, plural, namespaced, short in _KINDS:
            self.define(kind, plural, group=group, version=version, namespaced=namespaced, short=short)
        self.objects: dict[_Key, dict[str, Any]] = {}
        self.requests: list[tuple[str, Any]] = []
        self.on_exec: Callable[[str, Sequence[str]], ExecResult] | None = None
        self.on_exec_run: Callable[[str, Sequence[str], Mapping[str, Any]], ExecResult] | None = None
        self.on_logs: Callable[[str], str] = lambda pod: ""
        self.on_log_read: Callable[[str, Mapping[str, Any]], str] | None = None
        self.time = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
        self.texts: dict[str, str | ApiError] = {}
        self._failures: dict[str, list[ApiError]] = {}
        self._revision = 0
        self._uids = 0

    def define(
        self, kind: str, plural: str, *, group: str = "", version: str = "v1", namespaced: bool = True, short: str = ""
    ) -> Resource:
        """Make a kind known, as an applied CustomResourceDefinition does."""
        resource = Resource(
            group=group, version=version, kind=kind, plural=plural, namespaced=namespaced, verbs=frozenset(VERBS)
        )
        self.kinds.append((resource, short))
        return resource

    def resources(self) -> tuple[Resource, ...]:
        """All kinds that are known."""
        return tuple(resource for resource, _ in self.kinds)

    def fail(self, verb: str, *errors: ApiError) -> None:
        """Answer the next requests of a verb (get, list, apply, delete, …) with these errors, one each."""
        self._failures.setdefault(verb, []).extend(errors)

    def _request(self, verb: str, what: Any = None) -> None:
        if what is not None:
            self.requests.append((verb, what))
        if pending := self._failures.get(verb):
            raise pending.pop(0)

    def resource(self, kind: str) -> Resource:
        wanted = kind.lower()
        for known, short in self.kinds:
            names = {known.kind.lower(), known.plural, short} - {""}
            full = {f"{name}.{known.group}" for name in names} | {f"{known.plural}.{known.version}.{known.group}"}
            if wanted in names or wanted in full:
                return known
        raise UnknownKind(f'the server has no kind "{kind}"')

    def resource_of(self, obj: Mapping[str, Any]) -> Resource:
        for known, _ in self.kinds:
            if (known.api_version, known.kind) == (obj["apiVersion"], obj["kind"]):
                return known
        raise UnknownKind(f'the server has no kind "{obj["kind"]}" in {obj["apiVersion"]}')

    def _key(self, resource: Resource, name: str, namespace: str | None) -> _Key:
        return (resource.group, resource.plural, (namespace or "default") if resource.namespaced else "", name)

    def add(self, *objects: Mapping[str, Any]) -> None:
        """Put objects there (or replace them) as something else in the cluster would."""
        for given in objects:
            self._store(dict(given))

    def _store(self, given: Mapping[str, Any], namespace: str | None = None) -> dict[str, Any]:
        obj = copy.deepcopy(dict(given))
        resource = self.resource_of(obj)
        metadata = obj.setdefault("metadata", {})
        if resource.namespaced:
            metadata.setdefault("namespace", namespace or "default")
        key = self._key(resource, metadata["name"], metadata.get("namespace"))
        before = self.objects.get(key)
        if before is None:
            self._uids += 1
        self._revision += 1
        metadata.setdefault("uid", before["metadata"]["uid"] if before else f"uid-{self._uids}")
        metadata["resourceVersion"] = str(self._revision)
        self.objects[key] = obj
        return copy.deepcopy(obj)

    def remove(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Take an object away as something else in the cluster would."""
        del self.objects[self._key(self.resource(kind), name, namespace)]

    def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        metadata_only: bool = False,
        subresource: str = "",
        **_options: Any,
    ) -> dict[str, Any] | None:
        self._request("get")
        return copy.deepcopy(self.objects.get(self._key(resource, name, namespace)))

    def list(
        self, resource: Resource, *, namespace: str | None = None, selector: str = "", **_options: Any
    ) -> list[dict[str, Any]]:
        self._request("list")
        return [
            copy.deepcopy(obj)
            for (group, plural, where, _), obj in sorted(self.objects.items())
            if (group, plural) == (resource.group, resource.plural)
            and (not namespace or not resource.namespaced or where == namespace)
            and matches_selector(obj["metadata"].get("labels", {}), selector)
        ]

    def apply(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = "koalesce",
        force: bool = True,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        options = {"field_manager": field_manager, "force": force, "dry_run": dry_run}
        self._request("apply", {"object": copy.deepcopy(dict(obj)), "namespace": namespace, **options})
        self.resource_of(obj)
        return copy.deepcopy(dict(obj)) if dry_run else self._merge(obj, namespace)

    def _merge(self, obj: Mapping[str, Any], namespace: str | None) -> dict[str, Any]:
        key = self._key(self.resource_of(obj), obj["metadata"]["name"], obj["metadata"].get("namespace") or namespace)
        return self._store(merge(self.objects.get(key, {}), obj), namespace)

    def create(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = "koalesce",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        self._request("create", {"object": copy.deepcopy(dict(obj)), "namespace": namespace, "dry_run": dry_run})
        made = copy.deepcopy(dict(obj))
        if "name" not in made["metadata"]:
            self._uids += 1
            made["metadata"]["name"] = f"{made['metadata']['generateName']}{self._uids}"
        name = made["metadata"]["name"]
        if self._key(self.resource_of(made), name, made["metadata"].get("namespace") or namespace) in self.objects:
            raise api_error(409, f'"{name}" already exists', reason="AlreadyExists")
        return made if dry_run else self._store(made, namespace)

    def replace(
        self,
        obj: Mapping[str, Any],
        *,
        namespace: str | None = None,
        field_manager: str = "koalesce",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        self._request("replace", {"object": copy.deepcopy(dict(obj)), "namespace": namespace, "dry_run": dry_run})
        metadata = obj["metadata"]
        before = self.objects[
            self._key(self.resource_of(obj), metadata["name"], metadata.get("namespace") or namespace)
        ]
        if metadata.get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise api_error(409, "the object has been modified", reason="Conflict")
        return copy.deepcopy(dict(obj)) if dry_run else self._store(obj, namespace)

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        body: Any,
        *,
        type: str = "merge",  # noqa: A002
        subresource: str = "",
        field_manager: str = "koalesce",
        dry_run: bool = False,
    ) -> dict[str, Any]:
        self._request(
            "patch", {"name": name, "namespace": namespace, "body": body, "type": type, "subresource": subresource}
        )
        found = self.objects.get(self._key(resource, name, namespace))
        if found is None:
            raise api_error(404, f'{resource.plural} "{name}" not found', reason="NotFound")
        return merge(found, body) if dry_run else self._store(merge(found, body))  # type: ignore[no-any-return]

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
    ) -> bool:
        what = {"kind": resource.kind, "name": name, "namespace": namespace, "propagation": propagation}
        self._request("delete", what if grace_seconds is None else {**what, "grace_seconds": grace_seconds})
        key = self._key(resource, name, namespace)
        if key not in self.objects:
            return False
        if self.objects[key]["metadata"].get("finalizers"):
            self._store(merge(self.objects[key], {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))
        else:
            del self.objects[key]
        return True

    def evict(self, pod: str, namespace: str, options: Mapping[str, Any]) -> None:
        self._request("evict", {"pod": pod, "namespace": namespace, **options})
        del self.objects[self._key(self.resource("pods"), pod, namespace)]

    def exec(self, pod: str, command: Sequence[str], *, namespace: str, **options: Any) -> ExecResult:
        self._request("exec", {"pod": pod, "namespace": namespace, "command": list(command)})
        if self.on_exec_run is not None:
            return self.on_exec_run(pod, command, options)
        if self.on_exec is None:
            raise api_error(404, f'pods "{pod}" not found', reason="NotFound")
        return self.on_exec(pod, command)

    def now(self, **_options: Any) -> datetime:
        return self.time

    def text(self, method: str, path: str, **_options: Any) -> str:
        self._request("text", path)
        answer = self.texts.get(path, api_error(404, f"{path}: not found", reason="NotFound"))
        if isinstance(answer, ApiError):
            raise answer
        return answer

    def logs(self, pod: str, *, namespace: str, **options: Any) -> str:
        self._request("logs", {"pod": pod, "namespace": namespace})
        if self.on_log_read is not None:
            return self.on_log_read(pod, options)
        return self.on_logs(pod)

    def version(self) -> str:
        return "v1.37.2"


def merge(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = copy.deepcopy(dict(target)) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


class FakeView:
    """What steps read through: records each read in `reads` as (verb, plural, namespace, name or selector)."""

    def __init__(self, kube: FakeKube) -> None:
        self.kube = kube
        self.reads: list[tuple[str, str, str | None, str]] = []
        self.transitions: list[str] = []

    def get(
        self, resource: Resource, name: str, namespace: str | None = None, **_options: Any
    ) -> dict[str, Any] | None:
        self.reads.append(("get", resource.plural, namespace, name))
        return self.kube.get(resource, name, namespace)

    def list(
        self, resource: Resource, *, namespace: str | None = None, selector: str = "", **_options: Any
    ) -> list[dict[str, Any]]:
        self.reads.append(("list", resource.plural, namespace, selector))
        return self.kube.list(resource, namespace=namespace, selector=selector)

    def now(self, **_options: Any) -> datetime:
        return self.kube.now()

    def begin(self) -> None:
        self.reads.clear()

    @property
    def has_read(self) -> bool:
        return bool(self.reads)

    @property
    def changed(self) -> bool:
        return False

    def history(self) -> list[str]:
        return list(self.transitions)

    def last_seen(self) -> list[tuple[Resource, dict[str, Any]]]:
        found: list[tuple[Resource, dict[str, Any]]] = []
        for verb, plural, namespace, what in self.reads:
            resource = self.kube.resource(plural)
            one = self.kube.get(resource, what, namespace) if verb == "get" else None
            listed = self.kube.list(resource, namespace=namespace, selector=what) if verb == "list" else []
            found += [(resource, obj) for obj in ([one] if one else listed)]
        return found

    def close(self) -> None:
        self.reads.clear()


@dataclass
class FakeScope:
    """Time and life of a step: `deferred` are the undos in order, `unwind()` runs them in reverse."""

    seconds: float = 30.0
    cancel: threading.Event = field(default_factory=threading.Event)
    deferred: list[tuple[str, Callable[[], None]]] = field(default_factory=list)
    time: float = 0.0

    def now(self) -> float:
        return self.time

    def remaining(self) -> float:
        return self.seconds

    def defer(self, what: str, undo: Callable[[], None]) -> None:
        self.deferred.append((what, undo))

    def unwind(self) -> None:
        while self.deferred:
            self.deferred.pop()[1]()


@dataclass
class FakeFiles:
    """Files below one folder, by path, folder or glob."""

    root: Path | None = None
    reasons: list[str] = field(default_factory=list)  # for which the result isn't one for later runs

    @property
    def folder(self) -> Path:
        return self.root or Path.cwd()

    def resolve(self, path: str) -> list[Path]:
        if self.root is None:
            raise UsageError(f"{path}: no such file")
        target = self.root / path
        if target.is_file():
            return [target]
        found = sorted(target.iterdir()) if target.is_dir() else sorted(self.root.glob(path))
        if not found:
            raise UsageError(f"{path}: no such file")
        return found

    def confined(self, path: str) -> Path:
        target = (self.root or Path("/nonexistent")) / path
        if not target.exists():
            raise UsageError(f"{path}: no such file")
        return target

    def runs(self, program: str) -> None:
        pass

    def beyond(self, reason: str) -> None:
        self.reasons.append(reason)


class FakeNode:
    """A node, or a fixture, that answers commands by `answer(command, stdin)`; `commands` holds what was run.

    `further` are its addresses besides the primary one.
    """

    def __init__(
        self,
        name: str,
        *,
        role: str = "worker",
        address: str = "198.18.0.2",
        further: Sequence[str] = (),
        pod_cidr: str = "10.244.0.0/24",
        program: str = "",
        is_spare: bool = False,
        answer: Callable[[Sequence[str], bytes | None], Result] | None = None,
    ) -> None:
        self.name = name
        self.is_spare = is_spare
        self.program = program
        self.role = role
        self.address = address
        self.addresses = (address, *further)
        self.pod_cidr = pod_cidr
        self.pod_cidrs = (pod_cidr,)
        self.exec = ("node-exec", name)
        self.logs: Mapping[str, tuple[str, ...]] = {}
        self.answer = answer or (lambda command, stdin: result(command))
        self.commands: list[tuple[list[str], bytes | None]] = []

    def run(self, command: Sequence[str], *, stdin: bytes | None = None, **_options: Any) -> Result:
        self.commands.append((list(command), stdin))
        return self.answer(command, stdin)


def result(command: Sequence[str], *, code: int = 0, out: str = "", err: str = "") -> Result:
    """What a command left."""
    return Result(command=tuple(command), code=code, stdout=out.encode(), stderr=err.encode(), seconds=0.0)


class FakeCluster:
    """A cluster of fakes: `add` objects, read `kube.requests`, `scope.deferred`, `view.reads`."""

    def __init__(
        self, *objects: Mapping[str, Any], nodes: Sequence[FakeNode] = (), fixtures: Sequence[FakeNode] = ()
    ) -> None:
        self.kube = FakeKube()
        self.view = FakeView(self.kube)
        self.scope = FakeScope()
        self.nodes = tuple(nodes)
        self.fixtures = tuple(fixtures)
        self.host_exec: tuple[str, ...] = ()
        self.provider = "fake"
        self.capabilities: frozenset[str] = with_implied({"chaos", "host-exec", "node-exec"})
        self.faults: FaultService | None = None
        self.moved: dict[str, Callable[[], None]] = {}
        self.add(*objects)

    def add(self, *objects: Mapping[str, Any]) -> None:
        """Put objects there; namespaced ones that name no namespace go to `test-ns`."""
        for given in objects:
            obj = copy.deepcopy(dict(given))
            if self.kube.resource_of(obj).namespaced:
                obj["metadata"].setdefault("namespace", NAMESPACE)
            self.kube.add(obj)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """An object as the cluster holds it."""
        return self.kube.get(self.kube.resource(kind), name, namespace or NAMESPACE)

    def real(self) -> Cluster:
        """A `Cluster` made of the fakes."""
        return Cluster(
            name="fake",
            provider=self.provider,
            kubernetes="1.37.2",
            nodes=cast("tuple[Node, ...]", self.nodes),
            fixtures=cast("tuple[Fixture, ...]", self.fixtures),
            kubeconfig=Path("/nonexistent/kubeconfig"),
            kube=cast(Kube, self.kube),
            dns_ip="10.96.0.10",
            capabilities=self.capabilities,
            pod_cidr="10.244.0.0/16",
            service_cidr="10.96.0.0/16",
            host_exec=self.host_exec,
            faults=self.faults,
            moved=self.moved,
        )


NAMESPACE = "test-ns"
LABELS = {"koalesce.dev/run": "r1", "koalesce.dev/test": "t1"}


def context(cluster: FakeCluster, *, root: Path | None = None, **more: Any) -> StepContext:
    """What a step of the test in namespace `test-ns` is given; `root` is the folder of its files."""
    given: dict[str, Any] = {"namespace": NAMESPACE, "labels": LABELS, "files": FakeFiles(root), **more}
    return StepContext(cluster=cluster.real(), view=cast(View, cluster.view), scope=cluster.scope, **given)


def running_pod(
    name: str, *, node: str = "worker-1", address: str = "10.244.1.2", namespace: str = NAMESPACE, **labels: str
) -> dict[str, Any]:
    """A pod that runs; its container `main` has the ID `id-NAME` and the named port `web` (8080)."""
    return made(
        "Pod",
        name,
        namespace=namespace,
        labels=labels,
        spec={"nodeName": node, "containers": [{"name": "main", "ports": [{"name": "web", "containerPort": 8080}]}]},
        status={
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "containerStatuses": [{"name": "main", "containerID": f"containerd://id-{name}", "state": {"running": {}}}],
        },
    )


@dataclass
class FakeWire:
    """The probe on a node: `rules` tell what comes of (container ID, `host:port`, URL or name), `asked` is what it was asked.

    A rule is an outcome or the fields of a result; what no rule is about is allowed. Pass it as a node's `answer`.
    """

    rules: dict[tuple[str, str], str | dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    addresses: tuple[str, ...] = ()

    def __call__(self, command: Sequence[str], stdin: bytes | None) -> Result:
        request = json.loads(stdin or b"{}")
        answers = [self._source(source) for source in request["sources"]]
        return result(command, out=json.dumps({"version": "fake", "sources": answers}))

    def _source(self, source: dict[str, Any]) -> dict[str, Any]:
        results = [self._result(source["container"], target) for target in source["targets"]]
        return {"id": source["id"], "addresses": list(self.addresses), "results": results}

    def _result(self, container: str, target: dict[str, Any]) -> dict[str, Any]:
        self.targets.append(target)
        match target["type"]:
            case "http":
                where = target["http"]["url"]
            case "dns":
                where = target["dns"]["name"]
            case _:
                where = f"{target['host']}:{target['port']}"
        self.asked.append((container, where))
        rule = self.rules.get((container, where), self.rules.get(("*", where), "allowed"))
        fields = {"outcome": rule} if isinstance(rule, str) else rule
        return {"id": target["id"], "outcome": "allowed", "local": "10.244.1.2:40000", "seconds": 0.001, **fields}


def step(text: str) -> Any:
    """The step of a line such as `wait-for: {resource: node/worker-1}`; ValidationError if it's none."""
    ((key, fields),) = YAML(typ="safe").load(text).items()
    kind = STEPS[key]
    return kind.model_validate(fields if isinstance(fields, dict) else {kind.short_field: fields})


@dataclass
class FakeFault:
    """A fault that has happened, or hasn't: `error` is why it can't be undone."""

    log: list[str]
    error: str = ""

    def undo(self) -> None:
        self.log.append("undo")
        if self.error:
            raise ClusterError(self.error)


@dataclass
class FakeFaults:
    """Fault services that note what they are asked for: `log` has `begin` and `undo`, `begun` the faults."""

    kinds: frozenset[FaultKind] = frozenset(get_args(FaultKind))
    refusal: str = ""
    undo_error: str = ""
    begun: list[Fault] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def begin(self, fault: Fault) -> FakeFault:
        if self.refusal:
            raise ClusterError(self.refusal)
        self.log.append("begin")
        self.begun.append(fault)
        return FakeFault(self.log, self.undo_error)
