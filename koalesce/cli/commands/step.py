"""`koalesce step`: one step, on a cluster that is up."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from koalesce.cli.arguments import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koalesce.events import AnyEvent, StepFinished

NAME = "step"
HELP = "run one step on a cluster that is up"
_EXAMPLES = """\
examples:
  koalesce step dev 'wait-for: {resource: nodes, all: true, condition: Ready}'
  koalesce step dev 'exec: {nodes: all, command: [ip, route]}'
  koalesce step dev -n kube-system 'assert: {resource: pods, selector: k8s-app=kube-dns, all: true, match: {status: {phase: Running}}}'
  koalesce step dev - < step.yaml       as it stands in a spec: with timeout, stableFor and the like
  koalesce step dev --disruptive 'chaos: {stop: {node: worker-1, component: kubelet}, for: 10s}'

The step runs as the only one of a test: in a namespace of its own (unless -n names one), and what it makes is
removed again. koalesce explain tells the types of steps and their fields.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where, and what."""
    parser.epilog = _EXAMPLES
    parser.add_argument("cluster", metavar="NAME", help="name of a cluster, as `koalesce clusters` shows it")
    parser.add_argument(
        "step", metavar="STEP", help="the step in YAML: `TYPE: {FIELD: …}`; - reads it from standard input"
    )
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="run it in this namespace, which stays")
    parser.add_argument("--disruptive", action="store_true", help="allow it to disturb the cluster")
    parser.add_argument("--timeout", type=duration, metavar="DURATION", help="end it after this time, such as 2m")
    parser.add_argument("--json", action="store_true", help="print how it ended as an event, a line of JSON")


def run(args: argparse.Namespace) -> int:
    """Run it, and print what came of it."""
    from koalesce import engine
    from koalesce.cli import exit_codes
    from koalesce.cli.follow import Abandoned, Reports, follow
    from koalesce.cli.stopping import Stop
    from koalesce.clock import SystemClock
    from koalesce.engine import RunOptions
    from koalesce.errors import UsageError
    from koalesce.library.one_step import spec_of, with_timeout

    text = sys.stdin.read() if args.step == "-" else args.step
    text = text if args.timeout is None else with_timeout(text, args.timeout)
    stop, view = Stop(), _StepView(is_json=args.json)
    with (
        spec_of(text, args.cluster, namespace=args.namespace, disruptive=args.disruptive) as path,
        stop.on_signals(),
    ):
        options = RunOptions(paths=(str(path),), cluster=args.cluster, trust=True, cancel=stop.cancel)
        try:
            end = follow(engine.run(options), view, Reports({}), stop, SystemClock())
        except UsageError as error:
            if not args.disruptive and "disruptive: true" in error.message:
                error.hint = "--disruptive says so of this one"
            raise
        except Abandoned as abandoned:  # threads may hang in what was to be interrupted
            print(abandoned, file=sys.stderr, flush=True)
            path.unlink(missing_ok=True)
            os._exit(exit_codes.TEARDOWN_FAILED if abandoned.is_left else exit_codes.of_error(abandoned))
    return exit_codes.of_run(end)


class _StepView:
    """Prints how steps end, and what goes wrong besides."""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self._said: set[str] = set()

    def handle(self, event: AnyEvent) -> None:
        from koalesce.events import SpecFinished, StepFinished, TestFinished, to_json

        match event:
            case StepFinished(section="steps") if self._is_json:
                print(to_json(event), flush=True)
            case StepFinished(section="steps"):
                self._say("\n".join(_told(event)))
            case TestFinished() | SpecFinished() if event.status != "passed":
                self._complain(event.message)
            case _:
                pass

    def tick(self, elapsed: float) -> None:
        pass

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        pass

    def _say(self, text: str) -> None:
        from koalesce.reporters.text import clean, inert

        self._said.add(text)
        print("\n".join(inert(line) for line in clean(text).split("\n")), flush=True)

    def _complain(self, text: str) -> None:
        """What no step has said: a namespace that can't be made, say."""
        from koalesce.reporters.text import clean, inert

        first = text.split("\n")[0]
        if first and not any(first.split(": ", 1)[-1] in said for said in self._said):
            self._said.add(first)
            print("\n".join(inert(line) for line in clean(text).split("\n")), file=sys.stderr, flush=True)


def _told(end: StepFinished) -> Iterator[str]:
    from koalesce.durations import format_seconds

    tries = f", {end.attempts} attempts" if end.attempts > 1 else ""
    yield f"{end.status}: {end.title} ({format_seconds(end.seconds)}{tries})"
    more: list[tuple[str, Any]] = [
        ("", end.message),
        ("expected: ", end.expected),
        ("actual:   ", end.actual),
        ("", end.detail),
    ]
    for label, text in more:
        if text:
            yield from (f"  {label}{line}" for line in str(text).split("\n"))
