"""The provider ssh on machines of Debian: a spec runs unchanged, and the machines are as they were, also after failures."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from koalesce.providers.variables import koalesce_command
from koalesce.terraform.binary import find_problem
from tests.cluster.machines import Machine, Site, lacking, machines
from tests.long import LONG

WHY_NOT = lacking() or find_problem() or ""
pytestmark = [pytest.mark.cluster, *LONG, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.yaml"
_PATIENCE = 600.0
# What of a machine has to be as it was: files but for logs and caches, units, links, routes, rules, settings, mounts, processes of ours.
_LOOK = """
find / -xdev \\( -path /var/log -o -path /var/tmp -o -path /tmp -o -path /var/lib/systemd -o -path /root \\) -prune -o -print | sort
systemctl list-units --all --no-legend 'koalesce-*'
ip -o link | awk '{ print $2 }' | sort
ip route; ip -6 route | sed 's/ pref.*//'
iptables-save | grep -v '^[#:]'; ip6tables-save | grep -v '^[#:]'; ipset list -n
sysctl -a 2>/dev/null | grep -E 'ip_forward|\\.forwarding|rp_filter|bridge-nf|ping_group|overcommit_memory|panic'
grep -E 'kubelet|containerd|netns/cni' /proc/self/mountinfo
ls -l /proc/[0-9]*/exe 2>/dev/null | grep -o '/opt/koalesce/.*'
ls -d /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods 2>/dev/null
true
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with machines(tmp_path_factory.mktemp("machines"), 3) as found:
        yield found


@pytest.fixture
def as_before(site: Site) -> Iterator[None]:
    """Holds that machines are after the test as they were before it."""
    before = {machine.name: site.run(machine, _LOOK).splitlines() for machine in site.machines}
    yield
    for machine in site.machines:
        now = site.run(machine, _LOOK).splitlines()
        assert sorted(set(now) ^ set(before[machine.name])) == [], machine.name


def koalesce(site: Site, state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(state)}
    return subprocess.run(
        [*site.inside, *koalesce_command(), *words], capture_output=True, text=True, timeout=_PATIENCE, env=environment,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_spec_runs_unchanged_and_the_machines_are_as_they_were(site: Site, tmp_path: Path, as_before: None) -> None:
    events = tmp_path / "events.jsonl"

    done = koalesce(
        site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(site.list_file()), "--events", str(events)
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    ends = [event for line in events.read_text().splitlines() if (event := json.loads(line))["event"] == "TestFinished"]
    assert {event["status"] for event in ends} == {"passed"}
    assert not list((tmp_path / "state" / "clusters").glob("*.json"))


def test_a_machine_whose_key_is_not_known_is_refused_and_none_is_changed(
    site: Site, tmp_path: Path, as_before: None
) -> None:
    (tmp_path / "empty").touch()
    listed = site.list_file("unknown.yaml", knownHosts=str(tmp_path / "empty"))

    done = koalesce(site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(listed))

    assert done.returncode == 3, done.stdout + done.stderr
    assert f"has a host key that {tmp_path}/empty doesn't say" in done.stdout + done.stderr


def test_machines_that_lack_something_say_all_of_it(site: Site, tmp_path: Path) -> None:
    first, second = site.machines[:2]
    site.run(first, "mkdir /etc/containerd")
    site.run(second, "mv /usr/sbin/iptables-save /usr/sbin/iptables-hidden")
    try:
        done = koalesce(
            site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(site.list_file())
        )
    finally:
        site.run(first, "rmdir /etc/containerd")
        site.run(second, "mv /usr/sbin/iptables-hidden /usr/sbin/iptables-save")

    said = done.stdout + done.stderr
    assert f"(root@{first.address}): it has /etc/containerd already" in said
    assert f"(root@{second.address}): it lacks iptables-save; on Debian: apt-get install iptables" in said


def test_a_machine_that_dies_meanwhile_is_said_and_the_others_are_as_they_were(site: Site, tmp_path: Path) -> None:
    *others, dying = site.machines
    before = {machine.name: site.run(machine, _LOOK).splitlines() for machine in others}
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(tmp_path / "state")}
    words = ["run", str(QUICKSTART), "--provider", "ssh", "--machines", str(site.list_file())]
    running = subprocess.Popen(
        [*site.inside, *koalesce_command(), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    _await_file(site, dying, "/opt/koalesce/runc")

    dying.cut_power()
    said, _ = running.communicate(timeout=_PATIENCE)

    assert running.returncode == 4, said  # what is left on the dead one can't be told
    assert f"worker-2 (root@{dying.address}) doesn't answer" in said
    assert "remove it with: koalesce down" in said
    for machine in others:
        assert sorted(set(site.run(machine, _LOOK).splitlines()) ^ set(before[machine.name])) == []


def _await_file(site: Site, machine: Machine, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while "there" not in site.run(machine, f"[ ! -e {path} ] || echo there"):
        assert time.monotonic() < deadline, f"{path} doesn't come to {machine.name}"
        time.sleep(0.2)
