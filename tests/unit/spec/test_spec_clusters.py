"""Several clusters in one spec."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.spec import InvalidSpecs, LoadedSpec, load

HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\n"
TWO = "clusters: {east: {nodes: 1}, west: {nodes: 2, podCIDR: 10.1.0.0/16}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(project: Path, text: str, **options: Any) -> LoadedSpec:
    (project / "s.yaml").write_text(HEAD + text)
    return load(Path("s.yaml"), root=project, **{"env": {}, **options})


def refused(project: Path, text: str) -> list[str]:
    with pytest.raises(InvalidSpecs) as caught:
        loaded(project, text)
    return [problem.headline for problem in caught.value.problems]


def step(text: str) -> str:
    return f"{TWO}tests: [{{name: t, steps: [{{{text}}}]}}]\n"


def test_each_has_a_request_of_its_own(project: Path) -> None:
    spec = loaded(project, TWO + "vars: {n: 1}\n")

    requests = [spec.request(name, "r", section=name) for name in spec.spec.cluster_specs]

    assert [(each.name, len(each.nodes), each.pod_cidr) for each in requests] == [
        ("east", 1, "10.244.0.0/16"),
        ("west", 2, "10.1.0.0/16"),
    ]


@pytest.mark.parametrize("provider", ["ssh", "qemu", "hcloud", "latitudesh, providers: {latitudesh: {project: p}}"])
def test_addresses_that_overlap_are_the_only_problem_whoever_makes_the_cluster(project: Path, provider: str) -> None:
    found = refused(project, f"cluster: {{nodes: 1, podCIDR: 10.96.0.0/12, provider: {provider}}}\n")

    assert len(found) == 1, found
    assert "addresses of pods (10.96.0.0/12) and of Services (10.96.0.0/16) overlap" in found[0]


def test_one_cluster_needs_no_name(project: Path) -> None:
    assert list(loaded(project, "cluster: {nodes: 1}\n").spec.cluster_specs) == [""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWO + "cluster: {nodes: 1}\n", "clusters: say cluster, or clusters for several, not both"),
        ("clusters: {}\n", "clusters: must not be empty"),
        (
            "clusters: {east: {nodez: 1}}\n",
            's.yaml:4:19: clusters.east.nodez: unknown field; did you mean "nodes"?',
        ),
        ("clusters: {East: {}}\n", '"East" is no name that Kubernetes takes'),
        (
            "clusters: {a: {etcd: {mode: external, endpoints: ['http://10.0.0.5:2379']}}}\n",
            "clusters.a: the local provider has no etcd.endpoints",
        ),
        (
            "clusters: {a: {nodes: 0, controlPlane: static}}\n",
            "clusters.a.controlPlane: a cluster without nodes has no",
        ),
        (
            "clusters: {a: {nodes: {controlPlane: 2}, etcd: {members: 3}}}\n",
            "clusters.a.etcd.members: 3 members are on as many control planes, and there are 2; nodes: {controlPlane: 3}",
        ),
        (
            "clusters: {a: {nodes: 3, failover: true}}\n",
            "clusters.a.failover: there is one control plane, and no other",
        ),
        ("clusters: {a: {kubernetes: '1.99'}}\n", "clusters.a.kubernetes: "),
        ("clusters: {a: {}, b: {network: cilium}}\n", 'clusters.b.network: "cilium" is neither a component'),
        ("clusters: {a: {podCIDR: 10.96.0.0/12}}\n", "clusters.a.podCIDR: addresses of pods"),
        (step("sleep: 1ms, cluster: wets"), 'steps[0].cluster: there is no cluster "wets"; did you mean "west"?'),
        (
            f"{TWO}tests: [{{name: t, cluster: north, steps: [{{sleep: 1ms}}]}}]\n",
            'tests[0].cluster: there is no cluster "north"; there are: east, west',
        ),
        (f"{TWO}setup: {{cluster: north, steps: [{{sleep: 1ms}}]}}\n", 'setup.cluster: there is no cluster "north"'),
        (
            "tests: [{name: t, steps: [{sleep: 1ms, cluster: a}]}]\n",
            "steps[0].cluster: the spec has one cluster, which has no name",
        ),
        (step("script: 'echo ${{ clusters.wets.name }}'"), 'there is no cluster "wets"; did you mean "west"?'),
        (
            step("script: 'echo ${{ nodes[\"worker-1\"].name }}'"),
            'there is no node "worker-1"',
        ),
    ],
)
def test_what_leads_nowhere_is_refused(project: Path, text: str, message: str) -> None:
    assert any(message in problem for problem in refused(project, text))


@pytest.mark.parametrize(
    "nodes",
    ["{controlPlane: 3, workers: 1}", "[{role: control-plane, count: 2}, {role: control-plane}, {}]"],
)
def test_several_control_planes_have_a_member_of_etcd_each_unless_there_are_to_be_fewer(
    project: Path, nodes: str
) -> None:
    names = ("control-plane-1", "control-plane-2", "control-plane-3")

    for etcd, expected in (("{}", names), ("{members: 1}", names[:1])):
        cluster = loaded(project, f"cluster: {{nodes: {nodes}, failover: true, etcd: {etcd}}}\n").cluster()
        assert cluster.etcd_members == expected


def test_nodes_are_those_of_the_cluster_that_a_step_is_for(project: Path) -> None:
    look = "script: 'echo ${{ nodes[\"worker-1\"].name }}', cluster: west"

    assert loaded(project, step(look)).spec.tests[0].steps[0].raw["cluster"] == "west"


def test_the_name_of_a_cluster_may_be_an_expression(project: Path) -> None:
    loaded(project, step("sleep: 1ms, cluster: '${{ c }}', foreach: {item: c, in: [east, west]}"))


@pytest.fixture
def manifest(project: Path) -> str:
    (project / "net.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: net}\n")
    return "manifests: [net.yaml]"


def test_a_component_is_for_the_first_unless_it_names_others(project: Path, manifest: str) -> None:
    text = f"{TWO}components: [{{name: a, {manifest}}}, {{name: b, cluster: [east, west], {manifest}}}]\n"

    a, b = loaded(project, text).spec.components

    assert [[each.is_for(name, "east") for name in ("east", "west")] for each in (a, b)] == [
        [True, False],
        [True, True],
    ]


def test_the_network_of_a_cluster_is_installed_there(project: Path, manifest: str) -> None:
    text = f"clusters: {{a: {{}}, b: {{network: net}}}}\ncomponents: [{{name: net, {manifest}}}]\n"

    assert refused(project, text) == [
        's.yaml:4:32: clusters.b.network: the component "net" isn\'t installed in the cluster "b"; '
        "name b in the component's cluster"
    ]
    loaded(project, text.replace("{name: net", "{name: net, cluster: b"))


def test_a_step_of_a_shared_group_names_a_cluster_of_the_spec(project: Path) -> None:
    (project / "shared.yaml").write_text(
        "apiVersion: koalesce.dev/v1alpha1\nkind: Steps\ngroups:\n  wait:\n    steps:\n    - {sleep: 1ms, cluster: wset}\n"
    )

    problems = refused(project, step("use: shared.yaml#wait"))

    assert problems == [
        'shared.yaml:6:29: groups.wait.steps[0].cluster: there is no cluster "wset"; did you mean "west"?'
    ]


def test_fast_failover_is_a_profile_over_which_the_spec_has_the_last_word(project: Path) -> None:
    own = "{nodes: 1, args: {kube-controller-manager: {node-monitor-grace-period: 9s, v: 4}}, kubelet: {nodeLeaseDurationSeconds: 8}"

    spec = loaded(project, f"clusters: {{fast: {own}, failover: fast}}, plain: {own}}}}}\n")

    fast, plain = (spec.request(name, "r", section=name) for name in ("fast", "plain"))
    assert fast.args["kube-controller-manager"] == {
        "node-monitor-period": "500ms", "node-monitor-grace-period": "9s", "node-eviction-rate": "10",
        "secondary-node-eviction-rate": "10", "v": "4",
    }  # fmt: skip
    assert fast.args["kube-apiserver"]["default-unreachable-toleration-seconds"] == "2"
    assert fast.nodes[0].kubelet["nodeStatusUpdateFrequency"] == "1s"
    assert [each.nodes[0].kubelet["nodeLeaseDurationSeconds"] for each in (fast, plain)] == [8, 8]
    assert plain.args == {"kube-controller-manager": {"node-monitor-grace-period": "9s", "v": "4"}}
    assert "nodeStatusUpdateFrequency" not in plain.nodes[0].kubelet
