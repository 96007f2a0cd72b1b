"""Nodes that join a cluster which is up, and nodes that leave it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from koalesce.errors import ClusterError
from koalesce.local import kubelet
from koalesce.local.api import Api
from koalesce.local.bringup import Bringup

Object = Mapping[str, Any]
_NODES = "/api/v1/nodes"
_CREATING, _READY = 30.0, 60.0
_KEPT = ("labels", "annotations")  # of what a Node says of itself; the rest the API server writes anew


def check_new(bringup: Bringup, name: str) -> None:
    """Raise ClusterError unless a node is planned and isn't part of the cluster."""
    known = [spec.name for spec in bringup.request.nodes]
    if name not in known:
        raise ClusterError(f"there is no node {name}; there are: {', '.join(known)}")
    if name in bringup.nodes and name not in bringup.gone:
        raise ClusterError(f"{name} is part of the cluster already")


def check_leaving(bringup: Bringup, name: str) -> None:
    """Raise ClusterError for a node that the cluster can't be without."""
    if any(spec.name == name for spec in bringup.request.controls):
        raise ClusterError(f"{name} runs a control plane: it can't be removed")


def join(bringup: Bringup, name: str, boot: Callable[[str], None], before: Object | None = None) -> None:
    """Have a node join: its Node object first, as it was `before` if it was there, and then what runs on it."""
    spec = next(spec for spec in bringup.request.nodes if spec.name == name)
    api = bringup.api()
    try:
        deadline = bringup.deadline(_CREATING)
        node = again(before) if before is not None else kubelet.node_object(spec)
        api.create(_NODES, node, keep_trying=lambda: deadline.pause(f"the Node object of {name}"))
    finally:
        api.close()
    boot(name)


def again(node: Object) -> dict[str, Any]:
    """What to create for a Node to be as this one was, but for what its kubelet says."""
    metadata = {key: node["metadata"][key] for key in ("name", *_KEPT) if key in node["metadata"]}
    spec = {key: value for key, value in node["spec"].items() if key != "taints"}
    taints = [taint for taint in node["spec"].get("taints", ()) if not taint["key"].startswith("node.kubernetes.io/")]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {**spec, "taints": taints},
        "status": {"addresses": node.get("status", {}).get("addresses", []), **kubelet.UNTOLD},
    }


def await_ready(bringup: Bringup, name: str) -> None:
    """Wait until a node is Ready and takes pods; ClusterError with what it says otherwise."""
    api = bringup.api()
    said = ""

    def is_ready() -> bool:
        nonlocal said
        status, body = api.request("GET", f"{_NODES}/{name}")
        said = body.decode("utf-8", "replace")[:500] if status != 200 else _unready(json.loads(body))
        return not said

    try:
        bringup.deadline(_READY).until(f"{name} to be Ready again", is_ready, why=lambda: said)
    finally:
        api.close()


def _unready(node: Object) -> str:
    """Why a node takes no pods; empty if it does."""
    closed = [taint["key"] for taint in node["spec"].get("taints", ()) if taint["key"] == kubelet.NOT_READY]
    ready = [each for each in node["status"].get("conditions", ()) if each["type"] == "Ready"]
    if not ready or ready[0]["status"] != "True":
        return str(ready[0].get("message")) if ready else "it has no condition Ready yet"
    return f"it has the taint {closed[0]}" if closed else ""


def node_of(bringup: Bringup, name: str) -> Object:
    """The Node object of a node that is part of the cluster."""
    api = bringup.api()
    try:
        return api.get(f"{_NODES}/{name}")
    finally:
        api.close()


def leave(bringup: Bringup, name: str) -> None:
    """Have a node leave, whatever has become of it: switched off at once, if it runs, and its Node object deleted."""
    if name in bringup.nodes:
        bringup.cut_power(name)
    api = bringup.api()
    try:
        _delete(api, bringup, name)
    finally:
        api.close()


def _delete(api: Api, bringup: Bringup, name: str) -> None:
    """Delete a Node object and see that it is gone."""
    deadline = bringup.deadline(_CREATING)
    while True:
        status, body = api.request("DELETE", f"{_NODES}/{name}")
        if status == 404:
            return
        deadline.pause(f"the Node object of {name} to go", why=lambda said=body: said.decode("utf-8", "replace")[:500])  # type: ignore[misc]
