"""The provider ssh on machines of Debian: a spec runs unchanged, and the machines are as they were, also after failures."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koalesce import pki
from koalesce.events import TestFinished
from koalesce.pki import PkiRequest
from koalesce.providers.variables import koalesce_command
from koalesce.reporters.jsonl import read_events
from koalesce.terraform.binary import find_problem
from koalesce.toolchain import Toolchain
from tests.cluster.machines import Machine, Site, lacking, machines
from tests.long import long

WHY_NOT = lacking() or find_problem() or ""
pytestmark = [pytest.mark.cluster, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.yaml"
BOOTS = Path(__file__).parents[2] / "tests" / "vm" / "nodes" / "boots-again.yaml"
_PATIENCE = 600.0
# What of a machine has to be as it was: files but for logs and caches, units, links, routes, rules, settings, mounts, processes of ours.
_LOOK = """
find / /var/lib -xdev \\( -path /var/log -o -path /var/tmp -o -path /tmp -o -path /var/lib/systemd -o -path /root \\) -prune -o -print | sort
systemctl list-units --all --no-legend 'koalesce-*'
ip -o link | awk '{ sub("@.*", "", $2); print $2 }' | sort
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


def koalesce(site: Site, state: Path, *words: str, patience: float = _PATIENCE) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KOALESCE_STATE_DIR": str(state)}
    return subprocess.run(
        [*site.inside, *koalesce_command(), *words], capture_output=True, text=True, timeout=patience, env=environment,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_spec_runs_unchanged_and_the_machines_are_as_they_were(site: Site, tmp_path: Path, as_before: None) -> None:
    events = tmp_path / "events.jsonl"

    done = koalesce(
        site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(site.list_file()), "--events", str(events)
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert {event.status for event in read_events(events) if isinstance(event, TestFinished)} == {"passed"}
    assert not list((tmp_path / "state" / "clusters").glob("*.json"))


@long
def test_machines_that_boot_again_come_back_as_nodes_and_are_as_they_were_at_the_end(
    site: Site, tmp_path: Path, as_before: None
) -> None:
    events = tmp_path / "events.jsonl"

    done = koalesce(
        site, tmp_path / "state", "run", str(BOOTS), "--provider", "ssh", "--machines", str(site.list_file()), "--events", str(events),
        patience=4 * _PATIENCE,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert {event.status for event in read_events(events) if isinstance(event, TestFinished)} == {"passed"}


@long
def test_why_machines_are_not_to_be_had_is_said_of_all_at_once_and_none_is_changed(
    site: Site, tmp_path: Path, as_before: None
) -> None:
    changed, refusing, asking = site.machines
    known = tmp_path / "known_hosts"
    lines = site.known_hosts.read_text().splitlines()
    known.write_text("\n".join([f"{changed.address} {lines[1].partition(' ')[2]}", lines[2], ""]))
    entries = (changed.address, f"{{host: {refusing.address}, port: 2222}}", f"{{host: {asking.address}, user: op}}")
    listed = site.list_file("refused.yaml", entries=entries, knownHosts=str(known))

    done = koalesce(site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(listed))

    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert f"control-plane (root@{changed.address}) has another host key than {known} says" in said
    assert f"worker-1 (root@{refusing.address}:2222) refuses connections on port 2222" in said
    assert f"worker-2 (op@{asking.address}): op may not become root without a password" in said


@long
def test_machines_that_lack_something_say_all_of_it(site: Site, tmp_path: Path, as_before: None) -> None:
    first, second, third = site.machines
    site.run(first, "mkdir /etc/containerd")
    site.run(second, "mv /usr/sbin/iptables-save /usr/sbin/iptables-hidden")
    late = "#!/bin/sh\nexec /bin/date -d '7230 seconds ago' \"$@\"\n"
    site.run(third, f"printf %s {shlex.quote(late)} > /usr/local/bin/date; chmod +x /usr/local/bin/date")
    (tmp_path / "empty").touch()
    listed = site.list_file()
    try:
        done = koalesce(
            site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(listed)
        )
        unknown = site.list_file("unknown.yaml", knownHosts=str(tmp_path / "empty"))
        other = koalesce(
            site, tmp_path / "state", "run", str(QUICKSTART), "--provider", "ssh", "--machines", str(unknown)
        )
    finally:
        site.run(first, "rmdir /etc/containerd")
        site.run(second, "mv /usr/sbin/iptables-hidden /usr/sbin/iptables-save")
        site.run(third, "rm /usr/local/bin/date")

    said = done.stdout + done.stderr
    assert (done.returncode, other.returncode) == (3, 3), said
    assert f"(root@{first.address}): it has /etc/containerd already" in said
    assert f"(root@{second.address}): it lacks iptables-save; on Debian: apt-get install iptables" in said
    assert f"(root@{third.address}): its clock is 2h00m behind this machine's" in said
    assert f"has a host key that {tmp_path}/empty doesn't say" in other.stdout + other.stderr


@long
def test_a_cluster_keeps_its_objects_in_an_etcd_that_is_there_and_takes_them_along(
    site: Site, tmp_path: Path, as_before: None
) -> None:
    with _etcd(site, tmp_path) as asked:
        spec = tmp_path / "spec.yaml"
        spec.write_text(_EXTERNAL)
        listed = site.list_file("deploy.yaml", user="deploy")
        words = ("run", str(spec), "--trust", "--provider", "ssh", "--machines", str(listed))
        done = koalesce(site, tmp_path / "state", *words)
        left = asked("/koalesce/", "/koalesce0")

    assert done.returncode == 0, done.stdout + done.stderr
    assert left == 0


_EXTERNAL = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: external}
cluster:
  provider: ssh
  nodes: 1
  etcd: {mode: external, endpoints: ["https://10.77.0.1:2379"], ca: pki/etcd/ca.crt, cert: pki/apiserver-etcd-client.crt, key: pki/apiserver-etcd-client.key}
tests:
  - name: objects are kept, and there is no etcd on the machine
    steps:
      - apply: {object: {apiVersion: v1, kind: ConfigMap, metadata: {name: kept}, data: {a: b}}}
      - wait-for: {resource: configmap/kept, exists: true}
      - exec: {nodes: all, command: [sh, -c, "ls /var/lib/etcd /etc/kubernetes/manifests; true"], stdout: {notContains: etcd}}
"""


@contextlib.contextmanager
def _etcd(site: Site, folder: Path) -> Iterator[Callable[[str, str], int]]:
    """An etcd beside the machines, which takes clients with a certificate; how many keys it has between two of them."""
    names = ("localhost", "127.0.0.1", "10.77.0.1")
    made = pki.create(folder / "pki", PkiRequest(nodes={}, api_names=names, etcd_names=names))
    toolchain = Toolchain()
    urls = {"listen-client-urls": "https://10.77.0.1:2379", "advertise-client-urls": "https://10.77.0.1:2379"}
    files = {"cert-file": "etcd/server.crt", "key-file": "etcd/server.key", "trusted-ca-file": "etcd/ca.crt"}
    flags = {**urls, "data-dir": str(folder / "data"), "client-cert-auth": "true"}
    flags |= {name: str(made.folder / file) for name, file in files.items()}
    argv = [str(toolchain.path("etcd") / "etcd"), *(f"--{name}={value}" for name, value in flags.items())]
    running = subprocess.Popen([*site.inside, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def count(first: str, last: str) -> int:
        key = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", first), ("range_end", last))}
        tls = {
            "ca": made.text("etcd/ca.crt"),
            "cert": made.text("apiserver-etcd-client.crt"),
            "key": made.text("apiserver-etcd-client.key"),
        }
        wish = {
            "method": "POST",
            "url": f"{urls['listen-client-urls']}/v3/kv/range",
            "body": json.dumps({**key, "count_only": True}),
            "tls": tls,
        }
        target = {"id": "etcd", "type": "http", "limit": 10, "http": wish}
        asked = json.dumps({"sources": [{"id": "here", "targets": [target]}]})
        probe = [*site.inside, str(toolchain.path("koalesce-probe") / "koalesce-probe")]
        answer = json.loads(subprocess.run(probe, input=asked, capture_output=True, text=True, check=True).stdout)
        return int(json.loads(answer["sources"][0]["results"][0]["http"]["body"]).get("count", 0))

    try:
        yield count
    finally:
        running.kill()
        running.wait()


@long
def test_a_run_that_is_killed_and_of_which_nothing_is_known_any_more_is_removed_by_what_machines_say(
    site: Site, tmp_path: Path, as_before: None
) -> None:
    first = site.machines[0]
    running = _start(site, tmp_path / "state")
    _await_file(site, first, "/opt/koalesce/runc")
    name = site.run(first, "cat /etc/koalesce/name")

    running.kill()
    running.communicate()
    _await_end_of_all_in(tmp_path)
    done = koalesce(site, tmp_path / "other", "down", name, "--machines", str(site.list_file()))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: removed from {first.address}" in done.stdout


@long
def test_a_machine_that_dies_meanwhile_is_said_and_the_others_are_as_they_were(site: Site, tmp_path: Path) -> None:
    *others, dying = site.machines
    before = {machine.name: site.run(machine, _LOOK).splitlines() for machine in others}
    running = _start(site, tmp_path / "state")
    _await_file(site, dying, "/opt/koalesce/runc")

    dying.cut_power()
    said, _ = running.communicate(timeout=_PATIENCE)

    assert running.returncode == 4, said  # what is left on the dead one can't be told
    assert f"worker-2 (root@{dying.address}) doesn't answer" in said
    assert "remove it with: koalesce down" in said
    for machine in others:
        assert sorted(set(site.run(machine, _LOOK).splitlines()) ^ set(before[machine.name])) == []

    (name,) = set(re.findall(r"koalesce down (\S+) --forget", said))
    done = koalesce(site, tmp_path / "state", "down", name, "--forget")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: forgotten (" in done.stdout
    assert f"a machine that comes back is freed by: koalesce down {name} --machines FILE" in done.stderr
    assert not list((tmp_path / "state" / "clusters").glob("*.json"))


def _start(site: Site, state: Path) -> subprocess.Popen[str]:
    """Begin to run the tour."""
    words = ["run", str(QUICKSTART), "--provider", "ssh", "--machines", str(site.list_file())]
    return subprocess.Popen(
        [*site.inside, *koalesce_command(), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "KOALESCE_STATE_DIR": str(state)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _await_end_of_all_in(folder: Path) -> None:
    """Wait until no process has a path of the folder among its words or in its environment."""
    deadline = time.monotonic() + _PATIENCE
    while _processes_in(folder):
        assert time.monotonic() < deadline, _processes_in(folder)
        time.sleep(0.2)


def _processes_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words, told = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            is_connection = words.startswith(b"ssh: ")  # which ends by itself once nobody has used it for a while
            if str(folder).encode() in words + told and not is_connection and int(process.name) != os.getpid():
                found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def _await_file(site: Site, machine: Machine, path: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while "there" not in site.run(machine, f"[ ! -e {path} ] || echo there"):
        assert time.monotonic() < deadline, f"{path} doesn't come to {machine.name}"
        time.sleep(0.2)
