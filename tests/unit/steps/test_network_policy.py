"""The step `network-policy`, on a network that does what the cluster's policies say, or something else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.netpol.policy import parse
from koalesce.netpol.simulator import Decision, Flow, NamedPort, Node, Pod, World
from koalesce.process import Result
from koalesce.steps.base import Ended, Errored, Failed, Outcome, Passed, Stage
from koalesce.steps.network_policy import NetworkPolicyStep
from tests.fakes import LABELS, FakeCluster, FakeFiles, FakeNode, api_error, context, result

DENY_X = {
    "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "x"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}  # fmt: skip
SMALL = {"namespaces": ["x", "y"], "pods": ["a", "b"], "ports": [80]}


class Network:
    """A cluster of two nodes whose pods run as soon as they are there. The wire does what `decide` says of the cluster's own objects."""

    def __init__(self) -> None:
        nodes = [
            FakeNode("n1", role="control-plane", address="198.18.0.2", answer=lambda c, i: self._probe("n1", c, i)),
            FakeNode("n2", address="198.18.0.3", answer=lambda c, i: self._probe("n2", c, i)),
        ]
        self.cluster = FakeCluster(nodes=nodes)
        self.decide: Callable[[World, Flow], Decision] = World.decide
        self.blocked: str | Mapping[str, Any] = "rejected"
        self.probes = 0
        self.looks: list[int] = []
        self._apply = self.cluster.kube.apply
        self.cluster.kube.apply = self._replace  # type: ignore[method-assign]

    def _replace(self, obj: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """A server's apply takes away what was applied before and isn't any more; the fake one merges."""
        for known in self.objects("NetworkPolicy"):
            if all(known["metadata"][key] == obj["metadata"].get(key) for key in ("name", "namespace")):
                del known["spec"]
        return self._apply(obj, **options)

    def run(self, *, tries: int = 1, files: Path | None = None, **fields: Any) -> Outcome:
        """The step, as the engine runs it, with so many looks at each stage."""
        whole = context(self.cluster, root=files)
        stages = NetworkPolicyStep.model_validate(fields).stages(whole)
        try:
            stage = next(stages)
            while True:
                stage = stages.send(self._stage(stage, tries, files))
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome

    def _stage(self, stage: Stage, tries: int, files: Path | None) -> Ended:
        given = context(self.cluster, root=files)
        outcome = stage.act(given)
        looks = 0
        if isinstance(outcome, Passed):
            self._start_pods()
            for looks in range(1, tries + 1):  # noqa: B007  # told afterwards
                outcome = stage.look(given)
                if isinstance(outcome, Passed):
                    break
        self.looks.append(looks)
        return Ended(outcome=outcome, seconds=float(looks))

    def objects(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.cluster.kube.objects.values() if each["kind"] == kind]

    def _start_pods(self) -> None:
        for index, pod in enumerate(self.objects("Pod")):
            if "status" not in pod:
                terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
                pod["spec"]["nodeName"] = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
                address = f"10.244.{pod['spec']['nodeName'][1:]}.{index + 2}"
                identity = f"id-{pod['metadata']['namespace']}-{pod['metadata']['name']}"
                pod["status"] = {
                    "phase": "Running", "podIP": address, "podIPs": [{"ip": address}, {"ip": f"fd00::{index + 2}"}],
                    "containerStatuses": [
                        {"name": "serve", "containerID": f"containerd://{identity}", "state": {"running": {}}}
                    ],
                }  # fmt: skip

    def _probe(self, node: str, command: Sequence[str], stdin: bytes | None) -> Result:
        request = json.loads(stdin or b"{}")
        policies = [parse(each) for each in self.objects("NetworkPolicy")]
        namespaces = {
            each["metadata"]["name"]: {
                **each["metadata"]["labels"],
                "kubernetes.io/metadata.name": each["metadata"]["name"],
            }
            for each in self.objects("Namespace")
        }
        pods = {each["status"]["containerStatuses"][0]["containerID"][13:]: each for each in self.objects("Pod")}
        by_address = {ip["ip"]: _end(each) for each in pods.values() for ip in each["status"]["podIPs"]}
        sources = []
        for source in request["sources"]:
            own = pods.get(source["container"])
            end = _end(own) if own else Node(node)
            results = []
            for target in source["targets"]:
                self.probes += 1
                flow = Flow(
                    source=end, target=by_address[target["host"]], target_address=target["host"], port=target["port"],
                    source_address=_like(target["host"], own) if own else "198.18.0.9", protocol=target["type"].upper(),
                )  # fmt: skip
                allowed = self.decide(World(namespaces, policies), flow).allowed
                blocked = {"outcome": self.blocked} if isinstance(self.blocked, str) else self.blocked
                results.append({"id": target["id"], **({"outcome": "allowed"} if allowed else blocked)})
            sources.append({"id": source["id"], "addresses": [], "results": results})
        return result(command, out=json.dumps({"sources": sources}))


def _like(address: str, pod: Mapping[str, Any]) -> str:
    """The pod's address of the family of another."""
    return str(pod["status"]["podIPs"][":" in address]["ip"])


def _end(pod: Mapping[str, Any]) -> Pod:
    ports = [
        NamedPort(each["name"], each["containerPort"], each["protocol"])
        for each in pod["spec"]["containers"][0]["ports"]
    ]
    metadata = pod["metadata"]
    return Pod(
        namespace=metadata["namespace"], name=metadata["name"], labels=metadata["labels"], node=pod["spec"]["nodeName"], ports=tuple(ports)
    )  # fmt: skip


@pytest.fixture
def network() -> Network:
    return Network()


def value(outcome: Outcome) -> Any:
    assert isinstance(outcome, Passed), outcome
    return outcome.value


def test_the_grid_is_made_in_namespaces_of_the_tests_own_and_removed_with_it(network: Network) -> None:
    value(network.run(changes=[{"apply": [DENY_X]}], **SMALL))

    namespaces = {each["metadata"]["labels"]["ns"]: each for each in network.objects("Namespace")}
    assert set(namespaces) == {"x", "y"}
    for namespace in namespaces.values():
        assert namespace["metadata"]["name"].endswith("-test-ns")
        assert LABELS.items() <= namespace["metadata"]["labels"].items()
    pods = [
        (each["metadata"]["namespace"][0], each["metadata"]["name"], each["spec"]["nodeName"])
        for each in network.objects("Pod")
    ]
    assert sorted(pods) == [("x", "a", "n1"), ("x", "b", "n2"), ("y", "a", "n1"), ("y", "b", "n2")]
    network.cluster.scope.unwind()
    assert network.objects("Namespace") == []


def test_what_the_policies_say_is_seen_and_measured(network: Network) -> None:
    outcome = network.run(changes=[{"apply": [DENY_X]}, {"delete": "x/deny"}], **SMALL)

    assert value(outcome)["latency"] == {"p50": 1.0, "p95": 1.0, "max": 1.0}
    assert [each["title"] for each in value(outcome)["cases"][0]["changes"]] == ["apply x/deny", "delete x/deny"]
    # Four pods try each of four, and each node its own two: three times.
    assert (value(outcome)["pairs"], network.probes) == (2 * 20, 3 * 20)
    assert network.objects("NetworkPolicy") == []


def test_a_network_that_lets_everything_through_fails_with_the_pairs_and_the_rule(network: Network) -> None:
    network.decide = lambda _world, _flow: Decision(True, "")

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("apply x/deny: 6 of 20 pairs differ: x/a (10.244.1.2) → x/b:80 (10.244.2.3:80): allowed, expected rejected or dropped")  # fmt: skip
    assert (outcome.expected, outcome.actual) == ("rejected or dropped", "allowed")
    assert "expected since x/b is isolated for ingress by x/deny, and no rule lets it through" in outcome.detail
    assert "koalesce ssh fake n1 -- /opt/koalesce/bin/koalesce-probe" in outcome.detail
    assert 'x/deny: {"podSelector": {}, "policyTypes": ["Ingress"]}' in outcome.detail


def test_reports_are_given_the_grids_that_tell_most(network: Network) -> None:
    passed = network.run(changes=[{"apply": [DENY_X]}, {"delete": "x/deny"}], **SMALL)
    network.decide = lambda _world, _flow: Decision(True, "")
    failed = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(passed, Passed)
    assert [grid.title for grid in passed.grids] == ["delete x/deny"]
    assert isinstance(failed, Failed)
    (grid,) = failed.grids
    assert (grid.title, grid.rows) == ("apply x/deny", ("x/a", "x/b", "y/a", "y/b", "n1", "n2"))
    wrong = [kind for kind in grid.kinds if not kind.is_right]
    assert {(kind.expected, kind.observed) for kind in wrong} == {("rejected or dropped", "allowed")}
    assert {kind.note.partition(",")[0] for kind in wrong} == {
        "x/a is isolated for ingress by x/deny",
        "x/b is isolated for ingress by x/deny",
    }


def test_a_network_that_is_shut_without_policies_fails_before_any_change(network: Network) -> None:
    network.decide = lambda _world, flow: Decision(flow.source == flow.target, "")

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Failed)
    assert network.looks == [1]
    assert network.objects("NetworkPolicy") == []


def test_a_node_that_is_kept_from_its_own_pods_fails(network: Network) -> None:
    def strict(world: World, flow: Flow) -> Decision:
        blocked = isinstance(flow.source, Node) and bool(world.policies)
        return Decision(not blocked and world.decide(flow).allowed, "")

    network.decide = strict

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Failed)
    assert "n1 (198.18.0.2) → x/a:80" in outcome.message
    assert "expected since nothing comes between a pod and its own node" in outcome.detail


def test_a_probe_that_can_not_look_is_an_error_and_no_silence(network: Network) -> None:
    network.blocked = {"outcome": "error", "reason": "no route"}

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Errored)
    assert "apply x/deny: 6 of 20 pairs differ" in outcome.message


def test_only_the_ways_to_be_blocked_that_are_said_count(network: Network) -> None:
    network.blocked = "dropped"

    assert isinstance(network.run(changes=[{"apply": [DENY_X]}], blocked="rejected", **SMALL), Failed)
    assert isinstance(network.run(changes=[{"apply": [DENY_X]}], blocked=["refused", "dropped"], **SMALL), Passed)


def test_labels_of_pods_and_namespaces_change_what_the_policies_mean(network: Network) -> None:
    peer = {"namespaceSelector": {"matchLabels": {"era": "new"}}, "podSelector": {"matchLabels": {"role": "good"}}}
    let = {**DENY_X, "spec": {"podSelector": {}, "ingress": [{"from": [peer]}]}}

    outcome = network.run(
        changes=[
            {"apply": [let]},
            {"label": {"y": {"era": "new"}, "y/a": {"role": "good"}}},
            {"label": {"y/a": {"role": None}}},
        ],
        **SMALL,
    )

    value(outcome)
    labels = {
        (each["metadata"]["namespace"][0], each["metadata"]["name"]): each["metadata"]["labels"].get("role")
        for each in network.objects("Pod")
    }
    assert labels["y", "a"] is None


def test_a_table_that_the_author_gives_counts_and_says_where_the_policies_say_otherwise(network: Network) -> None:
    table = {
        "default": "allowed",
        "cells": [{"to": "x/*", "expect": "blocked"}, {"from": "y/a", "to": "x/a", "expect": "blocked"}],
    }
    value(network.run(changes=[{"apply": [DENY_X], "expect": table}], **SMALL))

    outcome = network.run(changes=[{"apply": [DENY_X], "expect": "allowed"}], **SMALL)

    assert isinstance(outcome, Failed)
    assert "since the spec says so; the policies say otherwise: x/b is isolated for ingress by x/deny" in outcome.detail


def test_policies_come_from_files(network: Network, tmp_path: Path) -> None:
    (tmp_path / "deny.yaml").write_text(json.dumps(DENY_X))

    value(network.run(changes=[{"apply": "deny.yaml"}], files=tmp_path, **SMALL))

    assert [each["metadata"]["name"] for each in network.objects("NetworkPolicy")] == ["deny"]


def test_blocks_name_pods(network: Network) -> None:
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "y/a"}}]}]}

    value(network.run(changes=[{"apply": [{**DENY_X, "spec": spec}]}], ipFamilies=["IPv4"], **SMALL))

    (policy,) = network.objects("NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"][0] == {"ipBlock": {"cidr": "10.244.1.4/32"}}


def test_both_families_are_tried_where_pods_have_them(network: Network) -> None:
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "y/a"}}]}]}

    outcome = network.run(changes=[{"apply": [{**DENY_X, "spec": spec}]}], ipFamilies=["IPv4", "IPv6"], **SMALL)

    assert value(outcome)["pairs"] == 40
    (policy,) = network.objects("NetworkPolicy")
    assert policy["spec"]["ingress"][0]["from"] == [
        {"ipBlock": {"cidr": "10.244.1.4/32"}}, {"ipBlock": {"cidr": "fd00::4/128"}},
    ]  # fmt: skip


def test_a_pod_without_an_address_of_a_family_is_waited_for(network: Network) -> None:
    start = network._start_pods

    def without_ipv6() -> None:
        start()
        for pod in network.objects("Pod"):
            del pod["status"]["podIPs"][1:]

    network._start_pods = without_ipv6  # type: ignore[method-assign]

    outcome = network.run(changes=[{"apply": [DENY_X]}], ipFamilies=["IPv6"], **SMALL)

    assert outcome == Failed("pod x/a has no IPv6 address (yet)", expected="an address", actual="none")


def test_a_second_step_of_a_test_begins_without_the_policies_of_the_first(network: Network) -> None:
    value(network.run(changes=[{"apply": [DENY_X]}], **SMALL))

    value(network.run(changes=[{"apply": [{**DENY_X, "metadata": {"name": "other", "namespace": "y"}}]}], **SMALL))

    assert [each["metadata"]["name"] for each in network.objects("NetworkPolicy")] == ["other"]


def test_another_grid_of_a_test_has_other_namespaces(network: Network) -> None:
    value(network.run(changes=[{"apply": [DENY_X]}], **SMALL))
    value(network.run(changes=[{"apply": [DENY_X]}], **{**SMALL, "ports": [80, 81]}))

    assert len(network.objects("Namespace")) == 4


def test_upstreams_cases_agree_with_a_network_that_does_what_policies_say(network: Network) -> None:
    outcome = network.run(suite="upstream")

    assert len(value(outcome)["cases"]) == 47
    assert isinstance(outcome, Passed)
    assert outcome.message.startswith("47 cases, ")


def test_generated_cases_agree_and_each_begins_without_the_others(network: Network) -> None:
    outcome = network.run(suite="generated", count=25, seed=3, protocols=["TCP", "UDP"], namespaces=["x", "y"])

    assert len(value(outcome)["cases"]) == 25


def test_a_flaw_of_the_network_is_found_and_the_other_cases_go_on(network: Network) -> None:
    def without_exceptions(world: World, flow: Flow) -> Decision:
        policies = [
            replace(
                policy,
                egress=tuple(
                    replace(rule, peers=tuple(
                        replace(peer, block=replace(peer.block, excepted=())) if peer.block else peer for peer in rule.peers
                    ))
                    for rule in policy.egress
                ),
            )
            for policy in world.policies
        ]  # fmt: skip
        return World(world.namespaces, policies).decide(flow)

    network.decide = without_exceptions

    outcome = network.run(suite="upstream", tags=["ipblock"])

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("2 of 4 cases differ: egress to a range but one address: apply x/range: ")
    assert outcome.message.endswith("(and 1 more case)")


def test_after_so_many_failures_the_rest_is_left_out(network: Network) -> None:
    network.decide = lambda _world, _flow: Decision(True, "")

    outcome = network.run(suite="upstream", tags=["default"], stopAfter=2)

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("2 of 5 cases differ: deny all ingress: apply x/deny-ingress: ")
    assert outcome.message.endswith("; 3 were left out")


def test_a_wide_grid_is_shown_in_letters(network: Network) -> None:
    network.decide = lambda _world, _flow: Decision(True, "")

    outcome = network.run(suite="upstream", only=["deny all ingress"], protocols=["TCP", "UDP"])

    assert isinstance(outcome, Failed)
    head, first, *_ = outcome.detail.splitlines()[1:]
    names = [f"x/{pod}:{port}{how}" for pod in "abc" for how in ("", "/UDP") for port in (80, 81)]
    assert head.split() == ["observed", *names]
    assert first.split() == ["x/a", *"....AAAAAAAA"]
    assert "(. = as expected, A = allowed)" in outcome.detail


def test_a_pod_that_does_not_run_yet_is_waited_for(network: Network) -> None:
    network._start_pods = lambda: None  # type: ignore[method-assign]  # none ever runs

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith("-test-ns/a: is not scheduled yet")


def test_pods_whose_image_can_not_be_had_are_an_error_that_names_it(network: Network) -> None:
    def start() -> None:
        waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "it is not present"}}
        for pod in network.objects("Pod"):
            pod["spec"]["nodeName"] = "n0"
            pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "serve", "state": waiting}]}

    network._start_pods = start  # type: ignore[method-assign]

    outcome = network.run(changes=[{"apply": [DENY_X]}], **SMALL)

    assert isinstance(outcome, Errored)
    assert 'the image "registry.k8s.io/e2e-test-images/agnhost' in outcome.message


def test_a_policy_that_the_server_refuses_fails(network: Network) -> None:
    original = network.cluster.kube.apply

    def refuse(obj: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        if obj["kind"] == "NetworkPolicy":
            raise api_error(403, "denied by a webhook", reason="Forbidden")
        return original(obj, **options)

    network.cluster.kube.apply = refuse  # type: ignore[method-assign]

    with pytest.raises(Exception, match="denied by a webhook"):
        network.run(changes=[{"apply": [DENY_X]}], **SMALL)


def test_names_of_cases_choose(network: Network) -> None:
    outcome = network.run(suite="upstream", only=["deny everything"])

    assert [each["name"] for each in value(outcome)["cases"]] == ["deny everything"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "say exactly one of changes and suite"),
        ({"suite": "upstream", "changes": [{"delete": "x/a"}]}, "say exactly one of changes and suite"),
        ({"suite": "upstream", "pods": ["a"]}, "leave out namespaces, pods and ports"),
        ({"suite": "upstream", "seed": 3}, "seed is about suite: generated"),
        ({"changes": [{"delete": "x/a"}], "stopAfter": 3}, "stopAfter is about a suite"),
        ({"changes": [{}]}, "a change needs at least one of apply, delete and label"),
        ({"changes": [{"apply": []}]}, "apply needs policies"),
        ({"suite": "upstream", "maxTime": "0s"}, "maxTime must be more than 0"),
        ({"suite": "generated", "pods": ["a", "a"]}, "says something twice"),
        ({"suite": "generated", "pods": ["A"]}, "should match pattern"),
        ({"suite": "generated", "ports": [0]}, "greater than or equal to 1"),
        ({"suite": "generated", "protocols": ["ICMP"]}, "'TCP', 'UDP' or 'SCTP'"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NetworkPolicyStep.model_validate(fields)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"suite": "upstream", "tags": ["egres"]}, 'there are no cases with egres; there are both-directions, default, delete, egress'),
        ({"suite": "upstream", "only": ["deny everythin"]}, 'did you mean "deny everything"?'),
        ({"suite": "generated", "only": ["1/20"]}, "only: there is no case 1/20"),
        ({"suite": "upstream", "tags": ["udp", "-udp"]}, "tags and only leave no case"),
        ({"changes": [{"delete": "w/deny"}]}, "changes[0]: delete: w/deny is in no namespace of the grid; write it as x/NAME"),
        ({"changes": [{"label": {"x/d": {"a": "b"}}}]}, "changes[0]: label: x/d is neither a namespace nor a pod of the grid, such as x/a"),
        ({"changes": [{"apply": [{**DENY_X, "metadata": {"name": "deny"}}]}]}, "deny: namespace (none) is none of the grid: x, y, z"),
        ({"changes": [{"apply": [{**DENY_X, "spec": {"ingres": []}}]}]}, 'deny: spec.ingres: unknown field; did you mean "ingress"?'),
        ({"changes": [{"apply": [{**DENY_X, "spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "q/a"}}]}]}}]}]}, "q/a is neither a range"),
        ({"changes": [{"apply": "nowhere.yaml"}]}, "nowhere.yaml: no such file"),
        (
            {"changes": [{"delete": "x/deny", "expect": {"default": "allowed", "cells": [{"to": "w/*", "expect": "blocked"}]}}]},
            "expect.cells[0]: the rule to w/* is about no pair of the grid",
        ),
    ],
)  # fmt: skip
def test_what_can_be_known_to_be_wrong_is_said_before_anything_runs(fields: dict[str, Any], said: str) -> None:
    problems = NetworkPolicyStep.model_validate(fields).static_problems(FakeFiles())

    assert len(problems) == 1
    assert said in problems[0]


def test_what_is_right_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "deny.yaml").write_text(json.dumps(DENY_X))
    step = NetworkPolicyStep.model_validate(
        {
            "changes": [
                {"apply": ["deny.yaml"]},
                {"label": {"x": {"a": "b"}, "z/c": {"a": None}}},
                {"delete": ["x/deny"], "expect": "allowed"},
            ]
        }
    )

    assert step.static_problems(FakeFiles(tmp_path)) == []
    assert step.title() == "network-policy: 3 changes on 3×3 pods"  # noqa: RUF001
