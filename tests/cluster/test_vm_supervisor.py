"""Virtual machines live and die with their supervisor: seen with a program in qemu's place that tells a key and stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import ProvisionError
from koalesce.local import detached
from koalesce.local.ledger import Entry, Ledger
from koalesce.vms import client
from koalesce.vms.programs import EMULATOR

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG/JIV/M57D65LjiGTFPqFpwJ7N37g6JSW3CyTp9kOw"
STAYS = f"""#!/bin/sh
for word do case "$word" in file:*) echo "koalesce-host-key {KEY} end" >"${{word#file:}}" ;; esac; done
exec sleep 600
"""
ENDS = "#!/bin/sh\necho 'no such machine' >&2\nexit 1\n"
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    bool(os.geteuid()) or not Path("/dev/net/tun").exists() or shutil.which("setpriv") is None,
    reason="links of virtual machines need root, /dev/net/tun and setpriv",
)


class Site:
    """A ledger, and what starts supervisors there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "clusters")

    def start(self, program: str = STAYS) -> Entry:
        """Start machines that are this program; the entry of their cluster."""
        emulator = self.folder / "programs/usr/bin" / EMULATOR
        emulator.parent.mkdir(parents=True, exist_ok=True)
        emulator.write_text(program)
        emulator.chmod(0o755)
        nodes = [{"name": "cp", "role": "control-plane"}, {"name": "w1", "role": "worker"}]
        request: dict[str, Any] = {
            "name": "c1", "run_id": "r", "kubernetes_version": "1.37.2", "state_dir": str(self.folder / "c1"), "nodes": nodes,
            "settings": {"accelerator": "kvm"},
        }  # fmt: skip
        handed = {
            "request": request, "programs": str(self.folder / "programs"), "disk": str(self.folder), "ledger": str(self.ledger.folder),
        }  # fmt: skip
        detached.start("koalesce.vms.supervisor", json.dumps(handed), self.ledger.log("c1"), lambda line: None)
        return self.entry

    @property
    def entry(self) -> Entry:
        """What the ledger says."""
        found = self.ledger.find("c1")
        assert found is not None
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    client.down("c1", ledger=made.ledger)


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def links(*prefix: str) -> set[str]:
    output = subprocess.run([*prefix, "ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    return {link["ifname"] for link in json.loads(output)}


def test_machines_have_a_network_of_their_own_and_all_of_it_is_gone_afterwards(site: Site) -> None:
    before = links()

    entry = site.start()

    reached = json.loads((site.folder / "c1/reached.json").read_text())
    assert links("nsenter", f"--net=/proc/{reached['pid']}/ns/net", "--") >= {"lo", "br0", "vm1", "vm2"}
    assert (site.folder / "c1/known_hosts").read_text() == f"198.18.0.10 {KEY}\n198.18.0.11 {KEY}\n"
    assert (entry.provider, entry.is_supervised, links() & {"br0", "vm1"}) == ("qemu", True, before & {"br0", "vm1"})
    client.down("c1", ledger=site.ledger)
    assert (client.remains(entry), site.ledger.find("c1"), (site.folder / "c1").exists()) == ([], None, False)


def test_machines_end_with_a_supervisor_that_is_killed(site: Site) -> None:
    entry = site.start()
    assert entry.supervisor is not None

    os.kill(entry.supervisor.pid, signal.SIGKILL)

    eventually(lambda: client.remains(entry) == [f"folder {site.folder}/c1"], "machines outlive their supervisor")
    client.down("c1", ledger=site.ledger)
    assert client.remains(entry) == []


def test_machines_end_with_their_runner(site: Site) -> None:
    hold = site.ledger.hold("c1")
    site.ledger.begin(Entry(name="c1", provider="qemu", session={"spec": "a.yaml"}))
    entry = site.start()

    hold.release()

    eventually(lambda: client.remains(entry) == [], "machines outlive their runner")
    eventually(lambda: site.ledger.find("c1") is None, "the ledger still knows of the cluster")


def test_a_machine_that_ends_while_it_boots_is_said_and_nothing_is_left(site: Site) -> None:
    with pytest.raises(ProvisionError, match="the virtual machine cp ended while it booted: no such machine"):
        site.start(ENDS)

    eventually(lambda: site.ledger.find("c1") is None, "the ledger still knows of the cluster")
    assert not (site.folder / "c1").exists()
