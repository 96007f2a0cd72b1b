"""Gives a new cluster its DNS before the controllers are up: CoreDNS' pod, and the endpoints of its Service, as they would make them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from koalesce.local import addons
from koalesce.local.api import Api, Deadline
from koalesce.local.request import LocalRequest
from koalesce.records import dataclass

_READY = "Ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDns:
    """CoreDNS on the first control plane of a cluster in the making, whose add-ons are there.

    CoreDNS ends where it can't reach the API server, and its second start may wait: `open_way` has pods of that node reach it, or no longer,
    by its Service's address before kube-proxy leads them there; `leads` tells whether that does.
    """

    request: LocalRequest
    api: Api
    deadline: Deadline
    open_way: Callable[[bool], None]
    leads: Callable[[], bool]
    said_by: Callable[[str], str]

    def give(self) -> None:
        """Make what isn't there yet of CoreDNS, and return once it's ready; at once where there is no telling when its pod could run, or where."""
        taints = {taint["key"] for taint in self.request.control.taints} - {addons.TOLERATED}
        if self.request.kube_proxy == "none" or taints:
            return
        self.deadline.until("the first node to be Ready", self._is_open, why=lambda: self.said_by("kubelet"))
        self.open_way(True)
        self._give()
        self.deadline.until("kube-proxy to lead to the API server", self.leads, why=lambda: self.said_by("kube-proxy"))
        self.open_way(False)

    def _give(self) -> None:
        api = self.api
        deployment = api.get(addons.DEPLOYMENT)
        if not deployment.get("status"):
            create = functools.partial(api.create, keep_trying=lambda: self.deadline.pause("CoreDNS' objects"))
            path, pod = addons.pod(create(*addons.replica_set(deployment)), self.request.control.name)
            name = create(path, pod)["metadata"]["name"]
            found = self._await_pod(f"{path}/{name}")
            if found and not api.get(addons.ENDPOINTS)["items"]:
                create(*addons.endpoints(api.get(addons.SERVICE), found))

    def _is_open(self) -> bool:
        return is_ready(_asked(self.api, f"/api/v1/nodes/{self.request.control.name}"))

    def _await_pod(self, path: str) -> Mapping[str, Any]:
        """The pod once it's ready; nothing if it's gone."""
        pod: Mapping[str, Any] = {}

        def is_settled() -> bool:
            nonlocal pod
            pod = _asked(self.api, path)
            return pod.get("code") == 404 or is_ready(pod)

        self.deadline.until("CoreDNS to be ready", is_settled, why=lambda: addons.states(self.api))
        return {} if pod.get("code") == 404 else pod


def is_ready(obj: Mapping[str, Any]) -> bool:
    """Whether a node or a pod says that it is Ready."""
    conditions = () if obj.get("kind") == "Status" else obj.get("status", {}).get("conditions", ())
    return any(each["type"] == _READY and each["status"] == "True" for each in conditions)


def _asked(api: Api, path: str) -> Mapping[str, Any]:
    """The answer to a GET, which may be a Status; empty while nobody answers."""
    status, body = api.request("GET", path)
    found: Mapping[str, Any] = json.loads(body) if status in (200, 404) else {}
    return found
