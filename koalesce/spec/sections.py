"""The clusters of a document: one under `cluster`, or several under `clusters`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from koalesce.yaml.nodes import Path


def cluster_sections(data: Mapping[str, Any]) -> Iterator[tuple[Path, str, Mapping[str, Any]]]:
    """Where each stands, its name ("" for the only one), and what is written there."""
    several = data.get("clusters")
    if isinstance(several, dict) and several:
        for name, section in several.items():
            yield ("clusters", name), name, section if isinstance(section, dict) else {}
        return
    section = data.get("cluster")
    yield ("cluster",), "", section if isinstance(section, dict) else {}


def cluster_names(data: Mapping[str, Any]) -> list[str]:
    """The names of several clusters; none where there is one without a name."""
    return [name for _, name, _ in cluster_sections(data) if name]
