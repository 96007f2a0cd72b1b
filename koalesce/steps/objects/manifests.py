"""Objects before they are applied: their order, namespace and labels, their images, and changes to them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from koalesce.errors import UsageError
from koalesce.steps.objects.json_patch import NotPatched, json_patched
from koalesce.steps.objects.merging import strategic_merge

Object = Mapping[str, Any]
Change = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_FIRST = {"Namespace": 0, "CustomResourceDefinition": 1}
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def apply_order(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """Namespaces first, then CustomResourceDefinitions, then all else in the order given."""
    return sorted((dict(obj) for obj in objects), key=lambda obj: _FIRST.get(obj["kind"], 2))


def delete_order(objects: Iterable[Object]) -> list[dict[str, Any]]:
    """All else in the order given, then CustomResourceDefinitions, Namespaces last."""
    return sorted((dict(obj) for obj in objects), key=lambda obj: -_FIRST.get(obj["kind"], 2))


def with_namespace(obj: Object, namespace: str | None, labels: Mapping[str, str]) -> dict[str, Any]:
    """A copy with labels added, and with the namespace if it names none (None: the kind has no namespaces)."""
    metadata = dict(obj["metadata"])
    if namespace is None:
        metadata.pop("namespace", None)
    else:
        metadata["namespace"] = metadata.get("namespace") or namespace
    if labels:
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    return {**obj, "metadata": metadata}


def image_references(objects: Iterable[Object]) -> list[str]:
    """The images of all containers and image volumes in objects, as they are written, each once, in order."""
    return list(dict.fromkeys(holder[field] for obj in objects for holder, field in _images(obj)))


def rewrite_images(objects: Iterable[Object], images: Mapping[str, str]) -> list[dict[str, Any]]:
    """Copies with image references replaced.

    A key is a whole reference, or one without tag for all of its tags; short forms count (`busybox` is
    `docker.io/library/busybox`). A new reference without tag keeps the old tag. UsageError for a key that no image fits.
    """
    rewritten = [copy.deepcopy(dict(obj)) for obj in objects]
    known = ", ".join(image_references(rewritten)) or "none"
    unused = dict(images)
    for obj in rewritten:
        for holder, field in _images(obj):
            for old, new in images.items():
                if _fits(old, holder[field]):
                    holder[field] = _replaced(holder[field], new)
                    unused.pop(old, None)
                    break
    if unused:
        known = ", ".join(image_references(objects)) or "none"
        raise UsageError(
            f"no image is {' or '.join(unused)}, so it can't be rewritten", hint=f"the manifests have: {known}"
        )
    return rewritten


def patch_objects(
    objects: Iterable[Object], resource: str, change: Change, *, namespace: str | None = None
) -> list[dict[str, Any]]:
    """Copies in which those that `resource` (KIND or KIND/NAME) names are changed: by a strategic merge, or by a list of operations of a JSON patch.

    UsageError if there are none, or where an operation can't be done.
    """
    kind, _, name = resource.partition("/")
    patched = [dict(obj) for obj in objects]
    chosen = [index for index, obj in enumerate(patched) if is_named(obj, kind, name, namespace)]
    if not chosen:
        known = ", ".join(dict.fromkeys(f"{obj['kind'].lower()}/{obj['metadata'].get('name')}" for obj in patched))
        raise UsageError(
            f"no object is {resource}, so it can't be patched", hint=f"the manifests have: {known or 'none'}"
        )
    for index in chosen:
        if isinstance(change, Mapping):
            patched[index] = strategic_merge(patched[index], change)
            continue
        try:
            patched[index] = json_patched(patched[index], change)
        except NotPatched as error:
            named = f"{patched[index]['kind'].lower()}/{patched[index]['metadata'].get('name')}"
            raise UsageError(f"{named} can't be patched: {error}") from error
    return patched


def _images(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Whatever holds an image reference: (map, key)."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key in _CONTAINERS and isinstance(child, list):
                yield from (
                    (one, "image") for one in child if isinstance(one, dict) and isinstance(one.get("image"), str)
                )
            elif key == "volumes" and isinstance(child, list):
                yield from _image_volumes(child)
            else:
                yield from _images(child)
    elif isinstance(value, list):
        for child in value:
            yield from _images(child)


def _image_volumes(volumes: Sequence[Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for volume in volumes:
        source = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(source, dict) and isinstance(source.get("reference"), str):
            yield source, "reference"


def _fits(wanted: str, image: str) -> bool:
    from koalesce.toolchain.reference import Reference  # imported here: the toolchain is not for validation

    try:
        ours, theirs = Reference.parse(wanted), Reference.parse(image)
    except UsageError:
        return wanted == image
    if (ours.domain, ours.path) != (theirs.domain, theirs.path):
        return False
    return not _tail(wanted) or ours == theirs


def _replaced(image: str, new: str) -> str:
    return new if _tail(new) else new + _tail(image)


def _tail(image: str) -> str:
    """The tag and digest of a reference as written, with their separators; empty if it has none."""
    name, at, digest = image.partition("@")
    colon = name.find(":", name.rfind("/") + 1)
    return (name[colon:] if colon >= 0 else "") + at + digest


def is_named(obj: Object, kind: str, name: str = "", namespace: str | None = None) -> bool:
    """Whether an object of a file is meant by a kind as people write it, and (if given) by a name and a namespace."""
    metadata = obj["metadata"]
    if (name and metadata.get("name") != name) or (namespace and metadata.get("namespace") != namespace):
        return False
    wanted, actual = kind.partition(".")[0].lower(), obj["kind"].lower()
    return wanted in (actual, f"{actual}s", f"{actual}es", f"{actual[:-1]}ies", *_SHORT.get(actual, ()))


_SHORT: Mapping[str, tuple[str, ...]] = {
    "configmap": ("cm",),
    "customresourcedefinition": ("crd", "crds"),
    "daemonset": ("ds",),
    "deployment": ("deploy",),
    "namespace": ("ns",),
    "networkpolicy": ("netpol",),
    "pod": ("po",),
    "service": ("svc",),
    "serviceaccount": ("sa",),
    "statefulset": ("sts",),
}
