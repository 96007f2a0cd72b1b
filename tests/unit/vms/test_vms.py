"""Virtual machines: how they are started, what they are told, and by what they are known."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import UsageError
from koalesce.local import teardown
from koalesce.local.ledger import Entry, Ledger
from koalesce.machines.boot import config
from koalesce.machines.client import OUTPUTS
from koalesce.machines.outputs import outputs
from koalesce.vms import client, emulator, iso, request
from koalesce.vms.disk import CLOUD_INIT, Disk
from koalesce.vms.emulator import Vm
from koalesce.vms.programs import Programs
from koalesce.vms.seed import network, seed
from koalesce.vms.supervisor import host_keys

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG/JIV/M57D65LjiGTFPqFpwJ7N37g6JSW3CyTp9kOw"
NODES = [{"name": "cp", "role": "control-plane"}, {"name": "w1", "role": "worker", "cpu": 0.5, "memory": 3 * 2**30}]


def vm(folder: Path = Path("/s/vms/w1"), **fields: Any) -> Vm:
    values = {"name": "w1", "number": 2, "address": "198.18.0.11", "processors": 1, "mebibytes": 1024}
    return Vm(**{**values, **fields}, folder=folder)


def wanted(**fields: Any) -> dict[str, Any]:
    values = {"name": "c1", "kubernetes_version": "1.37.2", "state_dir": "/s", "nodes": NODES}
    return {**values, "settings": {"accelerator": "tcg"}, **fields}


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("dev/kvm", "sys/module/kvm_amd"), "kvm"),
        (("dev/kvm", "sys/module/kvm_pvm"), "tcg"),
        (("sys/module/kvm_intel",), "tcg"),
    ],
)
def test_it_is_accelerated_only_where_the_processor_helps(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert emulator.accelerator(tmp_path) == found


def test_what_a_machine_writes_is_forgotten_and_it_ends_with_whoever_looks_after_it() -> None:
    argv = emulator.command(Programs(Path("/p")), Disk.of(Path("/d")), vm(), "tcg")

    drives = [argv[at + 1] for at, word in enumerate(argv) if word == "-drive"]
    assert argv[:4] == ["setpriv", "--pdeathsig", "KILL", "--"]
    assert ["snapshot=on" in drive or "readonly=on" in drive for drive in drives] == [True, True]
    assert emulator.environment(Programs(Path("/p")), vm())["TMPDIR"] == "/s/vms/w1"
    assert "-no-reboot" not in argv


def test_machines_have_links_of_their_own() -> None:
    found = [vm(number=number) for number in (1, 2, 255, 256)]

    assert len({each.mac for each in found}) == len({each.tap for each in found}) == 4


def sectors(image: bytes, at: int, count: int = 1) -> bytes:
    return image[at * 2048 : (at + count) * 2048]


def read_iso(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Label and files of an image, as ECMA-119 has them, by another way than it was written."""
    volume = sectors(image, 16)
    assert volume[:7] == b"\x01CD001\x01"
    assert int.from_bytes(volume[80:84], "little") * 2048 == len(image)
    root = volume[156:190]
    folder = sectors(image, int.from_bytes(root[2:6], "little"))
    files, at = {}, 0
    while size := folder[at]:
        record = folder[at : at + size]
        name = record[33 : 33 + record[32]]
        extent, length = int.from_bytes(record[6:10], "big"), int.from_bytes(record[14:18], "big")
        assert (extent, length) == (int.from_bytes(record[2:6], "little"), int.from_bytes(record[10:14], "little"))
        if not record[25] & 2:
            files[name.decode().removesuffix(".;1").lower()] = sectors(image, extent, -(-length // 2048))[:length]
        at += size
    return volume[40:72].decode().strip(), files


def test_an_image_has_its_label_and_files() -> None:
    files = {"user-data": b"x" * 5000, "meta-data": b"", "network-config": b"y"}

    assert read_iso(iso.image("cidata", files)) == ("cidata", files)


@pytest.mark.skipif(
    shutil.which("blkid", path=f"{os.environ['PATH']}:/sbin:/usr/sbin") is None, reason="there is no blkid here"
)
def test_an_image_is_known_by_its_label_to_others(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(iso.image("cidata", {"user-data": b"x"}))

    found = subprocess.run(
        ["blkid", "-p", "-o", "export", tmp_path / "image"], capture_output=True, text=True, check=True,
        env={"PATH": f"{os.environ['PATH']}:/sbin:/usr/sbin"},
    ).stdout  # fmt: skip

    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(found.split())


def test_a_machine_is_told_who_may_log_in_and_installs_nothing() -> None:
    label, files = read_iso(seed(config.load(), vm(), keys=[KEY], gateway="198.18.0.1", prefix=16, identity="c1-w1"))

    told = json.loads(files["user-data"].split(b"\n", 1)[1])
    assert label == "cidata"
    assert (told["hostname"], told["users"][0]["ssh_authorized_keys"], "packages" in told) == ("w1", [KEY], False)
    assert "nameserver 198.18.0.1\n" in [each["content"] for each in told["write_files"]]
    assert json.loads(files["meta-data"]) == {"instance-id": "c1-w1", "local-hostname": "w1"}
    assert b"PRIVATE" not in b"".join(files.values())


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="there is no cloud-init here")
def test_cloud_init_itself_takes_the_settings_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text(f"#cloud-config\n{CLOUD_INIT}")

    subprocess.run(["cloud-init", "schema", "--config-file", tmp_path / "settings"], check=True, capture_output=True)


def test_its_link_is_told_by_its_address() -> None:
    assert network(vm(), gateway="198.18.0.1", prefix=16) == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": "52:54:00:4b:00:02"},
                "dhcp4": False,
                "addresses": ["198.18.0.11/16"],
                "routes": [{"to": "0.0.0.0/0", "via": "198.18.0.1"}],
            }
        },
    }


def test_keys_are_taken_from_the_console_once_and_only_whole() -> None:
    other = base64.b64encode(b"\0\0\0\x07ssh-rsa" + bytes(20)).decode()
    console = (
        f"[  3.1] x\nkoalesce-host-key {KEY} end\r\nkoalesce-host-key ssh-rsa {other[:9]}[  9.9] eth0: up\n"
        f"koalesce-host-key ssh-rsa {other} end\nkoalesce-host-key ssh-dss {other} end\nkoalesce-host-key {KEY} end\n"
    )

    assert list(host_keys(console)) == [KEY, f"ssh-rsa {other}"]


def test_machines_are_as_their_nodes_say_or_as_the_settings_do() -> None:
    found = request.from_mapping(wanted(settings={"accelerator": "kvm", "processors": 3, "mebibytes": 4096}))

    assert [(each.name, each.address, each.processors, each.mebibytes) for each in found.vms] == [
        ("cp", "198.18.0.10", 3, 4096),
        ("w1", "198.18.0.11", 1, 3072),
    ]


def test_translated_ones_get_longer() -> None:
    quick, slow = (
        request.from_mapping(wanted(settings={"accelerator": name, "timeout": 10})) for name in ("kvm", "tcg")
    )

    assert (quick.cluster.timeout, slow.cluster.timeout) == (10, 200)
    assert slow.on_machines(inside=(), reached_at="").slowness == 20


def test_they_become_nodes_by_their_own_addresses_and_are_reached_from_here() -> None:
    machines = request.from_mapping(wanted()).on_machines(inside=("nsenter", "x"), reached_at="https://127.0.0.1:4")

    found = outputs(machines, Path("/s"), exec_of=lambda name: [name], capabilities=())
    assert [(each.node, each.host, each.key) for each in machines.accounts] == [
        ("cp", "198.18.0.10", "/s/key"), ("w1", "198.18.0.11", "/s/key"),
    ]  # fmt: skip
    assert (found["api_endpoint"], found["host_exec"]) == ("https://127.0.0.1:4", ["nsenter", "x"])
    assert (found["nodes"][0]["address"], OUTPUTS) == ("198.18.0.10", "outputs.json")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nodes": []}, "at least one node"),
        (
            {"nodes": [{"name": "a", "role": "control-plane"}, {"name": "b", "role": "control-plane"}]},
            "2 nodes are control planes, and virtual machines take one",
        ),
        ({"settings": {"accelerator": "hvf"}}, "accelerator 'hvf' is none of kvm, tcg"),
        ({"nodes": [{"role": "control-plane"}]}, "name is missing"),
    ],
)
def test_a_request_that_is_none_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        request.parse(json.dumps(wanted(**fields)))


def test_what_this_machine_lacks_is_said_with_what_to_do() -> None:
    found = list(client.lacking(which=lambda name: None, machine="aarch64"))

    assert found[0] == "virtual machines are made on x86_64 only, and this is aarch64"
    assert "there is no ssh-keygen; on Debian: apt-get install openssh-client" in found


def test_machines_that_run_are_what_is_left(tmp_path: Path) -> None:
    """As where somebody has killed their supervisor in a way that they outlived."""
    folder = tmp_path / "c1"
    (folder / "vms").mkdir(parents=True)
    (folder / teardown.MARKER).touch()
    ledger = Ledger(tmp_path / "clusters")
    entry = ledger.change("c1", provider="qemu", folder=str(folder), keep=True)
    program = "print('here', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "qemu-system-x86_64", f"{folder}/vms/w1/seed.iso"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()  # until then the kernel may not yet say how it was called
        found = client.remains(entry)
        running.kill()

    assert found == [f"virtual machine {running.pid}", f"folder {folder}"]


def test_without_a_cluster_there_is_nothing_to_remove(tmp_path: Path) -> None:
    client.down("c1", ledger=Ledger(tmp_path))

    assert client.remains(Entry(name="c1", provider="qemu")) == []
