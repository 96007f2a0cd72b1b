"""A fake of the part of EC2's API that we ask: things of regions with their tags, what keeps them from going, pages, refusals."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.fake_http import Fault, serving_by

# By the ending of an action: where its kind's things stand in an answer, and what identifies one.
_KINDS = {
    "Instances": ("reservationSet/item/instancesSet", "instanceId"), "Volumes": ("volumeSet", "volumeId"),
    "InternetGateways": ("internetGatewaySet", "internetGatewayId"), "Subnets": ("subnetSet", "subnetId"),
    "RouteTables": ("routeTableSet", "routeTableId"), "SecurityGroups": ("securityGroupInfo", "groupId"),
    "Vpcs": ("vpcSet", "vpcId"), "KeyPairs": ("keySet", "keyName"),
}  # fmt: skip
_REMOVALS = {
    "TerminateInstances": "Instances", "DeleteVolume": "Volumes", "DeleteInternetGateway": "InternetGateways", "DeleteSubnet": "Subnets",
    "DeleteRouteTable": "RouteTables", "DeleteSecurityGroup": "SecurityGroups", "DeleteVpc": "Vpcs", "DeleteKeyPair": "KeyPairs",
}  # fmt: skip
_SCOPE = re.compile(r"Credential=(?P<key>\w+)/\d{8}/(?P<region>[\w-]+)/ec2/aws4_request")
_FILTER = re.compile(r"Filter\.(\d+)\.(Name|Value\.\d+)")


class Refused(Exception):
    """What the API refuses a request with."""

    def __init__(self, code: str, said: str = "it can't be", status: int = 400) -> None:
        super().__init__(said)
        self.code, self.status = code, status


@dataclass
class Thing:
    """One of a kind; `needs` are the IDs of others that can't go before it, `held` by what it is attached to."""

    kind: str
    id: str
    tags: dict[str, str]
    needs: tuple[str, ...] = ()
    state: str = ""
    held: list[str] = field(default_factory=list)


class FakeEc2:
    """Two regions, and one that is closed to the account. Listings have one thing a page."""

    key = "AKIDEXAMPLE"

    def __init__(self) -> None:
        self.regions: dict[str, list[Thing]] = {"eu-central-1": [], "us-west-2": []}
        self.closed = {"ap-south-2"}
        self.actions: list[tuple[str, str]] = []
        self.fault: Callable[[str], Fault | None] = lambda action: None

    def make(self, region: str, run: str, expiry: str) -> None:
        """What a cluster of two nodes has."""
        tags = {
            "koalesce-cluster": "c-1", "koalesce-run": run, "koalesce-expires": expiry, "Name": f"koalesce-c-1-{run}"
        }  # fmt: skip
        vpc, subnet, group, table = (f"{kind}-{run}" for kind in ("vpc", "subnet", "sg", "rtb"))
        self.regions[region] += [
            Thing("Vpcs", vpc, tags),
            Thing("InternetGateways", f"igw-{run}", tags, needs=(vpc,), held=[vpc]),
            Thing("Subnets", subnet, tags, needs=(vpc,)),
            Thing("RouteTables", table, tags, needs=(vpc,), held=[f"rtbassoc-{run}"]),
            Thing("SecurityGroups", group, tags, needs=(vpc,)),
            *(Thing("Instances", f"i-{run}-{n}", tags, needs=(subnet, group), state="running") for n in (1, 2)),
            *(Thing("Volumes", f"vol-{run}-{n}", tags, state="in-use") for n in (1, 2)),
            Thing("KeyPairs", f"key-{run}", tags),
        ]

    def answer(self, region: str, action: str, asked: dict[str, str]) -> str:
        """The body of an answer to a request; Refused is answered, too."""
        self.actions.append((region, action))
        if action == "DescribeRegions":
            names = sorted([*self.regions, *self.closed])
            return (
                f"<regionInfo>{''.join(f'<item><regionName>{name}</regionName></item>' for name in names)}</regionInfo>"
            )
        if region in self.closed:
            raise Refused("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        things, wanted = self.regions[region], _filters(asked)
        if action == "DescribeTags":
            found = [thing for thing in things if thing.tags.get(wanted["key"][0]) in wanted.get("value", thing.tags.values())]  # fmt: skip
            return f"<tagSet>{''.join(f'<item><resourceId>{thing.id}</resourceId></item>' for thing in found)}</tagSet>"
        if action in ("DetachInternetGateway", "DisassociateRouteTable"):
            (holder,) = {"VpcId", "AssociationId"} & asked.keys()
            for thing in things:
                thing.held = [each for each in thing.held if each != asked[holder]]
            return "<return>true</return>"
        if action in _REMOVALS:
            return self._remove(things, _REMOVALS[action], next(value for name, value in asked.items()))
        return self._listed(things, action.removeprefix("Describe"), wanted, asked)

    def _listed(self, things: list[Thing], kind: str, wanted: dict[str, list[str]], asked: dict[str, str]) -> str:
        path, identifies = _KINDS[kind]
        ids = [value for name, value in asked.items() if name.endswith("Id.1")]
        found = [each for each in things if each.kind == kind and _fits(each, wanted) and each.id in (ids or [each.id])]
        place = int(asked.get("NextToken", "0"))
        page, more = found[place : place + 1], place + 1 < len(found)
        body = "".join(
            f"<item><{identifies}>{each.id}</{identifies}>{_held(each)}{_tags(each)}</item>" for each in page
        )
        for name in reversed(path.split("/")):
            body = f"<{name}>{body}</{name}>"
        for each in page:
            if each.state == "shutting-down":  # it ends while somebody looks
                self._end(things, each)
        return body + (f"<nextToken>{place + 1}</nextToken>" if more else "")

    def _remove(self, things: list[Thing], kind: str, which: str) -> str:
        thing = next((each for each in things if (each.kind, each.id) == (kind, which)), None)
        if thing is None:
            raise Refused(f"Invalid{kind.removesuffix('s')}ID.NotFound", "there is none")
        if thing.held or any(thing.id in each.needs for each in things):
            raise Refused("DependencyViolation", f"{thing.id} has dependencies")
        if kind == "Instances":
            thing.state = "shutting-down" if thing.state == "running" else thing.state
        else:
            things.remove(thing)
        return "<return>true</return>"

    @staticmethod
    def _end(things: list[Thing], instance: Thing) -> None:
        """An instance is gone but for being listed as terminated, and its volume with it."""
        instance.state, instance.needs = "terminated", ()
        volume = instance.id.replace("i-", "vol-", 1)
        things[:] = [each for each in things if each.id != volume]


def _filters(asked: dict[str, str]) -> dict[str, list[str]]:
    numbered: dict[str, dict[str, str]] = {}
    for name, value in asked.items():
        if match := _FILTER.fullmatch(name):
            numbered.setdefault(match[1], {})[match[2]] = value
    return {each.pop("Name"): list(each.values()) for each in numbered.values()}


def _fits(thing: Thing, wanted: dict[str, list[str]]) -> bool:
    has: dict[str, Any] = {"instance-state-name": thing.state, "status": thing.state}
    has |= {f"tag:{name}": value for name, value in thing.tags.items()}
    return all(
        bool(set(values) & thing.tags.keys()) if name == "tag-key" else has.get(name) in values
        for name, values in wanted.items()
    )


def _held(thing: Thing) -> str:
    match thing.kind:
        case "InternetGateways":
            return f"<attachmentSet>{''.join(f'<item><vpcId>{each}</vpcId></item>' for each in thing.held)}</attachmentSet>"
        case "RouteTables":
            items = (f"<item><routeTableAssociationId>{each}</routeTableAssociationId></item>" for each in thing.held)
            return f"<associationSet>{''.join(items)}</associationSet>"
        case _:
            return ""


def _tags(thing: Thing) -> str:
    items = (
        f"<item><key>{escape(name)}</key><value>{escape(value)}</value></item>" for name, value in thing.tags.items()
    )
    return f"<tagSet>{''.join(items)}</tagSet>"


class _Handler(BaseHTTPRequestHandler):
    api: ClassVar[FakeEc2]
    protocol_version = "HTTP/1.1"
    _numbers = itertools.count()

    def do_POST(self) -> None:
        asked = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        action, version = asked.pop("Action"), asked.pop("Version")
        assert version == "2016-11-15"
        scope = _SCOPE.search(self.headers["Authorization"])
        try:
            fault = self.api.fault(action) or Fault()
            if fault.status:
                raise Refused("RequestLimitExceeded", f"made to fail with {fault.status}", fault.status)
            if scope is None or scope["key"] != self.api.key:
                raise Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
            status, body = 200, self.api.answer(scope["region"], action, asked)
        except Refused as refused:
            status = refused.status
            body = (
                f"<Errors><Error><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message></Error></Errors>"
            )
        text = f'<?xml version="1.0"?><{action}Response xmlns="http://ec2.amazonaws.com/doc/{version}/">{body}</{action}Response>'
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(api: FakeEc2) -> Iterator[str]:
    """Serve it on a free port of loopback; its URL."""
    with serving_by(type("Handler", (_Handler,), {"api": api})) as url:
        yield url
