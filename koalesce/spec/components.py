"""The `components` section: what a spec installs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from koalesce.spec.common import Flag, Model, ObjectName, PositiveDuration, Text
from koalesce.spec.entries import StepEntry


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

    url: Annotated[Text, AfterValidator(_web_address)]
    """Where it is."""

    sha256: Annotated[Text, AfterValidator(_sha256)]
    """What it must be."""


class Kustomization(Model):
    """A folder for kustomize."""

    kustomize: Text
    """The folder."""


class Chart(Model):
    """A Helm chart."""

    helm: Text
    """The chart: a folder or an archive."""

    values: Mapping[str, Any] = Field(default_factory=dict)
    """Its values."""


ManifestSource = Text | RemoteManifest | Kustomization | Chart


class ComponentPatch(Model):
    """A change of the component's objects before they are applied."""

    resource: Text = Field(examples=["daemonset/kube-router"])
    """Which objects: KIND or KIND/NAME, as they stand in the manifests."""

    namespace: Text | None = None
    """Only those of this namespace."""

    merge: Mapping[str, Any]
    """What to merge into them; lists by their keys (strategic merge), null removes."""


class Component(Model):
    """Something that is installed before the tests."""

    name: ObjectName
    """What it's called; `needs`, `cluster.network` and expressions name it so."""

    needs: tuple[Text, ...] = ()
    """Components that have to be ready first."""

    namespace: ObjectName = "kube-system"
    """For its namespaced objects that name none."""

    manifests: tuple[ManifestSource, ...] = Field(min_length=1)
    """Files, folders and globs, or other sources of manifests."""

    expressions: Flag = False
    """Whether `${{ }}` in the manifests is filled in."""

    images: Mapping[Text, Text] = Field(default_factory=dict)
    """References to rewrite: a whole reference, or one without tag for all of its tags."""

    patches: tuple[ComponentPatch, ...] = ()
    """Changes of its objects."""

    ready: tuple[StepEntry, ...] | None = None
    """Assertions that say when it's ready. Default: workloads rolled out, CRDs Established, APIServices Available, Jobs complete, bare Pods Ready."""

    timeout: PositiveDuration | None = None
    """By when it must be ready."""
