"""Evidence: collected as far as it can be had, without secrets, in files with plain names."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from koalesce.cluster import Cluster, Node
from koalesce.engine import evidence, evidence_writer
from koalesce.engine.evidence import collect_evidence
from koalesce.engine.evidence_index import Failure
from koalesce.engine.evidence_sharing import EvidenceSharing
from koalesce.engine.evidence_writer import EvidenceWriter
from koalesce.engine.masking import Masks
from koalesce.engine.node_evidence import node_jobs
from koalesce.events import StepFinished
from tests.fakes import FakeCluster, FakeKube, FakeNode, api_error, made, result


class Kube(FakeKube):
    def table(self, resource: Any, _namespace: str | None = None, **_options: Any) -> str:
        return f"table of {resource.plural}"


def world(tmp_path: Path) -> tuple[FakeCluster, EvidenceWriter]:
    node = FakeNode("worker-1", answer=lambda command, _stdin: result(command, out=f"output of {command[-1]}"))
    node.logs = {"kubelet": ("cat", "/var/log/kubelet.log")}
    etcd = FakeNode("e1", answer=node.answer)
    etcd.logs = {"etcd": ("cat", "/var/log/etcd.log")}
    fake = FakeCluster(nodes=[node], fixtures=[etcd])
    fake.kube = Kube()
    fake.add(
        made(
            "Pod",
            "web",
            namespace="n",
            status={"containerStatuses": [{"name": "c", "restartCount": 1, "containerID": "containerd://1"}]},
        )
    )
    masks = Masks()
    masks.add(["hunter22"])
    return fake, EvidenceWriter(folder=tmp_path / "evidence", masks=masks)


def files(writer: EvidenceWriter) -> dict[str, str]:
    paths = (path for path in writer.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(writer.folder)): path.read_text() for path in paths}


def test_logs_tables_and_the_state_of_nodes_are_kept(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.kube.on_logs = lambda pod: f"{pod} says hunter22"

    collect_evidence(writer, cast("Cluster", fake.real()), ("n",), EvidenceSharing())

    found = files(writer)
    assert found["namespaces/n/logs/web.c.log"] == "web says ***"
    assert found["namespaces/n/logs/web.c.previous.log"] == "web says ***"
    assert found["namespaces/n/pods.txt"] == "table of pods"
    assert found["nodes/worker-1/kubelet.log"] == "output of /var/log/kubelet.log"
    assert found["fixtures/e1/etcd.log"] == "output of /var/log/etcd.log"
    assert "=== routes: ip route show table all" in found["nodes/worker-1/network.txt"]
    assert "=== iptables: iptables-save" in found["nodes/worker-1/network.txt"]


def test_what_can_not_be_had_is_listed_and_the_rest_is_kept(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.kube.fail("logs", *[api_error(500, "no kubelet")] * 2)

    collect_evidence(writer, cast("Cluster", fake.real()), ("n",), EvidenceSharing())

    found = files(writer)
    assert "namespaces/n/logs/web.c.log: no kubelet" in found["not-collected.txt"]
    assert "namespaces/n/pods.txt" in found


def test_names_can_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    _, writer = world(tmp_path)

    writer.write("../../etc/passwd", "x")

    assert list(files(writer)) == ["unnamed/unnamed/etc/passwd"]


def failed_step(**more: Any) -> StepFinished:
    fields = {
        "message": "pod/web: Ready is False",
        "expected": "True",
        "actual": "False",
        "detail": "why:\n  it crashes",
    }
    return StepFinished(
        spec="specs/web.yaml", test="t", section="steps", index=0, type="wait-for", title="pod/web Ready", line=14, status="failed",
        attempts=3, seconds=30.04, **{**fields, **more},
    )  # fmt: skip


def collected(fake: FakeCluster, writer: EvidenceWriter, **more: Any) -> dict[str, str]:
    collect_evidence(writer, cast("Cluster", fake.real()), ("n",), EvidenceSharing(), **more)
    return files(writer)


def test_the_readme_says_what_failed_what_matters_and_what_lies_where(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.add(
        made("Event", "e1", namespace="n", involvedObject={"kind": "Pod", "name": "web"}, type="Warning", reason="BackOff",
             message="Back-off restarting", count=3, lastTimestamp="2026-01-01T00:00:01Z"),
    )  # fmt: skip

    readme = collected(fake, writer, failure=Failure(test="web answers", step=failed_step()), own=("n",))["README.md"]

    assert readme.startswith(
        "# web answers\n\n"
        "Step `pod/web Ready` (wait-for, specs/web.yaml:14): failed after 30.0s, 3 attempts.\n\n"
        "    pod/web: Ready is False\n    expected: True\n    actual:   False\n    why:\n      it crashes\n\n"
        "## Not ready\n\n- pod/web in n is not scheduled yet\n\n"
        "## Last warnings\n\n- 2026-01-01T00:00:01Z  Warning  BackOff (3 times)  pod/web  Back-off restarting\n\n"
        "## What lies where\n\n"
    )
    assert "- `namespaces/*/describe.txt`: " in readme
    assert "looked-at" not in readme


def test_what_the_step_looked_at_is_kept_as_it_was(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    seen = made("Pod", "web", namespace="n", status={"phase": "Pending"})
    seen["metadata"]["managedFields"] = [{"manager": "kubelet"}]

    found = collected(fake, writer, failure=Failure(test="t", step=failed_step(), looked_at=(seen,)))

    assert found["looked-at/pod-n-web.yaml"] == (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: 'n'\nstatus:\n  phase: Pending\n"
    )


def test_the_tests_own_objects_are_kept_as_yaml_but_for_secrets_values(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.add(
        made("ConfigMap", "c", namespace="n", data={"on": "0644", "text": "a\nb\n"}),
        made("Secret", "s", namespace="n", data={"key": "dW5rbm93bg=="}),
        made("ConfigMap", "other", namespace="elsewhere"),
    )

    found = collected(fake, writer, own=("n",))

    assert found["namespaces/n/objects/configmaps.yaml"].startswith(
        "apiVersion: v1\ndata:\n  'on': '0644'\n  text: |\n    a\n    b\n"
    )
    assert "key: '***'" in found["namespaces/n/objects/secrets.yaml"]
    assert "dW5rbm93bg" not in "".join(found.values())
    assert "other" not in found["namespaces/n/objects/configmaps.yaml"]
    assert not [name for name in found if "elsewhere" in name or "objects/events" in name]


def test_objects_of_others_are_described_only(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)

    found = collected(fake, writer)

    assert not [name for name in found if "/objects/" in name]
    assert found["namespaces/n/describe.txt"].startswith(
        "pod/web: on no node, Pending, no address; is not scheduled yet\n"
    )


def test_every_file_is_masked(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.kube.on_logs = lambda pod: "log hunter22\n"
    fake.add(
        made("ConfigMap", "c", namespace="n", data={"password": "hunter22"}),
        made("Event", "e", namespace="n", involvedObject={"kind": "Pod", "name": "web"}, type="Warning", message="no hunter22"),
    )  # fmt: skip
    seen = made(
        "ConfigMap",
        "c",
        data={"base64": "aHVudGVyMjI=", "jwt": "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl"},
    )
    step = failed_step(message="expected hunter22", detail="| hunter22")

    found = collected(fake, writer, failure=Failure(test="t", step=step, looked_at=(seen,)), own=("n",))

    assert "hunter22" not in "".join(found.values())
    assert "aHVudGVyMjI" not in "".join(found.values())
    assert "eyJpc3M" not in "".join(found.values())
    for name in (
        "README.md",
        "namespaces/n/logs/web.c.log",
        "namespaces/n/events.txt",
        "namespaces/n/objects/configmaps.yaml",
    ):
        assert "***" in found[name], name


def test_what_there_is_no_time_for_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "TIME", -1.0)
    fake, writer = world(tmp_path)

    found = collected(fake, writer, failure=Failure(test="t", step=failed_step()))

    assert sorted(found) == ["README.md", "not-collected.txt"]
    assert "nodes/worker-1/kubelet.log: no time was left" in found["not-collected.txt"]
    assert "pod/web: Ready is False" in found["README.md"]


def test_a_long_file_keeps_head_and_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_writer, "_FILE", 100)
    _, writer = world(tmp_path)

    writer.write("log", "first\n" + "x" * 1000 + "\nlast\n")

    text = files(writer)["log"]
    assert text.startswith("first\n")
    assert text.endswith("\nlast\n")
    assert "912 characters left out" in text


def test_a_folder_that_grows_too_large_keeps_what_came_first(tmp_path: Path) -> None:
    _, writer = world(tmp_path)
    writer._left = 10

    writer.write("a", "x" * 8)
    writer.write("b", "x" * 8)

    assert list(files(writer)) == ["a"]
    assert writer.problems == ["b: left out, as the folder is large already"]


def test_a_look_that_breaks_is_listed_and_breaks_nothing(tmp_path: Path) -> None:
    _, writer = world(tmp_path)

    def broken() -> str:
        raise ZeroDivisionError("division by zero")

    writer.collect("a", broken)

    assert writer.problems == ["a: ZeroDivisionError: division by zero"]


def test_a_node_is_asked_twice(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    node = fake.nodes[0]

    collected(fake, writer)

    assert len(node.commands) == 2  # the kubelet's log, and all of the network


def test_secrets_that_nobody_has_read_are_masked_in_logs(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.add(made("Secret", "s", namespace="n", data={"password": "Y29ycmVjdC1ob3JzZQ=="}))
    fake.kube.on_logs = lambda pod: "logging in with correct-horse"

    assert collected(fake, writer)["namespaces/n/logs/web.c.log"] == "logging in with ***"


def test_an_interrupt_ends_the_collection(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    writer.cancel = threading.Event()
    writer.cancel.set()

    found = collected(fake, writer, failure=Failure(test="t", step=failed_step()))

    assert sorted(found) == ["README.md", "not-collected.txt"]


def test_of_very_many_objects_that_were_looked_at_some_are_kept(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    seen = tuple(made("Pod", f"web-{number}", namespace="n") for number in range(60))

    found = collected(fake, writer, failure=Failure(test="t", step=failed_step(), looked_at=seen))

    assert len([name for name in found if name.startswith("looked-at/")]) == 50
    assert "looked-at: 10 more objects were looked at" in found["not-collected.txt"]


def log_of_kubelet(tmp_path: Path, lines: list[str]) -> list[str]:
    """What is kept of a kubelet's log that really lies in a file."""
    (tmp_path / "kubelet.log").write_text("".join(f"{line}\n" for line in lines))
    node = Node(
        name="worker-1",
        address="",
        exec=("env",),
        role="worker",
        logs={"kubelet": ("cat", str(tmp_path / "kubelet.log"))},
    )
    writer = EvidenceWriter(folder=tmp_path / "evidence", masks=Masks())
    writer.write("kubelet.log", node_jobs(node)["kubelet.log"]())
    return (tmp_path / "evidence" / "kubelet.log").read_text().splitlines()


BAD = [
    'E0301 10:00:01.000001      77 kubelet.go:1] "no network"',
    'time="2026-03-01T10:00:02Z" level=error msg="no image"',
    '{"level":"fatal","ts":"2026-03-01T10:00:03Z","msg":"no disk"}',
    "panic: runtime error",
    "2026-03-01T10:00:04.000000Z koalesce: kubelet ended with code 255",
]
GOOD = [
    "I0301 10:00:05.000000      77 kubelet.go:1] level and error in words",
    'time="2026-03-01T10:00:06Z" level=info msg="error: none"',
    "2026-03-01T10:00:07.000000Z koalesce: kubelet ended with code 0",
]


def test_lines_of_a_nodes_log_that_matter_come_first(tmp_path: Path) -> None:
    kept = log_of_kubelet(tmp_path, [GOOD[0], *BAD, *GOOD[1:]])

    assert kept == [
        "=== lines that matter", *BAD, "", "=== the log, or the last of it", GOOD[0], *BAD, *GOOD[1:],
    ]  # fmt: skip


def test_a_nodes_log_without_trouble_is_kept_as_it_is(tmp_path: Path) -> None:
    kept = log_of_kubelet(tmp_path, GOOD)

    assert kept == GOOD


def test_of_a_long_log_of_a_node_the_last_is_kept(tmp_path: Path) -> None:
    kept = log_of_kubelet(tmp_path, [f"line {number} {'x' * 100}" for number in range(60_000)] + BAD)

    assert kept[: len(BAD) + 1] == ["=== lines that matter", *BAD]
    assert kept[-1] == BAD[-1]
    assert all(line.startswith("line ") for line in kept[len(BAD) + 3 : -len(BAD)])
    assert any(line.startswith("line 59999 ") for line in kept)
    assert not any(line.startswith("line 1 ") for line in kept)
