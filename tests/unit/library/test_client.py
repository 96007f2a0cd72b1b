"""A cluster for Python tests, around fakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import koalesce.engine
from koalesce import ClusterClient, ClusterError, StepFailed, UsageError
from koalesce.engine import RunOptions
from koalesce.events import AnyEvent, RunFinished, SpecFinished, SpecStarted, Status, StepFinished, TestFinished
from koalesce.kube.exec_result import ExecResult
from koalesce.spec import load_all
from koalesce.yaml import InvalidDocument
from tests.fakes import FakeCluster

WEB = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "1"}}
TEXT = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: far, namespace: other}\n"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def client(cluster: FakeCluster) -> ClusterClient:
    return ClusterClient(cluster.real(), "mine")


def test_applies_objects_texts_and_files_to_its_namespace(
    client: ClusterClient, cluster: FakeCluster, tmp_path: Path
) -> None:
    (tmp_path / "web.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: file}\n")

    made = client.apply(WEB, TEXT, tmp_path / "web.yaml")

    assert [each["metadata"]["name"] for each in made] == ["web", "text", "far", "file"]
    assert cluster.get("configmap", "web", "mine") is not None
    assert cluster.get("configmap", "far", "other") is not None
    assert cluster.get("configmap", "file", "mine") is not None


def test_a_text_that_is_no_manifest_is_refused_before_anything_is_applied(
    client: ClusterClient, cluster: FakeCluster
) -> None:
    with pytest.raises(InvalidDocument):
        client.apply(WEB, "kind: Nothing\n")

    assert cluster.get("configmap", "web", "mine") is None


def test_gets_and_deletes_by_kind_and_name(client: ClusterClient) -> None:
    client.apply(WEB)

    found = client.get("configmap/web")

    assert found is not None
    assert found["data"] == {"a": "1"}
    assert (client.delete("cm/web"), client.delete("cm/web"), client.get("cm/web")) == (True, False, None)
    with pytest.raises(ValueError, match="KIND/NAME"):
        client.get("configmap")


def test_runs_commands_in_pods_of_its_namespace(client: ClusterClient, cluster: FakeCluster) -> None:
    cluster.kube.on_exec = lambda pod, command: ExecResult(
        command=tuple(command), code=3, stdout=b"web\n", stderr=b"", seconds=0.1
    )

    done = client.exec("web-0", ["hostname"])

    assert (done.code, done.out) == (3, "web\n")
    assert cluster.kube.requests[-1] == ("exec", {"pod": "web-0", "namespace": "mine", "command": ["hostname"]})


@pytest.mark.parametrize("pod", ["pod/web-0", "pods/web-0"])
def test_a_pod_may_be_named_as_any_object(cluster: FakeCluster, client: ClusterClient, pod: str) -> None:
    cluster.kube.on_exec = lambda pod, command: ExecResult(
        command=tuple(command), code=0, stdout=pod.encode(), stderr=b"", seconds=0.1
    )
    cluster.kube.on_logs = lambda pod: f"logs of {pod}"

    assert client.exec(pod, ["hostname"]).out == "web-0"
    assert client.logs(pod) == "logs of web-0"
    with pytest.raises(ValueError, match="names no pod"):
        client.logs("deployment/web")


def test_gives_programs_its_kubeconfig(client: ClusterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/other")

    assert client.env["KUBECONFIG"] == str(client.kubeconfig) == "/nonexistent/kubeconfig"
    assert "PATH" in client.env


class TestTemporaryNamespaces:
    @pytest.fixture
    def accounts(self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """The controller that gives namespaces their account."""
        create = cluster.kube.create

        def with_account(obj: Mapping[str, Any], **options: Any) -> dict[str, Any]:
            made = create(obj, **options)
            name = made["metadata"]["name"]
            cluster.kube.add(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
            )
            return made

        monkeypatch.setattr(cluster.kube, "create", with_account)
        monkeypatch.setattr(cluster.kube, "view", lambda _on_change: cluster.view, raising=False)

    def test_one_is_there_for_a_block(self, client: ClusterClient, cluster: FakeCluster, accounts: None) -> None:
        with client.temporary_namespace("test_it[a-1]") as inner:
            assert inner.namespace.startswith("test-it-a-1-")
            assert cluster.get("namespace", inner.namespace, "") is not None
            inner.apply(WEB)
            assert cluster.get("configmap", "web", inner.namespace) is not None

        assert cluster.get("namespace", inner.namespace, "") is None

    def test_it_goes_too_where_the_block_raises(
        self, client: ClusterClient, cluster: FakeCluster, accounts: None
    ) -> None:
        with pytest.raises(ZeroDivisionError), client.temporary_namespace() as inner:
            _ = 1 / 0

        assert cluster.get("namespace", inner.namespace, "") is None


class FakeEngine:
    """Ends the one step of each spec that it is given."""

    def __init__(self) -> None:
        self.status: Status = "passed"
        self.has_step = True
        self.raws: list[Any] = []
        self.options: list[RunOptions] = []

    def run(self, options: RunOptions) -> Iterator[AnyEvent]:
        (loaded,) = load_all(options.paths)
        self.options.append(options)
        self.raws.append((loaded.spec.tests[0].namespace.name, loaded.spec.tests[0].steps[0].raw))
        yield SpecStarted(spec=loaded.shown, name="step", tests=("step",))
        if self.has_step:
            yield StepFinished(
                spec=loaded.shown, test="step", section="steps", index=0, type="wait-for", title="deployment/web", line=1, attempts=3,
                status=self.status, seconds=1.5, message="1 of 2 pods", settled=0.5,
            )  # fmt: skip
        yield TestFinished(spec=loaded.shown, test="step", status=self.status, seconds=1, message="1 of 2 pods", line=1)
        yield SpecFinished(spec=loaded.shown, status=self.status, seconds=1)
        yield RunFinished(status=self.status, passed=1, failed=0, error=0, skipped=0, seconds=1)


class TestSteps:
    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeEngine:
        fake = FakeEngine()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(koalesce.engine, "run", fake.run)
        known = SimpleNamespace(variables={"nodes": [{"name": "control-plane", "role": "control-plane"}]})
        monkeypatch.setattr("koalesce.library.one_step.made", lambda name: known)
        return fake

    def test_waits_as_the_step_does(self, client: ClusterClient, engine: FakeEngine) -> None:
        result = client.wait_for("deployment/web", rollout=True, timeout="60s")

        assert (result.status, result.attempts, result.settled) == ("passed", 3, 0.5)
        assert engine.raws == [
            ("mine", {"wait-for": {"resource": "deployment/web", "rollout": True}, "timeout": "60s"})
        ]
        assert (engine.options[0].cluster, list(Path.cwd().iterdir())) == ("fake", [])

    def test_a_step_that_fails_is_an_assertion_that_fails(self, client: ClusterClient, engine: FakeEngine) -> None:
        engine.status = "failed"

        with pytest.raises(AssertionError, match="1 of 2 pods") as caught:
            client.step("wait-for: {resource: deployment/web, rollout: true}")

        assert isinstance(caught.value, StepFailed)
        assert caught.value.result.title == "deployment/web"
        assert "wait-for: 1 of 2 pods" in str(caught.value)
        assert ".yaml" not in str(caught.value)  # that the step was put in, and that is gone

    @pytest.mark.parametrize(("status", "has_step"), [("error", True), ("error", False), ("skipped", False)])
    def test_what_could_not_be_found_out_is_no_failure(
        self, client: ClusterClient, engine: FakeEngine, status: Status, has_step: bool
    ) -> None:
        engine.status, engine.has_step = status, has_step

        with pytest.raises(ClusterError, match="1 of 2 pods"):
            client.step("sleep: 1ms")

    def test_a_step_that_is_not_valid_is_refused(self, client: ClusterClient, engine: FakeEngine) -> None:
        with pytest.raises(UsageError, match=r"did you mean|slep"):
            client.step({"slep": "1s"})
