"""Files that a spec names outside of its steps: whether they are there, inside of the project, and readable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from koalesce.errors import UsageError
from koalesce.expressions import has_expression
from koalesce.spec.files import MANIFEST_SUFFIXES, SpecFiles
from koalesce.spec.sections import cluster_sections
from koalesce.spec.server_files import SERVER_FILES, server_file_problems
from koalesce.spec.source import Source
from koalesce.steps.objects.sources import Chart, Kustomization
from koalesce.yaml import InvalidDocument, Problem, load_manifests
from koalesce.yaml.nodes import Path

_IMAGE_FILES = ("archive", "folder", "build")
_ETCD_FILES = ("ca", "cert", "key")


def file_problems(data: Mapping[str, Any], source: Source, files: SpecFiles) -> list[Problem]:
    """Every file that is missing or leads outside, and everything that is wrong inside of manifests."""
    problems: list[Problem] = []
    for where, path in _named_files(data):
        try:
            found = files.confined(path)
        except UsageError as error:
            problems.append(source.problem_at(where, error.message, hint=error.hint))
            continue
        if where[-1] in SERVER_FILES and not has_expression(path):
            problems += server_file_problems(str(where[-1]), found, files.shown(found))
    for where, generated in _generated(data):
        try:
            problem = generated.problem(files)
        except UsageError as error:
            problems.append(source.problem_at(where, error.message, hint=error.hint))
            continue
        if problem:
            problems.append(source.problem_at(where, problem))
    for where, path, has_expressions in _manifest_paths(data):
        try:
            manifests = files.resolve(path)
        except UsageError as error:
            problems.append(source.problem_at(where, error.message, hint=error.hint))
            continue
        if not has_expressions:
            problems += _manifest_problems(manifests, files, source.problem_at(where, f"{path}: has no objects"))
    return problems


def _manifest_problems(paths: list[FilePath], files: SpecFiles, empty: Problem) -> list[Problem]:
    """What is wrong inside of manifests; `empty` where they have no objects, so that installing them would do nothing."""
    manifests = [path for path in paths if path.suffix in MANIFEST_SUFFIXES]
    try:
        objects = load_manifests(manifests, shown=[files.shown(path) for path in manifests])
    except InvalidDocument as error:
        return list(error.problems)
    return [] if objects or len(manifests) < len(paths) or not paths else [empty]


def _named_files(data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    for where, _, cluster in cluster_sections(data):
        yield from _files_of_cluster(where, cluster)


def _files_of_cluster(where: Path, cluster: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    images = cluster.get("images")
    for index, image in enumerate(images if isinstance(images, list) else []):
        for field in _IMAGE_FILES:
            if isinstance(image, dict) and isinstance(image.get(field), str):
                yield (*where, "images", index, field), image[field]
    for field in SERVER_FILES:
        if isinstance(cluster.get(field), str):
            yield (*where, field), cluster[field]
    etcd = cluster.get("etcd")
    for field in _ETCD_FILES:
        if isinstance(etcd, dict) and isinstance(etcd.get(field), str):
            yield (*where, "etcd", field), etcd[field]


def _generated(data: Mapping[str, Any]) -> Iterator[tuple[Path, Kustomization | Chart]]:
    """Where each kustomization and chart of a component is named; they are looked for, not rendered."""
    for where, manifest, _ in _manifests(data):
        match manifest:
            case {"kustomize": str(folder)} if folder and not has_expression(folder):
                yield (*where, "kustomize"), Kustomization.model_construct(kustomize=folder)
            case {"helm": str(chart)} if chart and not has_expression(chart):
                yield (*where, "helm"), Chart.model_construct(helm=chart)


def _manifest_paths(data: Mapping[str, Any]) -> Iterator[tuple[Path, str, bool]]:
    """Where each manifest of a component is named, its path, and whether its text has expressions to fill in first."""
    for where, manifest, component in _manifests(data):
        if isinstance(manifest, str) and not has_expression(manifest):
            yield where, manifest, component.get("expressions") is True


def _manifests(data: Mapping[str, Any]) -> Iterator[tuple[Path, Any, Mapping[str, Any]]]:
    """Each manifest of a component: where it is named, how, and its component."""
    components = data.get("components")
    for index, component in enumerate(components if isinstance(components, list) else []):
        manifests = component.get("manifests") if isinstance(component, dict) else None
        for number, manifest in enumerate(manifests if isinstance(manifests, list) else []):
            yield ("components", index, "manifests", number), manifest, component
