"""The key pair of a cluster, and our own files of one whose machines are gone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from koalesce.local.ledger import Entry, Ledger
from koalesce.machines import client, keys


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "clusters")


def asked(folder: Path) -> str:
    settings = {"authorized_keys": ["ssh-ed25519 AAAA ci"]}
    return json.dumps(
        {"name": "c1", "provider": "hcloud", "run_id": "r", "state_dir": str(folder), "settings": settings}
    )


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
def test_both_halves_are_a_pair_that_ssh_reads(tmp_path: Path) -> None:
    path = keys.make(tmp_path / "c1", "c1")

    derived = subprocess.run(["ssh-keygen", "-y", "-f", path], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == (path.parent / keys.PUBLIC).read_text().split()[:2]


def test_only_we_may_read_it_and_a_pair_that_is_there_stays(tmp_path: Path) -> None:
    path = keys.make(tmp_path / "c1", "c1")
    first = path.read_bytes()

    keys.make(tmp_path / "c1", "c1")

    modes = [each.stat().st_mode & 0o777 for each in (path, path.parent, path.parents[1])]
    assert (path.read_bytes() == first, modes) == (True, [0o600, 0o700, 0o700])


def test_machines_are_told_at_their_first_boot_whom_they_let_in_and_no_secret(ledger: Ledger, tmp_path: Path) -> None:
    path = client.make_key(asked(tmp_path / "c1"), ledger=ledger)

    text = (path.parent / keys.USER_DATA).read_text()
    (root,) = json.loads(text.removeprefix("#cloud-config\n"))["users"]
    assert root["ssh_authorized_keys"] == [(path.parent / keys.PUBLIC).read_text().strip(), "ssh-ed25519 AAAA ci"]
    assert "PRIVATE" not in text


def test_what_a_root_wishes_besides_is_told_too(ledger: Ledger, tmp_path: Path) -> None:
    wanted = json.loads(asked(tmp_path / "c1"))
    wanted |= {"boot": {"filter": True}, "settings": {"allowed_cidrs": ["192.0.2.0/24"]}}

    path = client.make_key(json.dumps(wanted), ledger=ledger)

    assert "172.16.0.0/12, 192.168.0.0/16, 192.0.2.0/24 }" in (path.parent / keys.USER_DATA).read_text()


def test_the_ledger_knows_of_a_pair_that_plain_terraform_makes_and_it_is_forgotten(
    ledger: Ledger, tmp_path: Path
) -> None:
    folder = tmp_path / "c1"
    path = client.make_key(asked(folder), ledger=ledger)
    entry = ledger.find("c1")

    client.forget("c1", ledger=ledger)

    assert entry is not None
    assert (entry.provider, entry.run_id, entry.folder, entry.keep, path.parent) == (
        "hcloud", "r", str(folder), True, folder / "ssh",
    )  # fmt: skip
    assert (folder.exists(), ledger.find("c1")) == (False, None)
    client.forget("c1", ledger=ledger)


def test_the_entry_of_a_run_is_forgotten_by_that_run(ledger: Ledger, tmp_path: Path) -> None:
    ledger.add(Entry(name="c1", session={"terraform": "/x"}))
    client.make_key(asked(tmp_path / "c1"), ledger=ledger)

    client.forget("c1", ledger=ledger)

    entry = ledger.find("c1")
    assert entry is not None
    assert (entry.keep, (tmp_path / "c1").exists()) == (False, False)
