"""What steps take of a cluster, by how they are written."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.steps import STEPS

NODES, HOST, SCTP = frozenset({"node-exec"}), frozenset({"host-exec"}), frozenset({"sctp"})
PODS, ANSWERS = frozenset({"pod-probe"}), frozenset({"pod-probe", "probe-answers"})
WHO = frozenset({"pod-probe", "probe-icmp"})
A = {"from": {"pods": "app=a"}, "to": {"pods": "app=b", "port": 80}}


@pytest.mark.parametrize(
    ("key", "written", "taken"),
    [
        ("exec", {"pod": "a", "command": ["id"]}, frozenset()),
        ("exec", {"nodes": "all", "command": ["id"]}, NODES),
        ("exec", {"fixture": "c1", "command": ["id"]}, frozenset()),
        ("logs", {"node": "worker-1", "component": "kubelet"}, NODES),
        ("logs", {"pods": "app=web", "contains": "x"}, frozenset()),
        ("bgp", {"node": "worker-1"}, NODES),
        ("node-state", {"node": "worker-1", "routes": {}}, NODES),
        ("node-state", {"fixture": "c1", "routes": {}}, frozenset()),
        ("snapshot", {"id": "a", "nodes": "all", "kinds": ["routes"]}, NODES),
        ("copy", {"from": "a", "to": {"node": "worker-1", "path": "/a"}}, NODES),
        ("copy", {"from": {"pod": "web", "path": "/a"}, "to": "a"}, frozenset()),
        ("connectivity", A, PODS),
        ("connectivity", {**A, "expect": "dropped"}, PODS),
        ("connectivity", {**A, "expect": "rejected"}, WHO),
        ("connectivity", {**A, "expect": "refused"}, WHO),
        ("connectivity", {**A, "expect": ["refused", "rejected"]}, PODS),
        ("connectivity", {**A, "expect": {"default": "allowed", "cells": [{"to": "b", "expect": "rejected"}]}}, WHO),
        ("connectivity", {**A, "expect": "${{ vars.hope }}"}, PODS),
        ("connectivity", {**A, "sourceIP": "preserved"}, ANSWERS),
        ("connectivity", {**A, "sourceIP": "node"}, ANSWERS | NODES),
        ("connectivity", {**A, "payload": {"size": 1400}}, ANSWERS),
        ("connectivity", {**A, "distribution": {}}, ANSWERS),
        ("connectivity", {**A, "control": {"ownNode": True}}, PODS | NODES),
        ("connectivity", {**A, "from": {"node": "worker-1"}, "expect": "rejected"}, NODES),
        ("tcp", A, PODS),
        ("tcp", {**A, "send": "x"}, ANSWERS),
        ("udp", {**A, "expect": "rejected"}, WHO),
        ("background", {"id": "a", "run": {"tcp": A}}, frozenset()),  # what it runs says that itself
        ("background", {"id": "a", "every": "1s", "run": {"tcp": A}}, ANSWERS),
        ("background", {"id": "a", "every": "1s", "run": {"tcp": {**A, "from": {"node": "worker-1"}}}}, NODES),
        ("connectivity", {"from": "host", "to": {"node": "worker-1", "port": 22}}, HOST),
        ("connectivity", {"from": {"fixture": "c1"}, "to": {"node": "a", "port": 9, "protocol": "SCTP"}}, SCTP),
        ("connectivity", {"from": {"pod": "a"}, "to": {"pod": "b", "protocols": ["TCP", "SCTP"]}}, PODS | SCTP),
        ("tcp", {"from": {"host": True}, "to": {"address": "127.0.0.1", "port": 80}}, frozenset()),
        ("udp", {"from": {"fixture": "c1"}, "to": {"address": "10.0.0.1", "port": 80}}, frozenset()),
        ("dns", {"from": {"pod": "a"}, "name": "kubernetes"}, ANSWERS),
        ("dns", {"from": "host", "name": "a", "server": "${{ cluster.dnsIP }}"}, HOST),
        ("curl", {"url": "http://localhost:8080/"}, frozenset()),
        ("curl", {"url": "http://[::1]:8080/"}, frozenset()),
        ("curl", {"url": "http://${{ outputs.address }}/"}, frozenset()),
        ("curl", {"url": "http://${{ nodes[0].address }}:30080/"}, HOST),
        ("curl", {"url": "http://web/", "via": {"service": "web"}}, frozenset()),
        ("curl", {"from": {"node": "worker-1"}, "url": "http://127.0.0.1/"}, NODES),
        ("metrics", {"nodes": "all", "name": "a"}, frozenset()),
        ("metrics", {"url": "http://a/", "from": {"pod": "a"}, "name": "a"}, ANSWERS),
        ("network-policy", {"suite": "generated"}, NODES),
        ("network-policy", {"suite": "upstream", "protocols": ["SCTP"]}, NODES | SCTP),
        ("capture", {"id": "a", "pod": "web"}, NODES),
        ("capture", {"id": "a", "fixture": "c1"}, frozenset()),
        ("chaos", {"kill": {"node": "worker-1"}}, frozenset({"chaos"})),
        ("apply", {"file": "a.yaml"}, frozenset()),
        ("script", {"run": "true"}, frozenset()),
    ],
)
def test_takes(key: str, written: dict[str, Any], taken: frozenset[str]) -> None:
    assert STEPS[key].takes(written) == taken
