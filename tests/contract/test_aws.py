"""What clusters leave at AWS, against moto, which knows EC2 better than a fake of ours: a server of its own, in an environment of its own.

AWS' library for Python, which moto needs, can't be installed beside the Kubernetes client; `make test-all` puts it elsewhere.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from koalesce.providers.cloud_sweeping import sweep_cloud
from koalesce.providers.clouds.aws_api import AwsApi
from tests.long import LONG

MOTO = Path(os.environ.get("KOALESCE_MOTO") or Path(sys.prefix, "moto", "bin", "moto_server"))
pytestmark = [*LONG, pytest.mark.skipif(not MOTO.exists(), reason=f"there is no {MOTO}; `make test-all` makes it")]
EXPIRY, LATER = "20261123T140000Z", "20991123T140000Z"
_PATIENCE = 120.0


@pytest.fixture
def api() -> Iterator[AwsApi]:
    """EC2 of an account that has nothing yet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [str(MOTO), "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _await(port)
            environment = {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "a",
                "AWS_SECRET_ACCESS_KEY": "b",
            }
            yield AwsApi(environment, patience=_PATIENCE)
        finally:
            server.kill()


def _await(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, "moto doesn't start"
            time.sleep(0.2)
        else:
            return


def make(api: AwsApi, region: str, run: str, expiry: str) -> None:
    """What a cluster of two nodes has, as the Terraform root makes it."""
    marks = {"koalesce-cluster": "c-1", "koalesce-run": run, "koalesce-expires": expiry, "Name": f"koalesce-c-1-{run}"}

    def made(action: str, answer: str, kind: str, **parameters: str) -> str:
        tags = {"TagSpecification.1.ResourceType": kind}
        for number, (name, value) in enumerate(marks.items(), 1):
            tags |= {f"TagSpecification.1.Tag.{number}.Key": name, f"TagSpecification.1.Tag.{number}.Value": value}
        found = api._ask(
            region, action, {**{name.replace("_", "."): value for name, value in parameters.items()}, **tags}
        )
        return found.findtext(f".//{{*}}{answer}") or ""

    made("CreateKeyPair", "keyName", "key-pair", KeyName=f"key-{run}")
    vpc = made("CreateVpc", "vpcId", "vpc", CidrBlock="10.80.0.0/24")
    gateway = made("CreateInternetGateway", "internetGatewayId", "internet-gateway")
    api._ask(region, "AttachInternetGateway", {"InternetGatewayId": gateway, "VpcId": vpc})
    subnet = made("CreateSubnet", "subnetId", "subnet", VpcId=vpc, CidrBlock="10.80.0.0/24")
    table = made("CreateRouteTable", "routeTableId", "route-table", VpcId=vpc)
    api._ask(region, "AssociateRouteTable", {"RouteTableId": table, "SubnetId": subnet})
    group = made(
        "CreateSecurityGroup", "groupId", "security-group", VpcId=vpc, GroupName=f"sg-{run}", GroupDescription="k"
    )
    made(
        "RunInstances", "instanceId", "instance", ImageId="ami-12c6146b", InstanceType="t3.medium", MinCount="2", MaxCount="2",
        SubnetId=subnet, SecurityGroupId_1=group,
    )  # fmt: skip


def test_what_is_over_is_swept_in_every_region_and_nothing_else(api: AwsApi) -> None:
    make(api, "eu-central-1", "run-1", EXPIRY)
    make(api, "us-west-2", "run-2", LATER)

    swept = sweep_cloud("aws", now=datetime(2026, 11, 24, tzinfo=UTC), api=api, patience=_PATIENCE)

    assert [each.kind.partition(" in ")[0] for each in swept.removed] == [
        "instance", "instance", "internet gateway", "subnet", "route table", "security group", "VPC", "key pair",
    ]  # fmt: skip
    assert {run: len(left) for run, left in swept.kept.items()} == {"run-2": 8}
    assert len(sweep_cloud("aws", run="run-2", now=datetime.now(UTC), api=api, patience=_PATIENCE).removed) == 8
    assert api.listing({}) == []
