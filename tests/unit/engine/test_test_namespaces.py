"""The namespaces of tests: made, shared, left alone; and in several clusters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from koalesce.cluster import Cluster
from koalesce.engine.case import run_setup
from koalesce.engine.namespaces import labels
from koalesce.engine.sites import Site
from koalesce.spec.models import Setup
from tests.fakes import FakeCluster, FakeNode, made
from tests.unit.engine.test_case import Kube, World


def names(world: World) -> list[str]:
    return [what["object"]["metadata"]["name"] for what in world.verbs("create")]


def gone(world: World) -> list[str]:
    return [what["name"] for what in world.verbs("delete")]


def test_a_namespace_is_as_its_author_says(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
vars: {team: blue}
tests:
  - name: t
    matrix: {zone: [north]}
    namespace:
      name: ${{ vars.team }}-${{ matrix.zone }}
      labels: {team: "${{ vars.team }}"}
      annotations: {note: "${{ test.name }}"}
      podSecurity: baseline
    steps: [{script: 'test "${{ namespace }}" = blue-north'}]
""",
    )

    assert world.run().status == "passed"

    metadata = world.verbs("create")[0]["object"]["metadata"]
    assert metadata == {
        "name": "blue-north",
        "labels": {
            "team": "blue",
            "pod-security.kubernetes.io/enforce": "baseline",
            "koalesce.dev/run": "r1",
            "koalesce.dev/test": "t-zone-north",
        },
        "annotations": {"note": "t [zone=north]"},
    }
    assert gone(world) == ["blue-north"]


def test_further_namespaces_come_and_go_with_the_test(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, namespaces: {peer: {}, named: {name: fixed}}, "
        "steps: [{script: 'test ${{ namespaces.named }} = fixed -a -n ${{ namespaces.peer }}'}]}]",
    )

    finished = world.run()

    own, peer, fixed = names(world)
    assert (finished.status, fixed) == ("passed", "fixed")
    assert own.startswith("t-")
    assert peer.startswith("t-peer-")
    assert gone(world) == [fixed, peer, own]


def test_one_that_is_there_is_used_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, namespace: {name: default, labels: {a: b}}, steps: [{sleep: 1ms}]}]")
    world.fake.add(made("Namespace", "default"))

    assert world.run().status == "passed"
    assert (names(world), gone(world)) == ([], [])
    assert "labels" not in world.fake.get("namespace", "default")["metadata"]  # type: ignore[index]  # it is there


def test_one_that_is_still_going_away_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, namespace: {name: team}, steps: [{sleep: 1ms}]}]")
    kube = cast("Kube", world.fake.kube)
    going = made("Namespace", "team")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.fake.add(going)
    looks: list[int] = []
    real = kube.get

    def get(resource: Any, name: str, *rest: Any, **options: Any) -> Any:
        if resource.plural == "namespaces" and len(looks) < 3:
            looks.append(1)
            if len(looks) == 3:
                kube.objects = {key: value for key, value in kube.objects.items() if key[1] != "namespaces"}
        return real(resource, name, *rest, **options)

    kube.get = get  # type: ignore[method-assign]  # the namespace goes at the third look

    assert world.run().status == "passed"
    assert names(world) == ["team"]


def test_a_name_that_kubernetes_does_not_take_is_an_error_of_the_test(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, namespace: {name: '${{ setup.namespace }}_x'}, steps: [{sleep: 1ms}]}]",
    )
    world.stage = replace(world.stage, values={**world.stage.values, "setup": {"namespace": "a"}})

    finished = world.run()

    assert finished.status == "error"
    assert 'tests[0].namespace.name: "a_x" is no name that Kubernetes takes' in finished.message


def test_the_setup_has_its_namespace_too(tmp_path: Path) -> None:
    world = World(tmp_path, "setup: {namespace: {name: common}, steps: [{sleep: 1ms}]}\n")

    done = run_setup(world.stage, cast("Setup", world.loaded.spec.setup))

    assert done.given["namespace"] == "common"
    assert (names(world), gone(world)) == (["common"], [])
    assert done.undo() == []
    assert gone(world) == ["common"]


class Two(World):
    """A stage with two clusters, east and west."""

    def __init__(self, tmp_path: Path, tests: str) -> None:
        super().__init__(tmp_path, f"clusters: {{east: {{}}, west: {{}}}}\n{tests}")
        self.west = FakeCluster(nodes=[FakeNode("worker-9")])
        self.west.kube = Kube()
        west = cast("Cluster", self.west.real())
        self.stage = replace(
            self.stage,
            sites={
                "east": Site(cluster=self.stage.cluster, values={"nodes": [{"name": "worker-1"}]}),
                "west": Site(cluster=west, values={"nodes": [{"name": "worker-9"}]}),
            },
        )

    def done(self, fake: FakeCluster, verb: str) -> list[Any]:
        return [what for done, what in fake.kube.requests if done == verb]


def test_a_step_acts_in_the_cluster_that_it_names(tmp_path: Path) -> None:
    world = Two(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}}
      - {cluster: west, wait-for: {resource: configmap/a, exists: true}, timeout: 50ms}
""",
    )

    finished = world.run()

    assert finished.status == "failed"
    assert "configmap/a does not exist" in finished.message
    namespaces = [what["object"]["metadata"]["name"] for what in world.done(world.west, "create")]
    assert namespaces == [what["object"]["metadata"]["name"] for what in world.verbs("create")]
    assert [what["name"] for what in world.done(world.west, "delete")] == namespaces


def test_a_cluster_that_no_step_names_is_left_alone(tmp_path: Path) -> None:
    world = Two(
        tmp_path, "tests: [{name: t, cluster: west, steps: [{script: 'test ${{ nodes[0].name }} = worker-9'}]}]"
    )

    assert world.run().status == "passed"
    assert world.verbs("create") == []
    assert len(world.done(world.west, "create")) == 1


def test_values_and_outputs_go_from_cluster_to_cluster(tmp_path: Path) -> None:
    world = Two(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - cluster: west
        script: echo ${{ nodes[0].name }}
        outputs: {west: {regex: "worker-."}}
      - foreach: {item: c, in: [east, west]}
        cluster: ${{ c }}
        script: echo ${{ c }} ${{ nodes[0].name }}
        outputs: {all: {regex: "worker-."}}
      - script: test '${{ outputs.west }} ${{ outputs.all }}' = 'worker-9 ["worker-1", "worker-9"]'
""",
    )

    finished = world.run()

    assert (finished.status, finished.message) == ("passed", "")


def test_a_cluster_that_there_is_none_of_is_an_error(tmp_path: Path) -> None:
    world = Two(
        tmp_path,
        "tests: [{name: t, steps: [{foreach: {item: c, in: [north]}, cluster: '${{ c }}', sleep: 1ms}]}]",
    )

    finished = world.run()

    assert finished.status == "error"
    assert 'there is no cluster "north"' in finished.message


def test_things_of_the_same_name_in_two_clusters_are_both_undone(tmp_path: Path) -> None:
    role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, rules: []}"
    world = Two(
        tmp_path,
        f"tests: [{{name: t, steps: [{{apply: {{object: {role}}}}}, {{cluster: west, apply: {{object: {role}}}}}]}}]",
    )

    assert world.run().status == "passed"
    assert "r" in [what["name"] for what in world.verbs("delete")]
    assert "r" in [what["name"] for what in world.done(world.west, "delete")]


def test_labels_tell_tests_apart_that_begin_alike() -> None:
    long = "a name so long that what stands behind it, the cell of a matrix, is cut off"

    one, other = (labels("r1", f"{long} [size={size}]")["koalesce.dev/test"] for size in (1, 2))

    assert one != other
    assert max(len(one), len(other)) <= 63
    assert labels("r1", "t [size=1]")["koalesce.dev/test"] == "t-size-1"
