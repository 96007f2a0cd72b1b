"""The logs of components on the nodes of a cluster: which there are, what they hold, and what is added to them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

from koalesce import process
from koalesce.cli.arguments import did_you_mean
from koalesce.cluster import Machine
from koalesce.errors import KoalesceError, ProvisionError, UsageError
from koalesce.steps.inside.log_times import node_time

ALL = "all"
_PATIENCE = 30.0
_PART = 65536  # bytes read at once
_KEPT = 4096  # of what a follower says of itself


@dataclass(frozen=True, slots=True)
class NodeLog:
    """The log of a component on a node, or on another machine of the cluster."""

    node: Machine
    component: str

    def __str__(self) -> str:
        return f"{self.component} on {self.node.name}"

    def copy(self, file: BinaryIO) -> None:
        """Copy what is there, and go to the copy's beginning; ProvisionError if it can't be read."""
        command = self.node.logs[self.component]
        result = process.run([*self.node.exec, *command], stdout=file, timeout=_PATIENCE)
        file.seek(0)
        if result.code:
            raise ProvisionError(f"{self}: {_reason(result.err) or f'exit code {result.code}'}")

    def end_of(self, copy: BinaryIO) -> int:
        """Cut off of a copy what has no end of line yet, go to its beginning, and return where it is to be followed from."""
        size = cut_to_lines(copy)
        if self.component not in self.node.follows:
            return size
        lines = sum(part.count(b"\n") for part in iter(lambda: copy.read(_PART), b""))
        copy.seek(0)
        return lines

    def follow(self, begin: int, on_line: Callable[[str], None], stop: threading.Event) -> None:
        """Hand on the lines from where `end_of` said, until told to stop; ProvisionError if they end by themselves."""

        def take(stream: str, line: str) -> None:
            if stream == "stdout":
                on_line(line)

        try:
            ended = process.run([*self.node.exec, *self._following(begin)], on_line=take, cancel=stop, cap=_KEPT)
        except process.CommandTimeout:  # by us
            return
        raise ProvisionError(f"{self} can't be followed any more: {_reason(ended.err) or f'exit code {ended.code}'}")

    def check_followed(self) -> None:
        """Raise UsageError unless it is known how."""
        self._following(0)

    def _following(self, begin: int) -> list[str]:
        """What prints the log from there on."""
        if command := self.node.follows.get(self.component):
            return [*command, str(begin)]
        program, *files = self.node.logs[self.component]
        if program != "cat":
            raise UsageError(f"{self} is printed by {program}, which can't be followed", hint="leave out --follow")
        return ["tail", "-c", f"+{begin + 1}", "-F", *files]


def chosen(cluster: str, nodes: Sequence[Machine], node: str, component: str | None) -> list[NodeLog]:
    """The logs that are meant, by node and component; UsageError with those that there are otherwise."""
    if not nodes:
        raise UsageError(f"{cluster} has no nodes, so no logs of theirs")
    where = list(nodes) if node == ALL else [_named(cluster, nodes, node)]
    known = sorted({name for each in where for name in each.logs})
    if component is not None and component not in known:
        place = f"{cluster} has" if node == ALL else f"{node} of {cluster} has"
        raise UsageError(
            f'{place} no log of "{component}"{did_you_mean(component, known)}', hint=f"there are: {_list(known)}"
        )
    return [NodeLog(each, name) for each in where for name in each.logs if component in (None, name)]


def clock(node: Machine) -> datetime:
    """The time on a node, in its zone; ProvisionError if it can't be told."""
    try:
        return node_time(node.run(["date", "+%s %z"], timeout=_PATIENCE).check().out)
    except (process.CommandError, ValueError) as error:
        reason = _reason(error.result.err) if isinstance(error, process.CommandError) else str(error)
        raise ProvisionError(f"{node.name} can't be asked: {reason}") from error


@contextlib.contextmanager
def followed(
    logs: Sequence[tuple[NodeLog, int]], on_line: Callable[[int, str], None], on_end: Callable[[KoalesceError], None]
) -> Iterator[Callable[[], bool]]:
    """Follow several logs, each from where `NodeLog.end_of` said, while the block runs; gives whether any of them is still followed.

    `on_line` gets the number of the log and a line, `on_end` why one ended by itself: both from threads.
    """
    stop = threading.Event()

    def work(number: int, log: NodeLog, offset: int) -> None:
        try:
            log.follow(offset, lambda line: on_line(number, line), stop)
        except KoalesceError as error:
            on_end(error)

    threads = [
        threading.Thread(target=work, args=(number, log, offset), name=f"follow {log}", daemon=True)
        for number, (log, offset) in enumerate(logs)
    ]
    for thread in threads:
        thread.start()
    try:
        yield lambda: any(thread.is_alive() for thread in threads)
    finally:
        stop.set()
        for thread in threads:
            thread.join(_PATIENCE)


def cut_to_lines(file: BinaryIO) -> int:
    """Cut off what has no end of line yet, go to the beginning, and return the size that is left."""
    size = end = file.seek(0, 2)
    while end:
        begin = max(0, end - _PART)
        file.seek(begin)
        if (found := file.read(end - begin).rfind(b"\n")) >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        file.truncate(end)
    file.seek(0)
    return end


def _named(cluster: str, nodes: Sequence[Machine], wanted: str) -> Machine:
    for node in nodes:
        if node.name == wanted:
            return node
    names = [node.name for node in nodes]
    hint = f"there are: {_list(names)}"
    if any(wanted in node.logs for node in nodes):
        hint = f"for a component of all nodes: koalesce logs {cluster} {ALL} {wanted}"
    raise UsageError(f'{cluster} has no node "{wanted}"{did_you_mean(wanted, [*names, ALL])}', hint=hint)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _reason(said: str) -> str:
    """The last line that a command wrote of its failure."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else ""
