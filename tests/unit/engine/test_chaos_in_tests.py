"""Chaos in a test: how long it lasts, and that the cluster is whole again after it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest

from koalesce.cluster import Fault
from koalesce.engine import readiness
from tests.fakes import FakeFault, FakeFaults, made, result
from tests.unit.engine.test_case import World

STOP = "chaos: {stop: {node: worker-1, component: kubelet}, id: away}"


def world(tmp_path: Path, *steps: str, ready: str = "True", more: str = "") -> World:
    lines = "".join(f"  - {step}\n" for step in steps)
    found = World(tmp_path, f"cluster: {{nodes: 3}}\ntests:\n- name: t\n  disruptive: true\n  steps:\n{lines}{more}")
    for name in ("worker-1", "worker-2"):
        status = {"conditions": [{"type": "Ready", "status": ready, "message": "kubelet is away"}]}
        found.fake.kube.add(made("Node", name, spec={}, status=status))
    found.stage = dataclasses.replace(
        found.stage, cluster=dataclasses.replace(found.stage.cluster, faults=FakeFaults(), nodes=found.fake.nodes)
    )
    return found


def faults(world: World) -> FakeFaults:
    service = world.stage.cluster.faults
    assert isinstance(service, FakeFaults)
    return service


def test_it_lasts_until_its_stop(tmp_path: Path) -> None:
    running = world(tmp_path, STOP, "stop: away")

    assert running.run().status == "passed"
    assert faults(running).log == ["begin", "undo"]


def test_without_a_stop_it_lasts_until_the_end_of_the_test(tmp_path: Path) -> None:
    running = world(tmp_path, STOP, "{wait-for: {resource: pod/never, exists: true}, timeout: 100ms}")

    assert running.run().status == "failed"
    assert faults(running).log == ["begin", "undo"]


def test_it_ends_before_the_invariants_are_looked_at(tmp_path: Path) -> None:
    invariants = "invariants: [{exec: {node: worker-1, command: [look]}}]\n"
    running = world(tmp_path, STOP, more=invariants)
    log = faults(running).log
    running.fake.nodes[0].answer = lambda command, _stdin: (log.append(command[-1]), result(command))[1]

    assert running.run().status == "passed"
    assert log == ["begin", "undo", "look"]


def test_it_ends_before_the_cleanup_of_its_test(tmp_path: Path) -> None:
    cleanup = "{delete: {resource: node/worker-2}}"
    running = world(tmp_path, STOP, more=f"  cleanup: [{cleanup}]\n")
    faults(running).log = done = cast("list[str]", running.fake.kube.requests)

    finished = running.run()

    assert finished.status == "passed", finished.message
    kinds = [each if isinstance(each, str) else each[0] for each in done]
    assert kinds == ["create", "begin", "undo", "delete", "delete"]


def test_for_a_time_it_lasts_as_long_as_its_step(tmp_path: Path) -> None:
    running = world(tmp_path, "chaos: {linkDown: {node: worker-1}, for: 50ms}", "sleep: 1ms")

    assert running.run().status == "passed"

    assert faults(running).log == ["begin", "undo"]
    assert [status for _, _, status in running.steps()] == ["passed", "passed"]


def test_an_interruption_ends_it_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = world(tmp_path, "chaos: {linkDown: {node: worker-1}, for: 1h}")
    begin = FakeFaults.begin

    def begin_and_interrupt(service: FakeFaults, fault: Fault) -> FakeFault:
        begun = begin(service, fault)
        running.interrupt.set("interrupted")
        return begun

    monkeypatch.setattr(FakeFaults, "begin", begin_and_interrupt)

    assert running.run().status == "error"
    assert faults(running).log == ["begin", "undo"]


def test_what_can_not_be_undone_is_an_error_of_the_test(tmp_path: Path) -> None:
    running = world(tmp_path, STOP)
    faults(running).undo_error = "kubelet doesn't stay up"

    finished = running.run()

    assert finished.status == "error"
    assert "stop kubelet on node worker-1: could not be undone: kubelet doesn't stay up" in finished.message


def test_a_cluster_that_does_not_become_whole_again_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "WHOLE_TIMEOUT", 0.2)
    running = world(tmp_path, STOP, "stop: away", ready="Unknown")

    finished = running.run()

    assert finished.status == "error"
    assert "the cluster that chaos has disturbed is not whole again" in finished.message
    assert "worker-1: kubelet is away; worker-2: kubelet is away" in finished.message


def test_a_test_without_chaos_waits_for_no_node(tmp_path: Path) -> None:
    assert world(tmp_path, "sleep: 1ms", ready="Unknown").run().status == "passed"
