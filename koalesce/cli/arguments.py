"""Arguments: a parser that raises instead of leaving, knows typos, and the types that commands share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from koalesce.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from koalesce.durations import Duration  # what --help doesn't need is loaded where it's used

_COLUMNS = 80


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal, which it's told: argparse makes one for each argument, and loads `shutil` to ask."""

    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog, **{"width": _columns() - 2, **more})


@lru_cache(maxsize=1)
def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(1).columns or _COLUMNS
    except OSError:  # no terminal
        return _COLUMNS


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are usage errors with a suggestion; flags are never abbreviated."""

    def __init__(self, prog: str | None = None, description: str | None = None, **more: Any) -> None:
        settings: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Formatter}
        super().__init__(prog=prog, description=description, **(settings | more))

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Read the words; paths and flags may be mixed where the command has no commands of its own.

        A command with a default for `rest` is given what stands behind `--` as that.
        """
        if self.get_default("rest") is not None and "--" in words:
            args = self.parse(words[: words.index("--")])
            args.rest = words[words.index("--") + 1 :]
            return args
        try:
            return self.parse_intermixed_args(words)
        except TypeError:  # argparse can't mix where a part is a command or "the rest"
            return self.parse_args(words)

    def print_help(self, file: Any = None) -> None:
        """Print it; argparse would keep to itself that it can't be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; a flag that looks like a known one gets a suggestion."""
        flags = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", self.format_help()))
        unknown = re.match(r"unrecognized arguments: (-[^\s=]*)", message)
        suggestion = did_you_mean(unknown.group(1), flags) if unknown else _choice_meant(message)
        hint = f"{self.prog} --help"
        if unknown and self.get_default("rest") is not None:
            hint += "; what has options of its own goes behind --"
        raise UsageError(f"{self.prog}: {message}{suggestion}", hint=hint)


def _choice_meant(message: str) -> str:
    """The choice that was meant, by what argparse says of one that there isn't."""
    refused = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
    if refused is None:
        return ""
    return did_you_mean(refused.group(1), [choice.strip("'") for choice in refused.group(2).split(", ")])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "…"?`, or nothing where no known word is near."""
    import difflib

    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def add_values(parser: argparse._ActionsContainer) -> None:
    """Declare what a command gives to specs: their variables and images."""
    add_variables(parser)
    text = "supply an image from an archive or a folder"
    parser.add_argument("--image", metavar="REF=PATH", type=_image, action="append", default=[], help=text)


def add_existing(parser: argparse._ActionsContainer, *, unsaid: str | None = None) -> None:
    """Declare which existing cluster is meant, for the provider kubeconfig, or which machines, for the provider ssh.

    `unsaid` is what a flag that is a setting as well has where the command line says nothing.
    """
    parser.add_argument("--context", metavar="NAME", help="the context that leads to it (provider kubeconfig)")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="the file that has the context (default: $KUBECONFIG, or ~/.kube/config)"
    )
    parser.add_argument(
        "--i-own", metavar="CONTEXT",
        help="say, once for each cluster, that tests may run where this context leads; it's remembered by the CA of the API server",
    )  # fmt: skip
    parser.add_argument(
        "--allow-disruption", action="store_true", help="run disruptive tests there as well, which others may notice"
    )
    parser.add_argument(
        "--allow-node-exec", action="store_true",
        help="run commands on its nodes as root, by a privileged pod on each for as long as the cluster is used (provider kubeconfig)",
    )  # fmt: skip
    parser.add_argument(
        "--machines", metavar="FILE", default=unsaid,
        help="the list of machines that clusters are made on (provider ssh)",
    )  # fmt: skip
    parser.add_argument(
        "--settings", metavar="FILE",
        help="settings of providers, as specs have them below cluster.providers: {hcloud: {allowedCIDRs: [192.0.2.7/32]}}",
    )  # fmt: skip


def settings_of(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What the command line says of the providers kubeconfig and ssh; remembers what the user owns. UsageError for what leads nowhere."""
    if args.i_own and args.context and args.i_own != args.context:
        raise UsageError(f"--i-own {args.i_own} is another context than --context {args.context}")
    said = {
        "context": args.i_own or args.context,
        "kubeconfig": args.kubeconfig,
        "allow_disruption": args.allow_disruption,
        "allow_node_exec": args.allow_node_exec,
    }
    settings = {name: value for name, value in said.items() if value}
    if args.i_own:
        from koalesce.providers import contexts

        contexts.confirm(contexts.find(args.i_own, args.kubeconfig or ""))
    found: dict[str, dict[str, Any]] = {"kubeconfig": settings} if settings else {}
    if args.machines:
        from koalesce.providers import machine_list

        found["ssh"] = machine_list.read(_path(args.machines))
    if args.settings:
        read = _provider_settings(_path(args.settings))
        meant = {name: value for name, value in read.items() if args.provider in (None, name)}
        found |= {name: {**value, **found.get(name, {})} for name, value in meant.items()}
    return found


def _provider_settings(path: Path) -> dict[str, dict[str, Any]]:
    from koalesce.yaml.settings import read_settings  # most commands read no such file

    value = read_settings(path)
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise UsageError(
            f"{path} has no settings of providers",
            hint="write {hcloud: {allowedCIDRs: [192.0.2.7/32]}}, by their names",
        )
    return value


def add_variables(parser: argparse._ActionsContainer) -> None:
    """Declare `--set`, `--set-string` and `--values`."""
    for flag, text in (
        ("--set", "set a variable of the specs, or a field of it: a.b=c"),
        ("--set-string", "the same, with a value that is a text whatever it looks like"),
    ):
        parser.add_argument(flag, metavar="NAME=VALUE", type=assignment, action="append", default=[], help=text)
    parser.add_argument(
        "--values", metavar="FILE", type=_path, action="append", default=[],
        help="set variables from a YAML file; later files win, and --set wins over files",
    )  # fmt: skip


def variables_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says instead of the specs' variables."""
    from koalesce.spec.values import overrides

    return overrides(args.values, args.set, args.set_string) if args.values or args.set or args.set_string else {}


def _path(text: str) -> Path:
    from pathlib import Path  # imported here: --help doesn't need it

    return Path(text)


def duration(text: str) -> Duration:
    """A flag's duration."""
    from koalesce.durations import Duration

    try:
        return Duration.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str) -> int:
    """A flag's whole number, at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def assignment(text: str) -> tuple[str, str]:
    """A flag's NAME=VALUE."""
    return _pair(text, "NAME=VALUE")


def _image(text: str) -> tuple[str, str]:
    """An image's reference, and where it comes from."""
    return _pair(text, "REF=PATH")


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form {form}")
    return name, value


def pattern(text: str) -> str:
    """A flag's regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {error}") from error
    return text
