"""What a machine is like, and what speaks against it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from koalesce.machines.survey import Survey, problems, read
from tests.unit.machines.told import NOW, OUTPUT

AT = (NOW + 0.2, NOW + 0.9)


def test_a_machine_as_it_should_be_has_no_problems() -> None:
    found = read(OUTPUT, between=AT)

    assert list(problems(found, "192.0.2.10")) == []
    assert (found.cgroup_version, found.resolver) == (2, "/run/systemd/resolve/resolv.conf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine": "riscv64"}, "it is a machine of riscv64"),
        ({"init": "busybox", "system": "Alpine Linux v3.22"}, "its init is busybox (Alpine Linux v3.22)"),
        ({"controllers": frozenset(("cpu", "cpuset", "pids"))}, "no cgroup controller memory"),
        ({"lacking": ("iptables-restore", "iptables-save", "ip")}, "apt-get install iproute2 iptables"),
        ({"present": ("/etc/containerd",)}, "it has /etc/containerd already"),
        ({"used": "other"}, "in use by the cluster other"),
        ({"addresses": frozenset(("10.0.0.1",))}, "it hasn't the address 192.0.2.10"),
        ({"space": 1024**3}, "1.0 GiB free"),
        ({"skew": -7200.0}, "its clock is 2h00m behind this machine's"),
        ({"skew": 61.0}, "its clock is 1m01s ahead of this machine's"),
    ],
)
def test_what_speaks_against_a_machine_is_said(changes: dict[str, Any], message: str) -> None:
    found: Survey = dataclasses.replace(read(OUTPUT, between=AT), **changes)

    (problem,) = problems(found, "192.0.2.10")

    assert message in problem


def test_all_that_speaks_against_a_machine_is_said_at_once() -> None:
    found = read(
        OUTPUT.replace("systemd\n", "init\n").replace("cgroups 2", "cgroups 2 x").replace("memory", "")
        + "lacks tar\nhas /opt/cni\nused a\n",
        between=AT,
    )

    assert len(list(problems(found, "192.0.2.10"))) == 4
    assert (found.lacking, found.present, found.used) == (("tar",), ("/opt/cni",), "a")


@pytest.mark.parametrize(
    ("between", "skew"),
    [
        ((NOW - 30.0, NOW + 30.0), 0.0),
        ((NOW + 0.9, NOW + 1.4), 0.0),
        ((NOW + 100.0, NOW + 101.0), -99.0),
        ((NOW - 101.0, NOW - 100.0), 100.0),
    ],
)
def test_a_clock_is_off_by_what_no_delay_explains(between: tuple[float, float], skew: float) -> None:
    assert read(OUTPUT, between=between).skew == skew
