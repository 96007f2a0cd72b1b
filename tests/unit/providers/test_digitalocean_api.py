"""DigitalOcean's API as we ask it, against a small fake of it: pages, marks in tags and names, networks that have members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from koalesce.providers.cloud_api import Busy, CloudError, Resource
from koalesce.providers.cloud_sweeping import sweep_cloud
from koalesce.providers.clouds.digitalocean import DigitalOceanApi
from tests.fake_http import Fault, Json, Refused, serving

EXPIRY = "20261123T140000Z"
MARKS = {"koalesce-cluster": "c-1", "koalesce-run": "run-1", "koalesce-expires": EXPIRY}
_KINDS = {"droplets": "droplets", "firewalls": "firewalls", "vpcs": "vpcs", "account/keys": "ssh_keys", "tags": "tags"}


class FakeDigitalOcean:
    """Lists and deletes, two of a kind on a page."""

    token = "secret-token"
    prefix = ""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.has: dict[str, list[Json]] = {kind: [] for kind in _KINDS}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        kind = next(kind for kind in _KINDS if path.startswith(f"/v2/{kind}"))
        if method == "GET":
            page = int(query["page"][0])
            links = {"pages": {"next": "https://next"}} if 2 * page < len(self.has[kind]) else {}
            return 200, {_KINDS[kind]: self.has[kind][2 * page - 2 : 2 * page], "links": links}
        which = path.rpartition("/")[2].replace("%3A", ":")
        left = [each for each in self.has[kind] if which not in (str(each.get("id")), each["name"])]
        if len(left) == len(self.has[kind]):
            raise Refused(404, "not_found", "there is none")
        if kind == "vpcs" and any(
            which.removeprefix("v-") in tag for each in self.has["droplets"] for tag in each["tags"]
        ):
            raise Refused(403, "forbidden", "Can not delete VPC with members")
        self.has[kind] = left
        return 204, {}


@pytest.fixture
def cloud() -> FakeDigitalOcean:
    """An account with a run of ours, another one that lasts, and what others have made."""
    made = FakeDigitalOcean()
    for run, expiry in (("run-1", EXPIRY), ("run-2", "20991123T140000Z")):
        tag, label = f"koalesce:c-1:{run}:{expiry}", f"koalesce.c-1.{run}.{expiry}"
        made.has["droplets"] += [
            {"id": len(made.has["droplets"]) + n, "name": f"c-1-{n}", "tags": [tag]} for n in (1, 2)
        ]
        made.has["firewalls"].append({"id": f"f-{run}", "name": label, "tags": [tag]})
        made.has["vpcs"].append({"id": f"v-{run}", "name": label})
        made.has["account/keys"].append({"id": 7, "name": label} | ({"id": 8} if run == "run-2" else {}))
        made.has["tags"].append({"name": tag})
    made.has["droplets"].append({"id": 99, "name": "koalesce", "tags": ["koalesce:mine"]})
    made.has["vpcs"].append({"id": "default", "name": "default-fra1"})
    return made


@pytest.fixture
def api(cloud: FakeDigitalOcean) -> Iterator[DigitalOceanApi]:
    with serving(cloud) as url:
        yield DigitalOceanApi(
            {"DIGITALOCEAN_API_URL": url, "DIGITALOCEAN_TOKEN": cloud.token}, pause=lambda seconds: None
        )


def test_what_a_run_has_is_listed_on_all_pages_in_the_order_of_its_removal(api: DigitalOceanApi) -> None:
    found = api.listing({"koalesce-run": "run-1"})

    assert [(each.kind, each.id) for each in found] == [
        ("droplet", "1"), ("droplet", "2"), ("firewall", "f-run-1"), ("VPC", "v-run-1"), ("SSH key", "7"),
        ("tag", f"koalesce:c-1:run-1:{EXPIRY}"),
    ]  # fmt: skip
    assert {tuple(each.marks.items()) for each in found} == {tuple(MARKS.items())}
    assert len(api.listing({})) == 12


def test_what_is_over_is_swept_and_nothing_else(cloud: FakeDigitalOcean, api: DigitalOceanApi) -> None:
    swept = sweep_cloud("digitalocean", now=datetime(2026, 11, 24, tzinfo=UTC), api=api, patience=60.0)

    assert len(swept.removed) == 6
    assert list(swept.kept) == ["run-2"]
    assert [each["id"] for each in cloud.has["droplets"]] == [3, 4, 99]
    assert [each["id"] for each in cloud.has["vpcs"]] == ["v-run-2", "default"]


def test_a_network_with_members_is_busy_and_what_is_gone_is_well(api: DigitalOceanApi) -> None:
    with pytest.raises(Busy, match="Can not delete VPC with members"):
        api.remove(Resource(kind="VPC", id="v-run-1", name="v"))

    api.remove(Resource(kind="droplet", id="12345", name="d"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault(status=503), "doesn't answer to GET /v2/droplets: 503"), (Fault(status=418), "answers 418 to GET")],
)
def test_what_it_refuses_is_told(cloud: FakeDigitalOcean, fault: Fault, message: str) -> None:
    cloud.fault = lambda method, path: fault
    with serving(cloud) as url, pytest.raises(CloudError, match=message):
        _api(url, cloud.token).listing({})


def test_a_token_that_is_not_taken_is_told(cloud: FakeDigitalOcean) -> None:
    with serving(cloud) as url, pytest.raises(CloudError, match="doesn't take the token in DIGITALOCEAN_TOKEN"):
        _api(url, "other").listing({})


def _api(url: str, token: str) -> DigitalOceanApi:
    environment: dict[str, Any] = {"DIGITALOCEAN_API_URL": url, "DIGITALOCEAN_TOKEN": token}
    return DigitalOceanApi(environment, patience=0.0)
