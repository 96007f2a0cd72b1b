"""From a file to a spec that is ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import NodeRequest
from koalesce.durations import Duration
from koalesce.errors import UsageError
from koalesce.spec import InvalidSpecs, LoadedSpec, StepInvalid, load
from koalesce.steps.sleep import Sleep

HEAD = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: s}\n"
NODES = [{"name": "control-plane", "address": "10.0.0.1"}, {"name": "worker-1", "address": "10.0.0.2"}]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "koalesce.toml").write_text('env = ["REGISTRY"]\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(project: Path, text: str, **options: Any) -> LoadedSpec:
    (project / "s.yaml").write_text(HEAD + text)
    return load(project / "s.yaml", **{"env": {}, **options})


def refused(project: Path, text: str, **options: Any) -> list[str]:
    with pytest.raises(InvalidSpecs) as caught:
        loaded(project, text, **options)
    return [problem.headline for problem in caught.value.problems]


def step(project: Path, text: str, **options: Any) -> Any:
    spec = loaded(project, f"tests:\n  - name: t\n    steps:\n      - {text}\n", **options)
    return spec.spec.tests[0].steps[0]


def test_everything_has_a_default(project: Path) -> None:
    request = loaded(project, "").request("s-1", "r1")

    assert (request.name, request.run_id, request.provider, request.kubernetes) == ("s-1", "r1", "local", "")
    assert request.nodes == (
        NodeRequest(name="control-plane", role="control-plane"),
        NodeRequest(name="worker-1", role="worker"),
        NodeRequest(name="worker-2", role="worker"),
    )
    assert (request.network, request.dns, request.kube_proxy) == ("bridge", "coredns", "iptables")
    assert (request.pod_cidr, request.service_cidr) == ("10.244.0.0/16", "10.96.0.0/16")
    assert (request.etcd, request.settings, request.egress) == ({}, {}, "none")


def test_all_fields_of_the_cluster_come_into_the_request(project: Path) -> None:
    text = """
cluster:
  provider: local
  kubernetes: v1.37
  nodes:
    - {role: control-plane, labels: {tier: 1}}
    - {count: 2, taints: [{key: a, value: b, effect: NoSchedule}], zone: east}
    - {name: edge, taints: [{key: a, effect: NoExecute}]}
  kubeProxy: ipvs
  dns: none
  podCIDR: 10.0.0.0/16
  serviceCIDR: 10.1.0.0/16
  egress: host
  featureGates: {A: true}
  runtimeConfig: {api/all: true}
  args: {kubelet: {v: 4, max-pods: "20"}}
"""
    request = loaded(project, text).request("s", "r", images=("a:1",), preload=("b:1",))

    assert request.kubernetes == "1.37"
    taint = {"key": "a", "value": "b", "effect": "NoSchedule"}
    zone = {"topology.kubernetes.io/zone": "east"}
    assert request.nodes == (
        NodeRequest(name="control-plane", role="control-plane", labels={"tier": "1"}),
        NodeRequest(name="worker-1", role="worker", labels=zone, taints=(taint,)),
        NodeRequest(name="worker-2", role="worker", labels=zone, taints=(taint,)),
        NodeRequest(name="edge", role="worker", taints=({"key": "a", "effect": "NoExecute"},)),
    )
    assert (request.kube_proxy, request.dns, request.egress) == ("ipvs", "none", "host")
    assert (request.pod_cidr, request.service_cidr) == ("10.0.0.0/16", "10.1.0.0/16")
    assert request.feature_gates == {"A": True}
    assert request.runtime_config == {"api/all": "true"}
    assert request.args == {"kubelet": {"v": "4", "max-pods": "20"}}
    assert (request.images, request.preload) == (("a:1",), ("b:1",))


def test_nodes_have_sizes_and_settings_of_their_kubelets(project: Path) -> None:
    text = """
cluster:
  kubelet: {maxPods: 50, evictionHard: {memory.available: 5%}}
  nodes:
    - {role: control-plane, cpu: 2}
    - {cpu: 0.5, memory: 512Mi, kubelet: {maxPods: 5}}
"""
    control, worker = loaded(project, text).request("s", "r").nodes

    assert (control.cpu, control.memory, worker.cpu, worker.memory) == (2, 0, 0.5, 512 * 2**20)
    assert control.kubelet == {"maxPods": 50, "evictionHard": {"memory.available": "5%"}}
    assert worker.kubelet == {"maxPods": 5, "evictionHard": {"memory.available": "5%"}}


@pytest.mark.parametrize(
    ("section", "pods", "services"),
    [
        ("ipFamilies: [IPv6]", "fd00:10:244::/56", "fd00:10:96::/112"),
        ("ipFamilies: [IPv6, IPv4]", "fd00:10:244::/56,10.244.0.0/16", "fd00:10:96::/112,10.96.0.0/16"),
        (
            'ipFamilies: [IPv4, IPv6], podCIDR: ["fd01::/56", 10.1.0.0/16], serviceCIDR: "fd02::/112"',
            "10.1.0.0/16,fd01::/56",
            "10.96.0.0/16,fd02::/112",
        ),
    ],
)
def test_there_is_a_range_of_each_family(project: Path, section: str, pods: str, services: str) -> None:
    request = loaded(project, f"cluster: {{{section}}}").request("s", "r")

    assert (request.pod_cidr, request.service_cidr) == (pods, services)


def test_files_of_the_api_server_come_as_their_texts(project: Path) -> None:
    policy = "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}"
    (project / "audit.yaml").write_text(policy)

    request = loaded(project, "cluster: {auditPolicy: audit.yaml}").request("s", "r")

    assert (request.audit_policy, request.admission_configuration) == (policy, "")


def test_a_control_plane_alone_has_no_nodes(project: Path) -> None:
    assert loaded(project, "cluster: {nodes: 0}").request("s", "r").nodes == ()


def test_nodes_may_be_counted_by_kind(project: Path) -> None:
    request = loaded(project, "cluster: {nodes: {workers: 1}}").request("s", "r")

    assert [node.name for node in request.nodes] == ["control-plane", "worker-1"]


def test_names_of_nodes_that_are_made_up_must_not_be_taken(project: Path) -> None:
    text = "cluster: {nodes: [{role: control-plane}, {name: worker-1}, {name: worker, count: 2}]}"

    assert refused(project, text) == ['s.yaml:4:11: cluster.nodes: two nodes would be named "worker-1"']


def test_a_component_as_network_is_none_to_the_provider(project: Path) -> None:
    (project / "m.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    text = "cluster: {network: cni, dns: names}\ncomponents: [{name: cni, manifests: [m.yaml]}, {name: names, manifests: [m.yaml]}]"

    spec = loaded(project, text)

    assert (spec.spec.cluster.network, spec.spec.cluster.dns) == ("cni", "names")
    request = spec.request("s", "r")
    assert (request.network, request.dns) == ("none", "none")


def test_overrides_win_and_are_checked(project: Path) -> None:
    spec = loaded(project, 'cluster: {kubernetes: "1.37", nodes: 1}')

    assert spec.request("s", "r", kubernetes="1.34.4").kubernetes == "1.34.4"
    assert len(spec.request("s", "r", {"nodes": 2}).nodes) == 2
    with pytest.raises(UsageError, match=r"kubernetes: .*write a minor"):
        spec.request("s", "r", kubernetes="latest")


def test_an_unsupported_version_is_said_at_its_place(project: Path) -> None:
    (problem,) = refused(project, 'cluster: {kubernetes: "1.2"}')

    assert problem.startswith("s.yaml:4:23: cluster.kubernetes: Kubernetes 1.2 isn't supported")


def test_variables_refer_to_each_other_and_to_the_environment(project: Path) -> None:
    text = 'vars: {image: "${{ vars.registry }}/x:${{ vars.tag }}", registry: "${{ env.REGISTRY }}", tag: v1}'

    spec = loaded(project, text, env={"REGISTRY": "r.example.com", "SECRET": "s"})

    assert spec.variables == {"image": "r.example.com/x:v1", "registry": "r.example.com", "tag": "v1"}
    assert spec.scope["env"] == {"REGISTRY": "r.example.com"}
    assert loaded(project, text).variables == {"tag": "v1"}


def test_what_is_needed_before_the_run_must_have_a_value(project: Path) -> None:
    text = 'vars: {n: "${{ env.REGISTRY }}"}\ncluster: {nodes: "${{ vars.n }}"}\n'

    assert refused(project, text) == ["s.yaml:5:18: cluster.nodes: has no value before the run, and needs one here"]
    assert refused(project, 'tests: "${{ vars.tests }}"') == [
        's.yaml:4:8: tests: vars.tests: there is no variable "tests"',
    ]


def test_variables_of_the_command_line_take_the_type_that_is_declared(project: Path) -> None:
    text = 'vars: {count: 1, version: "1.30", on: false, items: [a]}'

    spec = loaded(project, text, variables={"count": "3", "version": "1.40", "on": "true", "items": "[b, c]", "x": "y"})

    assert spec.variables == {"count": 3, "version": "1.40", "on": True, "items": ["b", "c"]}


def test_values_of_variables_are_checked_where_they_are_used(project: Path) -> None:
    text = "vars: {nodes: 2, wait: soon}\ncluster: {nodes: '${{ vars.nodes }}'}\ntests: [{name: t, steps: [sleep: '${{ vars.wait }}']}]"

    assert refused(project, text) == [
        "s.yaml:6:34: tests[0].steps[0].sleep: 'soon' is not a duration; write it with a unit, such as 30s, 2m or 250ms"
    ]
    assert len(loaded(project, text, variables={"wait": "1s"}).request("s", "r").nodes) == 2


def test_variables_of_a_test_win_over_those_of_the_spec(project: Path) -> None:
    text = """
vars: {a: 1s, b: 2s}
tests:
  - name: t
    vars: {a: "${{ vars.b }}", c: "${{ nodes[0].name }}"}
    steps:
      - sleep: ${{ vars.a }}
      - sleep: ${{ vars.c }}
"""
    spec = loaded(project, text)
    test = spec.spec.tests[0]

    assert spec.test_variables(test, {"nodes": NODES}) == {"a": "2s", "b": "2s", "c": "control-plane"}
    assert test.steps[0].draft is not None
    assert test.steps[0].draft.step == Sleep(duration=Duration(2.0))
    assert test.steps[1].draft is None


def test_a_step_without_expressions_is_bound_at_once(project: Path) -> None:
    entry = step(project, "{name: rest a little, sleep: 1s, timeout: 5s, outputs: {x: {regex: a}}}")

    bound = entry.bind({})

    assert bound.step == Sleep(duration=Duration(1.0))
    assert bound.fields.timeout == Duration(5.0)
    assert bound.title == entry.title == "rest a little"
    assert (entry.key, entry.section, entry.index, entry.line, entry.path) == (
        "sleep",
        "steps",
        0,
        7,
        "tests[0].steps[0]",
    )
    assert entry.output_names == ("x",)


def test_binding_fills_expressions_in_and_checks_again(project: Path) -> None:
    entry = step(project, 'sleep: "${{ nodes[0].role }}"')

    assert entry.bind({"nodes": [{"role": "3s"}]}).step == Sleep(duration=Duration(3.0))
    with pytest.raises(StepInvalid) as caught:
        entry.bind({"nodes": [{"role": "later"}]})
    assert str(caught.value) == (
        "s.yaml:7:16: tests[0].steps[0].sleep: 'later' is not a duration; write it with a unit, such as 30s, 2m or 250ms\n"
        '  7 |       - sleep: "${{ nodes[0].role }}"\n'
        "    |                ^~~~~~~~~~~~~~~~~~~~~~"
    )


def test_a_step_without_a_type_is_told_which_there_are(project: Path) -> None:
    text = "tests: [{name: t, steps: [{name: nothing}]}]"

    assert refused(project, text) == [
        "s.yaml:4:27: tests[0].steps[0]: a step needs a type; `koalesce explain` lists the types"
    ]


def test_an_expression_that_leads_nowhere_is_told_with_its_place(project: Path) -> None:
    entry = step(project, 'exec: {node: worker-1, command: [echo, "${{ nodes[5].name }}", "${{ nodes[0].podCIDR }}"]}')

    with pytest.raises(StepInvalid) as caught:
        entry.bind({"nodes": NODES})

    assert [problem.headline for problem in caught.value.problems] == [
        "s.yaml:7:48: tests[0].steps[0].exec.command[1]: nodes[5].name: nodes has 2 item(s), so there is no [5]",
        "s.yaml:7:72: tests[0].steps[0].exec.command[2]: nodes[0].podCIDR: nodes[0] has no 'podCIDR'; there are: address, name",
    ]


def test_a_whole_expression_keeps_its_type(project: Path) -> None:
    text = "vars: {n: 3}\ntests:\n  - name: t\n    steps:\n      - {sleep: 1s, continueOnFailure: '${{ nodes[0].role }}', retry: {attempts: '${{ vars.n }}'}}\n"
    bound = loaded(project, text).spec.tests[0].steps[0].bind({"vars": {"n": 3}, "nodes": [{"role": True}]})

    assert bound.fields.continue_on_failure is True
    assert bound.fields.retry is not None
    assert bound.fields.retry.attempts == 3


def test_a_condition_is_asked_before_the_rest_is_bound(project: Path) -> None:
    entry = step(project, "{sleep: '${{ nodes[9].name }}', if: {value: '${{ nodes[*].name }}', count: 1}}")

    condition = entry.condition({"nodes": NODES})

    assert condition is not None
    assert condition.unmet(version="1.37.2", capabilities=()) is not None
    assert entry.condition({"nodes": NODES[:1]}).unmet(version="1.37.2", capabilities=()) is None
    assert step(project, "sleep: 1s").condition({}) is None


def test_foreach_goes_over_a_list_a_map_or_what_an_expression_gives(project: Path) -> None:
    written = step(project, "{sleep: '${{ pause }}', foreach: {item: pause, in: [1s, 2s]}}")
    given = step(project, "{sleep: 1s, name: 'on ${{ n.name }}', foreach: {item: n, in: '${{ nodes }}'}}")

    assert written.items({}) == ["1s", "2s"]
    assert [written.bind({"pause": item}).step for item in written.items({})] == [
        Sleep(duration=Duration(1.0)),
        Sleep(duration=Duration(2.0)),
    ]
    assert given.foreach is not None
    assert given.foreach.item == "n"
    assert given.items({"nodes": NODES}) == NODES
    assert given.items({"nodes": {"a": 1}}) == [{"key": "a", "value": 1}]
    with pytest.raises(StepInvalid, match=r"tests\[0\]\.steps\[0\]\.foreach\.in: not a list"):
        given.items({"nodes": "many"})


def test_components_are_filled_in_when_the_cluster_is_known(project: Path) -> None:
    (project / "m.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    text = """
vars: {version: v2}
components:
  - name: web
    manifests: [m.yaml]
    images: {example.com/web: "example.com/web:${{ vars.version }}"}
    patches: [{resource: configmap/a, merge: {data: {dns: "${{ cluster.dnsIP }}"}}}]
    ready: [sleep: 1s]
"""
    spec = loaded(project, text)
    component = spec.component(spec.spec.components[0], {"cluster": {"dnsIP": "10.96.0.10"}})

    assert component.images == {"example.com/web": "example.com/web:v2"}
    assert component.patches[0].merge == {"data": {"dns": "10.96.0.10"}}
    assert component.ready is not None
    assert component.ready[0].section == "ready"
    with pytest.raises(StepInvalid, match=r"components\[0\]\.patches\[0\]: cluster\.dnsIP: cluster has no 'dnsIP'"):
        spec.component(spec.spec.components[0], {"cluster": {}})


def test_a_patch_about_the_cluster_waits_for_it(project: Path) -> None:
    (project / "m.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    text = """
vars: {version: v2}
fixtures: {r1: {host: {}}}
components:
  - name: web
    manifests: [m.yaml]
    patches:
      - {resource: configmap/a, merge: {data: {version: "${{ vars.version }}"}}}
      - {resource: configmap/a, merge: {data: {peer: "${{ fixtures.r1.address }}", version: "${{ vars.version }}"}}}
"""
    spec = loaded(project, text)

    first, second = spec.component(spec.spec.components[0], {}).patches

    assert (first.merge, first.waits_for_cluster) == ({"data": {"version": "v2"}}, False)
    assert second.merge == {"data": {"peer": "${{ fixtures.r1.address }}", "version": "${{ vars.version }}"}}
    assert second.waits_for_cluster


def test_an_operation_about_the_cluster_waits_for_it_as_well(project: Path) -> None:
    (project / "m.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    text = """
fixtures: {r1: {host: {}}}
components:
  - name: web
    manifests: [m.yaml]
    patches: [{resource: configmap/a, json: [{op: add, path: /data, value: {peer: "${{ fixtures.r1.address }}"}}]}]
"""
    spec = loaded(project, text)

    (patch,) = spec.component(spec.spec.components[0], {}).patches

    assert patch.waits_for_cluster
    assert patch.change == [{"op": "add", "path": "/data", "value": {"peer": "${{ fixtures.r1.address }}"}}]


def test_only_a_patch_may_name_the_cluster(project: Path) -> None:
    (project / "m.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
    text = 'components: [{name: web, manifests: [m.yaml], images: {a: "${{ cluster.name }}"}}]'

    with pytest.raises(UsageError, match="cluster"):
        loaded(project, text)


def test_the_condition_of_a_test(project: Path) -> None:
    text = 'tests: [{name: t, if: {value: "${{ setup.outputs.a }}", equals: b}, steps: [sleep: 1s]}]\nsetup: {steps: [{exec: {node: worker-1, command: [id]}, outputs: {a: {regex: b}}}]}'
    spec = loaded(project, text)
    test = spec.spec.tests[0]

    met = spec.test_condition(test, {"setup": {"outputs": {"a": "b"}}})
    unmet = spec.test_condition(test, {"setup": {"outputs": {"a": "c"}}})

    assert met is not None
    assert met.unmet(version="1.37.2", capabilities=()) is None
    assert unmet is not None
    assert unmet.unmet(version="1.37.2", capabilities=()) is not None
    assert spec.test_line(0) == 4


def test_a_spec_of_another_project_needs_trust(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "s.yaml").write_text(HEAD)

    assert load(other / "s.yaml").spec.metadata.name == "s"
    with pytest.raises(InvalidSpecs, match=r"outside of the project .*--trust runs it all the same"):
        load(other / "s.yaml", trust=False)
    assert load(other / "s.yaml", trust=False, root=other).root == other.resolve()


def test_a_file_that_can_not_be_read(project: Path) -> None:
    (project / "odd.yaml").write_bytes(b"a: \xff")
    (project / "big.yaml").write_text("#" * (5 << 20))

    for name, message in (("missing", "can't be read"), ("odd", "not UTF-8"), ("big", "more than 4,194,304 bytes")):
        with pytest.raises(InvalidSpecs, match=message):
            load(f"{name}.yaml")


def test_settings_that_can_not_be_read_are_told(project: Path) -> None:
    (project / "koalesce.toml").write_text("env = 5\n")

    with pytest.raises(UsageError, match=r"koalesce\.toml:1: env: expected a list of names of variables, got 5"):
        loaded(project, "")


def test_manifests_without_objects_are_told(project: Path) -> None:
    (project / "m.yaml").write_text("# nothing\n---\n")
    text = "components: [{name: a, manifests: [m.yaml]}]\ntests: [{name: t, steps: [apply: {file: m.yaml}]}]"

    assert refused(project, text) == [
        "s.yaml:4:36: components[0].manifests[0]: m.yaml: has no objects",
        "s.yaml:5:27: tests[0].steps[0].apply: m.yaml: has no objects",
    ]
