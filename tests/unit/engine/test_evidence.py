"""Evidence: collected as far as it can be had, without secrets, in files with plain names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from koalesce.cluster import Cluster
from koalesce.engine.evidence import EvidenceWriter, collect_evidence
from koalesce.engine.masking import Masks
from tests.fakes import FakeCluster, FakeKube, FakeNode, api_error, made, result


class Kube(FakeKube):
    def table(self, resource: Any, _namespace: str | None = None) -> str:
        return f"table of {resource.plural}"


def world(tmp_path: Path) -> tuple[FakeCluster, EvidenceWriter]:
    node = FakeNode("worker-1", answer=lambda command, _stdin: result(command, out=f"output of {command[-1]}"))
    node.logs = {"kubelet": ("cat", "/var/log/kubelet.log")}
    fake = FakeCluster(nodes=[node])
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

    collect_evidence(writer, cast("Cluster", fake.real()), ("n",))

    found = files(writer)
    assert found["namespaces/n/logs/web.c.log"] == "web says ***"
    assert found["namespaces/n/logs/web.c.previous.log"] == "web says ***"
    assert found["namespaces/n/pods.txt"] == "table of pods"
    assert found["nodes/worker-1/kubelet.log"] == "output of /var/log/kubelet.log"
    assert found["nodes/worker-1/network/routes.txt"].startswith("output of ip route")


def test_what_can_not_be_had_is_listed_and_the_rest_is_kept(tmp_path: Path) -> None:
    fake, writer = world(tmp_path)
    fake.kube.fail("logs", *[api_error(500, "no kubelet")] * 2)

    collect_evidence(writer, cast("Cluster", fake.real()), ("n",))

    found = files(writer)
    assert "namespaces/n/logs/web.c.log: no kubelet" in found["not-collected.txt"]
    assert "namespaces/n/pods.txt" in found


def test_names_can_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    _, writer = world(tmp_path)

    writer.write("../../etc/passwd", "x")

    assert list(files(writer)) == ["unnamed/unnamed/etc/passwd"]
