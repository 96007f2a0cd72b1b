"""The entry point, mostly as a process of its own: what it imports, prints and returns."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import koalesce
from koalesce.cli import main as entry_point
from koalesce.cli.commands import COMMANDS, load
from koalesce.cli.main import main
from koalesce.errors import Interrupted, ProvisionError, TeardownError, UsageError

HEAVY = (
    "rich",
    "pydantic",
    "ruamel",
    "kubernetes",
    "python_terraform",
    "tenacity",
    "jsonpath_ng",
    "cryptography",
    "dataclasses",
)
PEOPLE = [name for name, command in COMMANDS.items() if not command.hidden]


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KOALESCE_DEBUG", raising=False)


class FakeCommand:
    """A command that does what a test wants."""

    NAME = "version"
    HELP = "a fake"

    def __init__(self, act: Callable[[], int]) -> None:
        self.act = act

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        pass

    def run(self, args: argparse.Namespace) -> int:
        return self.act()


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int]], None]:
    def install(act: Callable[[], int]) -> None:
        monkeypatch.setattr(entry_point, "load", lambda name: FakeCommand(act))

    return install


def fail(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def koalesce_process(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "koalesce", *words], capture_output=True, text=True, check=False, timeout=60, **options
    )


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=lambda words: " ".join(words) or "koalesce")
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    heavy = HEAVY if not words else HEAVY[:-1]
    script = (
        "import sys; from koalesce.cli.main import main\n"
        f"code, heavy = main({[*words, '--help']!r}), set({heavy!r})\n"
        "sys.exit(f'{code} {sorted(heavy & set(sys.modules))}')"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr == "0 []\n"
    assert done.stdout.startswith("usage: koalesce")


def test_help_lists_the_commands_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    start = lines.index("commands:") + 1
    assert [line.split()[0] for line in lines[start : lines.index("", start)]] == PEOPLE


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_table_says_what_the_modules_say(name: str) -> None:
    command = load(name)
    told = {"name": command.NAME, "help": command.HELP}

    assert told == {"name": name, "help": COMMANDS[name].help}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: koalesce {name}")
    assert name not in PEOPLE or "\nexamples:\n  " in out


def test_the_table_is_sorted() -> None:
    assert list(COMMANDS) == sorted(COMMANDS)


@pytest.mark.parametrize("words", [["--version"], ["--debug", "--version"]])
def test_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"koalesce {koalesce.__version__}\n"


def test_runs_as_a_module() -> None:
    done = koalesce_process("version")

    assert done.returncode == 0
    assert done.stdout.splitlines()[0].split() == ["koalesce", koalesce.__version__]
    assert done.stderr == ""


def test_the_program_that_makes_clusters_is_the_chosen_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tofu-1.10").write_text("#!/bin/sh\n")
    (tmp_path / "tofu-1.10").chmod(0o755)
    monkeypatch.setenv("KOALESCE_TERRAFORM", str(tmp_path / "tofu-1.10"))

    assert main(["version"]) == 0
    assert f"terraform  {tmp_path}/tofu-1.10\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "error: koalesce: unknown command 'rnu'; did you mean \"run\"?\n  hint: koalesce --help\n"),
        (["xylophone"], "error: koalesce: unknown command 'xylophone'\n  hint: koalesce --help\n"),
        (["locl"], "error: koalesce: unknown command 'locl'\n  hint: koalesce --help\n"),
        (
            ["--verison"],
            'error: koalesce: unknown option --verison; did you mean "--version"?\n  hint: koalesce --help\n',
        ),
        ([], "error: koalesce: which command?\n  hint: koalesce --help\n"),
        (
            ["version", "--dbug"],
            'error: koalesce version: unrecognized arguments: --dbug; did you mean "--debug"?\n  hint: koalesce version --help\n',
        ),
    ],
)
def test_bad_usage_is_2_with_one_message(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("bad spec", hint="fix it"), 2, "error: bad spec\n  hint: fix it\n"),
        (ProvisionError("no image"), 3, "error: no image\n"),
        (
            TeardownError("a veth stays", command="koalesce sweep"),
            4,
            "error: a veth stays\n  hint: remove it with: koalesce sweep\n",
        ),
        (Interrupted(), 130, "error: interrupted\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (UsageError("\x1b[2Jbad\n::error::x"), 2, "error: bad\n| ::error::x\n"),
    ],
)
def test_errors_end_as_codes(
    behave: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    behave(fail(error))

    assert main(["version"]) == code
    assert capsys.readouterr().err == message


def test_an_unexpected_error_is_3_without_a_traceback(
    behave: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    behave(fail(KeyError("nodes")))

    assert main(["version"]) == 3
    text = capsys.readouterr().err
    assert text.startswith("error: unexpected: KeyError: 'nodes'\n")
    assert "Traceback" not in text
    assert "--debug" in text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied", "/a/b"), "error: /a/b: Permission denied"),
        (OSError(28, "No space left on device"), "error: No space left on device"),
    ],
)
def test_what_the_system_refuses_is_no_bug(
    behave: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str], error: OSError, message: str
) -> None:
    behave(fail(error))

    assert main(["version"]) == 3
    assert capsys.readouterr().err == f"{message}\n  hint: run it again with --debug to see where it comes from\n"


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_debug_shows_where_it_comes_from(
    behave: Callable[[Callable[[], int]], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    behave(fail(KeyError("nodes")))
    if how == "variable":
        monkeypatch.setenv("KOALESCE_DEBUG", "1")

    assert main(["version", *(["--debug"] if how == "flag" else [])]) == 3
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_broken_pipe_of_something_else_is_not_taken_for_closed_output(
    behave: Callable[[Callable[[], int]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    behave(fail(BrokenPipeError(32, "Broken pipe")))

    assert main(["version"]) == 3
    assert "unexpected: BrokenPipeError" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_to_a_closed_pipe_ends_quietly(unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "koalesce", "version"],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["version", "explain", "run --help"])
def test_output_to_a_full_disk_is_told(command: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "koalesce", *command.split()],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip

    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Exception" not in done.stderr


def test_any_text_can_be_printed_in_any_encoding(tmp_path: Path) -> None:
    head = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: a}\n"
    (tmp_path / "a.yaml").write_text(head + "tests: [{name: pods → pods, steps: [{script: 'true'}]}]\n", "utf-8")

    done = koalesce_process("list", "a.yaml", cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "a.yaml:4  pods \\u2192 pods\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_from_the_start_are_no_trouble(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m koalesce version {closed}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
