"""One test from its namespace to its end, on a cluster of fakes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.clock import Clock, SystemClock
from koalesce.cluster import Cluster
from koalesce.engine.attempts import Interrupt
from koalesce.engine.case import Stage, run_setup, run_test
from koalesce.engine.session import RunSession
from koalesce.engine.stream import EventStream
from koalesce.events import AnyEvent, RunFinished, StepFinished, StepStarted, TestFinished
from koalesce.spec import load
from tests.fakes import FakeCluster, FakeKube, FakeNode, FakeView, api_error

HEAD = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: example}
"""


class Kube(FakeKube):
    """Gives every namespace its default service account, as the controller manager does."""

    def view(self, _on_change: Any) -> FakeView:
        return FakeView(self)

    def table(self, _resource: Any, _namespace: str | None = None, **_options: Any) -> str:
        return ""

    def create(self, obj: Mapping[str, Any], *, namespace: str | None = None) -> dict[str, Any]:
        made = super().create(obj, namespace=namespace)
        if obj["kind"] == "Namespace":
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self.add({**account, "metadata": {"name": "default", "namespace": obj["metadata"]["name"]}})
        return made


class Heard(EventStream):
    """One that somebody hears at once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.hear: Callable[[AnyEvent], None] = lambda event: None

    def emit(self, event: AnyEvent) -> None:
        super().emit(event)
        self.hear(event)


class World:
    """A stage on fakes, and the events that it told."""

    def __init__(self, tmp_path: Path, tests: str) -> None:
        spec = tmp_path / "spec.yaml"
        spec.write_text(HEAD + tests)
        (tmp_path / ".git").mkdir()
        self.fake = FakeCluster(nodes=[FakeNode("worker-1"), FakeNode("worker-2")])
        self.fake.kube = Kube()
        self.loaded = load(spec)
        self.interrupt = Interrupt(threading.Event())
        self.stream = Heard(SystemClock())
        session = RunSession(
            run_id="r1", clock=SystemClock(), interrupt=self.interrupt, stream=self.stream, folder=tmp_path / "run"
        )
        nodes = [{"name": node.name, "address": node.address} for node in self.fake.nodes]
        self.stage = Stage(
            session=session, loaded=self.loaded, spec="spec.yaml", cluster=cast("Cluster", self.fake.real()),
            files=self.loaded.files, folder=tmp_path / "evidence", timeout=60.0,
            values={**self.loaded.scope, "nodes": nodes, "components": {}},
        )  # fmt: skip

    def take_cluster(self, **fields: Any) -> None:
        """Have the stage's cluster be another in some fields."""
        self.stage = replace(self.stage, cluster=replace(self.stage.cluster, **fields))

    def interrupt_in(self, section: str, reason: str = "interrupted") -> None:
        """Interrupt the run as soon as a step of a section has begun."""

        def hear(event: AnyEvent) -> None:
            if isinstance(event, StepStarted) and event.section == section:
                self.interrupt.set(reason)

        self.stream.hear = hear

    def run(self, index: int = 0) -> TestFinished:
        return run_test(self.stage, self.loaded.spec.tests[index], line=1)

    def events(self) -> list[AnyEvent]:
        self.stream.emit(RunFinished(status="passed", passed=0, failed=0, error=0, skipped=0, seconds=0))
        return list(self.stream)[:-1]

    def steps(self) -> list[tuple[str, str, str]]:
        return [(e.section, e.title, e.status) for e in self.events() if isinstance(e, StepFinished)]

    def verbs(self, verb: str) -> list[Any]:
        return [what for done, what in self.fake.kube.requests if done == verb]


def test_a_test_has_a_namespace_of_its_own_which_goes_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: It works!, steps: [{sleep: 1ms}]}]")

    finished = world.run()

    made = world.verbs("create")[0]["object"]
    assert made["metadata"]["labels"] == {"koalesce.dev/run": "r1", "koalesce.dev/test": "it-works"}
    assert made["metadata"]["name"].startswith("it-works-")
    assert [gone["name"] for gone in world.verbs("delete")] == [made["metadata"]["name"]]
    assert (finished.status, finished.message) == ("passed", "")


def test_the_first_failure_ends_the_test_and_says_why(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, steps: [{wait-for: {resource: pod/web, exists: true}, timeout: 100ms}, {name: never reached, sleep: 1ms}]}]",
    )

    finished = world.run()

    assert finished.status == "failed"
    assert "pod/web" in finished.message
    assert [title for _, title, _ in world.steps()] == [finished.message.split(": ")[0]]


def test_a_soft_failure_goes_on_but_fails_the_test(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - {wait-for: {resource: pod/web, exists: true}, timeout: 100ms, continueOnFailure: true}
      - {name: still reached, sleep: 1ms}
""",
    )

    assert world.run().status == "failed"
    assert world.steps()[1] == ("steps", "still reached", "passed")


def test_an_api_that_breaks_is_an_error_not_a_failure(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, steps: [{wait-for: {resource: pod/web, exists: true}}]}]")
    world.fake.kube.fail("get", *[api_error(403, "pods is forbidden", reason="Forbidden")] * 50)

    assert world.run().status == "error"


def test_foreach_runs_the_step_for_each_item_and_gathers_outputs(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - foreach: {item: n, in: "${{ nodes }}"}
        name: look at ${{ n.name }} and not at ${{ others[0].name }}
        script: {run: "echo ${{ n.name }}"}
        outputs: {said: {regex: "worker-."}}
      - name: both were there
        script: {run: "test '${{ outputs.said[0] }} ${{ outputs.said[1] }}' = 'worker-1 worker-2'"}
""",
    )

    assert world.run().status == "passed"
    assert [title for _, title, _ in world.steps()] == [
        "look at worker-1 and not at worker-2",
        "look at worker-2 and not at worker-1",
        "both were there",
    ]


def test_foreach_over_nothing_has_observed_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, steps: [{foreach: {item: x, in: []}, sleep: 1ms}]}]")

    finished = world.run()

    assert (finished.status, finished.message) == ("failed", "sleep 1ms: foreach has no items: nothing was done")


def test_a_step_that_does_not_apply_is_skipped_with_its_reason(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, steps: [{requires: [ipvs], sleep: 1ms}]}]")

    finished = world.run()

    assert (finished.status, finished.message) == ("skipped", "the cluster lacks ipvs")


@pytest.mark.parametrize(
    ("value", "status", "said"),
    [("ipvs", "passed", ""), ("ipvss", "error", 'no cluster has a capability "ipvss"')],
)
def test_a_capability_may_come_from_an_earlier_step(tmp_path: Path, value: str, status: str, said: str) -> None:
    make = f"{{script: echo {value}, outputs: {{word: {{regex: '[a-z]+'}}}}}}"
    world = World(
        tmp_path, f"tests: [{{name: t, steps: [{make}, {{requires: ['${{{{ outputs.word }}}}'], sleep: 1ms}}]}}]"
    )

    finished = world.run()

    assert finished.status == status
    assert said in finished.message
    assert [each[2] for each in world.steps()] == ["passed", "skipped" if status == "passed" else status]


def test_a_test_that_does_not_apply_makes_no_namespace(tmp_path: Path) -> None:
    world = World(tmp_path, 'tests: [{name: t, if: {version: ">=9.0"}, steps: [{sleep: 1ms}]}]')

    finished = world.run()

    assert finished.status == "skipped"
    assert world.verbs("create") == []


def test_within_fails_what_holds_too_late(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, steps: [{script: {run: sleep 0.05}, within: 1ms}]}]")

    finished = world.run()

    assert finished.status == "failed"
    assert "held only after" in finished.message


@pytest.mark.parametrize("times", ["timeout: 50ms, steps: [{sleep: 1h}]", "steps: [{sleep: 1h, timeout: 50ms}]"])
def test_a_sleep_ends_with_the_time_that_there_is_for_it(tmp_path: Path, times: str) -> None:
    world = World(tmp_path, f"tests: [{{name: t, {times}}}]")

    finished = world.run()

    assert finished.status == "failed"
    assert "could pass, then its time was over" in finished.message


def test_a_sleep_may_take_longer_than_steps_do_by_default(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, timeout: 1h, steps: [{sleep: 20ms}]}]")

    assert world.run().status == "passed"


def test_a_refusal_that_was_expected_passes(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}}
        expectFailure: {reason: Invalid, code: 422, message: {contains: not nice}}
""",
    )
    world.fake.kube.fail("apply", api_error(422, "that is not nice", reason="Invalid"))

    assert world.run().status == "passed"


@pytest.mark.parametrize("wanted", ["{code: 409}", "{reason: Forbidden}", "{message: {contains: other}}"])
def test_a_refusal_of_another_kind_fails(tmp_path: Path, wanted: str) -> None:
    world = World(
        tmp_path,
        f"""
tests:
  - name: t
    steps:
      - apply: {{object: {{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}}}}}
        expectFailure: {wanted}
""",
    )
    world.fake.kube.fail("apply", api_error(422, "that is not nice", reason="Invalid"))

    assert world.run().status == "failed"


@pytest.mark.parametrize(
    ("status", "reason", "said", "passes"),
    [
        (422, "Invalid", "spec.replicas: Invalid value", True),
        (403, "Forbidden", "exceeded quota", True),
        (409, "Conflict", "the object was changed", True),
        (400, "BadRequest", 'admission webhook "a.b" denied the request', True),
        (404, "NotFound", 'admission webhook "a.b" denied the request: no such team', True),
        (404, "NotFound", 'namespaces "nope" not found', False),
        (401, "Unauthorized", "Unauthorized", False),
        (401, "Unauthorized", "ValidatingAdmissionPolicy 'a' denied request: who are you?", True),
    ],
)
def test_that_something_is_not_there_is_no_refusal_of_what_is_asked_for(
    tmp_path: Path, status: int, reason: str, said: str, passes: bool
) -> None:
    step = "apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}}"
    loose = (
        "true",
        "{message: {notContains: nothing like it}}",
        "{message: {allOf: [{notMatches: x$}, {exists: true}]}}",
    )
    for number, wanted in enumerate((*loose, f"{{reason: {reason}}}", "{message: {matches: .}}")):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = World(folder, f"tests: [{{name: t, steps: [{{{step}, expectFailure: {wanted}}}]}}]")
        world.fake.kube.fail("apply", api_error(status, said, reason=reason))

        finished = world.run()

        assert finished.status == ("passed" if passes or wanted not in loose else "failed"), finished.message
        if finished.status == "failed":
            assert f"if this is meant, write expectFailure: {{reason: {reason}}}" in finished.message


def test_a_refusal_that_does_not_come_fails(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, steps: [{apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}}, expectFailure: true}]}]",
    )

    assert "was accepted" in world.run().message


def test_cleanup_runs_after_a_failure_and_before_the_namespace_goes(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        f"""
tests:
  - name: t
    steps: [{{script: {{run: exit 3}}}}]
    cleanup: [{{script: {{run: "echo bye > {tmp_path}/bye"}}}}]
    onFailure: [{{script: {{run: "echo look"}}}}]
""",
    )

    assert world.run().status == "failed"
    assert (tmp_path / "bye").read_text() == "bye\n"
    assert [section for section, _, _ in world.steps()] == ["steps", "onFailure", "cleanup"]


def test_what_a_test_makes_outside_of_its_namespace_is_undone(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        "tests: [{name: t, steps: [{apply: {object: {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}}}}]}]",
    )

    assert world.run().status == "passed"
    assert ("ClusterRole", "r") in [(gone["kind"], gone["name"]) for gone in world.verbs("delete")]


def test_setup_gives_outputs_and_keeps_its_namespace(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
setup:
  steps:
    - script: {run: echo 42}
      outputs: {answer: {regex: "\\\\d+"}}
tests: [{name: t, steps: [{sleep: 1ms}]}]
""",
    )

    done = run_setup(world.stage, world.loaded.spec.setup)

    assert done.finished.status == "passed"
    assert done.given["outputs"] == {"answer": "42"}
    assert world.verbs("delete") == []
    assert done.undo() == []
    assert len(world.verbs("delete")) == 1


def test_the_interrupt_ends_a_test_as_an_error(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: t, steps: [{sleep: 1h}]}]")
    world.interrupt.set("the time of the spec (1s) is over")

    finished = world.run()

    assert (finished.status, finished.message) == ("error", "the time of the spec (1s) is over")


def test_what_a_step_looked_at_is_named_once(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: t
    steps:
      - {wait-for: {resource: pod/web, exists: true}, timeout: 1ms, continueOnFailure: true}
      - {assert: {resource: configmap/web, match: {data: {a: b}}}, timeout: 1ms}
""",
    )

    assert world.run().message == (
        "pod/web there: pod/web does not exist (and 1 more problem)\nconfigmap/web does not exist"
    )


def test_a_test_whose_steps_take_what_the_cluster_lacks_is_skipped_before_it_begins(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        """
tests:
  - name: nodes
    steps:
      - sleep: 1ms
      - background: {id: b, run: {exec: {node: worker-1, command: [id]}}}
      - stop: b
  - name: perhaps
    steps:
      - {exec: {node: worker-1, command: [id]}, requires: [node-exec]}
      - sleep: 1ms
""",
    )
    world.take_cluster(capabilities=frozenset())

    assert (world.run().status, world.run().message) == ("skipped", "the cluster lacks node-exec, which its steps take")
    assert world.verbs("create") == []
    assert world.run(1).status == "passed"


def test_a_disruptive_test_is_skipped_where_the_cluster_is_not_to_be_disturbed(tmp_path: Path) -> None:
    world = World(tmp_path, "tests: [{name: a, disruptive: true, steps: [{sleep: 1ms}]}]")
    world.take_cluster(provider="kubeconfig", capabilities=frozenset())

    assert (world.run().status, world.run().message) == ("skipped", "the cluster isn't to be disturbed")
    world.take_cluster(provider="kubeconfig", capabilities=frozenset({"disruption"}))
    assert world.run().status == "passed"
