"""The order in which machines become a cluster, and what is said when one doesn't."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from cryptography import x509

from koalesce import process
from koalesce.clock import SystemClock
from koalesce.errors import ClusterError, ProvisionError
from koalesce.local import nodestate
from koalesce.local.phases import Phases
from koalesce.machines import bringup as module
from koalesce.machines import request
from koalesce.machines.bringup import Bringup
from koalesce.machines.shell import Shell, Unreachable
from koalesce.toolchain import ImageStore, LocalTools
from tests.unit.machines.told import NOW, OUTPUT, network

ADDRESSES = {"cp": "192.0.2.10", "w": "192.0.2.11"}


class FakeMachine(Shell):
    """A machine that takes whatever it is told; `log` has it in the order of all machines."""

    __slots__ = ("able", "dead", "etcd", "log", "restarts", "survey")

    def __init__(self, account: request.Account, folder: Path, log: list[str]) -> None:
        super().__init__(account=account, folder=folder, known_hosts="/known")
        survey = OUTPUT.replace("192.0.2.10", account.address).replace(str(NOW), str(int(time.time())))
        for name, value in {"log": log, "survey": survey, "restarts": 0, "dead": False, "etcd": "", "able": ""}.items():
            object.__setattr__(self, name, value)

    def open(self) -> None:
        if self.dead:
            raise Unreachable(f"{self.account} doesn't answer", hint="see that it is on")

    def run(
        self,
        script: str,
        *,
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 60.0,
        cancel: process.Cancel | None = None,
    ) -> process.Result:
        if stdin is not None and not isinstance(stdin, bytes):
            given = b""
            while part := stdin.read(1 << 16):
                given = part
            if "images import" in script:
                self.log.append(f"{self.account.node} images {given.decode()}")
        out = self._answer(script)
        return process.Result(command=("sh",), code=0, stdout=out.encode(), stderr=b"", seconds=0.0)

    def _answer(self, script: str) -> str:
        node = self.account.node
        if script == nodestate.SCRIPT:
            return network()
        if "uname -m" in script:
            self.log.append(f"{node} look")
            return str(self.survey)
        if "mkdir /etc/koalesce" in script:
            self.log.append(f"{node} claim")
        if "tar -x" in script:
            self.log.append(f"{node} files")
        if released := re.findall(r"mv \S+/\.(\S+)\.yaml", script):
            self.log.append(f"{node} pods {' '.join(released)}")
        if started := re.findall(r"koalesce-([a-z-]+)\.service", script):
            self.log.append(f"{node} start {' '.join(started)}")
        if script.startswith("unshare --net"):
            return str(self.able)
        if script.endswith("koalesce-probe"):
            return str(self.etcd)
        if "NRestarts" in script:
            return f"Id=koalesce-kubelet.service\nNRestarts={self.restarts}\n"
        return "it broke\n" if script.startswith("tail") else ""


class FakeApi:
    """An API server that is up, and whose nodes are Ready once asked."""

    def __init__(self, log: list[str], *, ready: bool = True, there: Collection[str] = ()) -> None:
        self.log, self.ready, self.there = log, ready, there
        self.changes: dict[str, Any] = {}

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        if method == "PATCH":
            self.changes[path] = body
        status = {"conditions": [{"type": "Ready", "status": str(self.ready)}]}
        nodes = [{"metadata": {"name": name}, "spec": {}, "status": status} for name in ADDRESSES]
        return 200, json.dumps({"items": nodes}).encode()

    def create(self, path: str, value: Mapping[str, Any], **_: Any) -> Mapping[str, Any]:
        name = value["metadata"]["name"]
        self.log.append(f"api {value['kind']} {name}")
        return {**value, "spec": {}} if name in self.there else value

    def get(self, path: str) -> dict[str, Any]:
        return {"status": {"availableReplicas": 1}}

    def close(self) -> None:
        pass


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bringup]:
    for path in ("kubernetes/kube", "etcd/etcd", "containerd/containerd", "cni/bridge", "runc", "probe"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    roles = ("pause", "probe", "coredns", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    tools = LocalTools(
        kubernetes=tmp_path / "kubernetes", etcd=tmp_path / "etcd", containerd=tmp_path / "containerd", cni=tmp_path / "cni", system=(),
        runc=tmp_path / "runc", probe=tmp_path / "probe", images={role: f"{role}:1" for role in roles},
    )  # fmt: skip
    monkeypatch.setattr(module, "export_all", lambda _store, references, path: path.write_text(" ".join(references)))
    monkeypatch.setattr(module, "Api", lambda _pki, _address, patience: FakeApi(log))

    def made(**changes: Any) -> Bringup:
        data = {
            "name": "c1", "kubernetes_version": "1.37.2", "state_dir": str(tmp_path),
            "nodes": [{"name": "cp", "role": "control-plane"}, {"name": "w", "role": "worker"}],
            "settings": {"known_hosts": "/known", "machines": [{"host": address} for address in ADDRESSES.values()], "timeout": 0.2},
            "images": ["app:1"], **changes,
        }  # fmt: skip
        wanted = request.parse(json.dumps(data))
        return Bringup(
            request=wanted, tools=tools, store=ImageStore(tmp_path / "store"), folder=tmp_path, identity="c1-abc",
            shells={each.node: FakeMachine(each, tmp_path, log) for each in wanted.accounts}, phases=Phases(SystemClock(), lambda _: None),
        )  # fmt: skip

    return made


@pytest.fixture
def bringup(make: Callable[..., Bringup]) -> Bringup:
    return make()


def of(node: str, log: list[str]) -> list[str]:
    return [line.removeprefix(f"{node} ") for line in log if line.startswith(f"{node} ")]


IMAGES = "images pause:1 probe:1 coredns:1 app:1"


def test_a_control_plane_comes_first_and_kubelets_find_their_nodes(
    bringup: Bringup, log: list[str], tmp_path: Path
) -> None:
    bringup.run()

    first, middle, last = of("cp", log)[:5], of("cp", log)[5:-1], of("cp", log)[-1]
    assert first == ["look", "claim", "files", "start network containerd", "start etcd kube-apiserver"]
    assert sorted(middle) == [IMAGES, "start kube-controller-manager kube-scheduler"]  # the one meanwhile
    assert last == "start kubelet kube-proxy"
    assert of("w", log) == ["look", "claim", "files", "start network containerd", IMAGES, "start kubelet kube-proxy"]
    assert log.index("w look") < log.index("cp claim")
    assert log.index("api Node w") < log.index("w start kubelet kube-proxy")
    assert "api Deployment coredns" in log
    assert (
        json.loads((tmp_path / "kubeconfig").read_text())["clusters"][0]["cluster"]["server"]
        == "https://192.0.2.10:6443"
    )


def test_the_cluster_can_do_what_each_of_its_machines_can(make: Callable[..., Bringup]) -> None:
    told: list[str] = []
    bringup = dataclasses.replace(make(), phases=Phases(SystemClock(), told.append))
    for name, able in (("cp", "ipset\nipvs\nsctp\n"), ("w", "ipset\nsctp\n")):
        object.__setattr__(bringup.shells[name], "able", able)

    found = bringup.run()

    assert {"ipset", "sctp"} <= found
    assert "ipvs" not in found
    (said,) = [line for line in told if "doesn't count" in line]
    assert said.endswith("the cluster doesn't count as having ipvs: w has it not")


def test_static_pods_come_to_a_kubelet_that_has_their_images_and_controllers_to_nodes_with_addresses(
    make: Callable[..., Bringup], log: list[str]
) -> None:
    make(control_plane="static", etcd={"mode": "static"}).run()

    assert of("cp", log) == [
        "look", "claim", "files", "start network containerd", IMAGES, "images etcd:1 kube-apiserver:1 kube-controller-manager:1 kube-scheduler:1",
        "start kubelet", "pods etcd kube-apiserver", "pods kube-controller-manager kube-scheduler", "start kubelet kube-proxy",
    ]  # fmt: skip
    assert of("w", log) == ["look", "claim", "files", "start network containerd", IMAGES, "start kubelet kube-proxy"]
    assert log.index("api Node cp") < log.index("cp pods kube-controller-manager kube-scheduler")


def test_a_node_that_its_kubelet_has_made_gets_its_labels_and_addresses_of_pods(
    make: Callable[..., Bringup], log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi(log, there=("cp",))
    monkeypatch.setattr(module, "Api", lambda _pki, _address, patience: api)

    make(control_plane="static", etcd={"mode": "static"}).run()

    assert api.changes == {
        "/api/v1/nodes/cp": {
            "metadata": {"labels": {"kubernetes.io/hostname": "cp", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]},
        }
    }


def test_an_etcd_that_is_there_is_asked_before_an_api_server_is_started(
    make: Callable[..., Bringup], log: list[str]
) -> None:
    bringup = make(etcd={"mode": "external", "endpoints": ["http://192.0.2.20:2379"]})
    answer = {"id": "http://192.0.2.20:2379", "outcome": "refused", "reason": "connection refused"}
    object.__setattr__(bringup.shells["cp"], "etcd", json.dumps({"sources": [{"id": "etcd", "results": [answer]}]}))

    with pytest.raises(ProvisionError, match=r"etcd doesn't serve it: http://192.0.2.20:2379: connection refused"):
        bringup.run()

    assert not any("kube-apiserver" in line for line in log)


def test_a_cluster_of_a_cloud_is_reached_at_the_machine_outside_and_nothing_else_of_it(
    bringup: Bringup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = dataclasses.replace(bringup.request.accounts[0], host="203.0.113.7")
    bringup.request = dataclasses.replace(
        bringup.request, public=True, accounts=(account, *bringup.request.accounts[1:])
    )
    asked: list[str] = []
    monkeypatch.setattr(module, "Api", lambda _pki, address, patience: asked.append(address) or FakeApi([]))

    found = bringup.run()

    assert (asked, "host-exec" in found, "node-exec" in found) == (["203.0.113.7"], False, True)
    assert "https://203.0.113.7:6443" in (tmp_path / "kubeconfig").read_text()
    certificate = x509.load_pem_x509_certificate((tmp_path / "pki" / "apiserver.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"192.0.2.10", "203.0.113.7"} <= {str(each) for each in names.get_values_for_type(x509.IPAddress)}


def test_no_machine_is_changed_while_one_speaks_against_it_and_all_is_said(bringup: Bringup, log: list[str]) -> None:
    object.__setattr__(
        bringup.shells["cp"], "survey", str(bringup.shells["cp"].survey).replace("init systemd", "init busybox")
    )
    object.__setattr__(bringup.shells["w"], "dead", True)

    with pytest.raises(ProvisionError) as raised:
        bringup.run()

    assert raised.value.message.splitlines()[0].startswith("cp (root@192.0.2.10): its init is busybox")
    assert raised.value.message.splitlines()[1] == "w (root@192.0.2.11) doesn't answer"
    assert raised.value.hint == "see that it is on"
    assert log == ["cp look"]


def test_a_service_that_does_not_stay_up_is_said_with_what_it_said(
    bringup: Bringup, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Api", lambda _pki, _address, patience: FakeApi(log, ready=False))
    object.__setattr__(bringup.shells["w"], "restarts", 4)

    with pytest.raises(ClusterError, match=r"w \(root@192.0.2.11\): kubelet does not stay up") as raised:
        bringup.run()

    assert "kubelet on w said last:\n  | it broke" in raised.value.message


def test_nodes_that_do_not_become_ready_are_said(
    bringup: Bringup, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Api", lambda _pki, _address, patience: FakeApi(log, ready=False))

    with pytest.raises(ClusterError, match="in vain for all nodes to be Ready\nkubelet on cp said last"):
        bringup.run()
