"""Hetzner Cloud's API as we ask it, against a fake of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from koalesce.providers.cloud_api import Busy, CloudError, Resource
from koalesce.providers.clouds.hcloud import HcloudApi
from tests.fake_hcloud import TOKEN, FakeHcloud
from tests.fake_http import Fault, serving

MARKS = {"koalesce-run": "run-1", "koalesce-cluster": "c1", "koalesce-expires": "20261123T110000Z"}


@pytest.fixture
def cloud() -> FakeHcloud:
    return FakeHcloud(seconds=0.0)


@pytest.fixture
def api(cloud: FakeHcloud) -> Iterator[HcloudApi]:
    with serving(cloud) as url:
        yield HcloudApi({"HCLOUD_ENDPOINT": url, "HCLOUD_TOKEN": TOKEN}, pause=lambda seconds: None)


def make(cloud: FakeHcloud, kind: str, name: str, **fields: object) -> int:
    """Make something as Terraform does; its ID."""
    body = {"name": name, "labels": MARKS, **fields}
    _, made = cloud.answer("POST", f"/{kind}", {}, body)
    return int(made[kind.removesuffix("s")]["id"])


def server(cloud: FakeHcloud, name: str, **fields: object) -> int:
    return make(cloud, "servers", name, server_type="cx23", image="debian-12", location="nbg1", **fields)


def test_all_that_bears_marks_is_listed_whatever_it_is_and_however_much(cloud: FakeHcloud, api: HcloudApi) -> None:
    cloud.quota = 100
    for number in range(60):
        server(cloud, f"s{number}")
    make(cloud, "networks", "n", ip_range="10.80.0.0/24")
    make(cloud, "networks", "others", ip_range="10.81.0.0/24", labels={"koalesce-run": "run-2"})
    make(cloud, "firewalls", "unmarked", labels={})

    found = api.listing({"koalesce-run": "run-1"})

    assert [each.kind for each in found] == 60 * ["server"] + ["network"]
    assert (found[0].run, found[0].marks) == ("run-1", MARKS)
    assert {each.name for each in api.listing({})} - {each.name for each in found} == {"others"}


def test_what_is_in_use_is_busy_and_what_is_gone_is_well(cloud: FakeHcloud, api: HcloudApi) -> None:
    number = make(cloud, "firewalls", "f")
    machine = server(cloud, "s", firewalls=[{"firewall": number}])
    firewall = Resource(kind="firewall", id=str(number), name="f")

    with pytest.raises(Busy, match="firewall is still in use"):
        api.remove(firewall)
    api.remove(Resource(kind="server", id=str(machine), name="s"))
    api.remove(firewall)
    api.remove(firewall)

    assert cloud.left() == []


@pytest.mark.parametrize("fault", [Fault(status=429), Fault(status=500), Fault(loses=True), Fault(loses=False)])
def test_passing_trouble_is_waited_out(cloud: FakeHcloud, api: HcloudApi, fault: Fault) -> None:
    server(cloud, "s")
    troubles = iter([fault, fault])
    cloud.fault = lambda method, path: next(troubles, None)

    assert [each.name for each in api.listing({})] == ["s"]


def test_trouble_that_stays_is_told(cloud: FakeHcloud) -> None:
    cloud.fault = lambda method, path: Fault(status=503)
    with (
        serving(cloud) as url,
        pytest.raises(CloudError, match="Hetzner Cloud doesn't answer to GET /servers: 503 made to fail"),
    ):
        HcloudApi({"HCLOUD_ENDPOINT": url, "HCLOUD_TOKEN": TOKEN}, patience=0.0).listing({})


def test_a_token_that_is_not_taken_is_told(cloud: FakeHcloud) -> None:
    with serving(cloud) as url, pytest.raises(CloudError, match="doesn't take the token in HCLOUD_TOKEN"):
        HcloudApi({"HCLOUD_ENDPOINT": url, "HCLOUD_TOKEN": "other"}).listing({})
