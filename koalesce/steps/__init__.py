"""The step types, by their keys in specs. A type is loaded when it's first asked for: a spec uses few of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from koalesce.steps.base import Step

_PLACES = {  # module and class
    "annotate": ("annotate", "Annotate"),
    "apply": ("apply", "Apply"),
    "assert": ("assert_", "Assert"),
    "background": ("background", "InBackground"),
    "bgp": ("bgp", "Bgp"),
    "capture": ("capture", "Capture"),
    "chaos": ("chaos", "Chaos"),
    "connectivity": ("connectivity", "Connectivity"),
    "copy": ("copy", "Copy"),
    "create": ("create", "Create"),
    "curl": ("curl", "Curl"),
    "delete": ("delete", "Delete"),
    "dns": ("dns", "Dns"),
    "events": ("events", "Events"),
    "exec": ("exec", "Exec"),
    "jsonpath": ("jsonpath", "JsonPath"),
    "label": ("label", "Label"),
    "logs": ("logs", "Logs"),
    "metrics": ("metrics", "Metrics"),
    "network-policy": ("network_policy", "NetworkPolicyStep"),
    "node-state": ("node_state", "NodeState"),
    "nodes": ("nodes_step", "Nodes"),
    "patch": ("patch", "Patch"),
    "perf": ("perf", "Perf"),
    "port-forward": ("port_forward", "PortForward"),
    "restarts": ("restarts", "Restarts"),
    "rollout": ("rollout_step", "Rollout"),
    "scale": ("scale", "Scale"),
    "script": ("script", "Script"),
    "sleep": ("sleep", "Sleep"),
    "snapshot": ("snapshot", "Snapshot"),
    "stability": ("stability", "Stability"),
    "stop": ("stop", "Stop"),
    "tcp": ("tcp", "Tcp"),
    "udp": ("udp", "Udp"),
    "unchanged": ("unchanged", "Unchanged"),
    "update": ("update", "Update"),
    "use": ("use", "Use"),
    "wait-for": ("wait_for", "WaitFor"),
}


class _Registry(Mapping[str, "type[Step]"]):
    """Names are known without loading anything."""

    def __getitem__(self, key: str) -> type[Step]:
        module, name = _PLACES[key]
        kind: type[Step] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


STEPS: Mapping[str, type[Step]] = _Registry()
