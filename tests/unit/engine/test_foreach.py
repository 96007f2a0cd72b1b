"""A step for each item: of a list, of pods, of nodes; and the lists that its outputs are."""

from __future__ import annotations

from pathlib import Path

from tests.fakes import running_pod
from tests.unit.engine.test_case import World


def world(tmp_path: Path, *steps: str) -> World:
    return World(
        tmp_path,
        "tests:\n- name: t\n  namespace: {name: demo}\n  steps:\n" + "".join(f"  - {step}\n" for step in steps),
    )


def test_over_pods_by_their_names(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        "{script: 'echo ${{ pod.name }} ${{ pod.ip }}', foreach: {item: pod, in: {pods: {selector: app=web}}},"
        " outputs: {lines: {jsonpath: '{.stdout}'}}}",
        """script: {run: "echo '${{ outputs.lines }}'", stdout: '["web-0 10.0.0.1", "web-1 10.0.0.2"]'}""",
    )
    for name, ip in (("web-1", "10.0.0.2"), ("web-0", "10.0.0.1"), ("other", "10.0.0.3")):
        pod = running_pod(name, app="other" if name == "other" else "web")
        pod["metadata"]["namespace"] = "demo"
        pod["status"]["podIPs"] = [{"ip": ip}]
        found.fake.kube.add(pod)

    finished = found.run()

    assert finished.status == "passed", finished.message


def test_over_nodes_of_a_role(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        "{script: 'echo ${{ n.name }} ${{ n.address }}', foreach: {item: n, in: {nodes: workers}}}",
    )

    assert found.run().status == "passed"
    assert [title for _, title, _ in found.steps()] == [
        f"script echo {node.name} {node.address} [{node.name}]" for node in found.fake.nodes
    ]


def test_a_name_that_says_nothing_of_the_item_gets_it(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        "{name: same for all, script: 'true', foreach: {item: colour, in: [red, blue]}}",
        "{name: 'in ${{ colour }}', script: 'true', foreach: {item: colour, in: [red]}}",
        "{name: 'in ${{ test.name }}', script: 'true', foreach: {item: colour, in: [red]}}",
    )

    assert found.run().status == "passed"
    assert [title for _, title, _ in found.steps()] == [
        "same for all [red]",
        "same for all [blue]",
        "in red",
        "in t [red]",
    ]


def test_none_at_all_is_a_failure(tmp_path: Path) -> None:
    found = world(tmp_path, "{script: 'true', foreach: {item: pod, in: {pods: {selector: app=web}}}}")

    finished = found.run()

    assert finished.status == "failed"
    assert "app=web" in finished.message


def test_a_node_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    finished = world(tmp_path, "{script: 'true', foreach: {item: n, in: {nodes: [worker-9]}}}").run()

    assert (finished.status, finished.message) == (
        "error", "script true: there is no node worker-9; the cluster has worker-1, worker-2",
    )  # fmt: skip


def test_a_condition_comes_before_the_items(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        "{script: 'true', foreach: {item: p, in: {pods: {selector: a=b}}}, requires: [sctp]}",
        "script: 'true'",
    )

    assert found.run().status == "passed"
    assert [status for _, _, status in found.steps()] == ["skipped", "passed"]


def test_a_condition_may_be_on_an_output_by_any_matcher(tmp_path: Path) -> None:
    found = world(
        tmp_path,
        "{script: 'echo 3', outputs: {n: {jsonpath: '{.json}'}}}",
        "{script: 'true', if: {value: '${{ outputs.n }}', gt: 2}}",
        "{script: 'false', if: {value: '${{ outputs.n }}', in: [4, 5]}}",
        "{script: 'true', if: {value: '${{ outputs.n > 2 }}', equals: true}}",
    )

    finished = found.run()

    assert finished.status == "passed", finished.message
    assert [status for _, _, status in found.steps()] == ["passed", "passed", "skipped", "passed"]
