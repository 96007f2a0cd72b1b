"""The provider hcloud, whose fake cloud has machines of Debian as its servers: a spec runs unchanged on nodes that a tunnel joins."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from koalesce.local import syscalls
from koalesce.providers.variables import koalesce_command
from tests.cluster.machines import Machine, Site, machines
from tests.cluster.machines import lacking as machines_lacking
from tests.contract.clouds import lacking
from tests.fake_hcloud import TOKEN, FakeHcloud
from tests.fake_http import serving
from tests.long import LONG

WHY_NOT = machines_lacking() or lacking()
pytestmark = [pytest.mark.cluster, *LONG, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.yaml"
_PATIENCE = 900.0
_FROM_HERE = (
    "curl makes HTTP requests from pods, from nodes and from here"  # ports of Services, which a cloud lets nobody reach
)


@dataclass
class CloudOfMachines(FakeHcloud):
    """A cloud whose servers are the machines of a site, each in turn."""

    site: Site | None = None
    machine_of: dict[int, Machine] = field(default_factory=dict)

    def _make_server(self, body: dict[str, Any]) -> dict[str, Any]:
        made = super()._make_server(body)
        assert self.site is not None
        machine = self.site.machines[len(self.machine_of)]
        self.machine_of[made["server"]["id"]] = machine
        made["server"]["public_net"]["ipv4"]["ip"] = machine.address
        for number in body["ssh_keys"]:
            key = self.things["ssh_keys"][number]["public_key"]
            self.site.run(machine, f"echo '{key}' >> /root/.ssh/authorized_keys")
        return made

    def _attach_to_network(self, server: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        assert self.site is not None
        self.site.run(self.machine_of[server["id"]], f"ip addr add {body['ip']}/24 dev eth0")
        return super()._attach_to_network(server, body)

    def _delete(self, kind: str, thing: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        answer = super()._delete(kind, thing)
        if kind == "servers":
            self.machine_of[thing["id"]].cut_power()
        return answer


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[tuple[CloudOfMachines, str]]:
    """It, and its URL in the network of the machines."""
    (tmp_path / "machines").mkdir()
    with machines(tmp_path / "machines", 3) as site, ExitStack() as stack, ThreadPoolExecutor(1) as inside:
        made = CloudOfMachines(site=site)
        namespace = os.open(f"/run/netns/{site.inside[-1]}", os.O_RDONLY)
        stack.callback(os.close, namespace)
        inside.submit(syscalls.setns, namespace, syscalls.CLONE_NEWNET).result()
        yield made, inside.submit(stack.enter_context, serving(made)).result()


def test_a_spec_runs_unchanged_and_nothing_is_left(cloud: tuple[CloudOfMachines, str], tmp_path: Path) -> None:
    made, url = cloud
    assert made.site is not None
    (tmp_path / "settings.yaml").write_text("hcloud: {allowedCIDRs: [10.77.0.0/24], nodeCIDR: 10.78.0.0/24}\n")
    events = tmp_path / "events.jsonl"
    words = [
        "run",
        str(QUICKSTART),
        "--provider",
        "hcloud",
        "--settings",
        str(tmp_path / "settings.yaml"),
        "--events",
        str(events),
    ]

    done = subprocess.run(
        [*made.site.inside, *koalesce_command(), *words], capture_output=True, text=True, timeout=_PATIENCE, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "KOALESCE_STATE_DIR": str(tmp_path / "state"), "HCLOUD_TOKEN": TOKEN, "HCLOUD_ENDPOINT": url},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    ends = [event for line in events.read_text().splitlines() if (event := json.loads(line))["event"] == "TestFinished"]
    statuses = {event["test"]: event["status"] for event in ends}
    assert {name for name, status in statuses.items() if status != "passed"} == {_FROM_HERE}, statuses
    assert statuses[_FROM_HERE] == "skipped"
    assert (made.left(), list((tmp_path / "state" / "clusters").glob("*.json"))) == ([], [])
