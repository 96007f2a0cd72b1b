"""What clusters have at AWS, asked of EC2 in all regions of an account (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree  # what it reads comes from AWS by TLS

from koalesce.clock import hint_of_time
from koalesce.providers.cloud_api import RUN_MARK, Busy, CloudError, Resource
from koalesce.providers.cloud_http import Http
from koalesce.providers.clouds.aws_signature import AccessKey, signed

_TITLE = "AWS"
_VERSION = "2016-11-15"
_FIRST = "us-east-1"  # where it's asked which regions there are, unless the environment names another one
_AT_ONCE = 8
_REFUSALS = ("AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "RequestExpired")
_CLOSED = ("UnauthorizedOperation", "OptInRequired")
_BUSY = ("DependencyViolation", "IncorrectState", "IncorrectInstanceState", "VolumeInUse", "InvalidGroup.InUse")
_GONE = (".NotFound", ".NotAttached")
# Of what else is listed, one has ended (for an hour) and the other goes with its instance.
_STATES: Mapping[str, dict[str, Sequence[str]]] = {
    "instance": {"instance-state-name": ("pending", "running", "shutting-down", "stopping", "stopped")},
    "volume": {"status": ("available", "error")},
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """How things of a kind are listed (action, where they stand in its answer, what identifies one) and removed."""

    name: str
    listing: str
    path: str
    id: str
    removal: str
    parameter: str


# In the order in which they can be removed; identified as by Terraform's plugin. Rules go with their security group.
_KINDS = (
    _Kind("instance", "DescribeInstances", "reservationSet/item/instancesSet/item", "instanceId", "TerminateInstances", "InstanceId.1"),
    _Kind("volume", "DescribeVolumes", "volumeSet/item", "volumeId", "DeleteVolume", "VolumeId"),
    _Kind("internet gateway", "DescribeInternetGateways", "internetGatewaySet/item", "internetGatewayId", "DeleteInternetGateway", "InternetGatewayId"),
    _Kind("subnet", "DescribeSubnets", "subnetSet/item", "subnetId", "DeleteSubnet", "SubnetId"),
    _Kind("route table", "DescribeRouteTables", "routeTableSet/item", "routeTableId", "DeleteRouteTable", "RouteTableId"),
    _Kind("security group", "DescribeSecurityGroups", "securityGroupInfo/item", "groupId", "DeleteSecurityGroup", "GroupId"),
    _Kind("VPC", "DescribeVpcs", "vpcSet/item", "vpcId", "DeleteVpc", "VpcId"),
    _Kind("key pair", "DescribeKeyPairs", "keySet/item", "keyName", "DeleteKeyPair", "KeyName"),
)  # fmt: skip
_IN = " in "  # between the kind of a thing and its region


class _Refused(CloudError):
    """AWS refused a request; `code` is its word for why."""

    def __init__(self, code: str, said: str, action: str) -> None:
        super().__init__(f"{_TITLE} refuses {action}: {said}")
        self.code, self.said = code, said


class AwsApi:
    """EC2 in every region, by the variables that Terraform's plugin reads, too."""

    def __init__(self, environment: Mapping[str, str], **patience: Any) -> None:
        self._key = AccessKey(
            id=environment.get("AWS_ACCESS_KEY_ID", ""),
            secret=environment.get("AWS_SECRET_ACCESS_KEY", ""),
            token=environment.get("AWS_SESSION_TOKEN", ""),
        )
        self._first = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or _FIRST
        self._endpoint = environment.get("AWS_ENDPOINT_URL_EC2") or environment.get("AWS_ENDPOINT_URL") or ""
        self._patience = patience
        self._servers: dict[str, Http] = {}

    def listing(self, marks: Mapping[str, str]) -> list[Resource]:
        """All that Koalesce has made there and that has these marks."""
        regions = self._regions_with(marks)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = [
                pool.submit(lambda kind, region: list(self._of(kind, region, marks)), kind, region)
                for kind in _KINDS
                for region in regions
            ]
            return [found for each in asked for found in each.result()]

    def remove(self, resource: Resource) -> None:
        """Ask for its removal."""
        name, _, region = resource.kind.partition(_IN)
        kind = next(kind for kind in _KINDS if kind.name == name)
        try:
            self._detach(name, region, resource.id)
            self._ask(region, kind.removal, {kind.parameter: resource.id})
        except _Refused as refused:
            if refused.code in _BUSY:
                raise Busy(f"{resource} can't be removed yet: {refused.said}") from refused
            if not refused.code.endswith(_GONE):
                raise CloudError(f"{resource} can't be removed: {refused.said}") from refused

    def _regions_with(self, marks: Mapping[str, str]) -> list[str]:
        """The regions where something has these marks: one question each, where all kinds would be eight."""
        regions = self._regions()
        filters = _filters({"key": [RUN_MARK], **({"value": [marks[RUN_MARK]]} if RUN_MARK in marks else {})})

        def has_any(region: str) -> bool | CloudError:
            try:
                return self._ask(region, "DescribeTags", filters).find("{*}tagSet/{*}item") is not None
            except _Refused as refused:
                if refused.code in _CLOSED:  # to this account: it can't have made anything there, either
                    return refused
                raise

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(has_any, regions))
        closed = [answer for answer in answers if isinstance(answer, CloudError)]
        if closed and len(closed) == len(answers):
            raise closed[0]
        return [region for region, answer in zip(regions, answers, strict=True) if answer is True]

    def _regions(self) -> list[str]:
        answer = self._ask(self._first, "DescribeRegions", {})
        return sorted(_text(item, "regionName") for item in _items(answer, "regionInfo/item"))

    def _of(self, kind: _Kind, region: str, marks: Mapping[str, str]) -> Iterator[Resource]:
        wanted: dict[str, Sequence[str]] = {"tag-key": [RUN_MARK], **{f"tag:{name}": [value] for name, value in marks.items()}}  # fmt: skip
        wanted |= _STATES.get(kind.name, {})
        parameters = _filters(wanted)
        while True:
            answer = self._ask(region, kind.listing, parameters)
            for item in _items(answer, kind.path):
                tags = {_text(tag, "key"): _text(tag, "value") for tag in _items(item, "tagSet/item")}
                yield Resource(
                    kind=f"{kind.name}{_IN}{region}", id=_text(item, kind.id), name=tags.get("Name", ""), marks=tags
                )
            if not (token := _text(answer, "nextToken")):
                return
            parameters = {**_filters(wanted), "NextToken": token}

    def _detach(self, kind: str, region: str, which: str) -> None:
        """Part a gateway from its network, and a route table from its subnets."""
        if kind == "internet gateway":
            answer = self._ask(region, "DescribeInternetGateways", {"InternetGatewayId.1": which})
            for item in _items(answer, "internetGatewaySet/item/attachmentSet/item"):
                self._ask(region, "DetachInternetGateway", {"InternetGatewayId": which, "VpcId": _text(item, "vpcId")})
        if kind == "route table":
            answer = self._ask(region, "DescribeRouteTables", {"RouteTableId.1": which})
            for item in _items(answer, "routeTableSet/item/associationSet/item"):
                association = _text(item, "routeTableAssociationId")
                self._ask(region, "DisassociateRouteTable", {"AssociationId": association})

    def _ask(self, region: str, action: str, parameters: Mapping[str, str]) -> ElementTree.Element:
        """The answer to a request; _Refused if it is refused."""
        server = self._servers.setdefault(region, Http(self._url(region), title=_TITLE, **self._patience))
        body = urlencode({"Action": action, "Version": _VERSION, **parameters}).encode()
        headers = signed(
            server.url, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, body,
            key=self._key, region=region, service="ec2", now=datetime.now(UTC),
        )  # fmt: skip
        what = f"{action}{_IN}{region}"
        status, data = server.send("POST", "/", headers, body=body, what=what, said=lambda data: _error(data)[1])
        if status == 200:
            return _parsed(data)
        code, said = _error(data)
        if code in _REFUSALS:
            raise CloudError(
                f"{_TITLE} doesn't take the access key in AWS_ACCESS_KEY_ID: {said}",
                hint=hint_of_time(f"{code} {said}")
                or "make another one; those of a role need AWS_SESSION_TOKEN, and end after some hours",
            )
        raise _Refused(code, said or f"status {status}", what)

    def _url(self, region: str) -> str:
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return self._endpoint or f"https://ec2.{region}.{domain}"


def _filters(wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Filters as parameters of a request."""
    told = {}
    for number, (name, values) in enumerate(wanted.items(), 1):
        told[f"Filter.{number}.Name"] = name
        told |= {f"Filter.{number}.Value.{place}": value for place, value in enumerate(values, 1)}
    return told


def _items(element: ElementTree.Element, path: str) -> Iterator[ElementTree.Element]:
    return element.iterfind("/".join(f"{{*}}{name}" for name in path.split("/")))


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(f"{{*}}{name}") or "").strip()


def _error(data: bytes) -> tuple[str, str]:
    """The code and the words of a refusal."""
    try:
        found = _parsed(data).find(".//{*}Error")
    except CloudError:
        return "", data[:200].decode("utf-8", "replace")
    return ("", "") if found is None else (_text(found, "Code"), _text(found, "Message"))


def _parsed(data: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(data)  # noqa: S314  # as above
    except ElementTree.ParseError as error:
        raise CloudError(f"{_TITLE} answers with something else than XML: {error}") from error
