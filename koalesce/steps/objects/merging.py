"""Strategic merge of objects, as `kubectl patch --type=strategic` does it on the server, for objects that are still in a file.

https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

# By which fields the elements of a list are told apart; all other lists are replaced. The first that all elements have counts.
_MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "hostAliases": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "ports": ("containerPort", "port"),
    "readinessGates": ("conditionType",),
    "resourceClaims": ("name",),
    "secrets": ("name",),
    "topologySpreadConstraints": ("topologyKey",),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
    "webhooks": ("name",),
}
_UNITED = frozenset({"finalizers"})  # lists of plain values that are merged
_BUILT_IN = ("", "apps", "autoscaling", "batch", "policy", "extensions")


def strategic_merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an object with a patch merged in: maps by key, known lists by their elements' keys, null removes.

    `$patch: delete` removes an element or a map, `$patch: replace` takes the place of all that was there. Objects of kinds that
    aren't built in have their lists replaced, as the API server does it.
    """
    group = str(target.get("apiVersion", "")).rpartition("/")[0]
    by_key = group in _BUILT_IN or group.endswith(".k8s.io")
    return _merge_maps(target, patch, by_key=by_key)


def _merge_maps(target: Mapping[str, Any], patch: Mapping[str, Any], *, by_key: bool) -> dict[str, Any]:
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    merged = copy.deepcopy(dict(target))
    for key, value in patch.items():
        if value is None or (isinstance(value, Mapping) and value.get("$patch") == "delete"):
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            before = merged.get(key)
            merged[key] = _merge_maps(before if isinstance(before, Mapping) else {}, value, by_key=by_key)
        elif isinstance(value, list) and isinstance(merged.get(key), list) and by_key:
            merged[key] = _merge_lists(key, merged[key], value)
        elif key != "$patch":
            merged[key] = copy.deepcopy(value)
    return merged


def _merge_lists(field: str, target: list[Any], patch: list[Any]) -> list[Any]:
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    if field in _UNITED:
        return [*target, *(item for item in patch if item not in target)]
    key = _merge_key(field, [*target, *patch])
    if key is None:
        return copy.deepcopy(patch)
    merged = [copy.deepcopy(item) for item in target]
    for item in patch:
        place = next((index for index, old in enumerate(merged) if old[key] == item[key]), None)
        if item.get("$patch") == "delete":
            merged = [old for old in merged if old[key] != item[key]]
        elif place is None:
            merged.append(copy.deepcopy(item))
        else:
            merged[place] = _merge_maps(merged[place], item, by_key=True)
    return merged


def _merge_key(field: str, items: list[Any]) -> str | None:
    for key in _MERGE_KEYS.get(field, ()):
        if all(isinstance(item, Mapping) and key in item for item in items):
            return key
    return None
