"""The manifests of components: from the project's files, and from the web, known by their checksums."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from koalesce.assets import cache_dir
from koalesce.errors import ProvisionError
from koalesce.process import Cancel
from koalesce.spec.components import Chart, Component, Kustomization, RemoteManifest
from koalesce.spec.files import SpecFiles
from koalesce.toolchain.download import Downloader, DownloadFailed
from koalesce.toolchain.network import Network
from koalesce.yaml import Manifest, load_manifests


def component_objects(component: Component, files: SpecFiles, *, cancel: Cancel | None = None) -> list[dict[str, Any]]:
    """The objects of a component, in the order of its manifests, as they stand there.

    InvalidDocument for what is no manifest, UsageError for a file that isn't there, ProvisionError for one that can't be fetched.
    """
    found: list[Manifest] = []
    for source in component.manifests:
        match source:
            case str():
                paths = files.resolve(source)
                found += load_manifests(paths, shown=[files.shown(path) for path in paths])
            case RemoteManifest():
                found += load_manifests([fetch(source, cancel=cancel)], shown=[source.url])
            case Kustomization() | Chart():
                kind = "kustomizations" if isinstance(source, Kustomization) else "Helm charts"
                raise ProvisionError(f"component {component.name}: {kind} are not supported by this version")
    return [manifest.object for manifest in found]


def fetch(source: RemoteManifest, *, cache: Path | None = None, cancel: Cancel | None = None) -> Path:
    """The file of a URL, out of the cache if it was fetched before; ProvisionError if it can't be had or is another one."""
    folder = (cache or cache_dir()) / "manifests"
    path = folder / f"{source.sha256}.yaml"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{source.sha256}.{os.getpid()}"
    try:
        Downloader(Network(), cancel=cancel).fetch(source.url, source.sha256, partial)
    except DownloadFailed as error:
        hint = "keep the manifest as a file beside the spec, if this machine can't reach it"
        raise ProvisionError(error.message, hint=hint) from error
    partial.replace(path)
    return path
