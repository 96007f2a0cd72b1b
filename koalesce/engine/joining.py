"""What a spec asks of a cluster that is up already: whatever it says under `cluster`, and nodes of the names that it counts on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from koalesce.cluster import ClusterRequest, NodeRequest
from koalesce.errors import UsageError
from koalesce.providers.joining import Made, made
from koalesce.spec import LoadedSpec

# Fields of the spec's section, of the request and of what a cluster was made with, which must be the same.
_ALIKE = {
    "kube_proxy": "kubeProxy",
    "pod_cidr": "podCIDR",
    "service_cidr": "serviceCIDR",
    "ip_families": "ipFamilies",
    "egress": "egress",
    "control_plane": "controlPlane",
}
# Those of which it must have what is asked for, and may have more: (the request's, the contract's) names.
_PARTS = {
    "feature_gates": ("featureGates", "feature_gates"),
    "runtime_config": ("runtimeConfig", "runtime_config"),
    "args": ("args", "component_args"),
    "etcd": ("etcd", "etcd"),
}


def check_fits(name: str, specs: Sequence[LoadedSpec]) -> None:
    """Raise UsageError, with all that is lacking, unless every spec can be run on the cluster of this name."""
    found = made(name)
    problems = [f"{spec.shown}: {'; '.join(lacking)}" for spec in specs if (lacking := unmet(spec, found))]
    if problems:
        raise UsageError(
            f"cluster {name} isn't what the specs ask for\n  " + "\n  ".join(problems),
            hint="leave out --cluster to run them on clusters of their own",
        )


def unmet(loaded: LoadedSpec, found: Made) -> list[str]:
    """What a spec asks for and a cluster doesn't have, as sentences; what the spec leaves to defaults is taken as it is."""
    section, request = loaded.cluster(), loaded.request(found.entry.name, "check")
    said = section.model_fields_set
    problems = [*_version(request.kubernetes, found.entry.kubernetes), *_nodes(request, found.variables["nodes"])]
    problems += _fixtures(request, found.variables.get("fixtures") or [])
    problems += _besides(request, found.variables)
    if "network" in said and section.network != found.network and not _is_to_install(loaded, section.network, found):
        problems.append(_differs("network", section.network, found.network))
    if "dns" in said and section.dns != found.dns:
        problems.append(_differs("dns", section.dns, found.dns))
    for field, shown in _ALIKE.items():
        wanted, actual = _plain(getattr(request, field)), found.variables.get(field)
        if field in said and wanted != actual:
            problems.append(_differs(shown, wanted, actual))
    for field, shown in (("audit_policy", "auditPolicy"), ("admission_configuration", "admissionConfiguration")):
        if field in said and getattr(request, field) != found.variables.get(field, ""):
            problems.append(f"its {shown} is another")
    for field, (shown, variable) in _PARTS.items():
        wanted, actual = _plain(getattr(request, field)), found.variables.get(variable) or {}
        if not _holds(wanted, actual):
            problems.append(_differs(shown, wanted, actual))
    return problems


def _version(wanted: str, actual: str) -> Iterator[str]:
    if wanted and actual != wanted and not actual.startswith(f"{wanted}."):
        yield _differs("kubernetes", wanted, actual)


def _nodes(request: ClusterRequest, actual: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A node that a spec counts on must be there by its name, with the labels and taints that the spec gives it."""
    by_name = {node["name"]: node for node in actual}
    missing = [node.name for node in request.nodes if node.name not in by_name]
    if missing:
        yield f"it has no node {', '.join(missing)}, only {', '.join(by_name) or 'a control plane'}"
    for node in request.nodes:
        there = by_name.get(node.name, {})
        if there and there["role"] != node.role:
            yield f"its node {node.name} is a {there['role']}, not a {node.role}"
        if there and not _holds(dict(node.labels), there.get("labels") or {}):
            yield f"its node {node.name} lacks labels of {dict(node.labels)}"
        if there and _plain(node.taints) != (there.get("taints") or []):
            yield f"its node {node.name} has other taints"
        for what in ("cpu", "memory"):
            wanted, has = getattr(node, what), there.get(what) or 0
            if there and wanted and wanted != has:
                yield f"its node {node.name} has {what} {_size(has) if has else 'of all the machine'}, not {_size(wanted)}"
        if there and (there.get("subnet") or "") != node.subnet:
            yield f"its node {node.name} is in {_subnet(there)}, not in {node.subnet or 'the common one'}"
        if there and not _holds(_plain(node.kubelet), json.loads(there.get("kubelet") or "{}")):
            yield f"its node {node.name} lacks settings of its kubelet: {_text(_plain(node.kubelet))}"
        if there and bool(there.get("spare")) != node.spare:
            yield f"its node {node.name} is {'kept aside (spare)' if there.get('spare') else 'there from the start'}"
        if there:
            yield from _disks(node, there)


def _besides(request: ClusterRequest, variables: Mapping[str, Any]) -> Iterator[str]:
    """What a spec has the cluster have besides must be there; registries must ask the same as in the spec."""
    if missing := [addon for addon in request.addons if addon not in (variables.get("addons") or ())]:
        yield f"it lacks the addons {', '.join(missing)}"
    asking = {registry["name"]: registry for registry in variables.get("registries") or ()}
    if others := [each.name for each in request.registries if asking.get(each.name) != asdict(each)]:
        yield f"its registry {', '.join(others)} doesn't ask for the spec's user"


def _disks(node: NodeRequest, actual: Mapping[str, Any]) -> Iterator[str]:
    sizes = {disk["path"]: disk["size"] for disk in actual.get("disks") or ()}
    for disk in node.disks:
        if sizes.get(disk.path) != disk.size:
            other = f"a disk of {sizes[disk.path]} bytes" if disk.path in sizes else "no disk"
            yield f"its node {node.name} has {other} at {disk.path}, where the spec wants {disk.size} bytes"


def _subnet(machine: Mapping[str, Any]) -> str:
    return f"the subnet {machine['subnet']}" if machine.get("subnet") else "the common subnet"


def _size(value: float) -> str:
    return str(int(value) if value == int(value) else value)


def _fixtures(request: ClusterRequest, actual: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A machine outside of the cluster that a spec counts on must be there, by its name."""
    there = {fixture["name"]: fixture["kind"] for fixture in actual}
    if missing := [fixture.name for fixture in request.fixtures if there.get(fixture.name) != fixture.kind]:
        yield f"it has no fixture {', '.join(missing)}" + (f", only {', '.join(there)}" if there else "")
    subnets = {fixture["name"]: fixture.get("subnet") or "" for fixture in actual}
    if moved := [each.name for each in request.fixtures if subnets.get(each.name, each.subnet) != each.subnet]:
        yield f"its fixture {', '.join(moved)} is in another subnet"
    for fixture in request.fixtures:
        found = next((each for each in actual if each["name"] == fixture.name and fixture.name not in missing), {})
        for kind, wanted in (("router", fixture.router), ("resolver", fixture.resolver)):
            if found and _plain(wanted) != json.loads(found.get(kind) or "{}"):
                yield f"its {kind} {fixture.name} has other settings"


def _is_to_install(loaded: LoadedSpec, network: str, found: Made) -> bool:
    """Whether the network is a component that the spec brings along, for a cluster without any."""
    return found.network == "none" and network in {component.name for component in loaded.spec.components}


def _holds(wanted: Mapping[str, Any], actual: Mapping[str, Any]) -> bool:
    return all(
        _holds(value, actual.get(key) or {}) if isinstance(value, dict) else actual.get(key) == value
        for key, value in wanted.items()
    )


def _differs(field: str, wanted: Any, actual: Any) -> str:
    return f"its {field} is {_text(actual)}, not {_text(wanted)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=dict))
