from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import ClusterRequest, NodeRequest, Role
from koalesce.errors import ProvisionError, UsageError
from koalesce.local.ledger import Entry
from koalesce.providers import contexts
from koalesce.providers.existing import Found
from koalesce.providers.kubeconfig import KubeconfigProvider, _as_found, _check_fits


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "state"


def write(path: Path, *names: str, user: dict[str, Any] | None = None, **cluster: Any) -> Path:
    """A kubeconfig with contexts of these names, whose clusters and users are called the same."""
    settings = {"server": "https://one.example:6443", "certificate-authority-data": text("CA of one"), **cluster}
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": names[0],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "clusters": [{"name": name, "cluster": settings} for name in names],
        "users": [{"name": name, "user": user or {"token": "made-up"}} for name in names],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def text(plain: str) -> str:
    return base64.b64encode(plain.encode()).decode()


def request(**fields: Any) -> ClusterRequest:
    return ClusterRequest(
        **{"name": "a", "run_id": "r", "provider": "kubeconfig", "kubernetes": "", "nodes": (), **fields}
    )


def node(name: str, role: Role = "worker", **fields: Any) -> NodeRequest:
    return NodeRequest(name=name, role=role, **fields)


def test_without_a_kubeconfig_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"there is no kubeconfig at {tmp_path}/home/.kube/config"):
        contexts.find("dev")


def test_a_context_has_to_be_named(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "prod", "dev")

    with pytest.raises(UsageError) as raised:
        contexts.find("", str(file))

    assert raised.value.message == "the provider kubeconfig needs the name of a context"
    assert raised.value.hint is not None
    assert raised.value.hint.endswith("there are: dev, prod")


def test_an_unknown_context_gets_a_suggestion(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "kind-dev", "production")

    with pytest.raises(UsageError, match=r'there is no context "kind-deb"; did you mean "kind-dev"\?'):
        contexts.find("kind-deb", str(file))


def test_a_broken_kubeconfig_shows_none_of_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text('users: [{name: a, user: {token: "very secret}}]\n')

    with pytest.raises(UsageError) as raised:
        contexts.find("a", str(file))

    assert str(raised.value).startswith(f"the kubeconfig {file} can't be used: ")
    assert "secret" not in str(raised.value)


def test_a_context_that_names_no_cluster_is_told(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "dev")
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "clusters": []}))

    with pytest.raises(UsageError, match='context dev names the cluster "dev", which isn\'t there'):
        contexts.find("dev", str(file))


def test_several_kubeconfigs_are_looked_in_and_the_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a" / "config", "dev")
    second = write(tmp_path / "b" / "config", "dev", "prod", server="https://two.example")
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'missing'}:{second}")

    assert [contexts.find(name).server for name in ("dev", "prod")] == [
        "https://one.example:6443",
        "https://two.example",
    ]


def test_a_context_alone_leads_to_the_same_files(tmp_path: Path) -> None:
    user = {"client-certificate": "me.crt", "client-key": "/keys/me.key", "exec": {"command": "./login"}}
    file = write(
        tmp_path / "config", "dev", user=user, **{"certificate-authority-data": None, "certificate-authority": "ca.crt"}
    )

    found = json.loads(contexts.find("dev", str(file)).alone())

    assert (found["current-context"], len(found["contexts"])) == ("dev", 1)
    assert found["clusters"][0]["cluster"]["certificate-authority"] == str(tmp_path / "ca.crt")
    assert found["users"][0]["user"] == {
        "client-certificate": str(tmp_path / "me.crt"), "client-key": "/keys/me.key", "exec": {"command": str(tmp_path / "login")},
    }  # fmt: skip


def test_what_the_user_owns_is_remembered_by_the_ca(tmp_path: Path) -> None:
    file = write(tmp_path / "config", "dev", "renamed")
    other = write(tmp_path / "other", "dev", **{"certificate-authority-data": text("CA of another")})

    contexts.confirm(contexts.find("dev", str(file)))

    assert contexts.is_confirmed(contexts.find("renamed", str(file)))
    assert not contexts.is_confirmed(contexts.find("dev", str(other)))


def test_the_ca_is_the_same_in_a_file_and_within_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CA of one\n")
    file = write(tmp_path / "config", "dev", **{"certificate-authority-data": None, "certificate-authority": "ca.crt"})

    contexts.confirm(contexts.find("dev", str(write(tmp_path / "other", "dev"))))

    assert contexts.is_confirmed(contexts.find("dev", str(file)))


@pytest.mark.parametrize("cluster", [{"insecure-skip-tls-verify": True}, {"server": "http://one.example"}])
def test_a_server_that_is_not_verified_can_not_be_remembered(tmp_path: Path, cluster: dict[str, Any]) -> None:
    context = contexts.find("dev", str(write(tmp_path / "config", "dev", **cluster)))

    with pytest.raises(UsageError, match="doesn't verify who its API server is"):
        contexts.confirm(context)
    assert not contexts.is_confirmed(context)


def test_what_only_a_maker_of_clusters_can_serve_is_refused_all_at_once() -> None:
    asked = request(
        addons=("local-path",), feature_gates={"A": True}, nodes=(node("a"), node("b", taints=({"key": "x"},)))
    )

    with pytest.raises(UsageError) as raised:
        KubeconfigProvider().resolve(asked)

    assert raised.value.message.endswith("can't serve cluster.featureGates, cluster.addons, cluster.nodes[].taints")


def test_nodes_that_are_only_counted_are_fine() -> None:
    asked = request(nodes=(node("control-plane", "control-plane"), node("worker-1")))

    assert KubeconfigProvider().resolve(asked) == asked


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"contxt": "a"}, 'no setting "contxt"; did you mean "context"?'),
        ({"allow_disruption": "yes"}, "providers.kubeconfig.allow_disruption must be true or false"),
        ({"pod_probes": "nmap"}, "providers.kubeconfig.pod_probes is one of program, agnhost, none, not 'nmap'"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        KubeconfigProvider().resolve(request(settings=settings))

    assert said in raised.value.message


def found(tmp_path: Path, **fields: Any) -> Found:
    context = contexts.find("dev", str(write(tmp_path / "config", "dev")))
    nodes = ({"name": "kind-control-plane", "role": "control-plane"},)
    given: dict[str, Any] = {
        "kubernetes": "1.36.1", "nodes": nodes, "capabilities": frozenset(), "dns_ip": "", "pod_cidrs": (), "service_cidrs": (),
    } | fields  # fmt: skip
    return Found(context=context, **given)


def test_a_cluster_that_is_not_what_the_spec_asks_for_is_refused(tmp_path: Path) -> None:
    asked = request(kubernetes="1.37", nodes=(node("a"), node("b")), ip_families=("IPv4", "IPv6"))

    with pytest.raises(ProvisionError) as raised:
        _check_fits(asked, found(tmp_path))

    assert raised.value.message == (
        "the cluster of context dev isn't what the spec asks for: "
        "its Kubernetes is 1.36.1, not 1.37; it has 1 node, not 2; its pods have no addresses of IPv6"
    )


def test_a_request_becomes_what_the_cluster_is_like(tmp_path: Path) -> None:
    there = found(tmp_path, pod_cidrs=("10.42.0.0/22",))

    _check_fits(request(kubernetes="1.36"), there)
    told = _as_found(request(kubernetes="1.36"), there)

    assert (told.kubernetes, told.pod_cidr, told.service_cidr) == ("1.36.1", "10.42.0.0/22", "10.96.0.0/16")
    assert told.nodes == (node("kind-control-plane", "control-plane"),)


def test_it_can_not_be_reset() -> None:
    with pytest.raises(UsageError, match="a is a cluster that others made"):
        KubeconfigProvider().reset(Entry(name="a", provider="kubeconfig"))
