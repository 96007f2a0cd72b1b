"""A firewall that is in the way of `egress: host`: an error before anything runs, where nothing gets through; judged by that, not by its looks.

The machine that a cluster has a way out of is a network namespace of the test's own, whose way out leads nowhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koalesce.local.egress import nft
from koalesce.toolchain import Toolchain
from tests.cluster import whole_machine

pytestmark = [*whole_machine.LOCAL_CLUSTERS]

SPEC = """
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: way-out}
cluster: {nodes: 1, egress: host, dns: none}
tests:
  - name: the outside answers
    steps:
      - connectivity: {from: {node: control-plane}, to: {address: 203.0.113.7, port: 8080}}
        timeout: 5s
"""
DROPS = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }; "
DOCKER = 'add rule ip filter FORWARD iifname "docker0" accept; add rule ip filter FORWARD ct state established,related accept; '
OURS = (
    'add rule ip filter FORWARD iifname "koalesce-*" accept; add rule ip filter FORWARD oifname "koalesce-*" accept; '
)
FEW = "add rule ip filter FORWARD ip daddr 203.0.113.8 accept; "
SETUP = """
ip link set lo up
ip link add wan type veth peer name far
ip address add 192.0.2.2/24 dev wan
ip link set wan up
ip link set far up
ip route add default via 192.0.2.1
ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev wan
sysctl -qw net.ipv4.ip_forward=1
echo ready
exec sleep infinity
"""


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """Run the spec on a machine with these rules of nftables, by a network namespace that ends with the test."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    toolchain = Toolchain()
    command, environment = nft(toolchain.local_cluster(toolchain.resolve_version()))
    with subprocess.Popen(["unshare", "-n", "sh", "-euc", SETUP], stdout=subprocess.PIPE, text=True) as machine:
        try:
            assert machine.stdout is not None
            assert machine.stdout.readline() == "ready\n"
            inside = ["nsenter", f"--net=/proc/{machine.pid}/ns/net"]

            def run(rules: str) -> subprocess.CompletedProcess[str]:
                subprocess.run([*inside, *command, rules], env=environment, check=True, timeout=60)
                return subprocess.run(
                    [*inside, sys.executable, "-m", "koalesce", "run", "spec.yaml", "--no-cache"],
                    cwd=tmp_path, env={**os.environ, "KOALESCE_STATE_DIR": str(tmp_path / "state"), "NO_COLOR": "1"},
                    text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False,
                )  # fmt: skip

            yield run
        finally:
            machine.kill()


@pytest.mark.parametrize("rules", [DROPS, DROPS + DOCKER], ids=["nothing", "others'"])
def test_a_firewall_that_forwards_nothing_of_ours_is_an_error(
    behind: Callable[[str], subprocess.CompletedProcess[str]], rules: str
) -> None:
    done = behind(rules)

    assert done.returncode == 3, done.stdout
    assert (
        "the firewall of this machine forwards nothing for the cluster (FORWARD of the table ip filter)" in done.stdout
    )
    assert "iptables -I FORWARD -i koalesce-+ -j ACCEPT" in done.stdout
    assert "SKIP: the outside answers" in done.stdout, done.stdout


def test_rules_that_let_us_through_are_no_obstacle(behind: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    done = behind(DROPS + DOCKER + OURS)

    assert done.returncode == 1, done.stdout  # nobody answers there
    assert "dropped" in done.stdout
    assert "forwards" not in done.stdout


def test_where_something_may_pass_it_is_said_and_tried(
    behind: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = behind(DROPS + FEW)

    assert done.returncode == 1, done.stdout
    assert "forwards for the cluster only what its firewall names (FORWARD of the table ip filter)" in done.stdout
