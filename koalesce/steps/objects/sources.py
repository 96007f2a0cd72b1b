"""Where objects come from: written in the spec, in files, on the web, or made by kustomize or Helm."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, field_validator, model_validator

from koalesce.errors import UsageError
from koalesce.expressions import resolve
from koalesce.models import Model
from koalesce.steps.base import Files, StepContext
from koalesce.yaml import InvalidDocument, load_manifests

KUSTOMIZATION_FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_ARCHIVES = (".tgz", ".tar.gz")
REGISTRY = "oci://"
_MEMORY = "objects of sources"
_Text = Annotated[StrictStr, Field(min_length=1)]


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("a SHA-256 has 64 hexadecimal digits (sha256sum prints it)")
    return text


def _web_address(text: str) -> str:
    if not re.match(r"https?://[^/\s]+", text):
        raise ValueError(f'"{text}" is no address that begins with https:// or http://')
    return text


class RemoteManifest(Model):
    """A manifest from the web, known by its checksum."""

    url: Annotated[_Text, AfterValidator(_web_address)]
    """Where it is."""

    sha256: Annotated[_Text, AfterValidator(_sha256)]
    """What it must be."""

    def __str__(self) -> str:
        return self.url


class Kustomization(Model):
    """A folder for kustomize: what `kustomize build` (or `kubectl kustomize`, whichever is installed) makes of it."""

    kustomize: _Text
    """The folder, relative to the spec."""

    def __str__(self) -> str:
        return f"kustomization {self.kustomize}"

    def problem(self, files: Files) -> str | None:
        """Why it's no folder for kustomize; UsageError if it isn't there."""
        folder = files.confined(self.kustomize)
        if any((folder / name).is_file() for name in KUSTOMIZATION_FILES):
            return None
        return f"{self.kustomize}: no folder with a kustomization.yaml"


class Chart(Model):
    """A Helm chart, as `helm template` renders it: CRDs and hooks of an installation included, tests left out.

    Hooks are applied in Helm's order, before and after all else; nothing waits for one to end.
    """

    helm: _Text
    """The chart: a folder or an archive, relative to the spec, or `oci://…` in a registry."""

    values: Mapping[str, Any] = Field(default_factory=dict)
    """Its values."""

    release: _Text | None = None
    """What the release is called; default: the chart's own name in its path."""

    namespace: _Text | None = None
    """For its objects that name none, and `.Release.Namespace`."""

    version: _Text | None = None
    """Which version, of a chart in a registry."""

    @field_validator("release")
    @classmethod
    def _check_release(cls, name: str | None) -> str | None:
        if name and "${{" not in name and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?", name):
            raise ValueError(f'"{name}" is no name for a release: lower-case letters, digits and "-", at most 53')
        return name

    @model_validator(mode="after")
    def _check_version(self) -> Chart:
        if "${{" not in self.helm and self.helm.startswith(REGISTRY) != (self.version is not None):
            raise ValueError(
                "version is for a chart in a registry (oci://…): one in a folder has the version of its Chart.yaml"
                if self.version is not None
                else "a chart in a registry needs a version"
            )
        return self

    def __str__(self) -> str:
        return f"chart {self.helm}"

    @property
    def name(self) -> str:
        """What the release is called."""
        stem = re.sub(r"(-v?\d[^/]*)?\.(tgz|tar\.gz)$", "", self.helm.rstrip("/").rpartition("/")[2])
        return self.release or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:53] or "release"

    def problem(self, files: Files) -> str | None:
        """Why it's no chart; UsageError if it isn't there."""
        if self.helm.startswith(REGISTRY):
            return None
        path = files.confined(self.helm)
        if (path / "Chart.yaml").is_file() or (path.is_file() and path.name.endswith(_ARCHIVES)):
            return None
        return f"{self.helm}: neither a folder with a Chart.yaml nor an archive ({', '.join(_ARCHIVES)})"


ManifestSource = _Text | RemoteManifest | Kustomization | Chart


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


Sources = Annotated[tuple[ManifestSource, ...], BeforeValidator(_one_or_more)]


class ObjectSources(Model):
    """Objects in the spec, in files, and from elsewhere."""

    misplaced: ClassVar[Mapping[str, str]] = {
        field: f"write file: {{{field}: …}}" for field in ("helm", "kustomize", "url")
    }

    object: dict[str, Any] | None = None
    """An object, as it would stand in a manifest."""
    objects: tuple[dict[str, Any], ...] = ()
    """Several objects."""
    file: ManifestSource | None = None
    """A file, a folder or a glob of manifests, relative to the spec; or `{url, sha256}`, `{kustomize: FOLDER}`,
    `{helm: CHART, values: {}}`."""
    files: Sources = ()
    """Several of these."""
    expressions: StrictBool = False
    """Whether `${{ }}` in the files is filled in."""

    @model_validator(mode="after")
    def _check_inline(self) -> ObjectSources:
        for obj in self.inline:
            check_object(obj, generated=self._takes_generated_names())
        return self

    @property
    def inline(self) -> tuple[dict[str, Any], ...]:
        """The objects that stand in the spec."""
        return (self.object, *self.objects) if self.object is not None else self.objects

    @property
    def sources(self) -> tuple[ManifestSource, ...]:
        """Where else objects come from."""
        return (self.file, *self.files) if self.file is not None else self.files

    @property
    def has_sources(self) -> bool:
        """Whether anything says where objects come from."""
        return bool(self.inline or self.sources)

    @property
    def source_names(self) -> list[str]:
        """All sources in words."""
        return [*(str(source) for source in self.sources), *(called(obj) for obj in self.inline)]

    def source_problems(self, files: Files) -> list[str]:
        """What is wrong with files whose names are known, as sentences; nothing is executed, nothing fetched."""
        return [problem for source in self.sources for problem in _problems(source, files)]

    def read_objects(self, context: StepContext, namespace: str | None = None) -> list[dict[str, Any]]:
        """All objects, made once for all attempts; KoalesceError where they can't be had.

        `namespace` is that of charts that name none.
        """
        from koalesce.steps.objects.rendering import Renderer  # imported here: few steps need more than files

        if _MEMORY not in context.memory:
            renderer = Renderer.of(context, namespace)
            found = [manifest.object for source in self.sources for manifest in renderer.manifests(source)]
            filled = [resolve(obj, context.variables) for obj in found] if self.expressions else found
            context.memory[_MEMORY] = [*self.inline, *filled]
        return context.memory[_MEMORY]  # type: ignore[no-any-return]  # as it was put there

    @classmethod
    def _takes_generated_names(cls) -> bool:
        return False


def check_object(obj: Mapping[str, Any], *, generated: bool = False) -> None:
    """Raise ValueError if a map is no object with a name; `generated`: or with a part that its name is made of."""
    metadata = obj.get("metadata")
    missing = [field for field in ("apiVersion", "kind") if not isinstance(obj.get(field), str)]
    names = ("name", "generateName") if generated else ("name",)
    if not isinstance(metadata, Mapping) or not any(isinstance(metadata.get(name), str) for name in names):
        missing.append("metadata.name")
    if missing:
        raise ValueError(f"an object needs {', '.join(missing)}")


def called(obj: Mapping[str, Any]) -> str:
    """An object as it's called in a step: `configmap/web`."""
    metadata = obj["metadata"]
    return f"{str(obj['kind']).lower()}/{metadata.get('name') or metadata.get('generateName')}"


def _problems(source: ManifestSource, files: Files) -> Iterator[str]:
    try:
        match source:
            case str() if "${{" not in source:
                paths = files.resolve(source)
                if not load_manifests(paths, shown=[_shown(path) for path in paths]):
                    yield f"{source}: has no objects"
            case Kustomization() | Chart() if "${{" not in str(source):
                if problem := source.problem(files):
                    yield problem
    except InvalidDocument as error:
        yield from (problem.headline for problem in error.problems)
    except UsageError as error:
        yield str(error)


def _shown(path: Path) -> str:
    """A file as people know it: relative to the working folder where it's below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
