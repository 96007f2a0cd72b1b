"""The profile `failover: fast`: a cluster that misses a lost node within seconds, where others take the better part of a minute, and minutes for its pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A kubelet renews its Lease after a quarter of this (KEP-589), and that is what counts; its status follows.
KUBELET: Mapping[str, Any] = {
    "nodeLeaseDurationSeconds": 4,
    "nodeStatusUpdateFrequency": "1s",
    "nodeStatusReportFrequency": "10s",
}
FLAGS: Mapping[str, Mapping[str, str]] = {
    "kube-controller-manager": {
        "node-monitor-period": "500ms",
        "node-monitor-grace-period": "6s",  # not 4s: on a busy machine a living kubelet may be late
        "node-eviction-rate": "10",
        "secondary-node-eviction-rate": "10",
    },
    "kube-apiserver": {
        "default-not-ready-toleration-seconds": "2",
        "default-unreachable-toleration-seconds": "2",
    },
}
