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
from koalesce.cluster import Node
from koalesce.errors import KoalesceError, ProvisionError, UsageError
from koalesce.steps.inside.log_times import node_time

ALL = "all"
_PATIENCE = 30.0
_KEPT = 4096  # of what a follower says of itself


@dataclass(frozen=True, slots=True)
class NodeLog:
    """The log of a component on a node."""

    node: Node
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

    def follow(self, offset: int, on_line: Callable[[str], None], stop: threading.Event) -> None:
        """Hand on the lines behind so many bytes, until told to stop; ProvisionError if they end by themselves."""

        def take(stream: str, line: str) -> None:
            if stream == "stdout":
                on_line(line)

        command = ["tail", "-c", f"+{offset + 1}", "-F", *self._files()]
        try:
            ended = process.run([*self.node.exec, *command], on_line=take, cancel=stop, cap=_KEPT)
        except process.CommandTimeout:  # by us
            return
        raise ProvisionError(f"{self} can't be followed any more: {_reason(ended.err) or f'exit code {ended.code}'}")

    def check_followed(self) -> None:
        """Raise UsageError unless it lies in a file, to which lines are added."""
        self._files()

    def _files(self) -> Sequence[str]:
        program, *files = self.node.logs[self.component]
        if program != "cat":
            raise UsageError(f"{self} is printed by {program}, which can't be followed", hint="leave out --follow")
        return files


def chosen(cluster: str, nodes: Sequence[Node], node: str, component: str | None) -> list[NodeLog]:
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


def clock(node: Node) -> datetime:
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
    """Follow several logs, each from its offset on, while the block runs; gives whether any of them is still followed.

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
        begin = max(0, end - 65536)
        file.seek(begin)
        if (found := file.read(end - begin).rfind(b"\n")) >= 0:
            end = begin + found + 1
            break
        end = begin
    if end < size:
        file.truncate(end)
    file.seek(0)
    return end


def _named(cluster: str, nodes: Sequence[Node], wanted: str) -> Node:
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
