"""Commands in pods and on nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.kube import ConnectionLost, ExecResult, ExecTimeout
from koalesce.process import CommandTimeout
from koalesce.steps.base import Errored, Failed, Outcome, Passed, Stopped
from koalesce.steps.exec import Exec
from tests.fakes import FakeCluster, FakeNode, api_error, context, result, running_pod


def ended(code: int = 0, out: str = "", err: str = "") -> ExecResult:
    return ExecResult(command=(), code=code, stdout=out.encode(), stderr=err.encode(), seconds=0.1)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(
        running_pod("client-0", app="client"),
        running_pod("client-1", app="client"),
        nodes=[FakeNode("control-plane", role="control-plane"), FakeNode("worker-1"), FakeNode("worker-2")],
    )


def attempt(cluster: FakeCluster, *, negated: bool = False, **fields: Any) -> Outcome:
    return Exec.model_validate(fields).attempt(context(cluster, negated=negated))


def test_a_command_in_a_pod(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out="default via 10.244.1.1 dev eth0\n")

    outcome = attempt(cluster, pod="client-0", command=["ip", "route"], stdout={"contains": "eth0"})

    value = {"stdout": "default via 10.244.1.1 dev eth0", "stderr": "", "exitCode": 0}
    assert outcome == Passed("client-0: as expected", value)
    assert cluster.kube.requests == [
        ("exec", {"pod": "client-0", "namespace": "test-ns", "command": ["ip", "route"]}),
    ]


def test_every_pod_of_a_selector_must_do_as_said(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out="ok" if pod == "client-0" else "broken\n", err="oh\n")

    outcome = attempt(cluster, pods={"selector": "app=client"}, command=["check"], stdout="ok")

    assert outcome == Failed(
        'client-1: stdout is "broken", expected "ok" (1 of 2 places)',
        expected='"ok"',
        actual='"broken"',
        detail="stdout:\n  | broken\nstderr:\n  | oh",
    )


def test_all_failures_are_told(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(code=3)

    outcome = attempt(cluster, pods="app=client", command=["check"])

    assert outcome == Failed(
        "client-0: exit code is 3, expected 0 (2 of 2 places)",
        expected="0",
        actual="3",
        detail="also:\nclient-1: exit code is 3, expected 0",
    )


@pytest.mark.parametrize(
    ("nodes", "ran"),
    [
        ("all", ["control-plane", "worker-1", "worker-2"]),
        ("workers", ["worker-1", "worker-2"]),
        ("controlPlane", ["control-plane"]),
        (["worker-2"], ["worker-2"]),
    ],
)
def test_nodes(cluster: FakeCluster, nodes: Any, ran: list[str]) -> None:
    outcome = attempt(cluster, nodes=nodes, command=["sysctl", "-n", 1], stdin="in")

    assert isinstance(outcome, Passed)
    assert len(outcome.value) == len(ran)
    assert [node.name for node in cluster.nodes if node.commands == [(["sysctl", "-n", "1"], b"in")]] == ran


def test_json_on_standard_output(cluster: FakeCluster) -> None:
    routes = '[{"dst": "10.244.2.0/24", "protocol": "17"}]'
    for node in cluster.nodes:
        node.answer = lambda command, stdin: result(command, out=routes)

    matching = attempt(cluster, node="worker-1", command=["ip"], stdout={"json": {"any": {"protocol": "17"}}})
    differing = attempt(cluster, node="worker-1", command=["ip"], stdout={"json": [{"protocol": "4"}]})
    unreadable = attempt(cluster, node="worker-1", command=["ip"], stdout={"json": {}, "contains": "nothing"})

    assert isinstance(matching, Passed)
    assert matching.value["json"] == [{"dst": "10.244.2.0/24", "protocol": "17"}]
    assert isinstance(differing, Failed)
    assert differing.message == 'worker-1: stdout [0].protocol is "17", expected "4"'
    assert isinstance(unreadable, Failed)


def test_text_that_is_no_json(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out="ok")

    outcome = attempt(cluster, pod="client-0", command=["x"], stdout={"json": {"a": 1}})

    assert isinstance(outcome, Failed)
    assert "stdout is not JSON" in outcome.message


def test_another_exit_code_may_be_expected(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(code=7, err="no")

    assert isinstance(attempt(cluster, pod="client-0", command=["x"], exitCode=7, stderr="no"), Passed)
    assert isinstance(attempt(cluster, pod="client-0", command=["x"], exitCode={"in": [0, 1]}), Failed)


def test_a_lost_connection_is_never_an_exit_code(cluster: FakeCluster) -> None:
    def lose(pod: str, command: Sequence[str]) -> ExecResult:
        raise ConnectionLost("the connection to the API server broke")

    cluster.kube.on_exec = lose

    with pytest.raises(ConnectionLost):
        attempt(cluster, pods="app=client", command=["x"])


def test_a_program_that_is_not_there_is_an_error_for_good(cluster: FakeCluster) -> None:
    def refuse(pod: str, command: Sequence[str]) -> ExecResult:
        raise api_error(500, 'OCI runtime exec failed: exec: "x": executable file not found in $PATH')

    cluster.kube.on_exec = refuse

    assert attempt(cluster, pods="app=client", command=["x"]) == Errored(
        'client-0: OCI runtime exec failed: exec: "x": executable file not found in $PATH', final=True
    )


def test_a_command_that_does_not_end_fails(cluster: FakeCluster) -> None:
    def hang(pod: str, command: Sequence[str]) -> ExecResult:
        raise ExecTimeout("still running", cancelled=False, stdout=b"so far\n")

    cluster.kube.on_exec = hang

    assert attempt(cluster, pod="client-0", command=["x"]) == Failed(
        "client-0: the command was still running after 30.0s",
        expected="an end",
        actual="still running",
        detail="stdout:\n  | so far",
    )


def test_a_cancelled_command_gives_what_it_printed(cluster: FakeCluster) -> None:
    def cancelled(command: Sequence[str], stdin: bytes | None) -> Any:
        raise CommandTimeout(command, 1.0, cancelled=True, stdout=b"so far\n", stderr=b"")

    cluster.nodes[1].answer = cancelled

    with pytest.raises(Stopped) as stopped:
        attempt(cluster, node="worker-1", command=["x"])

    value = {"stdout": "so far", "stderr": "", "exitCode": None}
    assert stopped.value.outcome == Passed("was still running when it was stopped", value)


def test_pods_that_do_not_run_and_unknown_places(cluster: FakeCluster) -> None:
    waiting = running_pod("client-2", app="broken")
    waiting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    cluster.add(waiting)

    assert attempt(cluster, pods="app=broken", command=["x"]) == Failed(
        "pod client-2: container main waits: ContainerCreating", expected="running", actual="Running"
    )
    assert attempt(cluster, pod="client-0", container="sidecar", command=["x"]) == Errored(
        "pod client-0 has no container sidecar", final=True
    )
    assert attempt(cluster, node="worker-9", command=["x"]) == Errored(
        "there is no node worker-9; the cluster has control-plane, worker-1, worker-2", final=True
    )
    assert isinstance(attempt(cluster, pod="gone", command=["x"], negated=True), Errored)


def test_pods_that_have_ended_or_are_being_deleted_do_not_count(cluster: FakeCluster) -> None:
    done, leaving = running_pod("done", app="client"), running_pod("leaving", app="client")
    done["status"]["phase"] = "Succeeded"
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.add(done, leaving)
    cluster.kube.on_exec = lambda pod, command: ended()

    attempt(cluster, pods="app=client", command=["x"])

    assert sorted(request["pod"] for _, request in cluster.kube.requests) == ["client-0", "client-1"]


def test_the_default_container_is_the_annotated_one(cluster: FakeCluster) -> None:
    pod = running_pod("two", app="two")
    pod["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "side"}
    pod["spec"]["containers"].append({"name": "side"})
    cluster.add(pod)

    outcome = attempt(cluster, pod="two", command=["x"])

    assert isinstance(outcome, Failed)
    assert outcome.message == "pod two: container side hasn't been started yet"


def test_nodes_of_a_cluster_without_access_to_them(cluster: FakeCluster) -> None:
    cluster.nodes[1].exec = ()  # type: ignore[assignment]  # as a provider without node-exec gives it

    assert isinstance(attempt(cluster, node="worker-1", command=["x"]), Errored)
    assert cluster.nodes[1].commands == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"command": ["x"]}, "say exactly one of pod, pods, node, nodes, fixture, fixtures; none is there"),
        ({"pod": "a", "nodes": "all", "command": ["x"]}, "found pod and nodes"),
        ({"node": "a", "container": "c", "command": ["x"]}, "namespace and container belong to pods"),
        ({"node": "a", "command": "ip route"}, "a command is a list of words, such as"),
        ({"node": "a", "command": []}, "at least 1 item"),
        ({"nodes": "everywhere", "command": ["x"]}, "'all', 'workers' or 'controlPlane'"),
        ({"node": "a", "command": ["x"], "stdout": {}}, "needs at least one operator"),
        ({"node": "a", "command": ["x"], "stdout": {"matches": "("}}, "regular expression"),
        ({"node": "a", "command": ["x"], "stdout": {"json": {"a": {"matches": "("}}}}, "regular expression"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Exec.model_validate(fields)


def test_it_runs_once() -> None:
    assert not Exec.model_validate({"node": "a", "command": ["x"]}).is_retried()


def test_several_places_are_told_apart_in_outputs(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out=f"{pod}\n")

    outcome = attempt(cluster, pods="app=client", command=["hostname"])

    assert isinstance(outcome, Passed)
    assert [(value["name"], value["stdout"]) for value in outcome.value] == [
        ("client-0", "client-0"),
        ("client-1", "client-1"),
    ]


def test_an_environment(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended()

    attempt(cluster, pod="client-0", command=["x"], env={"A": "b c", "ON": True, "N": 3})

    assert [what["command"] for _, what in cluster.kube.requests] == [["env", "A=b c", "ON=true", "N=3", "x"]]


def test_an_environment_where_nothing_can_set_it(cluster: FakeCluster) -> None:
    def refuse(pod: str, command: Sequence[str]) -> ExecResult:
        raise api_error(500, 'OCI runtime exec failed: exec: "env": executable file not found in $PATH')

    cluster.kube.on_exec = refuse

    outcome = attempt(cluster, pod="client-0", command=["x"], env={"A": "b"})

    assert isinstance(outcome, Errored)
    assert outcome.message.endswith("; setting env needs that program in the container")


def test_lines_of_what_is_printed(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out="  a 1\nb 2\n\n")

    assert isinstance(attempt(cluster, pod="client-0", command=["x"], stdout={"lines": {"count": 2}}), Passed)
    exact = {"lines": {"equals": ["a 1", "b 2"]}, "trimmed": True}
    assert isinstance(attempt(cluster, pod="client-0", command=["x"], stdout=exact), Passed)
    missing = attempt(cluster, pod="client-0", command=["x"], stdout={"lines": {"any": {"matches": "^c"}}})
    assert isinstance(missing, Failed)
    assert missing.message.startswith("client-0: stdout lines has no element that matches")


def test_numbers_are_compared_as_such(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out="  12\n")

    assert isinstance(attempt(cluster, pod="client-0", command=["x"], stdout={"gt": 9}), Passed)


def test_pods_of_an_owner(cluster: FakeCluster) -> None:
    owned = running_pod("web-0")
    owned["metadata"]["ownerReferences"] = [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web"}]
    cluster.add(owned)
    cluster.kube.on_exec = lambda pod, command: ended()

    attempt(cluster, pods={"owner": "daemonset/web"}, command=["x"])

    assert [what["pod"] for _, what in cluster.kube.requests] == ["web-0"]


def test_a_command_on_fixtures() -> None:
    fixtures = [FakeNode(name, answer=lambda command, stdin: result(command, out="up\n")) for name in ("c1", "c2")]
    cluster = FakeCluster(fixtures=fixtures)
    value = {"stdout": "up", "stderr": "", "exitCode": 0}

    assert attempt(cluster, fixture="c2", command=["state"]) == Passed("c2: as expected", value)
    several = [{"name": name, **value} for name in ("c1", "c2")]
    assert attempt(cluster, fixtures="all", command=["state"]) == Passed("2 places: as expected", several)
    assert attempt(cluster, fixtures=["c1"], command=["state"]) == Passed("c1: as expected", several[:1])
    assert [len(fixture.commands) for fixture in fixtures] == [2, 2]


@pytest.mark.parametrize(
    ("where", "message"),
    [({"fixture": "c9"}, "there is no fixture c9; there are: c1"), ({"node": "c1"}, "there is no node c1")],
)
def test_a_fixture_is_no_node_and_must_be_there(where: dict[str, Any], message: str) -> None:
    outcome = attempt(FakeCluster(fixtures=[FakeNode("c1")]), command=["id"], **where)

    assert isinstance(outcome, Errored)
    assert outcome.final
    assert message in outcome.message


def test_all_of_no_fixtures_is_an_error(cluster: FakeCluster) -> None:
    assert attempt(cluster, fixtures="all", command=["id"]) == Errored("there are no fixtures", final=True)


@pytest.mark.parametrize("code", [126, 127])
def test_a_command_that_cannot_be_run_shows_nothing(cluster: FakeCluster, code: int) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(code=code)

    def run(**fields: Any) -> Outcome:
        return attempt(cluster, pod="client-0", command=["grepp", "x"], **fields)

    for loose in ({"notEquals": 0}, {"gt": 0}, {"notIn": [0, 1]}):
        outcome = run(exitCode=loose)
        assert isinstance(outcome, Failed)
        assert f"exit code is {code}, as of a command that can't be run, which proves nothing" in outcome.message
    for meant in (code, {"equals": code}, {"in": [126, 127]}):
        assert isinstance(run(exitCode=meant), Passed)
    assert [getattr(run(), "saw_nothing", None), getattr(run(stdout="x"), "saw_nothing", None)] == [True, True]


def test_none_of_what_json_lacks_shows_nothing(cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ended(out='[{"name": "a"}]')
    fields: dict[str, Any] = {"pod": "client-0", "command": ["list"], "stdout": {"json": {"none": {"nmae": "a"}}}}

    failed = attempt(cluster, **fields)
    lenient = Exec.model_validate(fields).attempt(context(cluster, may_not_exist=True))

    assert isinstance(failed, Failed)
    assert "the only element hasn't .nmae, so that none matches proves nothing" in failed.message
    assert isinstance(lenient, Passed)
