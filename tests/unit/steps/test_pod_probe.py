"""Looking at the wire from pods whose nodes can't be had: what runs in them, what is told of it, and what isn't."""

from __future__ import annotations

import json
import os
import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from koalesce.kube import ExecResult
from koalesce.steps.base import Errored, Failed, Outcome, Passed
from koalesce.steps.connectivity import Connectivity
from koalesce.steps.inside.places import Source
from koalesce.steps.wire.flows import Flow
from koalesce.steps.wire.pod_probe import IMAGE
from koalesce.steps.wire.probing import Batch, ProbeError, Target, probe, reproduce
from koalesce.steps.wire.streaming import Sighting, Stream
from tests.fakes import LABELS, NAMESPACE, FakeCluster, FakeNode, FakeWire, api_error, context, made, running_pod

ALL = frozenset({"pod-probe", "probe-answers", "probe-icmp"})
PLACE = "/tmp/koalesce-probe-0.5.0"
TARGET = Target(type="tcp", host="10.244.1.9", port=8080)
STEP: dict[str, Any] = {"from": {"pod": "client"}, "to": {"pod": "server", "port": 8080}}


@dataclass
class Container:
    """What runs in the ephemeral container: a shell, the program once it is put there, and agnhost, which says of a `host:port` what `says` has."""

    wire: FakeWire = field(default_factory=FakeWire)
    says: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    program: bytes = b""
    trial: int = 0
    scripts: list[str] = field(default_factory=list)

    def __call__(self, pod: str, command: Sequence[str], options: Mapping[str, Any]) -> ExecResult:
        assert options["container"] == "koalesce-probe-1"
        self.scripts.append(command[2])
        if command[0] == "test":
            return ran(command, code=0 if self.program else 1)
        if "head -c" in command[2]:
            self.program = b"" if self.trial else options["stdin"]
            return ran(command, code=self.trial, err="Exec format error")
        if "connect" in command[2]:
            return ran(command, out="".join(self._connected(word) for word in command[4:]))
        if not self.program:
            return ran(command, code=97)
        answer = self.wire(command, options["stdin"])
        return ran(command, out=answer.out)

    def _connected(self, word: str) -> str:
        number, _, _, place = word.split()
        code, said = self.says.get(place, (0, ""))
        return f"{number} {code} {said}\n"


def ran(command: Sequence[str], *, code: int = 0, out: str = "", err: str = "") -> ExecResult:
    return ExecResult(command=tuple(command), code=code, stdout=out.encode(), stderr=err.encode(), seconds=0.0)


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.fixture
def cluster(container: Container) -> FakeCluster:
    """A cluster that others made: its nodes run no commands, and its pods have the container already."""
    node = FakeNode("worker-1")
    node.exec = ()  # type: ignore[assignment]  # as a kubeconfig alone gives it
    pods = [running_pod("client", address="10.244.1.2"), running_pod("server", address="10.244.1.9")]
    image = {"name": "koalesce-probe-1", "image": "registry.k8s.io/e2e-test-images/agnhost:2.66.1"}
    for pod in pods:
        pod["spec"]["ephemeralContainers"] = [image]
        pod["status"]["ephemeralContainerStatuses"] = [{"name": "koalesce-probe-1", "state": {"running": {}}}]
    cluster = FakeCluster(*pods, made("Namespace", NAMESPACE, labels=LABELS), nodes=[node])
    service = {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "https", "port": 443}]}
    cluster.add(made("Service", "kubernetes", namespace="default", spec=service))
    cluster.provider, cluster.capabilities = "kubeconfig", ALL
    cluster.kube.on_exec_run = container
    return cluster


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "koalesce-probe"
    path.write_bytes(b"the program")
    return path


def attempt(cluster: FakeCluster, program: Path, **fields: Any) -> Outcome:
    at = context(cluster)
    at = replace(at, cluster=replace(at.cluster, probe=program))
    return Connectivity.model_validate({**STEP, **fields}).attempt(at)


def looked(cluster: FakeCluster, *targets: Target) -> list[tuple[str, str]]:
    """What came of targets, seen from the client."""
    batch = Batch(source=Source(kind="pod", name="client", pod="client", namespace=NAMESPACE), targets=targets)
    return [(each.outcome, each.reason) for each in probe([batch], context(cluster))[0].results]


def test_the_program_is_put_there_once_and_looks_from_where_it_is(
    cluster: FakeCluster, container: Container, program: Path
) -> None:
    for _ in range(2):
        assert isinstance(attempt(cluster, program), Passed)

    assert container.program == b"the program"
    assert sum("head -c" in script for script in container.scripts) == 1
    assert container.wire.asked == [("", "10.244.1.9:8080")] * 2  # no container to be entered


def test_what_the_program_tells_is_told(cluster: FakeCluster, container: Container, program: Path) -> None:
    container.wire.rules["", "10.244.1.9:8080"] = {"outcome": "rejected", "reason": "by 10.0.0.1"}

    assert isinstance(attempt(cluster, program, expect="rejected"), Passed)
    failed = attempt(cluster, program)
    assert isinstance(failed, Failed)
    assert f"kubectl exec -n {NAMESPACE} client -c koalesce-probe-1 -- {PLACE} -limit 1.5s tcp" in failed.detail


def test_a_program_that_cannot_be_run_there_is_an_error(
    cluster: FakeCluster, container: Container, program: Path
) -> None:
    container.trial = 126

    with pytest.raises(ProbeError, match=r"client: the probe can't be put into the container .*: Exec format error"):
        attempt(cluster, program)


@pytest.mark.parametrize(
    ("said", "outcome", "reason"),
    [
        ((0, ""), "allowed", ""),
        ((1, "TIMEOUT"), "dropped", "nothing came back in time"),
        ((1, "TIMEOUT: read udp 1->2: i/o timeout"), "dropped", "nothing came back in time"),
        ((1, "REFUSED"), "refused", "agnhost can't tell whether it was refused or rejected"),
        ((1, "UNKNOWN: write: operation not permitted"), "dropped", "a filter in the source's own network"),
        ((1, "OTHER: connect: no route to host"), "error", "OTHER: connect: no route to host; agnhost can't tell who"),
        ((1, "DNS: lookup web: no such host"), "error", "DNS: lookup web: no such host"),
    ],
)
def test_agnhost_tells_what_it_can(
    said: tuple[int, str], outcome: str, reason: str, cluster: FakeCluster, container: Container
) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    container.says = {"10.244.1.9:8080": said}

    (result,) = looked(cluster, TARGET)

    assert result[0] == outcome
    assert result[1].startswith(reason)
    assert not container.program


def test_agnhost_is_asked_for_all_targets_at_once(cluster: FakeCluster, container: Container) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    container.says = {"[fd00::1]:53": (1, "TIMEOUT")}

    seen = looked(cluster, TARGET, Target(type="udp", host="fd00::1", port=53, limit=0.5), TARGET)

    assert [outcome for outcome, _ in seen] == ["allowed", "dropped", "allowed"]
    assert len(container.scripts) == 1


@pytest.mark.parametrize(
    "target",
    [
        Target(type="udp", host="10.0.0.1", port=53, payload="x"),
        Target(type="tcp", host="10.0.0.1", port=53, ask_source=True),
        Target(type="tcp", host="web", port=53, family="IPv6"),
        Target(type="http", http={"url": "http://web/"}),
    ],
)
def test_what_agnhost_cannot_try_is_an_error_that_names_what_it_takes(target: Target, cluster: FakeCluster) -> None:
    cluster.capabilities = frozenset({"pod-probe"})

    with pytest.raises(ProbeError, match="this takes the capability probe-answers"):
        looked(cluster, target)


def test_half_an_answer_of_agnhost_is_none(cluster: FakeCluster, container: Container) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    cluster.kube.on_exec_run = lambda pod, command, options: ran(command, out="0 0 \n")

    with pytest.raises(ProbeError, match="1 answers to 2 targets"):
        looked(cluster, TARGET, TARGET)


def test_an_image_without_agnhost_is_an_error(cluster: FakeCluster, container: Container) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    container.says = {"10.244.1.9:8080": (127, "sh: /agnhost: not found")}

    with pytest.raises(ProbeError, match=r"has no agnhost that can be run: sh: /agnhost: not found"):
        looked(cluster, TARGET)


def test_what_was_hoped_for_by_an_expression_is_no_pass_where_it_cannot_be_told(
    cluster: FakeCluster, container: Container, program: Path
) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    container.says = {"10.244.1.9:8080": (1, "REFUSED")}

    outcome = attempt(cluster, program, expect="refused")
    either = attempt(cluster, program, expect=["refused", "rejected"], control={"address": "10.0.0.1", "port": 1})

    assert isinstance(outcome, Errored)
    assert outcome.final
    assert outcome.message.endswith("the cluster lacks probe-icmp")
    assert isinstance(either, Passed)


def test_the_command_for_people_is_one_of_agnhost_where_there_is_no_more(cluster: FakeCluster) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    source = Source(kind="pod", name="client", pod="client", namespace="shop")

    assert reproduce(source, TARGET, context(cluster)) == (
        "kubectl debug -n shop -it client --image=registry.k8s.io/e2e-test-images/agnhost:2.66.1 -- "
        "/agnhost connect 10.244.1.9:8080 --timeout=1.500s --protocol=tcp"
    )


def test_a_pod_of_somebody_else_is_left_alone_unless_that_is_allowed(
    cluster: FakeCluster, container: Container
) -> None:
    cluster.add(made("Namespace", "shop"), running_pod("client", namespace="shop"))
    batch = Batch(source=Source(kind="pod", name="shop/client", pod="client", namespace="shop"), targets=[TARGET])

    for capabilities, said in (
        (ALL, "the pod isn't the run's.*--allow-disruption"),
        (ALL | {"disruption"}, "not here"),
    ):
        cluster.capabilities = capabilities
        cluster.kube.fail("patch", api_error(403, "not here", reason="Forbidden"))
        with pytest.raises(ProbeError, match=f"shop/client: no probe runs in it, an ephemeral .*: {said}") as raised:
            probe([batch], context(cluster))
        assert raised.value.is_final
    assert len([verb for verb, _ in cluster.kube.requests if verb == "patch"]) == 1


def test_without_the_capability_nothing_is_tried(cluster: FakeCluster, container: Container) -> None:
    cluster.capabilities = frozenset()

    with pytest.raises(ProbeError, match="client: the cluster gives no way to run commands on its node"):
        looked(cluster, TARGET)
    assert container.scripts == []


def test_what_is_asked_of_the_program_is_all_of_it(cluster: FakeCluster, container: Container, program: Path) -> None:
    container.program = b"it's there"

    attempt(cluster, program, payload={"size": 1400, "df": True}, to={"pod": "server", "port": 8080, "protocol": "UDP"})

    assert json.loads(json.dumps(container.wire.targets[0]))["size"] == 1400


def test_it_is_asked_again_and_again_until_its_input_ends(cluster: FakeCluster, container: Container) -> None:
    """The stream's pipes are the command's own: what it is to do comes in by one, and each sighting goes out by the other."""
    sightings: list[Sighting] = []

    def go_on(pod: str, command: Sequence[str], options: Mapping[str, Any]) -> ExecResult:
        if command[0] == "test":
            return ran(command)
        asked = json.loads(os.read(options["stdin"].fileno(), 1 << 16))
        (source,) = asked["sources"]
        line = {"source": source["id"], "at": 0.5, "result": {"id": source["targets"][0]["id"], "outcome": "allowed"}}
        options["stdout"].write(json.dumps(line).encode() + b"\n")
        options["stdout"].flush()
        assert os.read(options["stdin"].fileno(), 1) == b""
        assert (source["container"], asked["every"]) == ("", 0.1)
        return ran(command)

    cluster.kube.on_exec_run = go_on
    client = Source(kind="pod", name="client", pod="client", namespace=NAMESPACE, container_id="id-client")
    stream = Stream(
        {0: Flow(name="f", source=client, target=TARGET, look=str)}, 0.1, context(cluster), sightings.append
    )
    began = stream.await_first(threading.Event())
    stream.tell()

    assert (began, stream.end()) == ("", "")
    assert [(each.at, each.observed.outcome) for each in sightings] == [(0.5, "allowed")]


def test_agnhost_cannot_go_on(cluster: FakeCluster) -> None:
    cluster.capabilities = frozenset({"pod-probe"})
    client = Source(kind="pod", name="client", pod="client", namespace=NAMESPACE, container_id="id-client")

    stream = Stream({0: Flow(name="f", source=client, target=TARGET, look=str)}, 0.1, context(cluster), lambda _: None)
    problem = stream.await_first(threading.Event())
    stream.tell()
    stream.end()

    assert problem == "client: asking again and again takes the capability probe-answers"


def test_the_image_is_one_that_local_clusters_have_too() -> None:
    recipes = (Path(__file__).parents[3] / "koalesce" / "toolchain" / "modules").glob(
        "kubernetes-*/agnhost.recipe.toml"
    )
    versions = {tomllib.loads(recipe.read_text(encoding="utf-8"))["version"] for recipe in recipes}

    assert IMAGE.rpartition(":")[2] in versions
