from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.steps.base import Errored, Failed, Passed
from tests.fakes import FakeCluster, context, made, step


def node(name: str, **conditions: str) -> dict[str, Any]:
    return made(
        "Node", name, status={"conditions": [{"type": kind, "status": status} for kind, status in conditions.items()]}
    )


def pod(name: str, *, ready: str = "True", labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    return made(
        "Pod",
        name,
        labels=labels or {"app": "web"},
        spec={"nodeName": "n1"},
        status={"conditions": conditions, **status},
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "c", "image": "", "ready": False, "state": state}]}


def test_passes_once_the_condition_is_true() -> None:
    cluster = FakeCluster(node("worker-1", Ready="True"))

    outcome = step("wait-for: {resource: node/worker-1, condition: Ready}").attempt(context(cluster))

    assert outcome == Passed("node/worker-1 is Ready", cluster.get("node", "worker-1"))


def test_fails_while_the_condition_is_missing() -> None:
    cluster = FakeCluster(node("worker-1"))

    outcome = step("wait-for: {resource: node/worker-1, condition: Ready}").attempt(context(cluster))

    assert outcome == Failed("node/worker-1: Ready is missing", expected="True", actual="missing")


def test_another_status_can_be_waited_for() -> None:
    cluster = FakeCluster(node("worker-1", Ready="False"))
    wait = step("wait-for: {resource: node/worker-1, condition: Ready=False}")

    assert isinstance(wait.attempt(context(cluster)), Passed)
    cluster.add(node("worker-1", Ready="True"))
    assert wait.attempt(context(cluster)) == Failed("node/worker-1: Ready is True", expected="False", actual="True")


def test_says_what_does_not_exist() -> None:
    outcome = step("wait-for: {resource: pod/web-0, condition: Ready}").attempt(context(FakeCluster()))

    assert outcome == Failed("pod/web-0 does not exist", expected="Ready", actual="missing")


def test_a_condition_of_an_older_spec_does_not_count() -> None:
    available = {"observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}]}
    deployment = made("Deployment", "web", api="apps/v1", status=available)
    deployment["metadata"]["generation"] = 2

    outcome = step("wait-for: {resource: deploy/web, condition: Available}").attempt(context(FakeCluster(deployment)))

    assert outcome == Failed(
        "deployment/web: Available is True, but of an older spec (generation 1 of 2)", "True", "True, of an older spec"
    )


def test_all_objects_of_a_selection_have_to_comply() -> None:
    cluster = FakeCluster(pod("web-0"), pod("web-1", ready="False", **waiting("ContainerCreating")))
    wait = step("wait-for: {resource: pod, selector: app=web, all: true, count: 2, condition: Ready}")

    outcome = wait.attempt(context(cluster))

    assert outcome == Failed(
        "1 of 2 pod with app=web Ready, expected all of 2; pod/web-1: Ready is False: container c waits: ContainerCreating",
        expected="all of 2 Ready",
        actual="1 of 2",
        detail="pod/web-1: Ready is False: container c waits: ContainerCreating",
    )
    cluster.add(pod("web-1"))
    assert wait.attempt(context(cluster)).message == "2 of 2 pod with app=web Ready"
    cluster.add(pod("web-2"))
    assert isinstance(wait.attempt(context(cluster)), Failed)


def test_any_and_count_are_said_in_words() -> None:
    cluster = FakeCluster(pod("web-0"), pod("web-1", ready="False"))

    assert isinstance(
        step("wait-for: {resource: pods, selector: app=web, any: true, condition: Ready}").attempt(context(cluster)),
        Passed,
    )
    assert isinstance(
        step("wait-for: {resource: pods, selector: app=web, count: 1, condition: Ready}").attempt(context(cluster)),
        Passed,
    )
    assert isinstance(
        step("wait-for: {resource: pods, selector: app=web, count: {ge: 2}, condition: Ready}").attempt(
            context(cluster)
        ),
        Failed,
    )


def test_a_selector_that_meets_nothing_fails() -> None:
    outcome = step("wait-for: {resource: pods, selector: app=web, all: true, condition: Ready}").attempt(
        context(FakeCluster())
    )

    assert outcome == Failed("there are no pods with app=web", expected="Ready", actual="no objects")


def test_objects_of_an_owner_are_found_through_others() -> None:
    replicas = made("ReplicaSet", "web-7", api="apps/v1", owner=("Deployment", "web"))
    replicas["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    mine = made(
        "Pod", "web-7-x", owner=("ReplicaSet", "web-7"), status={"conditions": [{"type": "Ready", "status": "True"}]}
    )
    mine["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    cluster = FakeCluster(made("Deployment", "web", api="apps/v1"), replicas, mine, pod("other", ready="False"))

    outcome = step("wait-for: {resource: pods, owner: deployment/web, all: true, condition: Ready}").attempt(
        context(cluster)
    )

    assert outcome.message == "1 of 1 pods of deployment/web Ready"


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"])
def test_an_image_that_can_not_be_had_ends_the_wait(reason: str) -> None:
    found = pod("web-0", ready="False", **waiting(reason, "not found"))
    found["spec"]["containers"] = [{"name": "c", "image": "registry.test/web:1"}]

    outcome = step("wait-for: {resource: pod/web-0, condition: Ready}").attempt(context(FakeCluster(found)))

    assert isinstance(outcome, Errored)
    assert outcome.final
    assert outcome.message == (
        f'pod/web-0: the image "registry.test/web:1" of container c can\'t be had ({reason}); supply it in the spec '
        "(cluster.images), on the command line (--image REF=PATH), or from a registry that can be reached"
    )
    assert outcome.detail == "not found"


def test_a_patient_wait_goes_on() -> None:
    cluster = FakeCluster(pod("web-0", ready="False", **waiting("ImagePullBackOff")))

    outcome = step("wait-for: {resource: pod/web-0, condition: Ready}").attempt(context(cluster, patient=True))

    assert isinstance(outcome, Errored)
    assert not outcome.final


def test_an_image_is_no_matter_where_unreadiness_is_waited_for() -> None:
    cluster = FakeCluster(pod("web-0", ready="False", **waiting("ImagePullBackOff")))

    assert isinstance(step("wait-for: {resource: pod/web-0, condition: Ready=False}").attempt(context(cluster)), Passed)


def test_a_failed_job_ends_the_wait() -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    cluster = FakeCluster(made("Job", "load", api="batch/v1", status=failed))

    outcome = step("wait-for: {resource: job/load, condition: Complete}").attempt(context(cluster))

    assert outcome == Failed(
        "job/load is Failed: BackoffLimitExceeded, so it won't be Complete", "Complete", "Failed", final=True
    )


def test_other_conditions_of_a_failed_job_may_still_come() -> None:
    failed = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
    cluster = FakeCluster(made("Job", "load", api="batch/v1", status=failed))

    outcome = step("wait-for: {resource: job/load, condition: Suspended}").attempt(context(cluster))

    assert outcome == Failed("job/load: Suspended is missing", "True", "missing")


@pytest.mark.parametrize(("kind", "name"), [("ReplicaSet", "web"), ("StatefulSet", "db")])
def test_objects_of_others_do_not_belong_to_an_owner(kind: str, name: str) -> None:
    theirs = made("Pod", "x", owner=(kind, name))
    theirs["metadata"]["ownerReferences"][0]["apiVersion"] = "apps/v1"
    cluster = FakeCluster(made(kind, name, api="apps/v1"), theirs)

    outcome = step("wait-for: {resource: pods, owner: sts/web, all: true, exists: true}").attempt(context(cluster))

    assert outcome == Failed("there are no pods of sts/web", "there", "no objects")


def test_an_ended_pod_ends_the_wait() -> None:
    cluster = FakeCluster(pod("web-0", ready="False", phase="Failed", reason="Evicted", message="disk"))

    outcome = step("wait-for: {resource: pod/web-0, condition: Ready}").attempt(context(cluster))

    assert outcome == Failed(
        "pod/web-0 has ended (Failed): Evicted: disk, so it won't be Ready", "True", "ended", final=True
    )


def test_a_rollout_says_which_pod_holds_it_up() -> None:
    deployment = made(
        "Deployment", "web", api="apps/v1",
        spec={"replicas": 2, "selector": {"matchLabels": {"app": "web"}}},
        status={"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
    )  # fmt: skip
    cluster = FakeCluster(deployment, pod("web-0"), pod("web-1", ready="False", **waiting("ContainerCreating")))

    outcome = step("wait-for: {resource: deployment/web, rollout: true}").attempt(context(cluster))

    assert outcome == Failed(
        "deployment/web: 1 of 2 replicas are available; pod/web-1 container c waits: ContainerCreating",
        "2 available",
        "1 available",
        "pod/web-1 container c waits: ContainerCreating",
    )


def test_only_workloads_have_a_rollout() -> None:
    with pytest.raises(ValidationError, match="nodes have no rollout; DaemonSet, Deployment, StatefulSet have"):
        step("wait-for: {resource: node/a, rollout: true}")
    with pytest.raises(ValidationError, match="did you mean name"):
        step("wait-for: {resource: node/a, anyOf: [{jsonpath: {path: '{.metadata.nme}'}}]}")
    cluster = FakeCluster()
    cluster.kube.define("Widget", "widgets", group="example.com")
    cluster.add(made("Widget", "w", api="example.com/v1", namespace="test-ns"))

    outcome = step("wait-for: {resource: widgets.example.com/w, rollout: true}").attempt(context(cluster))

    assert isinstance(outcome, Failed)
    assert outcome.message.endswith(" has no rollout; DaemonSet, Deployment, StatefulSet have")
    assert outcome.final


def test_existence_is_enough_where_asked() -> None:
    cluster = FakeCluster(made("ConfigMap", "settings"))

    assert isinstance(step("wait-for: {resource: cm/settings, exists: true}").attempt(context(cluster)), Passed)
    assert isinstance(step("wait-for: {resource: cm/others, exists: true}").attempt(context(cluster)), Failed)


def job(**conditions: str) -> dict[str, Any]:
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    return made("Job", "once", api="batch/v1", status={"conditions": listed, "succeeded": 1})


def test_one_of_several_ways_is_enough() -> None:
    either = step("wait-for: {resource: job/once, anyOf: [{condition: Complete}, {condition: Failed}]}")

    assert either.title() == "job/once Complete or Failed"
    assert either.attempt(context(FakeCluster(job(Failed="True")))).message == "job/once is Failed"
    assert either.attempt(context(FakeCluster(job()))) == Failed(
        "job/once is neither Complete nor Failed: job/once: Complete is missing; job/once: Failed is missing",
        "Complete or Failed",
        "neither",
    )


def test_each_of_several_ways_has_to_come_true() -> None:
    both = step(
        "wait-for: {resource: job/once, allOf: [{condition: Complete}, {jsonpath: {path: '{.status.succeeded}', ge: 1}}]}"
    )

    assert isinstance(both.attempt(context(FakeCluster(job(Complete="True")))), Passed)
    assert both.attempt(context(FakeCluster(job()))).message == "job/once: Complete is missing"
    assert both.attempt(context(FakeCluster(job(Failed="True")))).final


def test_what_there_is_not_is_no_proof_that_it_never_came() -> None:
    cluster = FakeCluster(job())

    def attempt(text: str) -> Any:
        return step(f"wait-for: {text}").attempt(context(cluster, negated=True))

    assert attempt("{resource: job/other, exists: true}").saw_nothing
    assert attempt("{resource: jobs, selector: app=x, any: true, exists: true}").saw_nothing
    assert attempt("{resource: job/once, condition: Complete}").saw_nothing
    assert attempt("{resource: job/once, jsonpath: {path: '{.status.failed}', equals: 1}}").saw_nothing
    assert not attempt("{resource: job/once, jsonpath: {path: '{.status.succeeded}', equals: 2}}").saw_nothing
    assert attempt("{resource: gadget/x, deleted: true}").saw_nothing


def test_deletion_counts_only_of_what_was_seen() -> None:
    cluster = FakeCluster(made("ConfigMap", "settings"))
    wait = step("wait-for: {resource: cm/settings, deleted: true}")
    same_step = context(cluster)

    assert wait.attempt(same_step) == Failed(
        "cm/settings still there: configmap/settings", "gone", "1 there", "configmap/settings"
    )
    cluster.kube.remove("cm", "settings", "test-ns")
    assert wait.attempt(same_step) == Passed("cm/settings gone")
    assert wait.attempt(context(cluster)) == Failed(
        "cm/settings: nothing like that was seen by this test, so nothing was deleted; say mayNotExist if that is fine",
        "seen, then gone",
        "never seen",
    )
    assert wait.attempt(context(cluster, may_not_exist=True)) == Passed("cm/settings gone, or never there")


def test_deletion_of_a_selection_remembers_labels() -> None:
    cluster = FakeCluster(pod("web-0"))
    later = context(cluster)
    step("wait-for: {resource: pod/web-0, exists: true}").attempt(later)
    cluster.kube.remove("pod", "web-0", "test-ns")

    assert isinstance(
        step("wait-for: {resource: pods, selector: app=web, all: true, deleted: true}").attempt(later), Passed
    )
    assert isinstance(
        step("wait-for: {resource: pods, selector: app=db, all: true, deleted: true}").attempt(later), Failed
    )


def test_finalizers_are_named() -> None:
    stuck = made("ConfigMap", "settings")
    stuck["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]}

    outcome = step("wait-for: {resource: cm/settings, deleted: true}").attempt(context(FakeCluster(stuck)))

    assert (
        outcome.message == "cm/settings still there: configmap/settings (being deleted; finalizers: example.com/hold)"
    )


def test_a_value_can_be_waited_for() -> None:
    cluster = FakeCluster(pod("web-0", phase="Pending"))
    wait = step('wait-for: {resource: pod/web-0, jsonpath: {path: "{.status.phase}", equals: Running}}')

    assert wait.attempt(context(cluster)) == Failed(
        'pod/web-0: {.status.phase} is "Pending", expected "Running"', '"Running"', '"Pending"'
    )
    cluster.add(pod("web-0", phase="Running"))
    assert isinstance(wait.attempt(context(cluster)), Passed)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("wait-for: {resource: pod/a}", "wait-for needs exactly one of condition, rollout, exists, jsonpath, deleted, anyOf, allOf; got none"),
        ("wait-for: {resource: pod/a, condition: Ready, exists: true}", "got condition and exists"),
        ("wait-for: {resource: pods, selector: a=b, condition: Ready}", "which of pods with a=b? say all: true, any: true or count: N"),
        ("wait-for: {resource: pods, condition: Ready}", "which of pods? say all: true, any: true or count: N"),
        ("wait-for: {resource: pod/a, all: true, condition: Ready}", "pod/a is one object; all, any and count are for several"),
        ("wait-for: {resource: pods, any: true, count: 2, condition: Ready}", "any stands alone: say all, any or count"),
        ("wait-for: {resource: pods, count: -1, condition: Ready}", "-1 is no count"),
        ("wait-for: {resource: pod/a, selector: a=b, condition: Ready}", "pod/a names one object; leave its name out"),
        ("wait-for: {resource: pod/a/b, condition: Ready}", "'pod/a/b' names no object; write KIND or KIND/NAME"),
        ("wait-for: {resource: pods, selector: 'a==', all: true, condition: Ready=Yes}", '"Ready=Yes" is no condition'),
        ("wait-for: {resource: pods, selector: 'a=(b', all: true, condition: Ready}", "is not a label selector"),
        ("wait-for: {resource: pods, any: true, deleted: true}", "deleted is said of all objects of a selection; write all: true"),
        ("wait-for: {resource: pod/a, jsonpath: {path: '{.a'}}", "a { has no }"),
        ("wait-for: {resource: pods, owner: deployment, all: true, exists: true}", "owner deployment needs a name"),
        ("wait-for: {resource: pod/a, namespace: '*', exists: true}", "pod/a is in one namespace; name it"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_invalid(text: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(text)

    assert problem in str(raised.value)


def test_reads_only_through_the_view() -> None:
    cluster = FakeCluster(pod("web-0"))

    step("wait-for: {resource: pods, namespace: '*', all: true, condition: Ready}").attempt(context(cluster))

    assert cluster.view.reads == [("list", "pods", None, "")]
    assert cluster.kube.requests == []


def test_one_that_can_be_had_is_enough_whatever_the_others_lack() -> None:
    cluster = FakeCluster(pod("web-0"), pod("web-1", ready="False", **waiting("InvalidImageName")))

    def attempt(quantifier: str) -> Any:
        text = f"wait-for: {{resource: pods, selector: app=web, {quantifier}, condition: Ready}}"
        return step(text).attempt(context(cluster))

    assert isinstance(attempt("any: true"), Passed)
    assert isinstance(attempt("all: true"), Errored)
    assert isinstance(attempt("count: {ge: 1}"), Passed)
    assert isinstance(attempt("count: 1"), Errored), "the other one couldn't be found out"
