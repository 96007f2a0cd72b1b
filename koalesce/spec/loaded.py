"""A valid spec with all that it came with: its file, its project, the values of its variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from koalesce.cluster import ClusterRequest
from koalesce.errors import UsageError
from koalesce.expressions import ExpressionError, resolve
from koalesce.spec.checks import BUILT_IN_DNS, BUILT_IN_NETWORKS
from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.components import Component
from koalesce.spec.conditions import Condition
from koalesce.spec.entries import StepInvalid
from koalesce.spec.files import SpecFiles
from koalesce.spec.models import Spec, Test
from koalesce.spec.source import Source
from koalesce.spec.translate import problems_of
from koalesce.yaml.nodes import Path
from koalesce.yaml.problems import Problem


@dataclass(frozen=True, kw_only=True)
class LoadedSpec:
    """A spec that is valid. `shown` is its path as people know it and the key of its events; `variables` are those known at load.

    `env_names` are the variables of the environment that the project lets its specs see, `env` those of them that are set.
    """

    path: FilePath
    shown: str
    root: FilePath
    spec: Spec
    source: Source
    files: SpecFiles
    variables: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    env_names: frozenset[str] = frozenset()

    @property
    def scope(self) -> dict[str, Any]:
        """What expressions may know before there is a cluster."""
        return {"vars": self.variables, "env": self.env}

    def line(self, where: Path) -> int:
        """The line of a path of the document, from 1."""
        return self.source.locate(where).line

    def cluster(self, overrides: Mapping[str, Any] | None = None) -> ClusterSpec:
        """The `cluster` section with its values; `overrides` replace fields of it by the names that specs use."""
        written = self.source.document.value.get("cluster") or {}
        resolved: dict[str, Any] = self._resolved(written, self.scope, ("cluster",))
        try:
            return ClusterSpec.model_validate({**resolved, **(overrides or {})})
        except ValidationError as error:
            if overrides:
                raise _override_error(error) from error
            raise StepInvalid(problems_of(error, resolved, ("cluster",), self.source, adapter=ClusterSpec)) from error

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
    ) -> ClusterRequest:
        """What to ask a cluster provider for. A component as network or DNS is `none` to the provider.

        `overrides`, `provider` and `kubernetes` win over the spec; UsageError if they aren't valid. The request's `kubernetes` is
        empty where the version is left to the provider. `images` and `preload` are references.
        """
        chosen = {"provider": provider, "kubernetes": kubernetes}
        overrides = {**(overrides or {}), **{key: value for key, value in chosen.items() if value is not None}}
        cluster = self.cluster(overrides)
        return ClusterRequest(
            name=name,
            run_id=run_id,
            provider=cluster.provider,
            kubernetes=cluster.kubernetes or "",
            nodes=cluster.node_requests(),
            network=cluster.network if cluster.network in BUILT_IN_NETWORKS else "none",
            kube_proxy=cluster.kube_proxy,
            dns=cluster.dns if cluster.dns in BUILT_IN_DNS else "none",
            pod_cidr=cluster.pod_cidr,
            service_cidr=cluster.service_cidr,
            ip_families=cluster.ip_families,
            egress=cluster.egress,
            etcd=cluster.etcd.model_dump(by_alias=True, exclude_defaults=True) | {"mode": cluster.etcd.mode},
            control_plane=cluster.control_plane,
            feature_gates=dict(cluster.feature_gates),
            runtime_config=dict(cluster.runtime_config),
            args={program: dict(flags) for program, flags in cluster.args.items()},
            images=images,
            preload=preload,
            settings=dict(cluster.providers.get(cluster.provider, {})),
        )

    def request_problems(self, *, is_clear: bool = True) -> list[Problem]:
        """What the cluster provider says about the request before anything starts (an unsupported version, say).

        Where other problems of the cluster are known already (not `is_clear`), it's asked about the version alone.
        """
        try:
            request = self.request("check", "check")
        except (ExpressionError, StepInvalid):  # needs the environment, which only a run has
            return []
        refusal = _refusal(_Asked(request if is_clear else _version_alone(request)))
        if refusal is None:
            return []
        where: Path = ("cluster", "kubernetes") if "kubernetes" in refusal.message.lower() else ("cluster",)
        return [self.source.problem_at(where, refusal.message, key=len(where) == 1, hint=refusal.hint)]

    def component(self, component: Component, scope: Mapping[str, Any]) -> Component:
        """A component with its expressions filled in; StepInvalid, with positions, where that can't be."""
        index = self.spec.components.index(component)
        where: Path = ("components", index)
        written = {
            key: value for key, value in self.source.document.value["components"][index].items() if key != "ready"
        }
        resolved = self._resolved(written, {**self.scope, **scope}, where)
        try:
            return Component.model_validate({**resolved, "ready": component.ready})
        except ValidationError as error:
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=Component)) from error

    def test_variables(self, test: Test, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The variables of a test: the spec's, and its own over them, resolved in the order in which they stand."""
        where: Path = (*self._test_path(test), "vars")
        values = dict(self.variables)
        for name, written in test.vars.items():
            values[name] = self._resolved(written, {**self.scope, **scope, "vars": values}, (*where, name))
        return values

    def test_condition(self, test: Test, scope: Mapping[str, Any]) -> Condition | None:
        """The `if` of a test with its values; None if it has none."""
        if test.condition is None:
            return None
        where: Path = (*self._test_path(test), "if")
        written = self.source.document.value["tests"][where[1]]["if"]
        resolved = self._resolved(written, {**self.scope, **scope}, where)
        try:
            return Condition.model_validate(resolved)
        except ValidationError as error:
            raise StepInvalid(problems_of(error, resolved, where, self.source, adapter=Condition)) from error

    def test_line(self, index: int) -> int:
        """Where a test begins in the file, from 1."""
        return self.line(("tests", index))

    def _test_path(self, test: Test) -> Path:
        return ("tests", next(index for index, each in enumerate(self.spec.tests) if each.name == test.name))

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


def _version_alone(request: ClusterRequest) -> ClusterRequest:
    return ClusterRequest(
        name=request.name,
        run_id=request.run_id,
        provider=request.provider,
        kubernetes=request.kubernetes,
        nodes=(),
    )


def _override_error(error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    field_name = str(first["loc"][0]) if first["loc"] else "cluster"
    return UsageError(f"{field_name}: {first['msg'].removeprefix('Value error, ')}")
