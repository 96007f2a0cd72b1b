"""What is told of a control plane whose API server doesn't answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from koalesce.errors import ClusterError
from koalesce.local.api import Api, Deadline
from koalesce.local.control_start import ControlStart
from koalesce.local.node import RunningNode
from koalesce.local.request import from_mapping
from koalesce.pki import Pki


class Silent(Api):
    def __init__(self) -> None:
        pass

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        return 0, b"refused"


class Logs:
    """A node whose services have all written a line."""

    name = "cp"

    def log_tail(self, service: str) -> str:
        return f"{service} has begun"


@pytest.mark.parametrize(
    ("kind", "said"), [("static", ["kubelet", "kube-apiserver", "etcd"]), ("process", ["kube-apiserver", "etcd"])]
)
def test_of_a_static_pod_its_kubelet_is_heard_as_well(kind: str, said: list[str]) -> None:
    wanted = from_mapping(
        {
            "name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/state", "control_plane": kind,
            "nodes": [{"name": "cp", "role": "control-plane"}],
        }
    )  # fmt: skip
    start = ControlStart(
        request=wanted,
        images={},
        nodes={"cp": cast(RunningNode, Logs())},
        pki=cast(Pki, None),
        deadline=Deadline(-1, lambda: None),
    )

    with pytest.raises(ClusterError) as caught:
        start.await_answer(Silent(), "/healthz", wanted.control)

    assert [line.strip(" |") for line in caught.value.message.splitlines() if "has begun" in line] == [
        f"{name} has begun" for name in said
    ]
