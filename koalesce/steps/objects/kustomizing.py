"""What a kustomization reads: whether all of it lies in its own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from koalesce.steps.objects.sources import KUSTOMIZATION_FILES
from koalesce.yaml import InvalidDocument, read
from koalesce.yaml.manifests import read_text

# Fields whose entries are files or folders, or addresses of such elsewhere (https://kubectl.docs.kubernetes.io/references/kustomize).
_OF_PLACES = frozenset(
    {"resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators"}
)
_OF_CHARTS = frozenset({"helmCharts", "helmChartInflationGenerator", "helmGlobals"})


def way_out(folder: Path) -> str:
    """Something by which a kustomization, or one below its folder, may read what lies elsewhere; empty where nothing does."""
    for name in KUSTOMIZATION_FILES:
        for file in sorted(folder.rglob(name)):
            if found := next(_ways_out(file), ""):
                return found
    return ""


def _ways_out(file: Path) -> Iterator[str]:
    try:
        documents, problems = read(read_text(file, file.name), file.name, rules="manifest")
    except InvalidDocument as error:
        documents, problems = [], list(error.problems)
    yield from (problem.message for problem in problems)
    for document in documents:
        for field, value in document.value.items() if isinstance(document.value, dict) else ():
            if field in _OF_CHARTS:
                yield str(field)
            texts = [text for text in _texts(value) if "\n" not in text]  # others hold what they are about
            yield from (text for text in texts if field in _OF_PLACES and not (file.parent / text).exists())
            yield from (text for text in texts if _leads_out(text))


def _leads_out(text: str) -> bool:
    return "://" in text or text.startswith("/") or ".." in text.split("/")


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)
