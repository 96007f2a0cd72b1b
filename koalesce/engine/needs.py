"""What a spec needs before its tests, told so that equal needs are the same text: specs with the same may share a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from koalesce.engine.components import prepared
from koalesce.engine.manifests import component_objects
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import overrides, resolved
from koalesce.providers import provider
from koalesce.spec import LoadedSpec
from koalesce.spec.cluster import ClusterSpec
from koalesce.spec.components import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a spec comes by its clusters. `needs`: those of one that shares its cluster, otherwise empty; `ahead`: the size of its pool, or 0.

    `joins`: it uses a cluster that is there already, and which other specs of the run may use as well; `alone`: not at the same time.
    """

    needs: str = ""
    ahead: int = 0
    joins: bool = False
    alone: bool = False


def plan(loaded: LoadedSpec, options: RunOptions) -> Plan:
    """The plan of a spec; on a cluster that is there already there is nothing to plan. Errors as for `check`, which comes before."""
    if options.cluster is not None:
        return _joining(loaded)
    if sections := loaded.spec.clusters:
        made = [provider(loaded.cluster(overrides(options), name).provider).makes_clusters for name in sections]
        return Plan() if all(made) else _joining(loaded)
    cluster = loaded.cluster(overrides(options))
    if not provider(cluster.provider).makes_clusters:
        return _joining(loaded)
    return Plan(
        needs=needs(loaded, cluster, options) if cluster.shared else "",
        ahead=cluster.pool.size if cluster.pool is not None else 0,
    )


def _joining(loaded: LoadedSpec) -> Plan:
    """A spec whose tests may all run beside tests of others may itself, unless it does or asserts anything about the cluster as a whole."""
    spec = loaded.spec
    is_whole = bool(spec.setup.steps or spec.cleanup or spec.invariants or spec.components)
    return Plan(joins=True, alone=is_whole or any(test.is_alone or test.locks for test in spec.tests))


def needs(loaded: LoadedSpec, cluster: ClusterSpec, options: RunOptions) -> str:
    """The cluster that is asked for, every default filled in, and the objects of its components."""
    request = loaded.request("shared", "shared", overrides(options))
    components = resolved(loaded)
    has_own_files = any(not image.pull for image in cluster.images) or not all(map(_is_of_files, components))
    told = {
        "request": asdict(provider(request.provider).resolve(request)),
        "parts": [cluster.network, cluster.dns, cluster.ttl.seconds if cluster.ttl else 0],
        "images": [image.model_dump() for image in cluster.images],
        "components": [_component(component, loaded) for component in components],
        # Where it is read what else they are made of: paths mean the same, and so do expressions.
        "folder": str(loaded.files.folder) if has_own_files else "",
        "values": loaded.scope if any(map(_has_values, components)) else {},
    }
    return json.dumps(told, sort_keys=True, default=_plain)


def _is_of_files(component: Component) -> bool:
    return all(isinstance(source, str) for source in component.manifests)


def _has_values(component: Component) -> bool:
    """Whether expressions are filled in when it's installed."""
    return component.expressions or component.ready is not None


def _component(component: Component, loaded: LoadedSpec) -> dict[str, Any]:
    """Of files it's their objects that count, wherever they lie."""
    told = component.model_dump(exclude={"manifests", "ready"})
    told["ready"] = None if component.ready is None else [entry.raw for entry in component.ready]
    if _is_of_files(component):
        return {**told, "objects": prepared(component, component_objects(component, loaded.files)).objects}
    return {**told, "manifests": component.manifests}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.model_dump() if hasattr(value, "model_dump") else str(value)
