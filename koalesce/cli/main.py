"""The entry point: finds the command, runs it, and turns what went wrong into one message and an exit code."""

from __future__ import annotations

import argparse
import gc
import io
import os
import select
import sys
from collections.abc import Sequence
from typing import NoReturn, TextIO

import koalesce
from koalesce.cli import exit_codes
from koalesce.cli.arguments import Parser, did_you_mean
from koalesce.cli.commands import COMMANDS, load
from koalesce.errors import KoalesceError, MissingCredentials, UsageError

_HEAD = """\
usage: koalesce COMMAND [ARGUMENT...]

go test for Kubernetes software: specs that run on real, temporary clusters

commands:
"""
_LOOKERS = ("explain", "list", "schema", "validate")  # commands that only read and print
_TAIL = """
options:
  -h, --help     this help, or that of a command: koalesce COMMAND --help
  --version      the version
  --debug        log commands, and show where unexpected errors come from (or KOALESCE_DEBUG=1)

examples:
  koalesce run specs/quickstart.yaml
  koalesce run specs/ --run 'policy' -v --junit report.xml
  koalesce up specs/kube-router.yaml
"""


def entry() -> NoReturn:
    """What the `koalesce` script calls."""
    # What is loaded at the start stays: looking through it, even once, takes a tenth of a short command's time.
    gc.set_threshold(150_000, 20, 50)
    sys.stdout = _fit(sys.stdout)
    sys.stderr = _fit(sys.stderr)
    code = main(sys.argv[1:])
    if sys.argv[1:2] and sys.argv[1] in _LOOKERS and not is_closed(sys.stdout):
        sys.stderr.flush()
        os._exit(
            code
        )  # they leave nothing behind to be seen to, and taking all that was loaded apart takes a tenth of their time
    sys.exit(code)


def main(words: Sequence[str]) -> int:
    """Run a command line (without the program's name) and return its exit code; no error leaves this function."""
    is_debug = "--debug" in _before_rest(words) or os.environ.get("KOALESCE_DEBUG", "") not in ("", "0")
    try:
        return _flushed(_run(words, is_debug=is_debug))
    except KoalesceError as error:
        if is_debug:
            _print_traceback()
        has_places = bool(getattr(error, "problems", None))  # specs with problems, each with its file and line
        _complain(str(error), prefix="" if has_places else "error: ")
        return exit_codes.of_error(error)
    except KeyboardInterrupt:
        _complain("interrupted")
        return exit_codes.INTERRUPTED
    except SystemExit as leave:  # argparse, after --help
        return _flushed(leave.code if isinstance(leave.code, int) else exit_codes.PASSED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_closed(sys.stdout):
            return _flushed(exit_codes.PASSED)
        _report_unexpected(error, is_debug=is_debug)
        return exit_codes.ERROR


def _fit(stream: TextIO | None) -> TextIO:
    """A stream that takes whatever a pod prints, in any encoding; nowhere for one that was closed before we began."""
    if stream is None:  # the next file to be opened would get its number, and be written to by others
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - `pathlib` is slow to load; open to the end
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _flushed(code: int) -> int:
    """The code of a command whose output has been written; a closed pipe hides no code but that of success."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # see below
    except OSError as error:
        silence_stdout()
        _complain(f"the output could not be written: {error.strerror}")
        return exit_codes.worse(code, exit_codes.ERROR)
    if not is_closed(sys.stdout):
        return code
    silence_stdout()
    return code or exit_codes.CLOSED_PIPE


def is_closed(stream: TextIO) -> bool:
    """Whether nobody reads this stream any more; what it has buffered is written."""
    try:
        stream.flush()
        poll = select.poll()
        poll.register(stream.fileno(), 0)
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # not a file: a test's, a notebook's
        return False
    return any(events & select.POLLERR for _, events in poll.poll(0))


def silence_stdout() -> None:
    """Point standard output to nowhere, so that the interpreter's last flush can't fail either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _run(words: Sequence[str], *, is_debug: bool) -> int:
    leading = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        leading.append(rest.pop(0))
    if "--version" in leading:
        print(f"koalesce {koalesce.__version__}")
        return exit_codes.PASSED
    if "-h" in leading or "--help" in leading:
        print(_help(), end="")
        return exit_codes.PASSED
    for flag in leading:
        if flag != "--debug":
            known = ("--debug", "--help", "--version")
            raise UsageError(f"koalesce: unknown option {flag}{did_you_mean(flag, known)}", hint="koalesce --help")
    if not rest:
        raise UsageError("koalesce: which command?", hint="koalesce --help")
    return _run_command(rest[0], rest[1:], is_debug=is_debug)


def _run_command(name: str, words: list[str], *, is_debug: bool) -> int:
    if name == "help":
        return _run([*words[:1], "--help"], is_debug=is_debug)
    if name not in COMMANDS:
        visible = [known for known, command in COMMANDS.items() if not command.hidden]
        raise UsageError(f"koalesce: unknown command {name!r}{did_you_mean(name, visible)}", hint="koalesce --help")
    command = load(name)
    parser = Parser(f"koalesce {name}", command.HELP)
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="log commands, and show where unexpected errors come from")
    if is_debug:
        _log_to_stderr()
    try:
        return command.run(_parsed(parser, words, is_debug=is_debug))
    except MissingCredentials as missing:  # before anything was started
        from koalesce.cli.asking import have_been_given

        if not have_been_given(missing):
            raise
    return command.run(_parsed(parser, words, is_debug=is_debug))


def _parsed(parser: Parser, words: list[str], *, is_debug: bool) -> argparse.Namespace:
    args = parser.parse(words)
    args.debug = is_debug
    return args


def _help() -> str:
    shown = [(name, command.help) for name, command in COMMANDS.items() if not command.hidden]
    width = max(len(name) for name, _ in shown)
    return _HEAD + "".join(f"  {name:<{width}}  {text}\n" for name, text in shown) + _TAIL


def _before_rest(words: Sequence[str]) -> Sequence[str]:
    """The words before `--`: what comes after it is for another program."""
    return words[: list(words).index("--")] if "--" in words else words


def _complain(text: str, *, prefix: str = "error: ") -> None:
    from koalesce.reporters.text import clean, inert

    lines = clean(text).split("\n")
    print("\n".join(inert(line) for line in (prefix + lines[0], *lines[1:])), file=sys.stderr)


def _report_unexpected(error: Exception, *, is_debug: bool) -> None:
    if is_debug:
        _print_traceback()
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BrokenPipeError):
        what = (
            f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        )  # a full disk, a folder of others
        advice = "run it again with --debug to see where it comes from"
    else:
        what = f"unexpected: {type(error).__name__}: {error}".split("\n")[0]
        advice = "run it again with --debug to see where it comes from, and report it"
    _complain(what if is_debug else f"{what}\n  hint: {advice}")


def _print_traceback() -> None:
    import traceback

    traceback.print_exc(file=sys.stderr)


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(
        level=logging.DEBUG, stream=sys.stderr, format="%(relativeCreated)7.0f ms %(name)s: %(message)s"
    )
