"""One spec of a run and its result: found, where it passed before and nothing has changed since, or kept for later runs once it has passed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from koalesce.engine.cached.identity import identity, refusal, versions
from koalesce.engine.cached.store import Digest, Name, Result, Results
from koalesce.engine.cached.surroundings import surroundings, tools
from koalesce.engine.options import RunOptions
from koalesce.engine.provision import AnySession
from koalesce.engine.selection import Selected
from koalesce.engine.stream import EventStream, HeardStream
from koalesce.errors import KoalesceError, ProvisionError
from koalesce.events import (
    AnyEvent,
    ClusterReady,
    SpecFinished,
    SpecStarted,
    StepFinished,
    StepStarted,
    TestFinished,
    TestStarted,
)
from koalesce.providers.joining import JoinedCluster
from koalesce.spec.inputs import Input, TooMuch
from koalesce.toolchain import Toolchain

_IMAGE = "image"
# What is told again: not how its cluster was made and unmade, nor what was seen on the way.
_TOLD = (ClusterReady, TestStarted, StepStarted, StepFinished, TestFinished)


class Keeping:
    """The results of a run's specs."""

    def __init__(self, options: RunOptions, results: Results | None = None) -> None:
        self._options = options
        self._results = results or Results()
        self._around: dict[str, str] = {}
        self._tools: dict[str, str] = {}

    def of(self, selected: Selected) -> Keeper:
        """The result of a spec, which is looked for now."""
        refused = refusal(selected.loaded, self._options)
        if refused:
            return Keeper(selected, self._results, "", lambda: "", refused)
        self._around = self._around or surroundings()
        wanted = sorted(versions(selected.loaded, self._options))
        self._tools |= {version: tools(version) for version in wanted if version not in self._tools}
        mine = {version: self._tools[version] for version in wanted}
        known = identity(selected, self._options, self._around, mine)
        for path in self._options.images.values():
            selected.loaded.files.takes(path.absolute())

        def now() -> str:
            return identity(selected, self._options, surroundings(), {version: tools(version) for version in wanted})

        return Keeper(selected, self._results, known, now, "")


class Keeper:
    """The result of one spec. `found` is one that is good for this run.

    `known` tells all that it depends on before it runs, `now` tells it once more; without it, the result is good for one run alone for
    what is `refused`.
    """

    def __init__(self, selected: Selected, results: Results, known: str, now: Callable[[], str], refused: str) -> None:
        self._selected = selected
        self._results = results
        self._known = known
        self._now = now
        self._refused = refused
        self._heard: list[AnyEvent] = []
        self._inputs = selected.loaded.files.inputs
        self.found: Result | None = None
        if known:
            self._inputs.watch()
            self.found = results.find(known, _digests(_in_store()))

    def listening(self, stream: EventStream) -> EventStream:
        """The stream for the spec's events, which are noted on their way."""
        return stream if self._refused else HeardStream(stream, self._hear)

    def tell(self, result: Result, emit: Callable[[AnyEvent], object]) -> tuple[TestFinished, ...]:
        """Tell again what was told when the spec passed; how its tests ended."""
        path = self._selected.loaded.shown
        names = tuple(test.name for test, _ in self._selected.tests)
        emit(
            SpecStarted(spec=path, name=self._selected.loaded.spec.metadata.name, tests=names, cached=result.at)
        )  # fmt: skip
        for event in result.events:
            emit(event)
        emit(SpecFinished(spec=path, status="passed", seconds=0.0))
        return tuple(event for event in result.events if isinstance(event, TestFinished) and event.test in names)

    def images(self, clusters: Sequence[AnySession]) -> Mapping[str, str] | str:
        """The images that nodes of clusters, which are still up, asked for by tag, with their digests; or why that isn't known."""
        if self._refused:
            return {}
        try:
            return {reference: digest for cluster in clusters for reference, digest in _served_by(cluster).items()}
        except KoalesceError as error:
            return error.message

    def keep(self, at: str, ends: Sequence[TestFinished], images: Mapping[str, str] | str) -> str:
        """The spec has passed, with these images: keep its result, or say why that can't be done."""
        if self._refused or isinstance(images, str):
            return self._refused or str(images)
        try:
            return self._keep(at, ends, images)
        except (KoalesceError, OSError) as error:
            return f"it can't be kept: {error}"

    def _keep(self, at: str, ends: Sequence[TestFinished], images: Mapping[str, str]) -> str:
        if unknown := [reference for reference, digest in images.items() if not digest]:
            return f"the image {unknown[0]} could not be had, or was replaced while it ran"
        if any(end.flaky for end in ends):
            return "a test passed only when it was run again"
        if (changed := self._inputs.changed()) is not None:
            return f"{changed.name} has changed since it was read"
        if self._inputs.beyond:
            return self._inputs.beyond[0]
        if self._now() != self._known:
            return "Koalesce, its tools or the machine have changed while it ran"
        names = [_name(each) for each in self._inputs.seen] + [(_IMAGE, reference) for reference in images]
        self._results.keep(self._known, names, _digests(images), Result(at=at, events=tuple(self._heard)))
        return ""

    def _hear(self, event: AnyEvent) -> None:
        if not isinstance(event, _TOLD) or event.spec != self._selected.loaded.shown:
            return
        if isinstance(event, ClusterReady):  # it is gone when this is told again
            event = dataclasses.replace(event, kubeconfig="", shared=False, reused=True)
        self._heard.append(event)


def _served_by(session: AnySession) -> Mapping[str, str]:
    """The images that a cluster's nodes asked for by tag, with the digests that they had; ProvisionError where that isn't known."""
    if isinstance(session, JoinedCluster):
        raise ProvisionError("a cluster that stays may be as others have left it")
    return session.served()


def _digests(images: Mapping[str, str]) -> Digest:
    """What tells something that a result depends on from what it may become."""

    def digest(name: Name) -> str:
        if name[0] == _IMAGE:
            return images.get(name[1], "")
        try:
            return Input(*name).digest()  # type: ignore[arg-type]  # as `_name` has taken it apart; other kinds have no digest
        except TooMuch:
            return "too much"

    return digest


def _name(found: Input) -> Name:
    return (found.kind, found.name, found.pattern)


def _in_store() -> dict[str, str]:
    """The digests of the images that this machine has now."""
    return {image.ref: image.descriptor.digest for image in Toolchain().images.images()}
