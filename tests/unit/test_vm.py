"""The virtual machine of `make vm-test`: what it's started with, and what is said of it. It is started only there."""

from __future__ import annotations

import sys
from pathlib import Path

from koalesce.vms.disk import Disk
from koalesce.vms.programs import Programs
from tests.vm import machine
from tests.vm.disk import Guest

GUEST = Guest(disk=Disk.of(Path("/d")), programs=Programs(Path("/p")))


def test_it_writes_to_one_folder_only_and_reaches_no_network() -> None:
    shares = {"repo": Path("/repo"), "cache": Path("/cache"), "out": Path("/out")}

    argv = machine.command(GUEST, shares, machine.Size(), "tcg")

    shared = [argv[number + 1] for number, word in enumerate(argv) if word == "-virtfs"]
    assert [",readonly=on" in words for words in shared] == [True, True, False]
    assert argv[argv.index("-nic") + 1] == "none"
    assert "snapshot=on" in argv[argv.index("-drive") + 1]


def run(script: str, out: Path, seconds: float) -> tuple[bool, list[str]]:
    told: list[str] = []
    argv = [sys.executable, "-c", script, str(out)]
    return machine.run(argv, GUEST, out, seconds=seconds, tell=told.append), told


def test_what_it_writes_is_told_and_that_it_switched_itself_off(tmp_path: Path) -> None:
    script = "import pathlib, sys; pathlib.Path(sys.argv[1], 'log.txt').write_text('one\\ntwo\\nbroken off')"

    assert run(script, tmp_path, 60) == (True, ["one", "two"])


def test_it_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    assert run("import time; time.sleep(600)", tmp_path, 0.1) == (False, [])
