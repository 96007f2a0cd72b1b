"""A spec as a file of pytest's, and its tests as items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from koalesce.errors import KoalesceError
from koalesce.library.results import Problem, TestResult
from koalesce.pytest_plugin.runs import NotFound, Runs
from koalesce.spec import LoadedSpec, Test, load_cells

_RESERVED = frozenset({"filterwarnings", "parametrize", "skipif", "tryfirst", "trylast", "usefixtures", "xdist_group"})
_KNOWN: pytest.StashKey[set[str]] = pytest.StashKey()


class SpecFailed(Exception):
    """The software under test doesn't do what the spec says."""


class SpecErrored(Exception):
    """It could not be found out."""


class SpecFile(pytest.File):
    """A spec: its tests, those of each cell of its matrix."""

    def collect(self) -> Iterator[SpecItem]:
        """Load and check it; nothing is started."""
        try:
            cells = load_cells(self.path)
        except KoalesceError as error:
            raise self.CollectError(str(error)) from error
        for loaded in cells:
            for index, test in enumerate(loaded.spec.tests):
                name = test.name if loaded.cell is None else f"{test.name} [{loaded.cell}]"
                item = SpecItem.from_parent(self, name=name, spec=loaded.shown, test=test.name)
                item.place = loaded.test_line(index)
                _mark(item, loaded, test)
                yield item


class SpecItem(pytest.Item):
    """A test of a spec. The first one of a spec that is set up runs all of those that are selected, on one cluster."""

    def __init__(self, *, spec: str, test: str, **known: Any) -> None:
        super().__init__(**known)
        self.spec = spec
        self.test = test
        self.place = 1
        self._failed: str = ""
        self._problems: tuple[Problem, ...] = ()

    @property
    def is_skipped(self) -> bool:
        """Whether pytest doesn't run it at all."""
        return self.get_closest_marker("skip") is not None

    def setup(self) -> None:
        """Have it run, if it hasn't been. What could not be found out is an error of the setup, which isn't an expected failure."""
        mine = [each for each in self.session.items if isinstance(each, SpecItem) and each.path == self.path]
        outcome = Runs.of(self.config).outcome(
            self.path, [(each.spec, each.test) for each in mine if not each.is_skipped]
        )
        try:
            result = outcome.test(self.spec, self.test)
        except NotFound as error:
            raise SpecErrored(str(error)) from error
        self._tell(result)
        not_run = outcome.why_not_run(result)
        self._problems = outcome.problems_to_tell() if not not_run else ()
        match not_run.status if not_run else result.status:
            case "skipped":
                pytest.skip(result.message)
            case "failed":
                self._failed = _told(not_run or result, self.path)
            case "error":
                raise SpecErrored(_told(not_run or result, self.path))
            case _:
                pass

    def runtest(self) -> None:
        """Say how it went."""
        if self._failed:
            raise SpecFailed(self._failed)

    def teardown(self) -> None:
        """Say what went wrong outside of tests (a cleanup, the removal of the cluster), once for the spec."""
        problems, self._problems = self._problems, ()
        if problems:
            raise SpecErrored("\n\n".join(_told(problem, self.path) for problem in problems))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **options: Any) -> Any:
        """Our messages as they are; a traceback would say nothing of the spec."""
        if isinstance(excinfo.value, SpecFailed | SpecErrored | KoalesceError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args, **options)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands in the spec."""
        return self.path, self.place - 1, self.name

    def _tell(self, result: TestResult) -> None:
        self.user_properties.append(("koalesce_seconds", result.seconds))
        if result.evidence:
            self.user_properties.append(("koalesce_evidence", str(result.evidence)))
        if result.output:
            self.add_report_section("call", "steps", "\n".join(result.output))


def _told(what: TestResult | Problem, path: Path) -> str:
    place = f"{path}:{what.line}: " if what.line else ""
    lines = [f"{place}{what.name}: {what.status}", what.explanation]
    return "\n".join([*lines, *([f"evidence: {what.evidence}"] if what.evidence else [])])


def _mark(item: SpecItem, loaded: LoadedSpec, test: Test) -> None:
    """Labels of the spec and the test as markers; `skip` and `xfail` are those of pytest."""
    labels: Mapping[str, str] = {**loaded.spec.metadata.labels, **test.labels}
    for name, value in labels.items():
        if value == "false" or name in _RESERVED or not name.isidentifier() or name.startswith("_"):
            continue
        reason = value if value != "true" else f"labelled {name}"
        if name == "skip":
            item.add_marker(pytest.mark.skip(reason=reason))
        elif name == "xfail":
            item.add_marker(pytest.mark.xfail(reason=reason, raises=SpecFailed))
        else:
            _register(item.config, name)
            item.add_marker(getattr(pytest.mark, name)(value=value))
    if item.config.pluginmanager.hasplugin("xdist"):  # with `--dist loadgroup`, no worker waits for another's run
        item.add_marker(pytest.mark.xdist_group(name=item.parent.nodeid if item.parent else item.spec))


def _register(config: pytest.Config, name: str) -> None:
    """Have the marker known, so that `--strict-markers` takes it."""
    known = config.stash.setdefault(_KNOWN, set())
    if name not in known:
        known.add(name)
        config.addinivalue_line("markers", f"{name}: a label of specs")
