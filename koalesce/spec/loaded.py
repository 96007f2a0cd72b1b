"""A valid spec with all that it came with: its file, its project, the values of its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from koalesce.cluster_request import ClusterRequest, NodeRequest, RegistryRequest
from koalesce.errors import UsageError
from koalesce.expressions import ExpressionError, resolve
from koalesce.merging import merged
from koalesce.records import dataclass
from koalesce.spec.cluster import ClusterSpec, EtcdSpec
from koalesce.spec.cluster_checks import BUILT_IN_DNS, BUILT_IN_NETWORKS
from koalesce.spec.components import Component, waits_for_cluster
from koalesce.spec.conditions import Condition
from koalesce.spec.entries import StepInvalid
from koalesce.spec.expansion import Origin
from koalesce.spec.files import SpecFiles
from koalesce.spec.machines import fixture_requests
from koalesce.spec.matrix import Cell
from koalesce.spec.models import Spec, Test
from koalesce.spec.namespaces import NamespaceSpec
from koalesce.spec.source import Source
from koalesce.spec.translate import problems_of
from koalesce.toolchain.reference import outside_of
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem


@dataclass(frozen=True, kw_only=True)
class LoadedSpec:
    """A spec that is valid; of one with a matrix, one cell.

    `shown` is its path as people know it, with the cell behind it, and the key of its events; `variables` are those known at load,
    `origins` say where each test of `spec` comes from.
    `env_names` are the variables of the environment that the project lets its specs see, `env` those of them that are set.
    `cluster_overrides` replace fields of its `cluster` section, for a cell that the command line has made.
    """

    path: FilePath
    shown: str
    root: FilePath
    spec: Spec
    source: Source
    files: SpecFiles
    variables: Mapping[str, Any] = field(default_factory=dict)
    cell: Cell | None = None
    origins: tuple[Origin, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_names: frozenset[str] = frozenset()
    cluster_overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scope(self) -> dict[str, Any]:
        """What expressions may know before there is a cluster."""
        return {"vars": self.variables, "env": self.env, "matrix": self.cell.values if self.cell else {}}

    def line(self, where: Path) -> int:
        """The line of a path of the document, from 1."""
        return self.source.line(where)

    def cluster(self, overrides: Mapping[str, Any] | None = None, name: str = "") -> ClusterSpec:
        """The section of a cluster with its values; `overrides` replace fields of it by the names that specs use."""
        where: Path = ("clusters", name) if name else ("cluster",)
        written = self.source.document.value.get(where[0]) or {}
        resolved: dict[str, Any] = self._resolved((written.get(name) if name else written) or {}, self.scope, where)
        overrides = {**self.cluster_overrides, **(overrides or {})}
        try:
            return ClusterSpec.model_validate(merged(resolved, overrides))
        except ValidationError as error:
            if overrides:
                raise _override_error(error) from error
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=ClusterSpec)) from error

    def request(
        self,
        name: str,
        run_id: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        provider: str | None = None,
        kubernetes: str | None = None,
        images: tuple[str, ...] = (),
        preload: tuple[str, ...] = (),
        section: str = "",
    ) -> ClusterRequest:
        """What to ask a cluster provider for; `section` names the cluster where the spec has several.

        A component as network or DNS is `none` to the provider.

        `overrides`, `provider` and `kubernetes` win over the spec; UsageError if they aren't valid. The request's `kubernetes` is
        empty where the version is left to the provider. `images` and `preload` are references.
        """
        chosen = {"provider": provider, "kubernetes": kubernetes}
        overrides = {**(overrides or {}), **{key: value for key, value in chosen.items() if value is not None}}
        cluster = self.cluster(overrides, section)
        return ClusterRequest(
            name=name,
            run_id=run_id,
            provider=cluster.provider,
            kubernetes=cluster.kubernetes or "",
            nodes=cluster.node_requests(),
            fixtures=fixture_requests(self.spec.fixtures, cluster.node_requests()),
            network=cluster.network if cluster.network in BUILT_IN_NETWORKS else "none",
            kube_proxy=cluster.kube_proxy,
            dns=cluster.dns if cluster.dns in BUILT_IN_DNS else "none",
            pod_cidr=",".join(cluster.pod_ranges),
            service_cidr=",".join(cluster.service_ranges),
            ip_families=cluster.ip_families,
            egress=cluster.egress,
            etcd=self._etcd(cluster.etcd),
            control_plane=cluster.control_plane or "",
            feature_gates=dict(cluster.feature_gates),
            runtime_config=dict(cluster.runtime_config),
            args=cluster.flags(),
            audit_policy=self._text(cluster.audit_policy),
            admission_configuration=self._text(cluster.admission_configuration),
            images=images,
            preload=outside_of(cluster.registries, preload),
            registries=tuple(
                RegistryRequest(name=name, username=user.username, password=user.password)
                for name, user in cluster.registries.items()
            ),
            addons=cluster.addons,
            ttl=cluster.ttl.seconds if cluster.ttl else 0.0,
            settings=dict(cluster.providers.get(cluster.provider, {})),
        )

    def _etcd(self, etcd: EtcdSpec) -> dict[str, Any]:
        """What is said of the datastore, with files as they are found from anywhere."""
        said: dict[str, Any] = etcd.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        files = {name: str(self.files.confined(said[name])) for name in ("ca", "cert", "key") if name in said}
        return said | files

    def _text(self, path: str | None) -> str:
        """The text of a file that the spec names; UsageError if it can't be read."""
        if path is None:
            return ""
        try:
            return self.files.confined(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: can't be read as text") from error

    def request_problems(self, section: str = "", *, is_clear: bool = True) -> list[Problem]:
        """What the cluster provider says about the request before anything starts (an unsupported version, say).

        Where other problems of the cluster are known already (not `is_clear`), it's asked about the version and its own settings alone.
        """
        if not any(self.source.document.value.get(part) for part in ("cluster", "clusters", "fixtures")):
            return []  # nobody refuses a cluster of which nothing is said
        try:
            request = self.request("check", "check", section=section)
        except (ExpressionError, StepInvalid):  # needs the environment, which only a run has
            return []
        except UsageError:  # a file that isn't there, which is said of the file
            return []
        refusal = _refusal(_Asked(request if is_clear else _without_its_shape(request)))
        if refusal is None:
            return []
        where: Path = ("clusters", section) if section else ("cluster",)
        is_version = "kubernetes" in refusal.message.lower()
        where = (*where, "kubernetes") if is_version else where
        return [self.source.problem_at(where, refusal.message, key=not is_version, hint=refusal.hint)]

    def component(self, component: Component, scope: Mapping[str, Any]) -> Component:
        """A component with its expressions filled in, but for patches about a cluster that isn't known yet; StepInvalid, with positions, where that can't be."""
        index = self.spec.components.index(component)
        where: Path = ("components", index)
        written = {
            key: value for key, value in self.source.document.value["components"][index].items() if key != "ready"
        }
        patches = written.pop("patches", None) or []
        resolved = self._resolved(written, {**self.scope, **scope}, where)
        resolved["patches"] = [
            patch
            if "cluster" not in scope and waits_for_cluster(patch)
            else self._resolved(patch, {**self.scope, **scope}, (*where, "patches", number))
            for number, patch in enumerate(patches)
        ]
        try:
            return Component.model_validate({**resolved, "ready": component.ready})
        except ValidationError as error:
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=Component)) from error

    def test_variables(self, test: Test, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of a test: those known at load, and the others of its own, resolved in the order in which they stand."""
        where: Path = (*self._test_path(test), "vars")
        values = {**self.variables, **self.origin(test).variables}
        for name, written in test.vars.items():
            if name not in self.origin(test).variables:
                values[name] = self._resolved(written, {**self.scope, **scope, "vars": values}, (*where, name))
        return values

    def test_matrix(self, test: Test) -> dict[str, Any]:
        """The values of the axes that a test stands at: the spec's, and its own."""
        return {**self.scope["matrix"], **self.origin(test).matrix}

    def test_namespaces(self, test: Test, scope: Mapping[str, Any]) -> tuple[NamespaceSpec, dict[str, NamespaceSpec]]:
        """The namespace of a test, and its further ones by name, with their values; StepInvalid, with positions, where that can't be."""
        path, written = self._test_path(test), self._written_test(test)
        own = self.namespace(written.get("namespace"), scope, (*path, "namespace"))
        further = (written.get("namespaces") or {}).items()
        return own, {name: self.namespace(each, scope, (*path, "namespaces", name)) for name, each in further}

    def namespace(self, written: Any, scope: Mapping[str, Any], where: Path) -> NamespaceSpec:
        """What is written of a namespace, with its values."""
        resolved = self._resolved(written or {}, {**self.scope, **scope}, where)
        try:
            return NamespaceSpec.model_validate(resolved)
        except ValidationError as error:
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=NamespaceSpec)) from error

    def test_condition(self, test: Test, scope: Mapping[str, Any]) -> Condition | None:
        """The `if` of a test with its values; None if it has none."""
        if test.condition is None:
            return None
        where: Path = (*self._test_path(test), "if")
        written = self._written_test(test)["if"]
        resolved = self._resolved(written, {**self.scope, **scope}, where)
        try:
            return Condition.model_validate(resolved)
        except ValidationError as error:
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=Condition)) from error

    def test_line(self, index: int) -> int:
        """Where a test begins in the file, from 1."""
        return self.line(("tests", self.origins[index].index))

    def origin(self, test: Test) -> Origin:
        """Where a test of it comes from."""
        return next(
            origin for origin, each in zip(self.origins, self.spec.tests, strict=True) if each.name == test.name
        )

    def _test_path(self, test: Test) -> Path:
        return ("tests", self.origin(test).index)

    def _written_test(self, test: Test) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.source.document.value["tests"][self.origin(test).index]
        return found

    def _resolved(self, written: Any, scope: Mapping[str, Any], where: Path) -> Any:
        try:
            return resolve(written, scope)
        except ExpressionError as error:
            raise StepInvalid([self.source.problem_at(where, error.message)]) from error


class _Asked:
    """A request by its contents, so that a provider is asked once about the many specs that want the same."""

    def __init__(self, request: ClusterRequest) -> None:
        self.request = request
        self._key = repr(request)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Asked) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


@lru_cache(maxsize=256)
def _refusal(asked: _Asked) -> UsageError | None:
    """Why the request's provider refuses it; None if it doesn't."""
    from koalesce.providers import REGISTRY

    factory = REGISTRY.get(asked.request.provider)
    try:
        if factory is not None:
            factory().resolve(asked.request)
    except UsageError as error:
        return error
    return None


def _without_its_shape(request: ClusterRequest) -> ClusterRequest:
    """The request with one plain node, of which no provider says anything, and no addresses."""
    return ClusterRequest(
        name=request.name,
        run_id=request.run_id,
        provider=request.provider,
        kubernetes=request.kubernetes,
        nodes=(NodeRequest(name="control-plane", role="control-plane"),),
        pod_cidr="",
        service_cidr="",
        settings=request.settings,
    )


def _override_error(error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    field_name = str(first["loc"][0]) if first["loc"] else "cluster"
    return UsageError(f"{field_name}: {first['msg'].removeprefix('Value error, ')}")
