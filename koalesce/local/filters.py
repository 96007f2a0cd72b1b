"""What programs of a node look after: chains of kube-proxy and kube-router, and what routing programs have learnt.

They are waited for once objects are as they were. Chains that don't come back by themselves are made anew; routes are left as they are.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import time
from dataclasses import field, replace
from pathlib import Path

from koalesce.local import iptables, nodefixes, routes
from koalesce.local.netns import NetNamespace
from koalesce.local.nodestate import NodeState, look_again
from koalesce.records import dataclass

_FOLLOW = 1.5  # seconds in which they follow Services, pods, policies and each other
_PAUSE = 0.05
_METRICS_PORT = 10249
# When kube-proxy was last to write its rules, and when it has, of each address family (k8s.io/kubernetes/pkg/proxy/metrics).
_WRITTEN = re.compile(rb"^kubeproxy_sync_proxy_rules_last_(queued_)?timestamp_seconds(\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Filters:
    """The chains of one node on the way back. `has_other_pods`: kube-router's rules are about other pods than at first.

    `was` and `is_` tell whose pods had, and have, which addresses: where a controller has another pod in place of one, kube-proxy leads there.
    `stays` are routes that programs have learnt since the first state, and had not withdrawn when an earlier way back waited for that.
    """

    name: str
    pid: int
    first: NodeState
    has_other_pods: bool
    end: float
    was: iptables.Addresses = field(default_factory=dict)
    is_: iptables.Addresses = field(default_factory=dict)
    stays: frozenset[str] = frozenset()

    def put_right(self, seen: NodeState) -> list[str]:
        """Have them be as at first, or as kube-proxy makes them of what there is, which is `first` from then on; what is different then."""
        follows = min(self.end, time.monotonic() + _FOLLOW)
        while (self._differing(seen) or self._learnt_since(seen) - self.stays) and time.monotonic() < follows:
            time.sleep(_PAUSE)
            seen = look_again(self.pid, seen)
        self.stays = self._learnt_since(seen)
        differing = self._differing(seen)
        if "kube-router" in differing:
            nodefixes.carry_out(nodefixes.tables(self.first, seen, stays=iptables.is_proxys), self.pid)
            seen = look_again(self.pid, seen)
        if "kube-proxy" in differing and self._renew():
            seen = look_again(self.pid, seen)
            self.first = with_chains_of(self.first, seen, iptables.is_proxys)
            self.was = {**self.was, **self.is_}
        return [f"{self.name}: the rules of {program} have changed" for program in self._differing(seen)]

    def _differing(self, now: NodeState) -> list[str]:
        """Whose rules differ."""
        texts = ((self.first.iptables, now.iptables), (self.first.iptables6, now.iptables6))
        is_other = any(iptables.proxys_differ(*each, was=self.was, is_=self.is_) for each in texts)
        found = ["kube-proxy"] if is_other else []
        if not self.has_other_pods and any(iptables.routers_differ(*each) for each in texts):
            found.append("kube-router")
        return found

    def _learnt_since(self, now: NodeState) -> frozenset[str]:
        """What routing programs may have still to withdraw; they have learnt it since the first state was noted, perhaps just after."""
        learnt = {line for line in (*now.routes, *now.routes6) if routes.is_learnt(line)}
        return frozenset(learnt - {*self.first.routes, *self.first.routes6})

    def _renew(self) -> bool:
        """Have kube-proxy begin anew, and wait until it has written all of its rules; False where it doesn't."""
        began = time.time()
        end_service(self.pid, "kube-proxy")
        while time.monotonic() < self.end:
            found = _WRITTEN.findall(get(self.pid, _METRICS_PORT, "/metrics"))
            families = {family for queued, family, _ in found if queued}
            if families and families <= {family for queued, family, at in found if not queued and float(at) > began}:
                return True
            time.sleep(_PAUSE)
        return False


def with_chains_of(first: NodeState, now: NodeState, whose: iptables.Whose = iptables.is_looked_after) -> NodeState:
    """The state of before, with the chains that there are now of those who look after theirs."""
    return replace(
        first,
        iptables=iptables.renewed(first.iptables, now.iptables, whose),
        iptables6=iptables.renewed(first.iptables6, now.iptables6, whose),
    )


def get(pid: int, port: int, path: str) -> bytes:
    """What a program of a node answers to its own node with 200; nothing otherwise."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    inside = NetNamespace.of_process(pid)
    with (
        contextlib.closing(inside),
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException),
    ):
        with inside.entered():
            connection.connect()
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read() if response.status == http.client.OK else b""
    return b""


def end_service(init: int, name: str) -> None:
    """End a service of a node, which its init starts again."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            program = (path / "cmdline").read_bytes().split(b"\0")[0].decode()
            if parent == init and program.endswith(f"/{name}"):
                os.kill(int(path.name), signal.SIGKILL)
