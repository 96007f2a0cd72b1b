"""Kinds of objects before there is a cluster: those that steps name are built in, or come with the spec, or have a group of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, get_args

from koalesce.errors import KoalesceError
from koalesce.kube import Resource, builtin
from koalesce.spec.entries import StepEntry, body_of
from koalesce.spec.files import MANIFEST_SUFFIXES, SpecFiles
from koalesce.spec.source import Source
from koalesce.steps.objects.reference import ResourceRef
from koalesce.yaml import Problem, load_manifests
from koalesce.yaml.nodes import Path

_CRD = "CustomResourceDefinition"
_NEAR = 0.8  # how like a built-in kind a word must be to be taken for it mistyped, where others may be there
_FROM_ELSEWHERE = ("url", "kustomize", "helm")


class KindChecks:
    """Checks the kinds of a document against the built-in ones and those of the spec's own CustomResourceDefinitions."""

    def __init__(
        self, data: Mapping[str, Any], source: Source, entries: Mapping[Path, list[StepEntry]], files: SpecFiles
    ) -> None:
        self._data = data
        self._source = source
        self._steps = [step for listed in entries.values() for entry in listed for step in entry.family]
        self._files = files
        self._own: list[Resource] | None = None

    def problems(self) -> list[Problem]:
        """Every kind that there can't be, and every namespace where there is none."""
        return [problem for step in self._steps if step.key for problem in self._of_step(step)]

    def _of_step(self, step: StepEntry) -> Iterator[Problem]:
        body, short = body_of(step.type, step.raw.get(step.key))
        if not isinstance(body, Mapping):
            return
        for name in _references(step):
            value = body.get(name)
            if isinstance(value, str) and "${{" not in value:
                where = (step.key,) if short == name else (step.key, name)
                namespace = body.get("namespace") if name == "resource" else None
                yield from self._of_reference(step, where, value.partition("/")[0], namespace)
        inline = body.get("objects")
        for index, obj in enumerate(inline if isinstance(inline, list) else []):
            yield from self._of_object(step, (step.key, "objects", index), obj)
        yield from self._of_object(step, (step.key, "object"), body.get("object"))

    def _of_reference(self, step: StepEntry, where: Path, kind: str, namespace: Any) -> Iterator[Problem]:
        found = builtin.find(kind) or builtin.find(kind, self._own_kinds())
        if found is None:
            if problem := self._unknown(kind):
                yield step.problem(where, problem[0], hint=problem[1])
        elif namespace is not None and not found.namespaced:
            said = f"{found.plural} have no namespaces"
            yield step.problem((step.key, "namespace"), said, key=True, hint="leave it out")

    def _unknown(self, kind: str) -> tuple[str, str | None] | None:
        """What is wrong with a kind that isn't known, and a hint; None where the cluster may know it."""
        own = self._own_kinds()
        group = kind.partition(".")[2]
        groups = [group, group.partition(".")[2]] if group else []
        is_known_group = any(builtin.has_group(one) or any(each.group == one for each in own) for one in groups)
        if group and not is_known_group:
            return None
        likely = builtin.likely(kind, own)
        hint = f'did you mean "{likely}"?' if likely else None
        if not group and self._has_others() and (likely is None or not _is_near(kind, likely)):
            return None
        elsewhere = None if group else f"if it comes from elsewhere, write its group, too: {kind.lower()}.example.com"
        return f'there is no kind "{kind}"', hint or elsewhere

    def _of_object(self, step: StepEntry, where: Path, obj: Any) -> Iterator[Problem]:
        match obj:
            case {"apiVersion": str(api_version), "kind": str(kind)} if "${{" not in api_version + kind:
                pass
            case _:
                return
        known = [*builtin.resources(), *self._own_kinds()]
        same = [one for one in known if one.api_version == api_version]
        found = next((one for one in same if one.kind == kind), None)
        metadata = obj.get("metadata")
        if found is None and same and not any(one.kind == kind and one.api_version == api_version for one in known):
            import difflib  # imported here: only mistakes need it

            close = difflib.get_close_matches(kind, [one.kind for one in same], n=1, cutoff=0.6)
            hint = f'did you mean "{close[0]}"?' if close else None
            yield step.problem((*where, "kind"), f'{api_version} has no kind "{kind}"', hint=hint)
        elif found is not None and not found.namespaced and isinstance(metadata, Mapping) and "namespace" in metadata:
            said = f"{found.plural} have no namespaces"
            yield step.problem((*where, "metadata", "namespace"), said, key=True, hint="leave it out")

    def _has_others(self) -> bool:
        """Whether kinds may be in the cluster that this spec doesn't show: a cluster of others, a script, a chart."""
        clusters = self._data.get("clusters")
        sections = [self._data.get("cluster"), *(clusters.values() if isinstance(clusters, Mapping) else ())]
        if any(isinstance(section, Mapping) and section.get("provider", "local") != "local" for section in sections):
            return True
        if any(step.key in ("script", "exec") for step in self._steps):
            return True
        return any(isinstance(source, Mapping) for source, _ in self._sources())

    def _own_kinds(self) -> list[Resource]:
        """The kinds that the CustomResourceDefinitions of components and steps make."""
        if self._own is None:
            paths = [(path, files) for path, files in self._sources() if isinstance(path, str) and "${{" not in path]
            objects = [*self._inline(), *(obj for path, files in paths for obj in _read(path, files))]
            self._own = [kind for obj in objects if isinstance(obj, Mapping) for kind in _kinds_of(obj)]
        return self._own

    def _sources(self) -> Iterator[tuple[Any, SpecFiles]]:
        """The manifests of components and steps, as they are named, and where that leads."""
        components = self._data.get("components")
        for component in components if isinstance(components, list) else ():
            manifests = component.get("manifests") if isinstance(component, Mapping) else None
            yield from ((manifest, self._files) for manifest in (manifests if isinstance(manifests, list) else ()))
        for step in self._steps:
            body = body_of(step.type, step.raw.get(step.key))[0] if step.key else None
            for name in ("file", "files"):
                given = body.get(name) if isinstance(body, Mapping) else None
                named = given if isinstance(given, list) else [given] if given else ()
                yield from ((one, step.files or self._files) for one in named)

    def _inline(self) -> Iterator[Any]:
        for step in self._steps:
            body = step.raw.get(step.key)
            if isinstance(body, Mapping):
                yield body.get("object")
                yield from body["objects"] if isinstance(body.get("objects"), list) else ()


def _read(path: str, files: SpecFiles) -> Iterable[Mapping[str, Any]]:
    """The objects of manifests that may define kinds; what is wrong with the files is said elsewhere."""
    try:
        found = [file for file in files.resolve(path) if file.suffix in MANIFEST_SUFFIXES and _defines(file)]
        return [manifest.object for manifest in load_manifests(found)] if found else []
    except (KoalesceError, OSError, ValueError):
        return []


def _references(step: StepEntry) -> list[str]:
    """The fields of a step that name a kind, as they are written."""
    return [
        field.alias or name
        for name, field in step.type.model_fields.items()
        if field.annotation is ResourceRef or ResourceRef in get_args(field.annotation)
    ]


def _defines(file: FilePath) -> bool:
    return _CRD.encode() in file.read_bytes()


def _kinds_of(obj: Mapping[str, Any]) -> Iterator[Resource]:
    """The kinds of a CustomResourceDefinition, one for each version."""
    match obj:
        case {
            "kind": "CustomResourceDefinition",
            "spec": {"group": str(group), "names": dict(names), "versions": list(versions), **spec},
        }:
            pass
        case _:
            return
    kind = str(names.get("kind", ""))
    for version in versions:
        if isinstance(version, Mapping):
            yield Resource(
                group, str(version.get("name")), kind, str(names.get("plural", "")), spec.get("scope") != "Cluster",
                singular=str(names.get("singular") or kind.lower()), short_names=tuple(names.get("shortNames") or ()),
            )  # fmt: skip


def _is_near(word: str, likely: str) -> bool:
    import difflib

    return difflib.SequenceMatcher(None, word.lower(), likely).ratio() >= _NEAR
