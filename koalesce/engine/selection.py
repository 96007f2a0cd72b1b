"""Which tests of which specs run, how often, and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from koalesce.engine.name_patterns import NamePattern, TestName
from koalesce.engine.options import RunOptions
from koalesce.errors import UsageError
from koalesce.kube.selector import parse as parse_selector
from koalesce.spec import LoadedSpec
from koalesce.spec.foreseen import foreseen_skip
from koalesce.spec.models import Test
from koalesce.spec.repeating import repeated
from koalesce.suggestions import closest

SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A spec with those of its tests that are to run, each with its line.

    `skipped` says of some of them, by name, why they are only told of: that is known before there is a cluster.
    """

    loaded: LoadedSpec
    tests: tuple[tuple[Test, int], ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_all_skipped(self) -> bool:
        """Whether it has tests, and none of them runs: it needs no cluster."""
        return bool(self.tests) and all(test.name in self.skipped for test, _ in self.tests)


def select(loaded: list[LoadedSpec], options: RunOptions) -> list[Selected]:
    """The tests that the command line asks for; specs without any are left out. UsageError for what can't be read or never matches.

    A pattern is looked for in a test's name, its cell included, and in the same with the cell of the spec behind it; see `NamePattern`.
    """
    wanted = _filter(options)
    chosen = [_narrowed(_whole(spec), wanted) for spec in loaded]
    chosen = _from(options.start_at, chosen)
    if options.count > 1:
        chosen = [_repeated(each, options.count) for each in chosen]
    if options.shard is not None:
        chosen = _sharded(chosen, *options.shard)
    if options.shuffle is not None:
        chosen = [_shuffled(each, options.shuffle) for each in chosen]
    chosen = [replace(each, skipped=_foreseen(each, short=options.short)) for each in chosen]
    return [each for each in chosen if each.tests or not _is_narrowing(options)]


def narrowing(options: RunOptions) -> str:
    """What narrows the choice of tests, as it stands on the command line; empty for nothing."""
    said = [("--run", options.select), ("--skip", options.skip), ("--start-at", options.start_at)]
    said += [("--label", label) for label in options.labels]
    said += [("--shard", f"{options.shard[0]}/{options.shard[1]}" if options.shard else None)]
    words = [f"{flag} {value}" for flag, value in said if value is not None]
    return " ".join([*words, *(["--rerun-failed"] if options.only is not None else [])])


def _is_narrowing(options: RunOptions) -> bool:
    return bool(narrowing(options))


def _whole(loaded: LoadedSpec) -> Selected:
    return Selected(
        loaded=loaded, tests=tuple((test, loaded.test_line(index)) for index, test in enumerate(loaded.spec.tests))
    )


def _name(loaded: LoadedSpec, test: Test) -> TestName:
    cell = loaded.origin(test).cell
    own = str(cell) if cell is not None else ""
    return TestName(
        written=test.name.removesuffix(f" [{own}]") if own else test.name,
        cell=own,
        spec_cell=str(loaded.cell) if loaded.cell is not None else "",
    )


_Wanted = Callable[[LoadedSpec, Test], bool]


def _filter(options: RunOptions) -> _Wanted:
    run = NamePattern(options.select, "--run") if options.select else None
    skip = NamePattern(options.skip, "--skip") if options.skip else None
    labels = [parse_selector(text) for text in options.labels]

    def is_wanted(loaded: LoadedSpec, test: Test) -> bool:
        name = _name(loaded, test)
        said = {**loaded.spec.metadata.labels, **test.labels}
        return (
            (run is None or run.finds(name))
            and (skip is None or not skip.finds(name))
            and all(matches(said) for matches in labels)
            and (options.only is None or test.name in options.only.get(loaded.shown, ()))
        )

    return is_wanted


def _narrowed(selected: Selected, wanted: _Wanted) -> Selected:
    return replace(selected, tests=tuple(pair for pair in selected.tests if wanted(selected.loaded, pair[0])))


def _from(text: str | None, chosen: list[Selected]) -> list[Selected]:
    """Everything from the first test on that the pattern finds."""
    if text is None:
        return chosen
    pattern = NamePattern(text, "--start-at")
    for number, each in enumerate(chosen):
        for index, (test, _) in enumerate(each.tests):
            if pattern.finds(_name(each.loaded, test)):
                return [replace(each, tests=each.tests[index:]), *chosen[number + 1 :]]
    names = [test.name for each in chosen for test, _ in each.tests]
    near = closest(text, names)
    raise UsageError(
        f"--start-at {text}: no test that would run has a name that matches",
        hint=f'did you mean "{near}"?' if near else "koalesce run --list shows the tests in their order",
    )


def _repeated(selected: Selected, count: int) -> Selected:
    """Each test so many times, one after the other, told apart by its name."""
    loaded = repeated(selected.loaded, {test.name for test, _ in selected.tests}, count)
    return _whole(loaded)


def _sharded(chosen: list[Selected], number: int, of: int) -> list[Selected]:
    """The part of this number (from 1) of the tests: parts are stretches of them, so that few clusters are made in several."""
    total = sum(len(each.tests) for each in chosen)
    first, last = (number - 1) * total // of, number * total // of
    found, seen = [], 0
    for each in chosen:
        found.append(replace(each, tests=each.tests[max(0, first - seen) : max(0, last - seen)]))
        seen += len(each.tests)
    return found


def _shuffled(selected: Selected, seed: int) -> Selected:
    """The same tests in an order that the seed makes, the same on every machine."""
    tests = list(selected.tests)
    random.Random(f"{seed}:{selected.loaded.shown}").shuffle(tests)  # noqa: S311 - an order, not a secret
    return replace(selected, tests=tuple(tests))


def _foreseen(selected: Selected, *, short: bool) -> dict[str, str]:
    """The tests that are skipped whatever their cluster is like, with the reason."""
    loaded = selected.loaded
    reasons = {
        test.name: foreseen_skip(loaded, test) or (_too_long(loaded, test) if short else "")
        for test, _ in selected.tests
    }
    return {name: reason for name, reason in reasons.items() if reason}


def _too_long(loaded: LoadedSpec, test: Test) -> str:
    """Why a short run only tells of a test; empty where it runs it."""
    if {**loaded.spec.metadata.labels, **test.labels}.get(SLOW, "false") != "false":
        return f"--short: it is labelled {SLOW}"
    return "--short: it is disruptive" if test.disruptive else ""


def check_trusted(paths: Iterable[Path], root: Path) -> None:
    """Raise UsageError for specs from outside of a project: a spec is code, and running it executes it."""
    foreign = [path for path in paths if not path.resolve().is_relative_to(root)]
    if foreign:
        names = ", ".join(map(str, foreign[:3])) + (" …" if len(foreign) > 3 else "")
        raise UsageError(
            f"{names}: outside of the project {root}", hint="a spec is code; say --trust if you trust this one"
        )
