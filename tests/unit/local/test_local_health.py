"""What a machine has and lacks, told from the files of one that is made up."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError
from koalesce.local import bringup, cgroups, health, outside
from koalesce.local import machine as local_machine
from koalesce.local.cgroups import Hierarchy, Layout
from koalesce.local.request import from_mapping

CALLS = {
    "x86_64": {"sethostname": 170, "setns": 308, "keyctl": 250, "pivot_root": 155},
    "aarch64": {"sethostname": 161, "setns": 268, "keyctl": 219, "pivot_root": 41},
}
FILES = {
    "proc/self/uid_map": "         0          0 4294967295\n",
    "proc/self/status": "Name:\tpython\nCapEff:\t000001ffffffffff\nSeccomp:\t0\n",
    "proc/filesystems": "nodev\tsysfs\nnodev\toverlay\n",
    "proc/meminfo": "MemTotal:  9000000 kB\nMemAvailable:  8388608 kB\n",
    "proc/net/if_inet6": "",
    "proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
    "proc/sys/fs/inotify/max_user_instances": "8192\n",
    "proc/sys/fs/inotify/max_user_watches": "1048576\n",
    **{f"proc/self/ns/{kind}": "" for kind in ("cgroup", "ipc", "mnt", "net", "pid", "uts")},
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a machine with all that local clusters need."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(local_machine, "check", lambda folder: Layout((Hierarchy(Path("/sys/fs/cgroup"), 2),)))
    monkeypatch.setattr(local_machine, "takes_overlays", lambda folder: True)
    monkeypatch.setattr(outside, "filters", list)
    monkeypatch.setattr(os, "statvfs", lambda path: room(16 * 2**30, 10**6))
    for path, text in FILES.items():
        write(tmp_path / "root" / path, text)
    return tmp_path / "root"


def room(free: int, files: int) -> os.statvfs_result:
    """A file system with so many bytes and files free."""
    return os.statvfs_result((4096, 4096, 10**9, free // 4096, free // 4096, 10**7, files, files, 0, 255))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def lacking(root: Path) -> list[str]:
    return [str(finding) for finding in health.essentials(root, root) if finding.state == "lacking"]


def noted(root: Path) -> dict[str, health.Finding]:
    return {finding.name: finding for finding in health.circumstances(root, root) if finding.state == "noted"}


def test_a_machine_that_has_all_lacks_nothing(root: Path) -> None:
    assert lacking(root) == []
    assert noted(root) == {}


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        ("proc/self/status", "CapEff:\t0000000000000000\n", "root lacks CAP_NET_ADMIN, CAP_SYS_CHROOT"),
        ("proc/self/uid_map", "         0       1000          1\n", "root is only that of a user namespace here"),
        ("proc/self/ns/net", None, "the kernel has no namespaces of kind net"),
        ("proc/filesystems", "nodev\tsysfs\n", "the kernel has no overlay file system"),
    ],
)
def test_what_a_machine_lacks_is_named(root: Path, path: str, text: str | None, problem: str) -> None:
    (root / path).unlink()
    if text is not None:
        (root / path).write_text(text)

    (found,) = lacking(root)

    assert found.startswith(problem)


def test_what_the_makers_of_nodes_miss_is_told_with_what_to_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(folder: Path) -> Layout:
        raise ProvisionError("the cgroup controllers pids are missing on this machine", hint="enable them")

    monkeypatch.setattr(local_machine, "check", check)

    assert lacking(root) == ["the cgroup controllers pids are missing on this machine (enable them)"]


def test_an_overlay_module_that_can_be_loaded_will_do(root: Path) -> None:
    write(root / "proc/filesystems", "nodev\tsysfs\n")
    write(root / "lib/modules" / os.uname().release / "modules.dep", "kernel/fs/overlayfs/overlay.ko.xz:\n")

    assert lacking(root) == []


def test_without_root_nothing_else_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert lacking(root) == [
        "local clusters need root: their nodes are namespaces, mounts and network links (run koalesce with sudo)"
    ]


def test_another_system_is_told_to_use_another_provider(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.platform, "system", lambda: "Darwin")

    assert lacking(root) == ["local clusters need Linux (use another cluster provider on this machine)"]


@pytest.mark.parametrize(
    ("path", "text", "name", "part"),
    [
        (".dockerenv", "", "container", "this is a container"),
        ("proc/1/environ", "PATH=/bin\0container=lxc\0", "container", "this is a container"),
        ("proc/self/attr/current", "docker-default (enforce)\n", "apparmor", "the AppArmor profile docker-default"),
        ("sys/fs/selinux/enforce", "1", "selinux", "SELinux is enforcing"),
        ("proc/meminfo", "MemAvailable:  1048576 kB\n", "memory", "1.0 GiB of memory are available"),
        ("proc/self/status", "CapEff:\t1ffffffffff\nSeccomp:\t2\n", "seccomp", "a seccomp filter is on"),
        (
            "proc/sys/kernel/osrelease",
            "5.10.0-28\n",
            "kernel",
            "Linux 5.10.0-28 is old: egress: host from 5.12 on, kubeProxy: nftables from 5.13 on",
        ),
    ],
)
def test_what_is_otherwise_on_a_machine_is_noted(root: Path, path: str, text: str, name: str, part: str) -> None:
    write(root / path, text)

    found = noted(root)

    assert list(found) == [name]
    assert part in found[name].text
    assert found[name].hint


def test_few_open_files_matter_where_root_can_not_have_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1024, 4096))
    assert noted(root) == {}

    write(root / "proc/self/status", f"CapEff:\t{0x1FFFFFFFFFF & ~(1 << 24):x}\n")

    assert noted(root)["files"].text.startswith("a process may open 4096 files at most")
    assert [worry.name for worry in local_machine.worries(root, root)] == ["files"], "a start says so, too"


def test_a_start_says_what_of_it_an_old_kernel_lacks(root: Path) -> None:
    assert list(local_machine.outdated(local_machine.KERNELS, root)) == []
    write(root / "proc/sys/kernel/osrelease", "5.10.0-28\n")

    assert list(local_machine.outdated({"cgroup v2", "egress: none", "kubeProxy: iptables"}, root)) == []
    (worry,) = local_machine.outdated({"cgroup v1", "egress: host", "kubeProxy: iptables"}, root)
    assert (worry.text, worry.hint) == ("Linux 5.10.0-28 is old: egress: host from 5.12 on", "boot a newer one")


def test_what_a_cluster_wants_of_its_kernel_is_told_in_the_same_words() -> None:
    basis = {
        "name": "c",
        "kubernetes_version": "1.37.2",
        "state_dir": "/s",
        "nodes": [{"name": "n", "role": "control-plane"}],
    }
    wanted = from_mapping({**basis, "egress": "host", "kube_proxy": "nftables"})

    assert bringup.wanted_of_kernel(wanted, Layout((Hierarchy(Path("/sys/fs/cgroup"), 2),))) == set(
        local_machine.KERNELS
    )


def test_low_inotify_limits_matter_where_they_can_not_be_raised(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root / "proc/sys/fs/inotify/max_user_instances", "128\n")
    assert noted(root) == {}

    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert noted(root)["inotify"].hint == "on the machine itself: sysctl -w fs.inotify.max_user_instances=8192"


def test_a_folder_on_an_overlay_and_a_kernel_without_ipv6_are_noted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_machine, "takes_overlays", lambda folder: False)
    (root / "proc/net/if_inet6").unlink()

    assert sorted(noted(root)) == ["ipv6", "layers"]


@pytest.mark.parametrize(
    ("free", "files", "text"),
    [
        (2**30, 10**6, "only 1.0 GiB are free below"),
        (16 * 2**30, 900, "only 900 more files can be made below"),
    ],
)
def test_a_disk_that_is_nearly_full_is_noted(
    root: Path, monkeypatch: pytest.MonkeyPatch, free: int, files: int, text: str
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: room(free, files))

    assert noted(root)["disk"].text.startswith(text)


def test_a_clock_that_is_behind_its_own_machine_is_noted(root: Path) -> None:
    write(root / "var/log/syslog", "")
    later = time.time() + 3 * 86400
    os.utime(root / "var/log", (later, later))

    assert noted(root)["clock"].text.startswith(f"the clock is behind: {root / 'var/log'} is of ")


def test_a_vpn_at_the_addresses_of_nodes_is_noted(root: Path) -> None:
    write(root / "proc/thread-self/net/route", "Iface\ntun0\t000012C6\t0\t1\t0\t0\t0\t0000FEFF\t0\t0\t0\n")

    assert "(198.18.0.0/15 by tun0)" in noted(root)["routes"].text


def test_a_firewall_that_forwards_nothing_is_noted_with_the_remedy(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "filters", lambda: ["FORWARD of the table ip filter"])

    found = noted(root)["firewall"]

    assert "FORWARD of the table ip filter" in found.text
    assert "iptables -I FORWARD -i koalesce-+ -j ACCEPT" in found.hint


@pytest.fixture
def unshare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What tries whether nodes can be made: here it says that mounts are refused."""
    path = tmp_path / "unshare"
    write(path, "#!/bin/sh\necho 'mount: /mnt: permission denied.' >&2\nexit 32\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(cgroups, "refusal", lambda layout: None)
    return path


def test_what_is_refused_shows_when_it_is_tried(root: Path, unshare: Path) -> None:
    (found,) = health.trials(root)

    assert (found.state, found.text, found.hint) == (
        "lacking",
        "root is refused what nodes are made of (namespaces, mounts, devices, links): mount: /mnt: permission denied.",
        "AppArmor, seccomp or a container stand in the way: in a container, run it as a privileged one",
    )
    unshare.write_text("#!/bin/sh\nexit 0\n")
    assert [finding.state for finding in health.trials(root)] == ["good"]


@pytest.mark.parametrize(
    ("path", "text", "hint"),
    [
        ("proc/self/status", "CapEff:\t1ffffffffff\nSeccomp:\t2\n", "a seccomp filter is on: in a container, run it without one: --security-opt seccomp=unconfined"),
        (
            "proc/self/attr/current", "docker-default (enforce)\n",
            "the AppArmor profile docker-default is enforced: in a container, run it without one: --security-opt apparmor=unconfined",
        ),
    ],
)  # fmt: skip
def test_a_start_tries_first_where_a_filter_may_refuse_it_and_says_how_to_do_without(
    root: Path, unshare: Path, path: str, text: str, hint: str
) -> None:
    assert health.obstacles(root, root) == []

    write(root / path, text)

    (found,) = health.obstacles(root, root)
    assert (found.text.rpartition(": ")[2], found.hint) == ("permission denied.", hint)


def test_cgroups_that_can_not_be_made_are_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = ProvisionError("cgroups can't be made below /sys/fs/cgroup", hint="run it as a privileged one")
    monkeypatch.setattr(cgroups, "refusal", lambda layout: refused)

    (found,) = health.trials()

    assert (found.state, str(found)) == (
        "lacking", "cgroups can't be made below /sys/fs/cgroup (run it as a privileged one)"
    )  # fmt: skip


def test_a_start_that_failed_is_told_what_of_the_machine_may_be_to_blame(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [health.Finding("mounts", "good", "all can be made")]
    monkeypatch.setattr(health, "trials", lambda root: found)
    write(root / "proc/self/attr/current", "docker-default (enforce)\n")

    assert health.suspect("etcd does not stay up", root) == ""
    assert "timeout: 10m" in health.suspect("waited 180 s in vain for etcd to answer", root)
    assert health.suspect("[Errno 1] setns: Operation not permitted", root).startswith("the AppArmor profile")
    found.append(health.Finding("mounts", "lacking", "root is refused mounts", "unconfine it"))
    assert health.suspect("etcd does not stay up", root) == "root is refused mounts (unconfine it)"


@pytest.mark.skipif(os.geteuid() != 0 or bool(local_machine.refusal()), reason="needs root that may make namespaces")
def test_settings_that_can_not_be_made_are_found_by_trying() -> None:
    """As in a container that isn't privileged, where /proc/sys is read-only."""
    script = "mount -o bind,ro /proc/sys /proc/sys; exec "
    asked = [sys.executable, "-c", "from koalesce.local import machine; print(machine.refusal())"]

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"{script}{shlex.join(asked)}"],
        capture_output=True, text=True, check=True, cwd=Path(local_machine.__file__).parents[2],
    )  # fmt: skip

    assert "Read-only file system" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0 or bool(local_machine.refusal()), reason="needs root that may make namespaces")
@pytest.mark.parametrize("call", ["sethostname", "setns", "keyctl", "pivot_root"])
def test_calls_that_a_filter_refuses_are_found_by_trying(call: str) -> None:
    """As with Docker's default filter, by which a root with all capabilities may mount and yet not make a node."""
    asked = f"""
import ctypes, os, struct, sys
from koalesce.local import machine
calls = {{"x86_64": {CALLS["x86_64"]}, "aarch64": {CALLS["aarch64"]}}}[os.uname().machine]
# A program of BPF (seccomp(2)): load the number of the call; if it is this one, EPERM; else let it be.
program = b"".join(struct.pack("HBBI", *line) for line in ((0x20, 0, 0, 0), (0x15, 0, 1, calls["{call}"]), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)))
held = ctypes.create_string_buffer(program)
filter = struct.pack("HxxxxxxP", 4, ctypes.addressof(held))
assert ctypes.CDLL(None).prctl(22, 2, filter, 0, 0) == 0
print(machine.refusal())
"""
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=Path(local_machine.__file__).parents[2],
    )  # fmt: skip

    assert done.stdout == f"{call}: Operation not permitted\n"
