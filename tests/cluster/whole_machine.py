"""What tests of local clusters need of a machine, and what of it a cluster could leave changed, to be compared before and after."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import KoalesceError
from koalesce.local import machine
from koalesce.local.sysctls import FOLDER, NEEDED

_MOVING = ("net/netfilter/nf_conntrack_count",)
_OF_LINK = re.compile(r"net/\w+/(conf|neigh)/(?!all/|default/)")
_OF_OTHER_TESTS = "koaltest-"  # in the names of namespaces that tests beside make for themselves
_KEPT = ("net/ipv4/ip_forward", "vm/overcommit_memory", "kernel/panic")


def _problem() -> str:
    """Why no local cluster can be made here; empty if one can."""
    try:
        machine.check(Path("/"))
    except KoalesceError as error:
        return error.message
    return ""


LOCAL_CLUSTERS = (pytest.mark.cluster, pytest.mark.skipif(bool(_problem()), reason=_problem()))


def tree(folder: str) -> set[str]:
    """All paths below a folder from which others may remove things meanwhile."""
    return {f"{place}/{name}" for place, folders, files in os.walk(folder) for name in (*folders, *files)}


def _lines(*command: str) -> set[str]:
    """What a command prints, without counters and comments; nothing where there is no such command."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    except FileNotFoundError:
        return set()
    lines = (re.sub(r" ?\[\d+:\d+\]|packets \d+ bytes \d+", "", line) for line in done.stdout.splitlines())
    return {line for line in lines if not line.startswith("#")}


def _network_settings() -> set[str]:
    """Settings of the network but for those of single links, which come and go with these, and those that clusters share."""
    found = set()
    for path in Path("/proc/sys/net").glob("*/**/*"):
        name = str(path.relative_to("/proc/sys"))
        if name in (*_KEPT, *NEEDED, *_MOVING) or _OF_LINK.match(name):
            continue
        with contextlib.suppress(OSError, UnicodeDecodeError):  # some can only be written
            found.add(f"{name} = {path.read_text().strip()}")
    return found


def _noted() -> str:
    try:
        return (FOLDER / "sysctls.json").read_text()
    except FileNotFoundError:
        return "{}"


class Machine:
    """What of a machine a cluster could leave changed; other clusters that come and go meanwhile are left out."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._name = name
        self.before = self.look()

    def look(self) -> dict[str, set[str]]:
        settings, shared = self._settings()
        return {
            "link": {path.name for path in Path("/sys/class/net").iterdir()},
            "namespace": {path.name for path in Path("/run/netns").glob("*")},
            "mount": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
            "cgroup": {path for path in tree("/sys/fs/cgroup") if f"/{self._name}" in path},
            "process": self._processes(),
            "setting": settings,
            "setting of the network": _network_settings(),
            "holder": {self._name} if self._name in shared else set(),
            "route": _lines("ip", "route", "show", "table", "all"),
            "rule": _lines("iptables-save") | _lines("ip6tables-save") | _lines("nft", "list", "ruleset"),
            "rule of routing": _lines("ip", "-4", "rule") | _lines("ip", "-6", "rule"),
            "file": tree(str(self.folder)),
        }

    def left(self) -> list[str]:
        """What is there now and wasn't before."""
        now = self.look()
        # Settings that other clusters had raised before can't be compared.
        known = {setting.split()[0] for setting in self.before["setting"]}
        now["setting"] = {setting for setting in now["setting"] if setting.split()[0] in known}
        found = [f"{kind} {name}" for kind in now for name in sorted(now[kind] - self.before[kind])]
        return [each for each in found if _OF_OTHER_TESTS not in each]

    def _settings(self) -> tuple[set[str], str]:
        """Settings that no other cluster has raised, and what is noted of who has raised some; both of one moment."""
        while True:
            noted = _noted()
            raised = json.loads(noted)
            names = [name for name in (*_KEPT, *NEEDED) if self._alone_needs(raised.get(name, {}))]
            found = {f"{name} = {Path('/proc/sys', name).read_text()}" for name in names}
            if noted == _noted():  # who raises some notes it first
                return found, noted

    def _alone_needs(self, setting: Mapping[str, Any]) -> bool:
        """Whether no other cluster has raised it; a cluster is told by its folder."""
        return all(self._name in holder for holder in setting.get("holders", ()))

    def _processes(self) -> set[str]:
        """Those whose command, environment or cgroup tells that they are of this cluster."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            try:
                text = b"".join((path / name).read_bytes() for name in ("cmdline", "environ", "cgroup"))
            except OSError:
                continue
            if int(path.name) != os.getpid() and (str(self.folder).encode() in text or self._name.encode() in text):
                found.add(text[:200].decode(errors="replace"))
        return found
