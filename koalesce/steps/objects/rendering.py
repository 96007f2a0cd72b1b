"""Objects out of sources: files, the web, kustomize and Helm. Their programs run here, and only here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from koalesce import process
from koalesce.assets import cache_dir
from koalesce.errors import ProvisionError, UsageError
from koalesce.process import Cancel
from koalesce.records import dataclass
from koalesce.steps.base import Files, StepContext
from koalesce.steps.objects.kustomizing import way_out
from koalesce.steps.objects.sources import REGISTRY, Chart, Kustomization, ManifestSource, RemoteManifest
from koalesce.yaml import Manifest, load_manifests, parse_manifests
from koalesce.yaml.reader import MANIFEST_LIMITS

_HOOK = "helm.sh/hook"
_WEIGHT = "helm.sh/hook-weight"
_BEFORE = frozenset({"pre-install", "crd-install"})
_AFTER = "post-install"
_INSTALL = {
    "helm": ("a Helm chart needs the program helm", "install it: https://helm.sh/docs/intro/install"),
    "kustomize": (
        "a kustomization needs the program kustomize or kubectl",
        "install one of them: https://kubectl.docs.kubernetes.io/installation/kustomize",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Makes objects of sources. `namespace` is that of charts that name none, `kubernetes` the version that they are made for.

    `timeout` is in seconds, for each source.
    """

    files: Files
    namespace: str
    kubernetes: str = ""
    timeout: float = 120.0
    cancel: Cancel | None = None

    @classmethod
    def of(cls, context: StepContext, namespace: str | None = None) -> Renderer:
        """The renderer of a step."""
        return cls(
            files=context.files, namespace=namespace or context.namespace, kubernetes=context.cluster.kubernetes,
            timeout=context.scope.remaining(), cancel=context.scope.cancel,
        )  # fmt: skip

    def manifests(self, source: ManifestSource) -> list[Manifest]:
        """The objects of a source, in the order in which to apply them.

        InvalidDocument for what is no manifest, UsageError for a file that isn't there, a program that isn't installed, or sources
        that it refuses, ProvisionError for what can't be fetched.
        """
        match source:
            case str():
                paths = self.files.resolve(source)
                return load_manifests(paths, shown=[_shown(path) for path in paths])
            case RemoteManifest():
                return load_manifests([fetch(source, cancel=self.cancel)], shown=[source.url])
            case Kustomization():
                return self._kustomized(source)
            case Chart():
                return _installed([_in_namespace(found, source.namespace) for found in self._templated(source)])

    def _kustomized(self, source: Kustomization) -> list[Manifest]:
        folder = self.files.confined(source.kustomize)
        if way := way_out(folder):
            self.files.beyond(f"{source} reads beyond its folder: {way}")
        own = shutil.which("kustomize")
        command = [own, "build"] if own else [_found("kubectl", source, _INSTALL["kustomize"]), "kustomize"]
        self.files.runs(command[0])
        return self._run([*command, str(folder)], source)

    def _templated(self, source: Chart) -> list[Manifest]:
        is_local = not source.helm.startswith(REGISTRY)
        chart = str(self.files.confined(source.helm)) if is_local else source.helm
        if not is_local:
            self.files.beyond(f"{source} comes from a registry, where it may have been replaced")
        helm = _found("helm", source, _INSTALL["helm"])
        self.files.runs(helm)
        command = [
            helm, "template", source.name, chart,
            "--namespace", source.namespace or self.namespace, "--include-crds", "--skip-tests", "--values", "-",
        ]  # fmt: skip
        command += ["--kube-version", self.kubernetes] if self.kubernetes else []
        command += ["--version", source.version] if source.version else []
        return self._run(command, source, stdin=json.dumps(dict(source.values)).encode())

    def _run(self, command: Sequence[str], source: ManifestSource, *, stdin: bytes | None = None) -> list[Manifest]:
        done = process.run(
            command, stdin=stdin, cwd=self.files.folder, timeout=self.timeout, cancel=self.cancel,
            cap=MANIFEST_LIMITS.size, dies_with_us=True,
        )  # fmt: skip
        program = Path(command[0]).name
        if done.code:
            raise UsageError(f"{source}: {program} refused it: {done.err.strip() or f'exit code {done.code}'}")
        if done.truncated:
            raise UsageError(f"{source}: {program} wrote more than {MANIFEST_LIMITS.size:,} bytes")
        return parse_manifests(done.out, f"{source} ({program})")


def fetch(source: RemoteManifest, *, cache: Path | None = None, cancel: Cancel | None = None) -> Path:
    """The file of a URL, out of the cache if it was fetched before; ProvisionError if it can't be had or is another one."""
    from koalesce.toolchain.download import Downloader, DownloadFailed  # imported here: validation fetches nothing
    from koalesce.toolchain.network import Network

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


def _found(program: str, source: ManifestSource, missing: tuple[str, str]) -> str:
    path = shutil.which(program)
    if path is None:
        raise UsageError(f"{source}: {missing[0]}, which isn't on PATH", hint=missing[1])
    return path


def _in_namespace(manifest: Manifest, namespace: str | None) -> Manifest:
    """With the namespace of its chart, if it names none; kinds without namespaces lose it again when they are applied."""
    metadata = manifest.object["metadata"]
    if namespace is None or metadata.get("namespace"):
        return manifest
    return Manifest({**manifest.object, "metadata": {**metadata, "namespace": namespace}}, manifest.path, manifest.line)


def _installed(manifests: Sequence[Manifest]) -> list[Manifest]:
    """What an installation has, in its order: hooks before it by their weight, all else, hooks after it.

    https://helm.sh/docs/topics/charts_hooks
    """
    before, rest, after = [], [], []
    for manifest in manifests:
        hooks = _hooks(manifest.object)
        if not hooks:
            rest.append(manifest)
        elif hooks & _BEFORE:
            before.append(manifest)
        elif _AFTER in hooks:
            after.append(manifest)
    return [*sorted(before, key=_weight), *rest, *sorted(after, key=_weight)]


def _hooks(obj: dict[str, Any]) -> set[str]:
    written = (obj["metadata"].get("annotations") or {}).get(_HOOK, "")
    return {word.strip() for word in written.split(",") if word.strip()}


def _weight(manifest: Manifest) -> int:
    written = str(manifest.object["metadata"]["annotations"].get(_WEIGHT, "0"))
    return int(written) if written.lstrip("-").isdigit() else 0


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
