"""A small Hetzner Cloud: as much of its HTTP API as servers, their networks, firewalls and keys need, with its refusals, on loopback.

The reference: https://docs.hetzner.cloud/reference/cloud. Objects have the fields that clients read. What is created exists from the moment
that a request is answered, or would have been: `Fault`s lose answers, as networks do.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fake_http import Fault, Refused

TOKEN = "t" * 64
Json = dict[str, Any]
_EPOCH = "2026-01-01T00:00:00+00:00"
_LOCATIONS = {"nbg1": "eu-central", "fsn1": "eu-central", "ash": "us-east"}
_TYPES = {"cx23": "x86", "cax11": "arm"}
_IMAGES = ("debian-12", "ubuntu-24.04")
_SINGULAR = {
    "ssh_keys": "ssh_key",
    "firewalls": "firewall",
    "networks": "network",
    "servers": "server",
    "primary_ips": "primary_ip",
}
_MOST = 50


@dataclass
class FakeHcloud:
    """A project of it. `fault` chooses what goes wrong with a request; `seconds` is how long what it is told to do takes, `quota` how many servers may be."""

    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    seconds: float = 0.05
    quota: int = 10
    things: dict[str, dict[int, Json]] = field(default_factory=lambda: {kind: {} for kind in _SINGULAR})
    requests: list[tuple[str, str]] = field(default_factory=list)
    actions: dict[int, tuple[float, Json]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1001))
    token: str = TOKEN
    prefix: str = "/v1"

    def left(self) -> list[str]:
        """Everything that there is, and costs money or a place."""
        with self.lock:
            return [
                f"{_SINGULAR[kind]} {thing['name']}" for kind, found in self.things.items() for thing in found.values()
            ]

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Json]:
        """Status and body of a request."""
        words = path.strip("/").split("/")
        with self.lock:
            match method, words:
                case "GET", ["actions"]:
                    wanted = [self._action(int(number)) for number in query.get("id", ())]
                    return 200, _page("actions", wanted, query)
                case "GET", ["actions", number]:
                    return 200, {"action": self._action(int(number))}
                case "GET", ["locations" | "server_types" | "images" as kind]:
                    return 200, _page(kind, [each for each in _catalogue(kind) if _fits(each, query)], query)
                case "GET", [kind] if kind in self.things:
                    return 200, _page(kind, [each for each in self.things[kind].values() if _fits(each, query)], query)
                case "POST", [kind] if kind in self.things:
                    return 201, getattr(self, f"_make_{_SINGULAR[kind]}")(body)
                case "GET", [kind, number] if kind in self.things:
                    return 200, {_SINGULAR[kind]: self._one(kind, int(number))}
                case "DELETE", [kind, number] if kind in self.things:
                    return self._delete(kind, self._one(kind, int(number)))
                case "POST", [kind, number, "actions", act] if kind in self.things:
                    return 201, getattr(self, f"_{act}")(self._one(kind, int(number)), body)
                case _:
                    raise Refused(404, "not_found", f"there is no {method} {path}")

    def _one(self, kind: str, number: int) -> Json:
        if number not in self.things[kind]:
            raise Refused(404, "not_found", f"{_SINGULAR[kind]} with ID '{number}' not found")
        return self.things[kind][number]

    def _add(self, kind: str, body: Json, **fields: Any) -> Json:
        if any(each["name"] == body["name"] for each in self.things[kind].values()):
            raise Refused(409, "uniqueness_error", f"{_SINGULAR[kind]} name is already used")
        for key, value in (body.get("labels") or {}).items():
            if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value):
                raise Refused(422, "invalid_input", f"invalid input in field 'labels': {key}")
        number = next(self.ids)
        made = {
            "id": number,
            "name": body["name"],
            "labels": dict(body.get("labels") or {}),
            "created": _EPOCH,
            **fields,
        }
        self.things[kind][number] = made
        return made

    def _make_ssh_key(self, body: Json) -> Json:
        words = body["public_key"].split()
        if len(words) < 2 or not words[0].startswith("ssh-"):
            raise Refused(422, "invalid_input", "invalid input in field 'public_key'")
        digest = hashlib.md5(base64.b64decode(words[1]), usedforsecurity=False).hexdigest()
        return {
            "ssh_key": self._add(
                "ssh_keys", body, fingerprint=":".join(re.findall("..", digest)), public_key=body["public_key"]
            )
        }

    def _make_firewall(self, body: Json) -> Json:
        rules = [{"destination_ips": [], **rule} for rule in body.get("rules") or ()]
        if any(rule["direction"] == "in" and not rule.get("source_ips") for rule in rules):
            raise Refused(422, "invalid_input", "invalid input in field 'rules'")
        return {"firewall": self._add("firewalls", body, rules=rules, applied_to=[]), "actions": []}

    def _make_network(self, body: Json) -> Json:
        return {"network": self._add(
            "networks", body, ip_range=body["ip_range"], subnets=[], routes=[], servers=[], load_balancers=[],
            protection={"delete": False}, expose_routes_to_vswitch=False,
        )}  # fmt: skip

    def _make_server(self, body: Json) -> Json:
        kind, image, place = (
            _named(name, body.get(key))
            for name, key in (("server_types", "server_type"), ("images", "image"), ("locations", "location"))
        )
        if len(self.things["servers"]) >= self.quota:
            raise Refused(403, "resource_limit_exceeded", "server limit exceeded")
        if len(body.get("user_data") or "") > 32768:
            raise Refused(422, "invalid_input", "invalid input in field 'user_data'")
        firewalls = [self._one("firewalls", each["firewall"]) for each in body.get("firewalls") or ()]
        for key in body.get("ssh_keys") or ():
            self._one("ssh_keys", key)
        server = self._add(
            "servers", body, status="running", server_type=kind, image=image, location=place, private_net=[], volumes=[], load_balancers=[],
            locked=False, protection={"delete": False, "rebuild": False}, rescue_enabled=False, iso=None, backup_window=None,
            primary_disk_size=40, included_traffic=0, placement_group=None, user_data=body.get("user_data"),
        )  # fmt: skip
        address = self._add(
            "primary_ips", {"name": f"primary_ip-{server['id']}"}, auto_delete=True, assignee_id=server["id"]
        )
        server["public_net"] = {
            "ipv4": {"id": address["id"], "ip": f"192.0.2.{server['id'] % 250 + 1}", "blocked": False, "dns_ptr": ""},
            "ipv6": {"id": 0, "ip": "", "blocked": False, "dns_ptr": []}, "floating_ips": [],
            "firewalls": [{"id": each["id"], "status": "applied"} for each in firewalls],
        }  # fmt: skip
        for each in firewalls:
            each["applied_to"].append({"type": "server", "server": {"id": server["id"]}})
        return {
            "server": server,
            "action": self._begin("create_server", server),
            "next_actions": [self._begin("start_server", server)],
            "root_password": None,
        }

    def _add_subnet(self, network: Json, body: Json) -> Json:
        if body["network_zone"] not in _LOCATIONS.values():
            raise Refused(422, "invalid_input", "invalid input in field 'network_zone'")
        network["subnets"].append(
            {
                "type": body["type"],
                "ip_range": body["ip_range"],
                "network_zone": body["network_zone"],
                "gateway": "10.80.0.1",
            }
        )
        return {"action": self._begin("add_subnet", network)}

    def _delete_subnet(self, network: Json, body: Json) -> Json:
        if network["servers"]:
            raise Refused(409, "conflict", "subnet has servers attached")
        network["subnets"] = [each for each in network["subnets"] if each["ip_range"] != body["ip_range"]]
        return {"action": self._begin("delete_subnet", network)}

    def _attach_to_network(self, server: Json, body: Json) -> Json:
        network = self._one("networks", body["network"])
        if not network["subnets"]:
            raise Refused(409, "no_subnet_available", "network has no subnet")
        network["servers"].append(server["id"])
        server["private_net"].append(
            {"network": network["id"], "ip": body["ip"], "alias_ips": [], "mac_address": "86:00:ff:2a:7d:e1"}
        )
        return {"action": self._begin("attach_to_network", server)}

    def _detach_from_network(self, server: Json, body: Json) -> Json:
        network = self._one("networks", body["network"])
        network["servers"] = [each for each in network["servers"] if each != server["id"]]
        server["private_net"] = [each for each in server["private_net"] if each["network"] != network["id"]]
        return {"action": self._begin("detach_from_network", server)}

    def _remove_from_resources(self, firewall: Json, body: Json) -> Json:
        gone = {each["server"]["id"] for each in body["remove_from"] if each["type"] == "server"}
        firewall["applied_to"] = [each for each in firewall["applied_to"] if each["server"]["id"] not in gone]
        return {"actions": [self._begin("remove_firewall", firewall)]}

    def _delete(self, kind: str, thing: Json) -> tuple[int, Json]:
        if kind == "servers":
            if any(until > time.monotonic() and _is_about(action, thing) for until, action in self.actions.values()):
                raise Refused(423, "locked", "server is locked")
            for network in self.things["networks"].values():
                network["servers"] = [each for each in network["servers"] if each != thing["id"]]
            for firewall in self.things["firewalls"].values():
                firewall["applied_to"] = [
                    each for each in firewall["applied_to"] if each["server"]["id"] != thing["id"]
                ]
            self.things["primary_ips"] = {
                number: each
                for number, each in self.things["primary_ips"].items()
                if each["assignee_id"] != thing["id"]
            }
        if kind == "firewalls" and thing["applied_to"]:
            raise Refused(409, "resource_in_use", "firewall is still in use")
        del self.things[kind][thing["id"]]
        return (200, {"action": self._begin("delete_server", thing)}) if kind == "servers" else (204, {})

    def _begin(self, command: str, thing: Json) -> Json:
        number = next(self.ids)
        action = {
            "id": number,
            "command": command,
            "progress": 0,
            "started": _EPOCH,
            "finished": None,
            "error": None,
            "resources": [{"id": thing["id"], "type": ""}],
        }
        self.actions[number] = (time.monotonic() + self.seconds, action)
        return self._action(number)

    def _action(self, number: int) -> Json:
        until, action = self.actions[number]
        return {**action, "status": "success" if time.monotonic() >= until else "running"}


def _is_about(action: Json, thing: Json) -> bool:
    return any(each["id"] == thing["id"] for each in action["resources"])


def _catalogue(kind: str) -> list[Json]:
    match kind:
        case "locations":
            names = enumerate(_LOCATIONS.items(), 1)
            return [
                {
                    "id": number,
                    "name": name,
                    "description": name,
                    "country": "DE",
                    "city": "",
                    "latitude": 0.0,
                    "longitude": 0.0,
                    "network_zone": zone,
                }
                for number, (name, zone) in names
            ]
        case "server_types":
            places = [
                {"id": each["id"], "name": each["name"], "recommended": True, "available": True}
                for each in _catalogue("locations")
            ]
            return [
                {"id": number, "name": name, "description": name, "category": "", "cores": 2, "memory": 4, "disk": 40, "storage_type": "local", "cpu_type": "shared",
                 "architecture": architecture, "prices": [], "deprecated": False, "deprecation": None, "locations": places}
                for number, (name, architecture) in enumerate(_TYPES.items(), 1)
            ]  # fmt: skip
        case _:
            pairs = itertools.product(_IMAGES, ("x86", "arm"))
            return [
                {"id": number, "name": name, "type": "system", "status": "available", "description": name, "image_size": None, "disk_size": 5, "created": _EPOCH,
                 "created_from": None, "bound_to": None, "os_flavor": name.partition("-")[0], "os_version": None, "architecture": architecture,
                 "rapid_deploy": True, "protection": {"delete": False}, "deprecated": None, "deleted": None, "labels": {}}
                for number, (name, architecture) in enumerate(pairs, 1)
            ]  # fmt: skip


def _named(kind: str, value: Any) -> Json:
    for each in _catalogue(kind):
        if value in (each["id"], each["name"]):
            return each
    raise Refused(422, "invalid_input", f"{kind[:-1]} {value} not found")


def _fits(thing: Json, query: dict[str, list[str]]) -> bool:
    for key, values in query.items():
        if key in ("name", "architecture", "type", "status") and thing.get(key) not in values:
            return False
        if key == "label_selector":
            for term in filter(None, values[0].split(",")):
                name, equals, value = term.partition("=")
                if name not in thing["labels"] or (equals and thing["labels"][name] != value.lstrip("=")):
                    return False
    return True


def _page(kind: str, found: list[Json], query: dict[str, list[str]]) -> Json:
    page, size = int(query.get("page", ["1"])[0]), min(int(query.get("per_page", ["25"])[0]), _MOST)
    last = max(1, -(-len(found) // size))
    meta = {
        "page": page,
        "per_page": size,
        "previous_page": None,
        "next_page": page + 1 if page < last else None,
        "last_page": last,
        "total_entries": len(found),
    }
    return {kind: found[(page - 1) * size : page * size], "meta": {"pagination": meta}}
