"""What a run would do, as lines: each spec with its clusters, what it installs, and its tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from koalesce.cli.listing import selected_tests
from koalesce.reporters.text import one_line

if TYPE_CHECKING:
    from koalesce.cluster_request import ClusterRequest
    from koalesce.engine import RunOptions, Selected
    from koalesce.spec import LoadedSpec, StepEntry


def planned(chosen: Sequence[Selected], options: RunOptions, *, steps: bool = False) -> Iterator[str]:
    """The lines of all specs, with their steps if these are wanted, and a last line that counts."""
    for each in chosen:
        yield one_line(each.loaded.shown)
        if each.is_all_skipped:
            yield "  cluster: none, as every test is skipped"
            yield from (f"  {line}" for line in selected_tests(each))
        else:
            yield from (f"  {line}" for line in _clusters(each.loaded, options))
            yield from (f"  {line}" for line in _parts(each, steps=steps))
    tests = sum(len(each.tests) for each in chosen)
    skipped = sum(len(each.skipped) for each in chosen)
    specs = f"{len(chosen)} spec{'' if len(chosen) == 1 else 's'}"
    yield f"{tests - skipped} of {tests} tests in {specs} would run; nothing was started"


def _clusters(loaded: LoadedSpec, options: RunOptions) -> Iterator[str]:
    from koalesce.engine.provision import overrides
    from koalesce.providers import provider

    if options.cluster is not None:
        yield f"cluster: {options.cluster}, which is up"
        return
    for section in loaded.spec.cluster_specs:
        request = loaded.request(loaded.spec.metadata.name, "plan", overrides(options), section=section)
        made = provider(request.provider).resolve(request)
        yield f"cluster{f' {section}' if section else ''}: {', '.join(_described(made))}"


def _described(request: ClusterRequest) -> Iterator[str]:
    yield request.provider
    if request.kubernetes:
        yield f"Kubernetes {request.kubernetes.removeprefix('v')}"
    yield f"{len(request.nodes)} node{'' if len(request.nodes) == 1 else 's'}"
    if request.fixtures:
        yield f"fixtures {' '.join(fixture.name for fixture in request.fixtures)}"


def _parts(each: Selected, *, steps: bool) -> Iterator[str]:
    spec = each.loaded.spec
    if spec.requires:
        yield f"requires: {', '.join(spec.requires)}"
    if spec.components:
        yield f"components: {', '.join(component.name for component in spec.components)}"
    yield from _section("setup", spec.setup.steps, steps=steps)
    for (test, _), line in zip(each.tests, selected_tests(each), strict=True):
        yield line
        if steps:
            for name, entries in (("", test.steps), ("cleanup", test.cleanup), ("on failure", test.on_failure)):
                yield from (f"  {step}" for step in _steps(entries, name))
    yield from _section("invariants", spec.invariants, steps=steps)
    yield from _section("cleanup", spec.cleanup, steps=steps)


def _section(name: str, entries: Sequence[StepEntry], *, steps: bool) -> Iterator[str]:
    if entries:
        yield f"{name}: {len(entries)} step{'' if len(entries) == 1 else 's'}"
        if steps:
            yield from (f"  {step}" for step in _steps(entries, ""))


def _steps(entries: Sequence[StepEntry], section: str) -> Iterator[str]:
    """A line for each step, and those of a group's steps below it."""
    for number, entry in enumerate(entries, 1):
        name = f"{section} {number}" if section else str(number)
        title = one_line(entry.title)
        said = title if title.split(" ")[0] == entry.key else f"{entry.key}: {title}"
        yield f"{name}. {said}  ({entry.place})"
        yield from (f"  {line}" for line in _steps(entry.children, ""))
