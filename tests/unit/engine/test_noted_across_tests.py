"""What setup and a test note of nodes is there for later tests and for clean-ups, not for another spec's."""

from __future__ import annotations

import json
from pathlib import Path

from koalesce.engine.case import run_setup
from koalesce.engine.provision import passed_on
from tests.fakes import result
from tests.unit.engine.test_case import World

SPEC = """\
cluster: {nodes: 3}
setup: {steps: [{snapshot: {id: first, of: rules, nodes: [worker-1]}}]}
tests:
- {name: notes, disruptive: true, steps: [{snapshot: {id: second, of: rules, nodes: [worker-2]}}]}
- name: compares
  serial: true
  steps: [{node-state: {unchanged: first}, timeout: 200ms}, {node-state: {unchanged: second}}]
  cleanup: [{node-state: {unchanged: second}, timeout: 200ms}]
"""


def world(tmp_path: Path) -> tuple[World, list[dict[str, int]]]:
    made = World(tmp_path, SPEC)
    rules = [{"priority": 7}]
    made.take_cluster(nodes=made.fake.nodes)
    for node in made.fake.nodes:
        node.answer = lambda command, _stdin: result(command, out=json.dumps(rules))
    return made, rules


def test_what_was_noted_earlier_is_compared_later(tmp_path: Path) -> None:
    running, rules = world(tmp_path)
    setup = running.loaded.spec.setup
    assert setup is not None
    run_setup(running.stage, setup)
    assert running.run(0).status == "passed"

    same = running.run(1)
    rules.append({"priority": 8})
    other = running.run(1)

    assert (same.status, same.message) == ("passed", "")
    assert other.status == "failed"
    assert "worker-1: rule has come: priority=8" in other.message
    assert "clean-up: " in other.message
    assert "worker-2: rule has come: priority=8" in other.message


def test_what_was_not_noted_is_an_error(tmp_path: Path) -> None:
    running, _ = world(tmp_path)

    finished = running.run(1)

    assert finished.status == "error"
    assert "no snapshot first was noted: the step that does so has not run, or could not look" in finished.message


def test_the_next_spec_on_the_cluster_knows_nothing_of_it(tmp_path: Path) -> None:
    running, _ = world(tmp_path)
    running.run(0)
    assert running.stage.noted

    after = passed_on(running.stage, running.stage.session, running.loaded, tmp_path)

    assert not after.noted
    assert not any(site.noted for site in after.sites.values())
