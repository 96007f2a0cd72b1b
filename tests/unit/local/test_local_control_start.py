"""Starts of control planes, on nodes that are fakes: what waits for what."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import pytest

from koalesce import pki
from koalesce.errors import ClusterError
from koalesce.local import control_start
from koalesce.local.api import Deadline
from koalesce.local.control_start import ControlStart
from koalesce.local.node import RunningNode, Service
from koalesce.local.request import from_mapping
from koalesce.pki import Pki, PkiRequest


@dataclass
class Node:
    name: str
    started: list[str] = field(default_factory=list)

    def start(self, service: Service) -> None:
        self.started.append(service.name)

    def log_tail(self, service: str) -> str:
        return f"{service} has nothing to say"


class Server:
    """An API server, by the answers that it gives one after the other; the last one from then on."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = iter(statuses)
        self.asked: list[str] = []
        self.last = 0

    def request(self, _method: str, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        self.last = next(self.statuses, self.last)
        return self.last, b""

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return pki.create(
        tmp_path_factory.mktemp("pki"), PkiRequest(nodes={}, api_names=("127.0.0.1",), etcd_names=("127.0.0.1",))
    )


def start(node: Node, certificates: Pki, *, looks: int = 10) -> ControlStart:
    """The start of a cluster whose patience ends after so many looks."""
    left = iter(range(looks))

    def check() -> None:
        if next(left, None) is None:
            raise ClusterError("it does not stay up")

    request = {"name": "c", "kubernetes_version": "1.37.2", "nodes": [], "state_dir": "/state"}
    nodes: Mapping[str, RunningNode] = {node.name: cast("RunningNode", node)}
    return ControlStart(
        request=from_mapping(request), images={}, nodes=nodes, pki=certificates, deadline=Deadline(600, check)
    )


def serve(monkeypatch: pytest.MonkeyPatch, *statuses: int) -> Server:
    server = Server(*statuses)
    monkeypatch.setattr(control_start, "Api", lambda _pki, _address: server)
    return server


def test_controllers_start_once_the_api_server_beside_them_is_healthy(
    monkeypatch: pytest.MonkeyPatch, certificates: Pki
) -> None:
    server, node = serve(monkeypatch, 0, 500, 200), Node("control-plane")
    controls = start(node, certificates)

    controls.start_controllers_later(controls.request.control, threading.Event()).join()

    assert server.asked == ["/healthz"] * 3
    assert node.started == ["kube-controller-manager", "kube-scheduler"]


def test_that_controllers_can_not_be_started_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, certificates: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    serve(monkeypatch, 500)
    node = Node("control-plane")
    controls = start(node, certificates, looks=2)

    with caplog.at_level(logging.WARNING):
        controls.start_controllers_later(controls.request.control, threading.Event()).join()

    assert node.started == []
    assert caplog.messages == ["the controllers of control-plane can't be started: it does not stay up"]


def test_of_a_cluster_that_ends_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, certificates: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    serve(monkeypatch, 500)
    controls, stopping = start(Node("control-plane"), certificates, looks=2), threading.Event()
    stopping.set()

    with caplog.at_level(logging.WARNING):
        controls.start_controllers_later(controls.request.control, stopping).join()

    assert caplog.messages == []
