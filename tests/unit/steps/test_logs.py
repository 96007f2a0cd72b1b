"""What containers and nodes' components have written, and what not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.process import Result
from koalesce.steps.base import Errored, Failed, Outcome, Passed, StepContext
from koalesce.steps.inside.log_times import lines_since
from koalesce.steps.logs import Logs
from tests.fakes import NAMESPACE, FakeCluster, FakeNode, context, made, running_pod


@pytest.fixture
def cluster() -> FakeCluster:
    namespace = made("Namespace", NAMESPACE)
    namespace["metadata"]["creationTimestamp"] = "2026-01-01T11:00:00Z"
    return FakeCluster(
        namespace,
        running_pod("web-0", app="web"),
        running_pod("web-1", app="web"),
        nodes=[FakeNode("worker-1"), FakeNode("worker-2")],
    )


def writes(cluster: FakeCluster, **logs: str) -> list[Mapping[str, Any]]:
    """Let pods have logs (by names with _ for -); returns the options of all later reads."""
    asked: list[Mapping[str, Any]] = []

    def read(pod: str, options: Mapping[str, Any]) -> str:
        asked.append({key: value for key, value in options.items() if key not in ("timeout", "cancel") and value})
        return logs.get(pod.replace("-", "_"), "")

    cluster.kube.on_log_read = read
    return asked


def attempt(given: FakeCluster | StepContext, **fields: Any) -> Outcome:
    where = context(given) if isinstance(given, FakeCluster) else given
    return Logs.model_validate(fields).attempt(where)


def test_a_text_in_the_log_of_a_pod(cluster: FakeCluster) -> None:
    asked = writes(cluster, web_0="starting\nlistening on :80\n")

    outcome = attempt(cluster, pod="web-0", contains=["starting", "listening"], lines={"matches": "^listen"})

    text = "starting\nlistening on :80"
    value = {"pod": "web-0", "container": "main", "text": text, "lines": ["listening on :80"]}
    assert outcome == Passed('web-0: has "starting", has "listening", lines with matches "^listen": at least 1', value)
    assert asked == [{"container": "main"}]


def test_a_text_that_is_not_there_yet(cluster: FakeCluster) -> None:
    writes(cluster, web_0="starting\n")

    assert attempt(cluster, pod="web-0", contains="listening") == Failed(
        'web-0: "listening" isn\'t in the log',
        expected='"listening"',
        actual="1 other line",
        detail="the log's end:\n  | starting",
    )


def test_a_text_that_must_not_be_there(cluster: FakeCluster) -> None:
    writes(cluster, web_0="fine\nE panic: oh\n", web_1="fine\n")

    assert attempt(cluster, pods="app=web", notMatches="panic|fatal") == Failed(
        "web-0: a line matches /panic|fatal/ (1 of 2 logs)",
        expected="no line that matches /panic|fatal/",
        actual="E panic: oh",
        detail="where it is:\n  | E panic: oh",
    )
    assert isinstance(attempt(cluster, pods="app=web", notContains="fatal"), Passed)


def test_all_logs_or_any(cluster: FakeCluster) -> None:
    writes(cluster, web_0="became leader\n", web_1="follows\n")

    everyone = attempt(cluster, pods="app=web", contains="leader")

    assert isinstance(everyone, Failed)
    assert everyone.message == 'web-1: "leader" isn\'t in the log (1 of 2 logs)'
    assert isinstance(attempt(cluster, pods="app=web", any=True, contains="leader"), Passed)
    none = attempt(cluster, pods="app=web", any=True, contains="president")
    assert isinstance(none, Failed)
    assert none.message == 'web-0: "president" isn\'t in the log (none of 2 logs is as expected)'


def test_lines_are_counted(cluster: FakeCluster) -> None:
    writes(cluster, web_0='{"level":"error","code":5}\n{"level":"info"}\nplain\n{"level":"error","code":7}\n')

    assert isinstance(attempt(cluster, pod="web-0", lines={"json": {"level": "error"}, "count": 2}), Passed)
    assert isinstance(attempt(cluster, pod="web-0", lines={"json": {"code": {"gt": 6}}}), Passed)
    assert attempt(cluster, pod="web-0", lines={"json": {"level": "error"}, "count": {"le": 1}}) == Failed(
        'web-0: 2 lines with json {"level": "error"}, expected le 1',
        expected="le 1",
        actual="2",
        detail='such lines:\n  | {"level":"error","code":5}\n  | {"level":"error","code":7}',
    )
    absent = attempt(cluster, pod="web-0", lines=[{"contains": "plain"}, {"contains": "plain", "count": 0}])
    assert isinstance(absent, Failed)
    assert absent.message == 'web-0: 1 line with contains ["plain"], expected 0'


def test_nothing_is_known_to_be_absent_of_what_is_not_there(cluster: FakeCluster) -> None:
    starting = running_pod("new-0", app="new")
    starting["status"]["containerStatuses"][0]["state"] = {"waiting": {"reason": "ContainerCreating"}}
    cluster.add(starting)
    writes(cluster)

    assert attempt(cluster, pods="app=other", notContains="x") == Failed(
        "there is no pod that matches app=other in namespace test-ns", expected="at least one pod", actual="none"
    )
    assert attempt(cluster, pod="gone", notContains="x") == Failed("pod test-ns/gone does not exist", actual="missing")
    assert attempt(cluster, pod="new-0", notContains="x") == Failed(
        "new-0 hasn't started (ContainerCreating), so there is no log yet",
        expected="started",
        actual="ContainerCreating",
    )
    assert isinstance(attempt(context(cluster, negated=True), pod="gone", contains="x"), Errored)
    assert isinstance(attempt(context(cluster, may_not_exist=True), pod="gone", notContains="x"), Passed)
    assert isinstance(attempt(context(cluster, may_not_exist=True), pod="gone", contains="x"), Failed)
    assert isinstance(attempt(context(cluster, negated=True), pod="new-0", contains="x"), Errored)


def test_pods_that_have_ended_have_logs(cluster: FakeCluster) -> None:
    done = running_pod("job-0", app="job")
    done["status"].update(phase="Succeeded")
    done["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0}}
    cluster.add(done)
    writes(cluster, job_0="done\n")

    assert isinstance(attempt(cluster, pods="app=job", contains="done"), Passed)


def test_the_run_before_this_one(cluster: FakeCluster) -> None:
    asked = writes(cluster, web_0="panic\n")

    never = attempt(cluster, pod="web-0", previous=True, contains="panic")

    assert isinstance(never, Failed)
    assert never.message == "web-0 was never restarted, so there is no log of a run before this one"
    restarted(cluster, "web-0", at="2026-01-01T11:30:00Z")
    assert isinstance(attempt(cluster, pod="web-0", previous=True, contains="panic"), Passed)
    assert asked == [{"container": "main", "previous": True}]


def restarted(cluster: FakeCluster, name: str, *, at: str, times: int = 1) -> None:
    pod = cluster.get("pod", name)
    assert pod is not None
    status = pod["status"]["containerStatuses"][0]
    status.update(restartCount=times, containerID=f"containerd://{name}-{times}")
    status["lastState"] = {"terminated": {"startedAt": at, "finishedAt": at, "exitCode": 1}}
    cluster.add(pod)


def test_what_a_run_that_is_over_wrote_since_the_test_began_counts(cluster: FakeCluster) -> None:
    restarted(cluster, "web-0", at="2026-01-01T11:30:00Z")
    cluster.kube.on_log_read = lambda pod, options: "panic\n" if options["previous"] else "fine\n"

    since_test = attempt(cluster, pod="web-0", since="test", notContains="panic")
    recent = attempt(cluster, pod="web-0", since="10m", notContains="panic")  # it ended half an hour ago

    assert isinstance(since_test, Failed)
    assert isinstance(recent, Passed)


def test_runs_that_the_kubelet_has_forgotten_say_nothing(cluster: FakeCluster) -> None:
    restarted(cluster, "web-0", at="2026-01-01T11:30:00Z", times=3)
    writes(cluster, web_0="fine\n")

    outcome = attempt(cluster, pod="web-0", since="test", notContains="panic")

    assert isinstance(outcome, Errored)
    assert "nothing is known to be absent" in outcome.message
    assert isinstance(attempt(cluster, pod="web-0", since="test", contains="fine"), Passed)


@pytest.mark.parametrize(
    ("since", "window"),
    [("test", {"since_time": "2026-01-01T11:00:00Z"}), ("1500ms", {"since_seconds": 2}), ("all", {})],
)
def test_since(cluster: FakeCluster, since: str, window: dict[str, Any]) -> None:
    asked = writes(cluster, web_0="x\n")

    attempt(cluster, pod="web-0", since=since, contains="x")

    assert asked == [{"container": "main", **window}]


def test_since_the_step_began(cluster: FakeCluster) -> None:
    lines = ["2026-01-01T12:00:00.1Z old", "2026-01-01T12:00:00.123456789Z last"]
    cluster.kube.on_log_read = lambda pod, options: "\n".join(lines[-1:] if options.get("tail_lines") else lines) + "\n"
    given = context(cluster)

    assert isinstance(attempt(given, pod="web-0", since="step", contains="old"), Failed)
    lines.append("2026-01-01T12:00:00.12345679Z new old")
    outcome = attempt(given, pod="web-0", since="step", contains="old")

    assert isinstance(outcome, Passed)
    assert outcome.value["text"] == "new old"


def test_a_pod_that_comes_after_the_step_began_counts_as_a_whole(cluster: FakeCluster) -> None:
    given = context(cluster)
    stamped = "2026-01-01T12:00:00.1Z first\n"
    cluster.kube.on_log_read = lambda pod, options: stamped if options.get("timestamps") else "first\n"

    assert isinstance(attempt(given, pods="app=late", since="step", contains="first"), Failed)
    cluster.add(running_pod("late-0", app="late"))

    assert isinstance(attempt(given, pods="app=late", since="step", contains="first"), Passed)


def test_a_container_that_restarts_during_the_step(cluster: FakeCluster) -> None:
    given = context(cluster)
    cluster.kube.on_log_read = lambda pod, options: "2026-01-01T12:00:00.1Z mark\n"
    attempt(given, pod="web-0", since="step", contains="x")
    restarted(cluster, "web-0", at="2026-01-01T12:00:01Z")
    logs = {True: "2026-01-01T12:00:00.1Z mark\n2026-01-01T12:00:01Z panic\n", False: "again\n"}
    cluster.kube.on_log_read = lambda pod, options: logs[bool(options["previous"])]

    outcome = attempt(given, pod="web-0", since="step", contains=["panic", "again"], notContains="mark")

    assert isinstance(outcome, Passed)


def test_an_absence_since_the_step_needs_a_time(cluster: FakeCluster) -> None:
    writes(cluster)

    refused = attempt(cluster, pod="web-0", since="step", notContains="x")

    assert isinstance(refused, Errored)
    assert refused.final
    assert isinstance(attempt(context(cluster, lasts=True), pod="web-0", since="step", notContains="x"), Passed)


def test_several_containers(cluster: FakeCluster) -> None:
    pod = running_pod("two", app="two")
    pod["spec"]["containers"].append({"name": "side"})
    pod["status"]["containerStatuses"].append({"name": "side", "state": {"running": {}}})
    cluster.add(pod)
    asked = writes(cluster, two="x\n")

    outcome = attempt(cluster, pod="two", containers="all", contains="x")

    assert isinstance(outcome, Passed)
    assert [value["container"] for value in outcome.value] == ["main", "side"]
    assert asked == [{"container": "main"}, {"container": "side"}]
    assert attempt(cluster, pod="two", containers=["no"], contains="x") == Errored(
        "pod two has no container no", final=True
    )


class Machine:
    """A node whose component `kubelet` has written `text`, read by real commands."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __call__(self, command: Sequence[str], stdin: bytes | None) -> Result:
        assert command[6] == "cat-log"
        done = subprocess.run([*command[:6], "printf", "%s", self.text], capture_output=True, check=False)
        return Result(command=tuple(command), code=done.returncode, stdout=done.stdout, stderr=done.stderr, seconds=0)


def node_log(cluster: FakeCluster, text: str) -> Machine:
    machine = Machine(text)
    for node in cluster.nodes:
        node.logs = {"kubelet": ("cat-log",), "containerd": ("cat-log",)}
        node.answer = machine
    return machine


def test_the_log_of_a_component_on_nodes(cluster: FakeCluster) -> None:
    node_log(cluster, "I0101 kubelet starts\n")

    outcome = attempt(cluster, nodes="all", component="kubelet", contains="starts", notMatches="panic")
    unknown = attempt(cluster, node="worker-1", component="etcd", contains="x")

    assert isinstance(outcome, Passed)
    assert [value["node"] for value in outcome.value] == ["worker-1", "worker-2"]
    assert unknown == Errored("worker-1 has no log of etcd; it has containerd, kubelet", final=True)
    missing = attempt(cluster, node="worker-1", component="kubelet", contains="x")
    assert isinstance(missing, Failed)
    assert missing.message == 'kubelet on worker-1: "x" isn\'t in the log'


def test_the_log_of_what_runs_on_fixtures() -> None:
    fixture = FakeNode("e1", answer=Machine("ready to serve\n"))
    fixture.logs = {"etcd": ("cat-log",)}
    cluster = FakeCluster(fixtures=[fixture, FakeNode("c1")])

    outcome = attempt(cluster, fixture="e1", component="etcd", contains="ready")
    other = attempt(cluster, fixtures=["c1"], component="etcd", contains="ready")

    assert isinstance(outcome, Passed)
    assert outcome.value == {
        "fixture": "e1",
        "component": "etcd",
        "text": "ready to serve",
        "lines": [],
    }
    assert other == Errored("c1 has no log of etcd; it has none", final=True)


def test_the_log_of_a_component_since_the_step_began(cluster: FakeCluster) -> None:
    machine = node_log(cluster, "old\n")
    given = context(cluster)

    assert isinstance(attempt(given, node="worker-1", component="kubelet", since="step", contains="old"), Failed)
    machine.text += "new\n"
    outcome = attempt(given, node="worker-1", component="kubelet", since="step", contains="new")

    assert isinstance(outcome, Passed)
    assert outcome.value["text"] == "new"


def test_the_log_of_a_component_without_times(cluster: FakeCluster) -> None:
    node_log(cluster, "old\n")

    outcome = attempt(cluster, node="worker-1", component="kubelet", since="test", notContains="x")

    assert isinstance(outcome, Errored)
    assert "none of its lines begins with a time" in outcome.message


def test_lines_since_a_time() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    text = "\n".join(
        [
            "I1231 23:59:59.000000 1 last year",
            "I0101 11:59:59.000000 1 old",
            "  of the old",
            'time="2026-01-01T12:00:00.5Z" level=info msg=new',
            "  of the new",
            '{"level":"info","ts":"2026-01-01T12:00:01.000Z"}',
        ]
    )

    kept, reaches_back = lines_since(text, datetime(2026, 1, 1, 12, tzinfo=UTC), now)

    assert kept.splitlines() == text.splitlines()[3:]
    assert reaches_back
    assert lines_since(text, datetime(2025, 1, 1, tzinfo=UTC), now) == (text, False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pod": "a"}, "say what the log must hold"),
        ({"contains": "x"}, "say exactly one of pod, pods, node, nodes"),
        ({"node": "a", "contains": "x"}, "component says whose log it is on a machine"),
        ({"pod": "a", "component": "kubelet", "contains": "x"}, "component says whose log it is on a machine"),
        ({"pod": "a", "contains": "x", "since": "yesterday"}, "none of step, test, all"),
        ({"pod": "a", "matches": "("}, "regular expression"),
        ({"pod": "a", "lines": {"matches": "("}}, "regular expression"),
        ({"pod": "a", "lines": {"count": 3}}, "say what the lines are like"),
        ({"pod": "a", "lines": {"contains": "x", "count": {"about": 3}}}, "count"),
        ({"pod": "a", "contains": "x", "container": "a", "containers": "all"}, "one of container and containers"),
        ({"pod": "a", "contains": "x", "previous": True, "since": "step"}, "a run that is over"),
        ({"pods": {"component": "c", "selector": "a=b"}, "contains": "x"}, "component stands alone"),
        ({"pods": {"owner": "web"}, "contains": "x"}, "needs a kind and a name"),
    ],
)
def test_invalid(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Logs.model_validate(fields)


def test_lines_of_json_that_nothing_in_the_log_resembles_show_nothing(cluster: FakeCluster) -> None:
    none_of = {"json": {"level": "error"}, "count": 0}
    logs = {
        "plain\nlines\n": "web-0: none of 2 lines is JSON, so that none is like this proves nothing; say mayNotExist: true if that is meant",
        '{"lvl": "info"}\nplain\n': "web-0: none of 1 line of JSON has .level, so that none is like this proves nothing;"
        " say mayNotExist: true if that is meant",
        '{"level": "info"}\nplain\n': None,
        "": None,
    }
    for text, said in logs.items():
        writes(cluster, web_0=text)

        outcome = attempt(cluster, pod="web-0", lines=none_of)
        assert (outcome.message if isinstance(outcome, Failed) else None) == said
        assert getattr(attempt(cluster, pod="web-0", lines={"json": {"level": "error"}}), "saw_nothing", None) is bool(
            said
        )
        assert isinstance(attempt(context(cluster, may_not_exist=True), pod="web-0", lines=none_of), Passed)
    writes(cluster, web_0="plain\n")
    assert isinstance(attempt(cluster, pod="web-0", lines=[{"json": {"a": 1}, "count": {"le": 3}}]), Failed)
    writes(cluster, web_0='{"a": 1}\n')
    assert isinstance(attempt(cluster, pod="web-0", lines=[{"json": {"panic": {"exists": True}}, "count": 0}]), Passed)


def alone(restarts: str = "Always", owner: str | None = None) -> FakeCluster:
    """A cluster with one pod, which is restarted as said, and is a controller's if one is named."""
    pod = running_pod("web-0", app="web")
    pod["spec"]["restartPolicy"] = restarts
    if owner is not None:
        pod["metadata"]["ownerReferences"] = [{"kind": owner, "name": "web", "controller": True}]
    namespace = made("Namespace", NAMESPACE)
    namespace["metadata"]["creationTimestamp"] = "2026-01-01T11:00:00Z"
    return FakeCluster(namespace, pod, nodes=[FakeNode("worker-1")])


UNWANTED: list[dict[str, Any]] = [
    {"notContains": "panic"},
    {"notMatches": "^E "},
    {"lines": {"contains": "panic", "count": 0}},
    {"lines": {"contains": "panic", "count": {"le": 0}}},
    {"notContains": "panic", "contains": "not there yet"},
]


@pytest.mark.parametrize("fields", UNWANTED, ids=str)
@pytest.mark.parametrize(
    ("given", "more"),
    [(alone(), {"since": "test"}), (alone("Never"), {}), (alone("Never"), {"since": "test"})],
    ids=["of this test", "never restarted", "both"],
)
def test_what_a_log_that_only_grows_has_and_must_not_have_is_final(
    given: FakeCluster, more: Mapping[str, Any], fields: Mapping[str, Any]
) -> None:
    writes(given, web_0="fine\nE panic: oh\n")

    outcome = attempt(given, pod="web-0", **fields, **more)

    assert isinstance(outcome, Failed)
    assert outcome.final
    assert "panic" in outcome.message or "^E " in outcome.message


@pytest.mark.parametrize(
    ("given", "more"),
    [
        (alone(), {}),
        (alone(), {"since": "30s"}),
        (alone("Never"), {"since": "30s"}),
        (alone(owner="ReplicaSet"), {"since": "test"}),
        (alone("Never", owner="Job"), {}),
    ],
    ids=["may be restarted", "a while", "a while of one run", "may be replaced", "may be tried again"],
)
def test_what_may_go_from_a_log_is_looked_at_again(given: FakeCluster, more: Mapping[str, Any]) -> None:
    writes(given, web_0="fine\nE panic: oh\n")

    outcome = attempt(given, pod="web-0", notContains="panic", **more)

    assert isinstance(outcome, Failed)
    assert not outcome.final


@pytest.mark.parametrize(
    "fields", [{"contains": "ready"}, {"lines": {"contains": "panic", "count": 2}}, {"lines": {"contains": "ready"}}]
)
def test_what_may_yet_be_written_is_waited_for(fields: Mapping[str, Any]) -> None:
    given = alone("Never")
    writes(given, web_0="fine\nE panic: oh\n")

    outcome = attempt(given, pod="web-0", **fields)

    assert isinstance(outcome, Failed)
    assert not outcome.final


def test_of_several_logs_one_that_can_not_hold_any_more_is_enough_unless_any_would_do() -> None:
    second = running_pod("web-1", app="web")
    given = alone("Never")
    given.add(second)
    writes(given, web_0="E panic: oh\n", web_1="E panic: oh\n")

    one = attempt(given, pods="app=web", notContains="panic")
    both = attempt(given, pods="app=web", notContains="panic", any=True)

    assert isinstance(one, Failed)
    assert isinstance(both, Failed)
    assert (one.final, both.final) == (True, False)
    assert one.message == 'web-0: "panic" is in the log (2 of 2 logs)'
