"""The provider kubeconfig on a real API server: what it takes, what it refuses, and what it leaves."""

from __future__ import annotations

import base64
import json
import platform
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from koalesce import pki
from koalesce.cluster import ClusterRequest
from koalesce.errors import KoalesceError, ProvisionError, TeardownError, UsageError
from koalesce.kube.marks import RUN_LABEL, TEST_LABEL
from koalesce.local.ledger import Ledger
from koalesce.providers import contexts, pod_probes, taking
from koalesce.providers.existing import OWN_LABEL, look
from koalesce.providers.session import ClusterSession
from koalesce.terraform import find_binary
from tests.contract.api_server import ApiServer

RUN = "run-1"
CONTEXT = "it"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def settings(api_server: ApiServer) -> dict[str, Any]:
    """Those of the API server, which the user has said to own."""
    contexts.confirm(contexts.find(CONTEXT, str(api_server.kubeconfig)))
    return {"context": CONTEXT, "kubeconfig": str(api_server.kubeconfig)}


def changed(api_server: ApiServer, folder: Path, *, user: Mapping[str, Any] | None = None, **cluster: Any) -> Path:
    """A copy of its kubeconfig that differs."""
    document = json.loads(api_server.kubeconfig.read_text())
    ca = (api_server.kubeconfig.parent / "tls" / "apiserver.crt").read_bytes()
    own = document["clusters"][0]["cluster"]
    document["clusters"][0]["cluster"] = {
        "server": own["server"], "certificate-authority-data": base64.b64encode(ca).decode(), **cluster,
    }  # fmt: skip
    document["users"][0]["user"] = user or document["users"][0]["user"]
    path = folder / f"{uuid.uuid4().hex}.json"
    path.write_text(json.dumps(document))
    return path


def refusal(kubeconfig: Path, *, confirmed: bool = True) -> KoalesceError:
    """What a look at the cluster of a kubeconfig is refused with."""
    if confirmed:
        contexts.confirm(contexts.find(CONTEXT, str(kubeconfig)))
    with pytest.raises(KoalesceError) as raised:
        look({"context": CONTEXT, "kubeconfig": str(kubeconfig)})
    return raised.value


def role(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels}, "rules": [],
    }  # fmt: skip


def config(name: str, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
    }


def test_it_is_taken_and_left_by_terraform(
    api_server: ApiServer, settings: dict[str, Any], state: Path, tmp_path: Path
) -> None:
    try:
        find_binary()
    except ProvisionError as error:
        pytest.skip(error.message)
    marks, others = {RUN_LABEL: RUN, TEST_LABEL: "a"}, {RUN_LABEL: "run-2", TEST_LABEL: "a"}
    kube, name = api_server.kube, f"mine-{uuid.uuid4().hex[:8]}"
    request = ClusterRequest(
        name="taken", run_id=RUN, provider="kubeconfig", kubernetes="", nodes=(), settings=settings
    )
    session = ClusterSession(request)

    cluster = session.up()
    for each in (role(f"{name}-r", **marks), config(name, **marks), role(f"{name}-o", **others), config(f"{name}-o")):
        kube.create(each)

    assert cluster.kubernetes == kube.version()
    assert cluster.kube.version() == cluster.kubernetes
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert cluster.capabilities.isdisjoint({"chaos", "disruption", "host-exec", "node-exec"})
    entry = Ledger().find("taken")
    assert entry is not None
    assert sorted(taking.remains(entry)) == [
        f"clusterroles.rbac.authorization.k8s.io/{name}-r", f"configmaps/{name} in default", f"folder {entry.folder}",
    ]  # fmt: skip

    cluster.kube.close()
    session.down()

    roles, maps = kube.resource("clusterroles"), kube.resource("configmaps")
    assert kube.get(roles, f"{name}-r") is None
    assert kube.get(maps, name, "default") is None
    assert kube.get(roles, f"{name}-o") is not None
    assert kube.get(maps, f"{name}-o", "default") is not None
    assert (Ledger().entries(), list((state / "clusters").glob("taken*"))) == ([], [])


def test_what_a_cluster_is_like_is_read_from_it(api_server: ApiServer, settings: dict[str, Any]) -> None:
    kube = api_server.kube
    nodes = [("w", "10.42.1.0/24", {}), ("c", "10.42.2.0/24", {"node-role.kubernetes.io/control-plane": ""})]
    for name, cidr, labels in nodes:
        kube.create({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "spec": {"podCIDR": cidr, "podCIDRs": [cidr]},
        })  # fmt: skip
    try:
        found = look({**settings, "allow_disruption": True})
    finally:
        for name, _, _ in nodes:
            kube.delete(kube.resource("nodes"), name)

    assert [(node["name"], node["role"], node["exec"]) for node in found.nodes] == [
        ("c", "control-plane", []), ("w", "worker", []),
    ]  # fmt: skip
    assert (found.pod_cidrs, found.capabilities) == (("10.42.0.0/22",), frozenset({"disruption", "pod-probe"}))


def test_nothing_is_taken_that_nobody_has_said_to_own(api_server: ApiServer) -> None:
    error = refusal(api_server.kubeconfig, confirmed=False)

    assert isinstance(error, UsageError)
    assert error.message.startswith("nobody has said that tests may run in the cluster of context it (https://")
    assert error.hint is not None
    assert "--i-own it" in error.hint


def test_a_cluster_can_say_itself_that_it_is_for_tests(api_server: ApiServer) -> None:
    kube = api_server.kube
    namespaces = kube.resource("namespaces")
    if kube.get(namespaces, "kube-system") is None:
        kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    kube.patch(namespaces, "kube-system", None, {"metadata": {"labels": {OWN_LABEL: "true"}}})
    try:
        found = look({"context": CONTEXT, "kubeconfig": str(api_server.kubeconfig)})
    finally:
        kube.patch(namespaces, "kube-system", None, {"metadata": {"labels": {OWN_LABEL: None}}})

    assert found.kubernetes == kube.version()


def test_an_api_server_that_does_not_answer_is_named(api_server: ApiServer, tmp_path: Path) -> None:
    error = refusal(changed(api_server, tmp_path, server="https://127.0.0.1:1"))

    assert error.message.startswith("the API server of context it (https://127.0.0.1:1) can't be reached: ")


def test_an_api_server_of_another_ca_is_refused(api_server: ApiServer, tmp_path: Path) -> None:
    other = pki.create(tmp_path / "pki", pki.PkiRequest(nodes={}, api_names=["127.0.0.1"]))
    ca = base64.b64encode(other.text("ca.crt").encode()).decode()
    file = changed(api_server, tmp_path, **{"certificate-authority-data": ca})

    error = refusal(file)

    assert isinstance(error, ProvisionError)
    assert "isn't vouched for by the CA of the kubeconfig" in error.message


def test_credentials_that_are_not_taken_are_told(api_server: ApiServer, tmp_path: Path) -> None:
    error = refusal(changed(api_server, tmp_path, user={"token": "made-up"}))

    assert "doesn't take the credentials of the kubeconfig" in error.message


def test_rights_that_are_lacking_are_named_all_at_once(api_server: ApiServer, namespace: str, tmp_path: Path) -> None:
    kube = api_server.kube
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "poor", "namespace": namespace}})
    answer = kube.request(
        "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/poor/token",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )  # fmt: skip
    poor = changed(api_server, tmp_path, user={"token": answer["status"]["token"]})

    error = refusal(poor)

    assert error.message == (
        "context it may not list nodes, list namespaces, create namespaces, delete namespaces, create pods, which every test needs"
    )


def test_whoever_may_not_add_containers_to_pods_can_not_look_from_them(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    kube, name = api_server.kube, f"modest-{uuid.uuid4().hex[:8]}"
    rules = [
        {"apiGroups": [""], "resources": ["nodes", "namespaces", "pods"], "verbs": ["list", "get", "create", "delete"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get", "create"]},
    ]
    subject = {"kind": "ServiceAccount", "name": "modest", "namespace": namespace}
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "modest", "namespace": namespace}})
    kube.create({**role(name), "rules": rules})
    kube.create({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name}, "subjects": [subject],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
    })  # fmt: skip
    answer = kube.request(
        "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/modest/token",
        body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
    )  # fmt: skip
    modest = changed(api_server, tmp_path, user={"token": answer["status"]["token"]})
    contexts.confirm(contexts.find(CONTEXT, str(modest)))
    try:
        found = look({"context": CONTEXT, "kubeconfig": str(modest)})
    finally:
        for kind in ("clusterrolebindings", "clusterroles"):
            kube.delete(kube.resource(kind), name)

    assert (found.unprobed, found.capabilities) == ("the context may not patch pods/ephemeralcontainers", frozenset())


def test_what_was_made_for_commands_on_nodes_is_asked_to_go_where_the_cluster_forbids_the_pods(
    api_server: ApiServer, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This API server allows no privileged pods, and nobody empties namespaces that go here: it's seen what is asked for."""
    (tmp_path / "koalesce-probe").touch()
    monkeypatch.setattr("koalesce.toolchain.Toolchain.tool", lambda *_: tmp_path)
    monkeypatch.setattr(taking, "_GONE_WITHIN", 0.0)
    kube, run = api_server.kube, f"run-{uuid.uuid4().hex[:8]}"
    info = {"operatingSystem": "linux", "architecture": pod_probes.MACHINES[platform.machine()]}
    kube.create({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"nodeInfo": info, "conditions": [{"type": "Ready", "status": "True"}]},
    })  # fmt: skip
    request = {
        "name": "reached", "run_id": run, "state_dir": str(tmp_path / "cluster"),
        "settings": {**settings, "allow_node_exec": True},
    }  # fmt: skip
    try:
        with pytest.raises(ProvisionError, match=r"doesn't let us run privileged pods on its nodes: .*privileged"):
            taking.take(json.dumps(request))
        with pytest.raises(TeardownError, match=f"namespace koalesce-nodes-{run}"):
            taking.leave("reached")
    finally:
        kube.delete(kube.resource("nodes"), "n")

    namespace = kube.get(kube.resource("namespaces"), f"koalesce-nodes-{run}")
    assert namespace is not None
    assert namespace["metadata"]["labels"][RUN_LABEL] == run
    assert namespace["metadata"]["deletionTimestamp"]
