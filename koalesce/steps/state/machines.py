"""The machines whose state is looked at, and how they are asked for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import StrictStr

from koalesce import process
from koalesce.models import Model
from koalesce.steps.base import Errored, StepContext
from koalesce.steps.inside.places import Source, seconds_left, select_fixtures, select_nodes
from koalesce.steps.objects.reading import shortened
from koalesce.steps.vantage import FixtureNames, NodeNames, taken

PLACES = ("node", "nodes", "fixture", "fixtures")
_PARALLEL = 16
_T = TypeVar("_T")


class OnMachines(Model):
    """Nodes or fixtures."""

    node: StrictStr | None = None
    """A node by its name."""
    nodes: NodeNames | None = None
    """Several nodes: `all`, `workers`, `controlPlane` or a list of names."""
    fixture: StrictStr | None = None
    """A fixture by its name."""
    fixtures: FixtureNames | None = None
    """Several fixtures: `all` or a list of names."""

    @classmethod
    def takes(cls, written: Mapping[str, Any]) -> frozenset[str]:
        """A way to run commands on nodes, where it's about nodes."""
        return taken(written)

    @property
    def places(self) -> list[str]:
        """The fields that say where."""
        return [name for name in PLACES if getattr(self, name) is not None]

    def place(self) -> str:
        """Where, in a few words; empty if it isn't said."""
        told = [(name, getattr(self, name)) for name in self.places]
        return ", ".join(f"{name} {', '.join(value) if isinstance(value, list) else value}" for name, value in told)

    def sources(self, context: StepContext) -> list[Source] | Errored:
        """The machines, all of which take commands."""
        nodes = [self.node] if self.node is not None else self.nodes
        if nodes is not None:
            found = select_nodes(nodes, context.cluster)
        else:
            fixtures = [self.fixture] if self.fixture is not None else self.fixtures or "all"
            found = select_fixtures(fixtures, context.cluster)
        return found if isinstance(found, Errored) else reachable(found)


def reachable(sources: list[Source]) -> list[Source] | Errored:
    """The same, or which of them takes no commands."""
    without = [source for source in sources if not (source.machine and source.machine.exec)]
    if without:
        return Errored(f"the cluster gives no way to run commands on {without[0].name}", final=True)
    return sources


def everywhere(look: Callable[[Source], _T], sources: Sequence[Source]) -> list[_T]:
    """What is seen on each of them, all looked at at the same time."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=min(_PARALLEL, len(sources))) as pool:
        return list(pool.map(look, sources))


def asked(source: Source, command: str, context: StepContext, read: Callable[[str], list[Any]]) -> list[Any] | Errored:
    """What a machine answers to a line for `sh`."""
    assert source.machine is not None  # noqa: S101 - seen before
    try:
        done = source.machine.run(
            ["sh", "-ec", command], timeout=seconds_left(context.scope), cancel=context.scope.cancel
        )
    except process.CommandTimeout:
        return Errored(f"{source.name}: {command.split()[0]} was not done in time", late=True)
    if done.code:
        return Errored(
            f"{source.name}: {command.splitlines()[0]}: {shortened(done.err) or f'ended with code {done.code}'}"
        )
    try:
        return read(done.out)
    except (ValueError, KeyError, TypeError) as error:
        return Errored(f"{source.name}: {command.splitlines()[0]}: its answer can't be read: {error}", final=True)
