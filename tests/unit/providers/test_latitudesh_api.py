"""Latitude.sh's API as we ask it, against a small fake of it: pages, tags, and servers that nobody came to tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from koalesce.providers.cloud_api import Busy, CloudError, Resource
from koalesce.providers.cloud_sweeping import sweep_cloud
from koalesce.providers.clouds.latitudesh import LatitudeshApi
from tests.fake_http import Fault, Json, Refused, serving

EXPIRY, LATER = "20261123T140000Z", "20991123T140000Z"
MARKS = {"koalesce-cluster": "c-1", "koalesce-run": "run-1", "koalesce-expires": EXPIRY}
_PAGE = 2


class FakeLatitudesh:
    """Lists and deletes, two of a kind on a page; tags come on one."""

    token = "secret-token"
    prefix = ""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[str, str], Fault | None] = lambda method, path: None
        self.has: dict[str, dict[str, Json]] = {kind: {} for kind in ("servers", "ssh_keys", "user_data", "tags")}
        self.tags: dict[str, str] = {}  # of servers, which don't say them themselves
        self.told: dict[str, str] = {}  # the user data of servers

    def make(self, run: str, expiry: str, *, tagged: bool = True) -> None:
        """What a cluster of two nodes has."""
        label = f"koalesce.c-1.{run}.{expiry}"
        self.has["tags"][f"tag_{run}"] = {"name": label.replace(".", ":"), "description": "Koalesce"}
        self.has["ssh_keys"][f"ssh_{run}"] = {"name": label, "tags": []}
        self.has["user_data"][f"ud_{run}"] = {"description": label, "content": "…"}
        for number in (0, 1):
            server = f"sv_{run}_{number}"
            self.has["servers"][server] = {"hostname": f"c-1-{number}", "status": "on"}
            self.told[server] = f"ud_{run}"
            if tagged:
                self.tags[server] = f"tag_{run}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        _, kind, *rest = path.split("/")
        if method == "DELETE":
            return self._delete(kind, rest[0])
        if rest:
            if rest[0] not in self.told:
                raise _Missing
            return 200, {"data": {"attributes": {"user_data": self.told[rest[0]]}}}
        found = [
            each
            for each in self.has[kind]
            if query.get("filter[tags]", [self.tags.get(each)])[0] == self.tags.get(each)
        ]
        if kind != "tags":
            page = int(query["page[number]"][0])
            found = found[_PAGE * (page - 1) : _PAGE * page]
        return 200, {"data": [{"id": each, "type": kind, "attributes": self.has[kind][each]} for each in found]}

    def _delete(self, kind: str, which: str) -> tuple[int, Json]:
        if which not in self.has[kind]:
            raise _Missing
        if kind == "user_data" and any(self.told.get(server) == which for server in self.has["servers"]):
            raise _InUse
        del self.has[kind][which]
        return 204, {}


class _JsonApi(Refused):
    """Refusals as JSON:API has them."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, "", detail)
        self.body = {"errors": [{"status": str(status), "title": "it isn't to be had", "detail": detail}]}


_Missing, _InUse = _JsonApi(404, "there is none"), _JsonApi(422, "User data is in use by a server")


@pytest.fixture
def cloud() -> FakeLatitudesh:
    """A team with a run of ours, another one that lasts, and what others have made."""
    made = FakeLatitudesh()
    made.make("run-1", EXPIRY)
    made.make("run-2", LATER)
    made.has["servers"]["sv_web"] = {"hostname": "web", "status": "on"}
    made.has["ssh_keys"]["ssh_me"] = {"name": "koalesce", "tags": []}
    made.has["user_data"]["ud_other"] = {"description": "koalesce.of.others", "content": "…"}
    return made


@pytest.fixture
def api(cloud: FakeLatitudesh) -> Iterator[LatitudeshApi]:
    with serving(cloud) as url:
        yield _api(url, cloud.token)


def test_what_a_run_has_is_listed_on_all_pages_in_the_order_of_its_removal(api: LatitudeshApi) -> None:
    found = api.listing({"koalesce-run": "run-1"})

    assert [(each.kind, each.id, each.name) for each in found] == [
        ("server", "sv_run-1_0", "c-1-0"), ("server", "sv_run-1_1", "c-1-1"), ("SSH key", "ssh_run-1", f"koalesce.c-1.run-1.{EXPIRY}"),
        ("user data", "ud_run-1", f"koalesce.c-1.run-1.{EXPIRY}"), ("tag", "tag_run-1", f"koalesce:c-1:run-1:{EXPIRY}"),
    ]  # fmt: skip
    assert {tuple(each.marks.items()) for each in found} == {tuple(MARKS.items())}
    assert len(api.listing({})) == 10


def test_servers_that_terraform_had_no_time_to_tag_are_known_by_what_they_were_told(
    cloud: FakeLatitudesh, api: LatitudeshApi
) -> None:
    cloud.make("run-3", EXPIRY, tagged=False)

    found = api.listing({"koalesce-run": "run-3"})

    assert [each.id for each in found if each.kind == "server"] == ["sv_run-3_0", "sv_run-3_1"]


def test_what_is_over_is_swept_and_nothing_else(cloud: FakeLatitudesh, api: LatitudeshApi) -> None:
    swept = sweep_cloud("latitudesh", now=datetime(2026, 11, 24, tzinfo=UTC), api=api, patience=60.0)

    assert len(swept.removed) == 5
    assert list(swept.kept) == ["run-2"]
    assert {kind: list(things) for kind, things in cloud.has.items()} == {
        "servers": ["sv_run-2_0", "sv_run-2_1", "sv_web"], "ssh_keys": ["ssh_run-2", "ssh_me"],
        "user_data": ["ud_run-2", "ud_other"], "tags": ["tag_run-2"],
    }  # fmt: skip


def test_where_nothing_is_ours_no_server_of_others_is_looked_at(cloud: FakeLatitudesh, api: LatitudeshApi) -> None:
    for kind in ("tags", "user_data", "ssh_keys"):
        cloud.has[kind].clear()

    assert api.listing({}) == []
    assert [path for _, path in cloud.requests if "deploy_config" in path or path == "/servers"] == []


def test_what_is_in_use_is_busy_and_what_is_gone_is_well(api: LatitudeshApi) -> None:
    with pytest.raises(Busy, match="User data is in use by a server"):
        api.remove(Resource(kind="user data", id="ud_run-1", name="u"))

    api.remove(Resource(kind="server", id="sv_gone", name="d"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [(Fault(status=503), "doesn't answer to GET /ssh_keys: 503"), (Fault(status=418), "answers 418 to GET /ssh_keys")],
)
def test_what_it_refuses_is_told(cloud: FakeLatitudesh, fault: Fault, message: str) -> None:
    cloud.fault = lambda method, path: fault
    with serving(cloud) as url, pytest.raises(CloudError, match=message):
        _api(url, cloud.token, patience=0.0).listing({})


def test_a_token_that_is_not_taken_is_told(cloud: FakeLatitudesh) -> None:
    with serving(cloud) as url, pytest.raises(CloudError, match="doesn't take the API key in LATITUDESH_AUTH_TOKEN"):
        _api(url, "other").listing({})


def _api(url: str, token: str, *, patience: float = 60.0) -> LatitudeshApi:
    return LatitudeshApi(
        {"LATITUDESH_AUTH_TOKEN": token}, url=url, patience=patience, pause=lambda seconds: None
    )  # fmt: skip
