from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ClusterError
from koalesce.kube import ApiError, Kube, UnknownKind
from koalesce.kube.errors import LOGS_REMOVED
from koalesce.kube.limits import Limits
from tests.unit.kube.api_server import FakeApi, serve, write_kubeconfig


def test_importing_it_and_making_a_client_loads_neither_kubernetes_nor_urllib3(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from koalesce.kube import Kube, View; Kube(Path('none')); "
        "print([name for name in ('kubernetes', 'urllib3', 'websocket', 'ssl', 'yaml') if name in sys.modules])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_using_it_warns_of_nothing(kubeconfig: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from koalesce.kube import Kube; "
        f"kube = Kube(Path({str(kubeconfig)!r})); print(kube.version()); kube.close()"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code], capture_output=True, text=True, check=True
    )

    assert (done.stdout, done.stderr) == ("1.37.2\n", "")


def test_gets_an_object_or_none(kube: Kube, api: FakeApi) -> None:
    api.put("a", data={"x": "1"})
    config_map = kube.resource("cm")

    found = kube.get(config_map, "a")

    assert found is not None
    assert found["data"] == {"x": "1"}
    assert kube.get(config_map, "b") is None
    assert kube.get(config_map, "a", "elsewhere") is None


def test_a_kind_that_has_gone_is_no_missing_object(kube: Kube, api: FakeApi) -> None:
    config_map = kube.resource("cm")
    del api.kinds["/api/v1"]["configmaps"]

    with pytest.raises(UnknownKind):
        kube.get(config_map, "a")
    with pytest.raises(UnknownKind):
        kube.resource("cm")


def test_lists_page_by_page_and_says_what_the_objects_are(kube: Kube, api: FakeApi) -> None:
    api.page = 3
    for index in range(8):
        api.put(f"cm-{index}", labels={"app": "web" if index % 2 else "db"})

    found = kube.list(kube.resource("cm"), namespace="default")
    chosen = kube.list(kube.resource("cm"), selector="app=web")

    assert [obj["metadata"]["name"] for obj in found] == [f"cm-{index}" for index in range(8)]
    assert {(obj["apiVersion"], obj["kind"]) for obj in found} == {("v1", "ConfigMap")}
    assert len(chosen) == 4
    assert api.count("GET", "/configmaps") == 3 + 2


def test_applies_on_the_server_and_strictly(kube: Kube, api: FakeApi) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": []}, "data": {"x": "1"}}

    stored = kube.apply(obj, namespace="one", field_manager="me", force=False, dry_run=True)

    assert stored["data"] == {"x": "1"}
    method, path, query = api.requests[-1]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/one/configmaps/a")
    assert query == {"fieldManager": "me", "fieldValidation": "Strict", "dryRun": "All"}
    content_type, _, body = api.bodies[-1]
    assert content_type == "application/apply-patch+yaml"
    assert json.loads(body) == {**obj, "metadata": {"name": "a"}}


def test_takes_fields_over_unless_told_otherwise(kube: Kube, api: FakeApi) -> None:
    kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "own"}}, namespace="other"
    )

    assert api.requests[-1][1] == "/api/v1/namespaces/own/configmaps/a"
    assert api.requests[-1][2] == {"fieldManager": "koalesce", "fieldValidation": "Strict", "force": "true"}


@pytest.mark.parametrize("obj", [{}, {"kind": "ConfigMap"}, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}])
def test_an_object_that_can_t_be_addressed_is_refused_before_it_is_sent(
    kube: Kube, api: FakeApi, obj: dict[str, object]
) -> None:
    with pytest.raises(ApiError) as caught:
        kube.apply(obj)

    assert (caught.value.status, caught.value.transient) == (400, False)
    assert not api.bodies


def test_creates_patches_and_deletes(kube: Kube, api: FakeApi) -> None:
    config_map = kube.resource("cm")

    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    kube.patch(config_map, "a", None, {"data": {"x": "1"}})
    kube.patch(config_map, "a", None, [{"op": "add"}], type="json")
    kube.patch(config_map, "a", None, {"x": 1}, type="strategic", subresource="status")

    assert kube.delete(config_map, "a", grace_seconds=0, propagation="Foreground")
    assert not kube.delete(config_map, "a")
    assert [content_type for content_type, _, _ in api.bodies[:4]] == [
        "application/json", "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json",
    ]  # fmt: skip
    assert api.bodies[3][1].endswith("/configmaps/a/status")
    assert json.loads(api.bodies[4][2]) == {
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground", "gracePeriodSeconds": 0,
    }  # fmt: skip


def test_reads_logs_and_tables(kube: Kube, api: FakeApi) -> None:
    api.put("a", data={"x": "1"})
    api.put("much-longer", namespace="two")

    log = kube.logs("web", namespace="one", container="app", previous=True, tail_lines=5)

    assert '"container": "app"' in log
    assert '"previous": "true"' in log
    assert '"tailLines": "5"' in log
    assert kube.table(kube.resource("cm")) == (
        "NAMESPACE   NAME          DATA\n"
        "default     a             1\n"
        "two         much-longer   0\n"
    )  # fmt: skip
    assert kube.table(kube.resource("cm"), "default", wide=True) == "NAME   DATA   HIDDEN\na      1      x\n"
    assert kube.table(kube.resource("cm"), "empty") == "No resources found\n"


@pytest.mark.parametrize(
    "said",
    [
        "unable to retrieve container logs for containerd://c82e",
        'failed to try resolving symlinks in path "/var/log/pods/x/c/0.log": lstat /var/log/pods/x: no such file or directory',
        'failed to open log file "/var/log/pods/x/c/0.log": open /var/log/pods/x/c/0.log: no such file or directory\n',
    ],
)
def test_what_a_kubelet_says_of_a_log_that_is_gone_is_no_log(kube: Kube, api: FakeApi, said: str) -> None:
    api.failing["/log"] = (200, said)

    with pytest.raises(ApiError) as caught:
        kube.logs("web", namespace="one")

    assert (caught.value.status, caught.value.reason) == (404, LOGS_REMOVED)


@pytest.mark.parametrize(
    "said",
    [
        'failed to open log file "/srv/app.log": no such file or directory\n',
        'failed to open log file "/var/log/pods/x/c/0.log"\nand this\n',
    ],
)
def test_what_a_container_says_of_logs_is_a_log(kube: Kube, api: FakeApi, said: str) -> None:
    api.failing["/log"] = (200, said)

    assert kube.logs("web", namespace="one") == said


def test_a_server_that_is_not_there_is_transient(tmp_path: Path, connect: Callable[[Path, Limits], Kube]) -> None:
    with serve(FakeApi(), tmp_path) as kubeconfig:
        pass

    with pytest.raises(ApiError) as caught:
        connect(kubeconfig, Limits()).version()

    assert (caught.value.status, caught.value.reason, caught.value.transient) == (0, "ConnectionRefused", True)
    assert caught.value.message == "GET /version: connection refused"


def test_a_silent_server_is_given_up_at_the_deadline(kube: Kube, api: FakeApi) -> None:
    kube.version()
    api.answering.clear()
    began = time.monotonic()

    with pytest.raises(ApiError) as caught:
        kube.request("GET", "/version", timeout=0.2)

    assert (caught.value.reason, caught.value.transient) == ("Timeout", True)
    assert time.monotonic() - began < 60


def test_a_read_on_a_connection_that_the_server_gave_up_is_made_on_another(kube: Kube, api: FakeApi) -> None:
    kube.version()
    api.hanging_up = 1

    assert kube.version() == "1.37.2"

    api.hanging_up = 2
    with pytest.raises(ApiError) as caught:
        kube.version()
    assert (caught.value.reason, caught.value.transient) == ("ConnectionReset", True)


def test_a_write_is_never_made_twice(kube: Kube, api: FakeApi) -> None:
    kube.resource("cm")
    api.hanging_up = 1

    with pytest.raises(ApiError) as caught:
        kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})

    assert (caught.value.reason, caught.value.transient) == ("ConnectionReset", True)
    assert api.count("POST", "/configmaps") == 1


def test_a_call_ends_when_it_is_cancelled(kube: Kube, api: FakeApi) -> None:
    kube.version()
    api.answering.clear()
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()

    with pytest.raises(ApiError) as caught:
        kube.request("GET", "/version", cancel=cancel)

    assert caught.value.cancelled
    assert not caught.value.transient


def test_a_call_under_way_ends_when_the_client_is_closed(kube: Kube, api: FakeApi) -> None:
    kube.version()
    api.answering.clear()

    def close() -> None:
        while api.count("GET", "/version") < 2:
            time.sleep(0.01)
        kube.close()

    threading.Thread(target=close).start()

    with pytest.raises(ApiError) as caught:
        kube.request("GET", "/version")

    assert caught.value.cancelled
    with pytest.raises(ApiError, match="is closed"):
        kube.version()


def test_an_answer_that_is_no_json_says_so(kube: Kube) -> None:
    with pytest.raises(ApiError, match="the answer is no JSON: 'log"):
        kube.request("GET", "/api/v1/namespaces/a/pods/b/log")


def test_a_token_that_was_replaced_is_read_anew(kube: Kube, api: FakeApi, kubeconfig: Path) -> None:
    api.token = "first"
    kube.version()
    api.token = "second"
    cluster = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]
    write_kubeconfig(kubeconfig, cluster, {"token": "second"})

    assert kube.version() == "1.37.2"


def test_a_token_that_stays_wrong_is_refused_after_one_more_try(kube: Kube, api: FakeApi) -> None:
    api.token = "unknown"

    with pytest.raises(ApiError) as caught:
        kube.version()

    assert (caught.value.status, caught.value.transient) == (401, False)
    assert api.count("GET", "/version") == 2


def test_tls_is_verified(
    tmp_path: Path, certificate: tuple[Path, Path], connect: Callable[[Path, Limits], Kube]
) -> None:
    with serve(FakeApi(), tmp_path, certificate=certificate) as kubeconfig:
        assert connect(kubeconfig, Limits()).version() == "1.37.2"

        server = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        write_kubeconfig(kubeconfig, {"server": server}, {})
        with pytest.raises(ApiError) as caught:
            connect(kubeconfig, Limits()).version()
        assert (caught.value.reason, caught.value.transient) == ("TLS", False)

        write_kubeconfig(kubeconfig, {"server": server, "insecure-skip-tls-verify": True}, {})
        assert connect(kubeconfig, Limits()).version() == "1.37.2"


def test_many_threads_share_one_client(kube: Kube, api: FakeApi) -> None:
    api.put("a")
    config_map = kube.resource("cm")
    answers: list[object] = []

    def read() -> None:
        answers.extend(kube.get(config_map, "a") is not None for _ in range(10))

    threads = [threading.Thread(target=read) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [True] * 200


@pytest.mark.parametrize("text", ["", "{}", "a: [", "current-context: none\ncontexts: []\nclusters: []\nusers: []\n"])
def test_a_kubeconfig_of_no_use_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(ClusterError, match="can't be used"):
        Kube(path).version()


def test_a_missing_kubeconfig_says_so(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no kubeconfig at"):
        Kube(tmp_path / "none").version()


def test_leaves_no_keys_in_the_temporary_folder(
    tmp_path: Path,
    certificate: tuple[Path, Path],
    connect: Callable[[Path, Limits], Kube],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import base64
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    authority = base64.b64encode(certificate[0].read_bytes()).decode()
    key = base64.b64encode(certificate[1].read_bytes()).decode()
    with serve(FakeApi(), tmp_path, certificate=certificate) as kubeconfig:
        server = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        write_kubeconfig(
            kubeconfig,
            {"server": server, "certificate-authority-data": authority},
            {"client-certificate-data": authority, "client-key-data": key},
        )

        assert connect(kubeconfig, Limits()).version() == "1.37.2"

    assert [path.name for path in tmp_path.iterdir()] == ["kubeconfig"]


def test_tells_of_every_secret_that_is_read_or_sent(kube: Kube, api: FakeApi) -> None:
    api.kinds["/api/v1"]["secrets"] = ("Secret", True, [])
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "hunter22"}}
    told: list[Any] = []
    kube.on_secret = told.append

    kube.create(secret)
    kube.get(kube.resource("secrets"), "s")
    view = kube.view(lambda: None)
    view.begin()
    view.list(kube.resource("secrets"), namespace="default")
    view.close()
    kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}})

    assert [each["metadata"]["name"] for each in told] == ["s"] * 4  # sent, answered, read, watched
    assert all(each["stringData"] == {"password": "hunter22"} for each in told)
