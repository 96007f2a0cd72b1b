"""Providers of clouds: what they ask for before anything starts, what Terraform is told, and what counts as gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.cluster import ClusterRequest, FixtureRequest, NodeRequest
from koalesce.errors import ProvisionError, UsageError
from koalesce.local.ledger import Entry, Ledger
from koalesce.providers.cloud import CloudProvider
from tests.fake_hcloud import TOKEN, FakeHcloud
from tests.fake_http import Fault, serving

NODES = (NodeRequest(name="cp", role="control-plane"),)
ALLOWED = {"allowedCIDRs": ["192.0.2.0/24"]}


class WithoutTools(CloudProvider):
    @staticmethod
    def _tools(*_: Any, **__: Any) -> dict[str, Any]:
        return {}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KOALESCE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def cloud() -> FakeHcloud:
    return FakeHcloud(seconds=0.0)


@pytest.fixture
def provider(cloud: FakeHcloud) -> Iterator[CloudProvider]:
    with serving(cloud) as url:
        yield WithoutTools("hcloud", {"HCLOUD_TOKEN": TOKEN, "HCLOUD_ENDPOINT": url}, settling=0.0)


def request(**fields: Any) -> ClusterRequest:
    return ClusterRequest(
        **{
            "name": "c1",
            "run_id": "r",
            "provider": "hcloud",
            "kubernetes": "",
            "nodes": NODES,
            "settings": ALLOWED,
            **fields,
        }
    )


def make(cloud: FakeHcloud, name: str, run: str = "r") -> None:
    labels = {"koalesce-run": run, "koalesce-cluster": "c1"}
    cloud.answer("POST", "/networks", {}, {"name": name, "ip_range": "10.80.0.0/24", "labels": labels})


def test_credentials_are_asked_for_before_anything_starts() -> None:
    with pytest.raises(
        UsageError, match="the provider hcloud needs credentials: HCLOUD_TOKEN isn't set: an API token"
    ) as raised:
        CloudProvider("hcloud", {}).confirm(request())

    assert raised.value.hint == "export HCLOUD_TOKEN=…"


def test_a_token_that_is_not_taken_is_found_before_anything_starts(cloud: FakeHcloud, provider: CloudProvider) -> None:
    assert provider.check(request()) == []

    cloud.token = "another"

    assert provider.check(request()) == [
        "Hetzner Cloud doesn't take the token in HCLOUD_TOKEN (use one of the project's tokens)"
    ]


def test_nobody_may_reach_a_cluster_unless_it_is_said_who(provider: CloudProvider) -> None:
    with pytest.raises(UsageError, match=r"providers\.hcloud\.allowedCIDRs: nobody has said"):
        provider.confirm(request(settings={}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"allowedCIDRs": ["192.0.2.1/24"]}, r"allowedCIDRs\[0\]: 192\.0\.2\.1/24 is an address in 192\.0\.2\.0/24,"),
        ({"allowedCIDRs": ["here"]}, r'allowedCIDRs\[0\]: "here" is no range'),
        ({"locaton": "nbg1"}, r'locaton: unknown setting; did you mean "location"\?'),
        ({"serverType": "cx 23"}, r'serverType: "cx 23" doesn\'t match '),
        ({"ttl": 7}, "ttl: "),
        (
            {"authorizedKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n"]},
            r"authorizedKeys\[0\]: is no public key",
        ),
    ],
)
def test_settings_that_are_none_are_refused_with_their_place(
    provider: CloudProvider, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=rf"providers\.hcloud\.{message}"):
        provider.resolve(request(settings=settings))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pod_cidr": "10.80.0.0/16"}, "nodeCIDR 10.80.0.0/24 and podCIDR 10.80.0.0/16 overlap"),
        ({"service_cidr": "10.244.128.0/20"}, "podCIDR 10.244.0.0/16 and serviceCIDR 10.244.128.0/20 overlap"),
        (
            {"fixtures": (FixtureRequest(name="f"),)},
            "the provider hcloud makes all machines of a cluster alike, and can't serve fixtures",
        ),
        (
            {"nodes": (*NODES, NodeRequest(name="cp2", role="control-plane"))},
            "can't serve several control planes\n  hint: leave that out, or run the spec with the provider local",
        ),
    ],
)
def test_what_cannot_be_had_is_refused(provider: CloudProvider, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        provider.resolve(request(**fields))


def test_terraform_is_told_settings_with_their_defaults_and_a_time_to_live(
    provider: CloudProvider, tmp_path: Path
) -> None:
    resolved = provider.resolve(request(settings={**ALLOWED, "location": "fsn1"}))
    prepared = provider.prepare(resolved, progress=lambda line: None, cancel=None)

    assert resolved.ttl == 7200.0
    assert provider.variables(prepared, tmp_path)["settings"] == {
        "allowed_cidrs": ["192.0.2.0/24"], "authorized_keys": [], "image": "debian-12", "location": "fsn1", "node_cidr": "10.80.0.0/24",
        "server_type": "cx23", "timeout": 600.0, "ttl": "7200s",
    }  # fmt: skip


def test_a_time_to_live_that_was_said_wins(provider: CloudProvider, tmp_path: Path) -> None:
    resolved = provider.resolve(request(ttl=60.0))
    prepared = provider.prepare(resolved, progress=lambda line: None, cancel=None)

    assert (resolved.ttl, provider.variables(prepared, tmp_path)["settings"]["ttl"]) == (60.0, "60s")


def test_what_remains_is_listed_without_terraform(cloud: FakeHcloud, provider: CloudProvider, tmp_path: Path) -> None:
    make(cloud, "mine")
    make(cloud, "others", run="r2")
    (tmp_path / "own").mkdir()

    found = provider.remains(Entry(name="c1", run_id="r", folder=str(tmp_path / "own")))

    assert found == ["network mine (1001)", f"folder {tmp_path}/own"]


def test_what_comes_late_is_seen_where_a_cluster_never_came_up(
    cloud: FakeHcloud, provider: CloudProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("koalesce.providers.cloud.time.sleep", lambda seconds: make(cloud, "late"))

    assert provider.remains(Entry(name="c1", run_id="r", ready=True)) == []
    assert provider.remains(Entry(name="c1", run_id="r")) == ["network late (1001)"]


def test_what_cannot_be_listed_does_not_count_as_gone(cloud: FakeHcloud) -> None:
    (sentence,) = CloudProvider("hcloud", {}).remains(Entry(name="c1", run_id="r"))

    assert sentence.startswith(
        "what Hetzner Cloud may still have can't be listed: the provider hcloud needs credentials"
    )


def test_it_is_removed_by_its_marks_and_so_are_our_own_files(
    cloud: FakeHcloud, provider: CloudProvider, state: Path
) -> None:
    make(cloud, "mine")
    make(cloud, "others", run="r2")
    (state / "clusters" / "c1" / "ssh").mkdir(parents=True)
    Ledger().add(Entry(name="c1", run_id="r", folder=str(state / "clusters" / "c1"), session={"spec": "s"}))

    provider.remove("c1")

    assert (cloud.left(), (state / "clusters" / "c1").exists()) == (["network others"], False)
    provider.remove("unknown")


def test_only_what_terraform_does_not_know_is_freed_and_only_where_a_cluster_never_came_up(
    cloud: FakeHcloud, provider: CloudProvider
) -> None:
    for name in ("known", "unknown"):
        make(cloud, name)

    provider.free(Entry(name="c1", run_id="r", ready=True), {"1001"})
    before = cloud.left()
    provider.free(Entry(name="c1", run_id="r"), {"1001"})

    assert (before, cloud.left()) == (["network known", "network unknown"], ["network known"])


def test_what_resists_is_an_error(cloud: FakeHcloud, provider: CloudProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cloud, "mine")
    Ledger().add(Entry(name="c1", run_id="r"))
    monkeypatch.setattr("koalesce.providers.cloud._PATIENCE", -1.0)

    cloud.fault = lambda method, path: Fault(status=403) if method == "DELETE" else None

    with pytest.raises(ProvisionError, match=r"network mine \(1001\) can't be removed: 403 made to fail"):
        provider.remove("c1")


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("location xyz1 not found", "xyz1 is providers.hcloud.location"),
        (
            "server type cx23 is sold out in xyz1",
            "xyz1 is providers.hcloud.location; cx23 is providers.hcloud.serverType where the spec says nothing else",
        ),
        ("out of order", ""),
    ],
)
def test_an_error_that_names_a_setting_leads_to_it(provider: CloudProvider, said: str, advice: str) -> None:
    assert provider.advice(request(settings={**ALLOWED, "location": "xyz1"}), said) == advice


def test_first_states_cannot_be_had(provider: CloudProvider) -> None:
    with pytest.raises(UsageError, match="c1 is in a cloud"):
        provider.reset(Entry(name="c1"))
    with pytest.raises(UsageError, match="c1 is in a cloud"):
        provider.differences(Entry(name="c1"), ())
