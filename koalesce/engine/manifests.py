"""The manifests of components: from the project's files, the web, kustomize and Helm."""

from __future__ import annotations

from typing import Any

from koalesce.process import Cancel
from koalesce.spec.components import Component
from koalesce.spec.files import SpecFiles
from koalesce.steps.objects.rendering import Renderer


def component_objects(
    component: Component, files: SpecFiles, *, kubernetes: str = "", cancel: Cancel | None = None
) -> list[dict[str, Any]]:
    """The objects of a component, in the order of its manifests, as they stand there; `kubernetes` is the version they are for.

    InvalidDocument for what is no manifest, UsageError for a file or a program that isn't there, ProvisionError for what can't be
    fetched.
    """
    renderer = Renderer(files=files, namespace=component.namespace, kubernetes=kubernetes, cancel=cancel)
    return [manifest.object for source in component.manifests for manifest in renderer.manifests(source)]
