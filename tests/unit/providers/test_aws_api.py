"""EC2's API as we ask it, against a small fake of it: regions, pages, marks, what has to be parted before it goes; and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from koalesce.local.ledger import Entry
from koalesce.providers.cloud import CloudProvider
from koalesce.providers.cloud_api import Busy, CloudError, Resource
from koalesce.providers.cloud_sweeping import sweep_cloud
from koalesce.providers.clouds.aws_api import AwsApi
from koalesce.providers.clouds.aws_signature import AccessKey, signed
from tests.fake_ec2 import FakeEc2, Refused, serving
from tests.fake_http import Fault

EXPIRY, LATER = "20261123T140000Z", "20991123T140000Z"


@pytest.fixture
def cloud() -> FakeEc2:
    """An account with a run of ours in one region, and another one that lasts in the other."""
    made = FakeEc2()
    made.make("eu-central-1", "run-1", EXPIRY)
    made.make("us-west-2", "run-2", LATER)
    for region in made.regions:
        made.regions[region].append(type(made.regions[region][0])("Vpcs", f"vpc-{region}", {"Name": "of others"}))
    return made


@pytest.fixture
def api(cloud: FakeEc2) -> Iterator[AwsApi]:
    with serving(cloud) as url:
        yield _api(url)


def _api(url: str, key: str = FakeEc2.key, *, patience: float = 60.0) -> AwsApi:
    environment = {"AWS_ENDPOINT_URL_EC2": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret"}
    return AwsApi(environment, patience=patience, pause=lambda seconds: None)


def test_what_a_run_has_is_listed_wherever_it_is_in_the_order_of_its_removal(api: AwsApi) -> None:
    found = api.listing({"koalesce-run": "run-1"})

    assert [(each.kind, each.id) for each in found] == [
        ("instance in eu-central-1", "i-run-1-1"), ("instance in eu-central-1", "i-run-1-2"), ("internet gateway in eu-central-1", "igw-run-1"),
        ("subnet in eu-central-1", "subnet-run-1"), ("route table in eu-central-1", "rtb-run-1"), ("security group in eu-central-1", "sg-run-1"),
        ("VPC in eu-central-1", "vpc-run-1"), ("key pair in eu-central-1", "key-run-1"),
    ]  # fmt: skip
    assert {(each.name, each.run, each.is_expired(datetime(2026, 11, 24, tzinfo=UTC))) for each in found} == {
        ("koalesce-c-1-run-1", "run-1", True)
    }
    assert len(api.listing({})) == 16
    assert api.listing({"koalesce-run": "run-1", "koalesce-cluster": "other"}) == []


def test_regions_without_anything_of_ours_are_asked_one_question(cloud: FakeEc2, api: AwsApi) -> None:
    api.listing({"koalesce-run": "run-1"})

    assert [action for region, action in cloud.actions if region == "us-west-2"] == ["DescribeTags"]


def test_what_is_over_is_swept_and_nothing_else(cloud: FakeEc2, api: AwsApi) -> None:
    swept = sweep_cloud("aws", now=datetime(2026, 11, 24, tzinfo=UTC), api=api, patience=60.0)

    assert len(swept.removed) == 8
    assert list(swept.kept) == ["run-2"]
    assert [(each.id, each.state) for each in cloud.regions["eu-central-1"]] == [
        ("i-run-1-1", "terminated"), ("i-run-1-2", "terminated"), ("vpc-eu-central-1", ""),
    ]  # fmt: skip
    assert len(cloud.regions["us-west-2"]) == 11


def test_a_volume_that_outlives_its_instance_is_listed(cloud: FakeEc2, api: AwsApi) -> None:
    for thing in cloud.regions["eu-central-1"]:
        if thing.id == "vol-run-1-2":
            thing.state = "available"

    found = api.listing({"koalesce-run": "run-1"})

    assert [each.id for each in found if each.kind.startswith("volume")] == ["vol-run-1-2"]


def test_what_others_need_is_busy_and_what_is_gone_is_well(api: AwsApi) -> None:
    with pytest.raises(Busy, match="vpc-run-1 has dependencies"):
        api.remove(Resource(kind="VPC in eu-central-1", id="vpc-run-1", name="v"))

    api.remove(Resource(kind="instance in eu-central-1", id="i-gone", name="i"))


def test_where_every_region_is_closed_to_the_account_it_is_an_error(cloud: FakeEc2, api: AwsApi) -> None:
    cloud.regions, cloud.closed = {}, {"us-east-1", "eu-central-1"}

    with pytest.raises(CloudError, match="refuses DescribeTags in eu-central-1: You are not authorized"):
        api.listing({})


def test_an_api_that_is_busy_is_asked_again_until_patience_ends(cloud: FakeEc2) -> None:
    left = iter([Fault(status=503), Fault(status=500)])
    cloud.fault = lambda action: next(left, None)
    with serving(cloud) as url:
        assert len(_api(url).listing({})) == 16
        cloud.fault = lambda action: Fault(status=503)
        with pytest.raises(CloudError, match="doesn't answer to DescribeRegions in us-east-1: 503 made to fail"):
            _api(url, patience=0.0).listing({})


def test_a_key_that_is_not_taken_is_told(cloud: FakeEc2) -> None:
    with serving(cloud) as url, pytest.raises(CloudError, match="doesn't take the access key in AWS_ACCESS_KEY_ID"):
        _api(url, "AKIDOTHER").listing({})


def test_a_request_that_is_signed_at_another_time_has_the_clock_named(cloud: FakeEc2) -> None:
    def late(action: str) -> None:
        raise Refused("RequestExpired", "Request has expired.", 400)

    cloud.fault = late
    with serving(cloud) as url, pytest.raises(CloudError, match="Request has expired") as raised:
        _api(url).listing({})

    assert (raised.value.hint or "").startswith("is this machine's clock right?")


@pytest.mark.parametrize(
    ("token", "names", "signature"),
    [
        ("", "content-type;host;x-amz-date", "fa4b4130d46b8dfee413a4c4568c31c7961492ebbc5e7c91f479032d8c4e9b26"),
        (
            "a-token",
            "content-type;host;x-amz-date;x-amz-security-token",
            "3adb4b3496e360d5e875db9030151607ed9ef5e7a8b1df67d08f7664389e5b28",
        ),
    ],
)
def test_requests_are_signed_as_aws_own_library_signs_them(token: str, names: str, signature: str) -> None:
    """What botocore 1.44.5 makes of the same request."""
    told = signed(
        "https://ec2.eu-central-1.amazonaws.com", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"Action=DescribeRegions&Version=2016-11-15",
        key=AccessKey(id="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token=token),
        region="eu-central-1", service="ec2", now=datetime(2026, 11, 23, 14, tzinfo=UTC),
    )  # fmt: skip

    scope = "AKIDEXAMPLE/20261123/eu-central-1/ec2/aws4_request"
    assert told["Authorization"] == f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"


def test_a_destroy_is_verified_by_what_is_listed_there(cloud: FakeEc2) -> None:
    entry = Entry(name="c-1", provider="aws", run_id="run-1", ready=True)
    with serving(cloud) as url:
        environment = {
            "AWS_ENDPOINT_URL": url, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": cloud.key, "AWS_SECRET_ACCESS_KEY": "secret"
        }  # fmt: skip
        provider = CloudProvider("aws", environment)
        left = provider.remains(entry)
        sweep_cloud("aws", run="run-1", now=datetime.now(UTC), api=provider.api())

        assert left[0] == "instance in eu-central-1 koalesce-c-1-run-1 (i-run-1-1)"
        assert (len(left), provider.remains(entry)) == (8, [])
