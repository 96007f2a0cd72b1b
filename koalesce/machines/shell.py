"""Commands on machines by SSH: one connection a machine, which all its commands share, and errors that say what to do."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from koalesce import process
from koalesce.durations import format_seconds
from koalesce.errors import ProvisionError
from koalesce.machines.request import Account

CONFIG = "ssh_config"
_CONTROL = "c"  # the folder of the sockets of connections: their paths may have 108 bytes (unix(7))
_LONGEST_SOCKET = 85  # ssh adds a suffix while it makes one
_FAILED = 255  # ssh's own code, where no command of the machine's has ended (ssh(1))
_CONNECT = 60.0
_PAUSE = 2.0
# What cloud-init makes of a machine (https://docs.cloud-init.io/en/latest/explanation/return_codes.html): 2 is done, with complaints.
_FIRST_BOOT = """
if command -v cloud-init >/dev/null; then
  cloud-init status --wait >/dev/null 2>&1
  code=$?
  [ $code -eq 0 ] || [ $code -eq 2 ] || { cloud-init status --long; exit 1; }
fi
"""
_PATH = "/opt/koalesce/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What ssh says, what it means, and what to do.
_REFUSALS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", "has another host key than {known_hosts} says",
     "if the machine was set up anew, replace its line there; otherwise somebody else may answer in its place"),
    (r"Host key verification failed|No \S+ host key is known", "has a host key that {known_hosts} doesn't say",
     "add it, once you have compared it with the machine's own: ssh-keyscan -p {port} {host} | tee /dev/stderr | ssh-keygen -lf -"),
    (r"Permission denied", "doesn't let {user} in with {key}",
     "add the public key to ~{user}/.ssh/authorized_keys there, or say another key or user"),
    (r"Connection refused", "refuses connections on port {port}", "see that sshd runs there, and on which port"),
    (r"Could not resolve hostname", "has a name that leads nowhere", "say its address as host"),
    (r"timed out|No route to host|Network is unreachable|Connection (closed|reset)|Broken pipe|not responding", "doesn't answer",
     "see that it is on, and that this machine reaches it"),
)  # fmt: skip


class Unreachable(ProvisionError):
    """A machine can't be reached, or doesn't let us in."""


class Stuck(ProvisionError):
    """A machine answers, and doesn't come to an end with what it was told."""


def ssh_config(
    accounts: Iterable[Account], known_hosts: str, folder: Path, *, fresh: bool = False, slowness: float = 1.0
) -> str:
    """The text of a configuration by which ssh reaches each machine under its node's name, and nobody in its place.

    The key that a `fresh` machine shows at first is written down, and asked for from then on: nobody can know it before.
    """
    hosts = []
    for number, account in enumerate(accounts):
        socket = folder / _CONTROL / str(number)
        shared = f'  ControlPath "{socket}"\n' if len(str(socket)) <= _LONGEST_SOCKET else ""
        key = f'  IdentityFile "{account.key}"\n  IdentitiesOnly yes\n' if account.key else ""
        hosts.append(
            f"Host {account.node}\n  HostName {account.host}\n  Port {account.port}\n  User {account.user}\n{key}{shared}"
        )
    return (
        "".join(hosts) + "Host *\n"
        "  BatchMode yes\n"
        f"  StrictHostKeyChecking {'accept-new' if fresh else 'yes'}\n"
        f'  UserKnownHostsFile "{known_hosts}"\n'
        "  GlobalKnownHostsFile /dev/null\n"
        "  UpdateHostKeys no\n"
        "  Ciphers ^aes128-gcm@openssh.com\n"  # hundreds of MiB go over it, and processors have instructions for this one
        f"  ConnectTimeout {15 * slowness:.0f}\n"
        f"  ServerAliveInterval {min(60, 5 * slowness):.0f}\n"
        "  ServerAliveCountMax 6\n"
        "  LogLevel ERROR\n"
    )


def write_config(
    folder: Path, accounts: Iterable[Account], known_hosts: str, *, fresh: bool = False, slowness: float = 1.0
) -> None:
    """Write it where `Shell` looks for it."""
    (folder / _CONTROL).mkdir(mode=0o700, exist_ok=True)
    text = ssh_config(accounts, known_hosts, folder, fresh=fresh, slowness=slowness)
    (folder / CONFIG).write_text(text, encoding="utf-8")


def exec_script(folder: Path, account: Account, *, inside: Iterable[str] = ()) -> str:
    """A program that runs its arguments as a command on a machine, as root: ssh itself would join them by blanks."""
    words = [*inside, "ssh", "-F", str(folder / CONFIG)]
    return f"""#!/bin/sh
# Runs a command on {account}.
command={shlex.quote(shlex.join(_as_root(account, ["env", f"PATH={_PATH}"])))}
for word do
  quoted=$(printf '%s.' "$word" | sed "s/'/'\\\\\\\\''/g")
  command="$command '${{quoted%.}}'"
done
terminal=
if [ -t 0 ] && [ -t 1 ]; then terminal=-t; fi
exec {shlex.join(words)} $terminal {account.node} -- "$command"
"""


def _as_root(account: Account, command: Iterable[str]) -> list[str]:
    return [*(() if account.is_root else ("sudo", "-n", "--")), *command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """A machine's shell; `folder` has the configuration of ssh. Commands get so many times their time by `slowness`."""

    account: Account
    folder: Path
    known_hosts: str
    slowness: float = 1.0

    def open(self) -> None:
        """Connect, so that the commands to come needn't; Unreachable says why that can't be."""
        words = ["-o", "ControlMaster=auto", "-o", "ControlPersist=15m", self.account.node, "--", "true"]
        with self._errors.open("wb") as errors:  # the connection stays, and must not hold a pipe of ours
            try:
                code = subprocess.run(
                    self._ssh(words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False,
                    timeout=_CONNECT * self.slowness, start_new_session=True,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired as error:
                raise self._unreachable("timed out") from error
        said = self._errors.read_text(errors="replace")
        self._errors.unlink(missing_ok=True)
        if code:
            raise self._unreachable(said)
        if not self.account.is_root:
            self._check_sudo()

    def await_boot(self, patience: float) -> None:
        """Wait until a machine that was just made lets us in, and is done with what it does at its first boot; Unreachable or ProvisionError if not."""
        deadline = time.monotonic() + patience
        while True:
            try:
                self.open()
                break
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)
        wait = f"for _ in $(seq 60); do ip -o addr show | grep -qF ' {self.account.address}/' && break; sleep 1; done"
        self.do("its first boot failed", f"{_FIRST_BOOT}{wait}", timeout=max(_CONNECT, deadline - time.monotonic()))

    def run(
        self,
        script: str,
        *,
        stdin: bytes | BinaryIO | None = None,
        timeout: float = 120.0,
        cancel: process.Cancel | None = None,
    ) -> process.Result:
        """Run a script of sh(1) as root; its code isn't checked. Unreachable where it can't be run, Stuck where it doesn't end in time."""
        words = [self.account.node, "--", shlex.join(_as_root(self.account, ["sh", "-c", script]))]
        try:
            done = process.run(
                self._ssh(words),
                stdin=stdin,
                timeout=timeout * self.slowness,
                cancel=cancel,
                dies_with_us=True,
                cap=64 * 1024 * 1024,
            )
        except process.CommandTimeout as error:
            if error.cancelled:
                raise
            raise Stuck(
                f"{self.account}: no end after {format_seconds(timeout * self.slowness)} of what it was told to do",
                hint="look at it: its load, its disk, its kernel's log (dmesg)",
            ) from error
        if done.code == _FAILED:
            raise self._unreachable(done.err)
        return done

    def do(self, what: str, script: str, *, stdin: bytes | BinaryIO | None = None, timeout: float = 120.0) -> str:
        """Run a script, and return its output; ProvisionError says what didn't work, and how the machine put it."""
        try:
            done = self.run(script, stdin=stdin, timeout=timeout)
        except Stuck as error:
            after = format_seconds(timeout * self.slowness)
            raise Stuck(f"{self.account}: {what}: no end after {after}", hint=error.hint) from error
        if done.code:
            said = (done.err.strip() or done.out.strip())[-1500:] or f"exit code {done.code}"
            raise ProvisionError(f"{self.account}: {what}: {said}")
        return done.out

    def take(self) -> None:
        """Note that something is about to be put on the machine."""
        self._taken.touch(mode=0o600)

    @property
    def is_taken(self) -> bool:
        """Whether something may have been put there."""
        return self._taken.exists()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(process.CommandTimeout):  # it ends by itself once nobody has used it for a while
            process.run(self._ssh(["-O", "exit", self.account.node]), timeout=5.0)

    @property
    def _taken(self) -> Path:
        return self.folder / f"{self.account.node}.taken"

    @property
    def _errors(self) -> Path:
        return self.folder / f".{self.account.node}.ssh"

    def _ssh(self, words: Iterable[str]) -> list[str]:
        return ["ssh", "-F", str(self.folder / CONFIG), *words]

    def _check_sudo(self) -> None:
        done = self.run("true")
        if done.code:
            said = done.err.strip().splitlines()
            raise ProvisionError(
                f"{self.account}: {self.account.user} may not become root without a password: {said[-1] if said else 'sudo failed'}",
                hint=f"have `{self.account.user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d there, or say user: root",
            )

    def _unreachable(self, said: str) -> Unreachable:
        account = self.account
        known = {
            "known_hosts": self.known_hosts, "port": account.port, "host": account.host, "user": account.user,
            "key": account.key or "the keys of the agent",
        }  # fmt: skip
        # Of the shared connection, which has ended: ssh then tries one of its own, and that's what tells.
        said = "\n".join(line for line in said.splitlines() if not line.startswith("Control socket"))
        for pattern, meaning, hint in _REFUSALS:
            if re.search(pattern, said, re.IGNORECASE):
                return Unreachable(f"{account} {meaning.format(**known)}", hint=hint.format(**known))
        return Unreachable(f"{account} can't be reached: {said.strip()[-500:] or 'ssh ended without a word'}")
