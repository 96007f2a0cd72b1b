"""What is removed in a cloud without Terraform: in any order that it takes, until it is listed no more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from koalesce.errors import TeardownError, UsageError
from koalesce.providers.cloud_api import Busy, CloudError, Resource, remove_all
from koalesce.providers.cloud_sweeping import api_of, sweep_cloud

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def thing(name: str, kind: str = "server", *, run: str = "run-1", expires: str = "20261123T110000Z") -> Resource:
    return Resource(kind=kind, id=name, name=name, marks={"koalesce-run": run, "koalesce-expires": expires})


class FakeCloud:
    """A cloud where firewalls can't be removed while there are servers, nor what is `stuck` ever."""

    def __init__(self, *things: Resource, stuck: str = "", refused: str = "") -> None:
        self.things = list(things)
        self.seconds = 0.0
        self.stuck, self.refused = stuck, refused

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        return [each for each in self.things if marks.items() <= each.marks.items()]

    def remove(self, resource: Resource) -> None:
        if resource.name == self.refused:
            raise CloudError(f"{resource} is protected")
        if resource.name == self.stuck or (
            resource.kind == "firewall" and any(each.kind == "server" for each in self.things)
        ):
            raise Busy(f"{resource} is in use")
        self.things.remove(resource)


class FakeTime:
    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds


def remove(cloud: FakeCloud) -> float:
    """Remove all of it, within an hour; the seconds that it took."""
    time = FakeTime()
    try:
        remove_all(cloud, lambda: cloud.listing({}), patience=3600.0, pause=time.pause, clock=lambda: time.now)
    finally:
        cloud.seconds = time.now
    return time.now


def test_what_others_need_is_removed_after_them() -> None:
    cloud = FakeCloud(thing("f", "firewall"), thing("a"), thing("b"))

    remove(cloud)

    assert cloud.things == []


def test_what_is_busy_is_waited_for_and_nothing_else_is_left() -> None:
    cloud = FakeCloud(thing("a"), thing("b"), stuck="a")

    with pytest.raises(CloudError, match=r"^server a \(a\) is in use$"):
        remove(cloud)

    assert ([each.name for each in cloud.things], cloud.seconds > 3600.0) == (["a"], True)


def test_what_is_refused_is_not_waited_for() -> None:
    cloud = FakeCloud(thing("a"), thing("b"), refused="a")

    with pytest.raises(CloudError, match=r"^server a \(a\) is protected$"):
        remove(cloud)

    assert ([each.name for each in cloud.things], cloud.seconds < 10.0) == (["a"], True)


@pytest.mark.parametrize(
    ("mark", "is_over"),
    [("20261123T115959Z", True), ("20261123T120000Z", True), ("20261123T120001Z", False), ("", False), ("soon", False)],
)
def test_only_what_says_that_its_time_is_over_is_expired(mark: str, is_over: bool) -> None:
    assert thing("a", expires=mark).is_expired(NOW) is is_over


def test_a_sweep_takes_what_is_expired_and_tells_of_the_rest() -> None:
    later = f"{NOW + timedelta(hours=1):%Y%m%dT%H%M%SZ}"
    cloud = FakeCloud(thing("a"), thing("b", run="run-2", expires=later), thing("c", run="run-2", expires=later))

    swept = sweep_cloud("hcloud", now=NOW, api=cloud)

    assert [each.name for each in swept.removed] == ["a"]
    assert {run: [each.name for each in kept] for run, kept in swept.kept.items()} == {"run-2": ["b", "c"]}


def test_a_sweep_of_a_run_takes_all_of_it_and_nothing_else() -> None:
    cloud = FakeCloud(thing("a", expires=""), thing("b", run="run-2"))

    sweep_cloud("hcloud", run="run-1", now=NOW, api=cloud)

    assert [each.name for each in cloud.things] == ["b"]


def test_what_a_sweep_cannot_remove_is_told_with_the_command_that_tries_again() -> None:
    with pytest.raises(TeardownError, match=r"server a \(a\) is in use") as raised:
        sweep_cloud("hcloud", run="run-1", now=NOW, api=FakeCloud(thing("a"), stuck="a"), patience=0.0)

    assert raised.value.command == "koalesce sweep --provider hcloud --run run-1"


def test_only_clouds_can_be_swept() -> None:
    with pytest.raises(UsageError, match="the provider local makes nothing in a cloud") as raised:
        api_of("local")

    assert raised.value.hint is not None
    assert "hcloud" in raised.value.hint
