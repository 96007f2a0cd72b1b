"""Commands on machines by SSH: what ssh is told, what reaches the machine, and what is said when it doesn't."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from koalesce.errors import ProvisionError
from koalesce.machines.request import Account
from koalesce.machines.shell import Shell, Stuck, Unreachable, exec_script, ssh_config, write_config

ROOT = Account(node="cp", host="192.0.2.10", port=22, user="root", key="/my key", address="192.0.2.10")
USER = Account(node="w", host="192.0.2.11", port=2222, user="me", key="", address="192.0.2.11")


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Takes the place of ssh, and of sudo: runs the command here; what it says and its code are in files, if they are there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "ssh": f"""#!/bin/sh
[ ! -e {tmp_path}/said ] || {{ cat {tmp_path}/said >&2; exit 255; }}
while [ $# -gt 1 ]; do shift; done
exec sh -c "$1"
""",
        "sudo": f"""#!/bin/sh
[ ! -e {tmp_path}/refused ] || {{ echo "sudo: a password is required" >&2; exit 1; }}
shift 2
exec "$@"
""",
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin")
    return tmp_path


def shell(folder: Path, account: Account = ROOT) -> Shell:
    write_config(folder, [account], "/known")
    return Shell(account=account, folder=folder, known_hosts="/known")


def test_only_keys_that_are_known_are_taken_and_nobody_is_asked() -> None:
    text = ssh_config([ROOT, USER], "/known", Path("/f"))

    assert "StrictHostKeyChecking yes" in text
    assert "BatchMode yes" in text
    assert 'UserKnownHostsFile "/known"' in text
    assert "GlobalKnownHostsFile /dev/null" in text
    assert (
        'Host cp\n  HostName 192.0.2.10\n  Port 22\n  User root\n  IdentityFile "/my key"\n  IdentitiesOnly yes\n'
        in text
    )
    assert "Host w\n  HostName 192.0.2.11\n  Port 2222\n  User me\n  ControlPath" in text


def test_the_first_key_of_a_machine_that_was_just_made_is_the_one_that_it_must_have() -> None:
    assert "StrictHostKeyChecking accept-new" in ssh_config([ROOT], "/known", Path("/f"), fresh=True)


def test_a_machine_that_was_just_made_is_waited_for(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ssh / "said").write_text("ssh: connect to host 192.0.2.10 port 22: Connection refused")
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            (ssh / "said").unlink()

    (ssh / "bin" / "ip").write_text("#!/bin/sh\necho '2: eth0    inet 192.0.2.10/24 brd'\n")
    (ssh / "bin" / "ip").chmod(0o755)
    monkeypatch.setattr("koalesce.machines.shell.time", SimpleNamespace(sleep=wait, monotonic=lambda: 0.0))
    shell(ssh).await_boot(600.0)

    assert len(waits) == 3


def test_a_machine_that_never_comes_up_is_told_by_what_ssh_said_last(ssh: Path) -> None:
    (ssh / "said").write_text("ssh: connect to host 192.0.2.10 port 22: Connection refused")

    with pytest.raises(Unreachable, match="refuses connections on port 22"):
        shell(ssh).await_boot(-1.0)


def test_a_first_boot_that_failed_is_told(ssh: Path) -> None:
    (ssh / "bin" / "cloud-init").write_text("#!/bin/sh\necho 'detail: no such package: iptables'; exit 1\n")
    (ssh / "bin" / "cloud-init").chmod(0o755)

    with pytest.raises(ProvisionError, match="its first boot failed: detail: no such package: iptables"):
        shell(ssh).await_boot(60.0)


def test_connections_are_not_shared_where_the_path_of_their_socket_would_be_too_long() -> None:
    assert "ControlPath" not in ssh_config([ROOT], "/known", Path("/" + 90 * "f"))


@pytest.mark.parametrize("account", [ROOT, USER], ids=["root", "sudo"])
def test_a_script_reaches_the_machine_as_it_is_written(ssh: Path, account: Account) -> None:
    assert shell(ssh, account).do("x", "echo 'a  b' \"$HOME\"", stdin=None).startswith("a  b /")


def test_words_of_a_command_reach_the_machine_as_they_are(ssh: Path) -> None:
    program = ssh / "exec"
    program.write_text(exec_script(ssh, USER))
    program.chmod(0o755)
    words = ["a b", "it's", "", "$HOME", "`x`", "line\nline\n", "\\", '"', "*"]

    done = subprocess.run([program, "printf", "<%s>", *words], capture_output=True, text=True, check=True)

    assert done.stdout == "".join(f"<{word}>" for word in words)


def test_a_script_that_fails_is_told_with_its_machine_and_what_it_said(ssh: Path) -> None:
    with pytest.raises(ProvisionError, match=r"cp \(root@192.0.2.10\): it can't be done: oh no"):
        shell(ssh).do("it can't be done", "echo oh no >&2; exit 3")


def test_a_script_that_comes_to_no_end_is_told_without_its_text(ssh: Path) -> None:
    with pytest.raises(Stuck, match=r"^cp \(root@192.0.2.10\): it can't be done: no end after 200ms\n") as of_do:
        shell(ssh).do("it can't be done", "sleep 60", timeout=0.2)
    with pytest.raises(Stuck, match=r"^cp \(root@192.0.2.10\): no end after 400ms of what it was told to do\n"):
        Shell(account=ROOT, folder=ssh, known_hosts="/known", slowness=2.0).run("sleep 60", timeout=0.2)

    assert "dmesg" in (of_do.value.hint or "")


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("root@192.0.2.10: Permission denied (publickey).", "doesn't let root in with /my key", "authorized_keys"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "has another host key than /known says", "set up anew"),
        ("No ED25519 host key is known for 192.0.2.10 and you have requested strict checking.", "host key that /known doesn't say", "ssh-keyscan -p 22 192.0.2.10"),
        ("ssh: connect to host 192.0.2.10 port 22: Connection refused", "refuses connections on port 22", "sshd"),
        ("ssh: connect to host 192.0.2.10 port 22: Connection timed out", "doesn't answer", "is on"),
        ("Control socket connect(/f/c/0): Connection refused\r\nssh: connect to host 192.0.2.10 port 22: No route to host", "doesn't answer", "is on"),
        ("kex_exchange_identification: banner line contains invalid characters", "can't be reached: kex_exchange", None),
    ],
)  # fmt: skip
def test_why_a_machine_cannot_be_reached_is_said_with_what_to_do(
    ssh: Path, said: str, message: str, hint: str | None
) -> None:
    (ssh / "said").write_text(said)

    with pytest.raises(Unreachable) as raised:
        shell(ssh).open()

    assert message in raised.value.message
    assert raised.value.message.startswith("cp (root@192.0.2.10)")
    assert hint in (raised.value.hint or "") if hint else raised.value.hint is None


def test_a_sudo_that_wants_a_password_is_said_before_anything_is_done(ssh: Path) -> None:
    (ssh / "refused").touch()

    with pytest.raises(ProvisionError, match="me may not become root without a password: sudo: a password is required"):
        shell(ssh, USER).open()


def test_a_machine_is_taken_once_something_is_about_to_be_put_there(tmp_path: Path) -> None:
    before = shell(tmp_path).is_taken
    shell(tmp_path).take()

    assert (before, shell(tmp_path).is_taken) == (False, True)
