"""Assertions that pass must fail once one expected value is another: a sample from the examples and the tour, on one cluster."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from koalesce.steps import STEPS
from tests.long import IS_LONG
from tests.specs.mutation import mutants
from tests.specs.shared import ROOT, Machine, Ran, below, loaded, run, shown

SOURCES = [ROOT / "specs" / "quickstart.yaml", *below(ROOT / "docs" / "examples")]
SEED = "one expected value"
PER_SPEC = 4 if IS_LONG else 2
EVERY = 1 if IS_LONG else 2  # of so many examples, one: each has to be set up
FEWEST = 30
_CHANGES_AGAIN = (
    "exec",
    "script",
    "delete",
    "stop",
)  # what may not be done twice in a row: the changed step stands alone
_TIMEOUTS = {"metrics": "8s"}  # a change over time is judged after five seconds at the earliest
_CHANGED = "the changed step"
_LEFT_OUT = ("skip", "if", "requires", "matrix", "serial", "disruptive", "namespace", "namespaces")
_CLUSTER_WIDE = ('"kind": "Namespace"', '"kind": "Cluster', '"kind": "CustomResource')  # only one test can have them
_LONGEST_NAME = 180

pytestmark = pytest.mark.spec


@dataclass(frozen=True)
class Mutated:
    """A spec with a test for each change; it lies beside a copy of its source, and finds what that finds."""

    source: Path
    path: Path
    tests: tuple[str, ...]


def _tests(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A test for each changed value: the steps before it, the step as it was, and the step as it is now."""
    for test in spec["tests"]:
        if any(test.get(field) for field in _LEFT_OUT) or any(kind in json.dumps(test) for kind in _CLUSTER_WIDE):
            continue
        for index, step in enumerate(test["steps"]):
            key = next((key for key in STEPS if key in step), None)
            if key is None or step.get("continueOnFailure"):
                continue
            original = [] if key in _CHANGES_AGAIN else [{**step, "outputs": {}} if "outputs" in step else step]
            for mutant in mutants(step, key):
                changed = {name: value for name, value in mutant.step.items() if name not in ("outputs", "within")}
                steps = [
                    *test["steps"][:index],
                    *original,
                    {**changed, "name": _CHANGED, "timeout": _TIMEOUTS.get(key, "2s")},
                ]
                steps += _stops(test["steps"], index)
                kept = {name: test[name] for name in ("vars", "locks", "cleanup") if name in test}
                name = f"{test['name']}: step {index}: {mutant.what}"
                yield copy.deepcopy({"name": name[:_LONGEST_NAME], **kept, "steps": steps})


def _stops(steps: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    """The steps after one that stop what those before it have started, without which the test wouldn't be valid."""
    started = {
        step[key].get("id")
        for step in steps[:index]
        for key in ("background", "capture", "port-forward", "stability")
        if key in step
    }
    return [step for step in steps[index + 1 :] if "stop" in step and _id(step["stop"]) in started]


def _id(stop: Any) -> Any:
    return stop.get("id") if isinstance(stop, Mapping) else stop


def _sample(spec: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """At most so many of a spec: first one of each step, in a random order that is always the same."""
    candidates = list(_tests(spec))
    random.Random(f"{SEED} {source.name}").shuffle(candidates)
    firsts = {_step_of(test): test for test in reversed(candidates)}
    chosen = sorted(candidates, key=lambda test: firsts[_step_of(test)] is not test)
    numbered = enumerate(chosen[:PER_SPEC])
    return [{**test, "name": f"{number} {test['name']}"} for number, test in numbered]


def _step_of(test: Mapping[str, Any]) -> str:
    """What the names of all changes of one step begin with."""
    return str(test["name"]).rpartition(": ")[0]


def _mutated(source: Path, home: Path) -> Mutated | None:
    spec = YAML(typ="safe").load(source)
    if spec.get("matrix") or spec.get("metadata", {}).get("labels", {}).get("cluster"):
        return None
    tests = _sample(spec, source)
    if not tests:
        return None
    path = (home / source.relative_to(ROOT)).with_name(f"mutants-{source.name}")
    path.write_text(json.dumps({**spec, "tests": tests}, default=str))  # JSON is YAML
    return Mutated(source=source, path=path, tests=tuple(test["name"] for test in tests))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with copies of the specs and of all that they refer to."""
    project = tmp_path_factory.mktemp("mutants")
    for folder in {source.parent.relative_to(ROOT) for source in SOURCES}:
        # Files that other tests have there meanwhile (`_wrong-x.yaml`) come and go.
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("_*"))
    shutil.copy(ROOT / "koalesce.toml", project)
    return project


@pytest.fixture(scope="module")
def mutated(home: Path) -> list[Mutated]:
    every = [found for source in SOURCES if (found := _mutated(source, home)) is not None]
    return every[::EVERY]


@pytest.fixture(scope="module")
def ran(mutated: list[Mutated], machine: Machine, cluster: str, home: Path) -> Ran:
    specs = [each.path for each in mutated]
    return run(replace(machine, home=home), home, specs, "--cluster", cluster, "--parallel", "16", "-p", "3")


def test_the_sample_is_valid_and_large_enough(mutated: list[Mutated]) -> None:
    problems = [specs for each in mutated if isinstance(specs := loaded(each.path), str)]

    assert problems == []
    assert sum(len(each.tests) for each in mutated) >= FEWEST


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_every_changed_assertion_fails(source: Path, mutated: list[Mutated], ran: Ran, home: Path) -> None:
    found = next((each for each in mutated if each.source == source), None)
    if found is None:
        pytest.skip("it has no assertion that can be changed, or `make test-all` changes it")
    ends = {end.test: end for end in ran.tests(shown(found.path, home)) if end.test != "setup"}
    assert set(ends) == set(found.tests), ran.text

    survivors = {name: f"{end.status}: {end.message}" for name, end in ends.items() if end.status != "failed"}
    early = [
        name for name in ends if name not in survivors and not _is_by_the_change(name, shown(found.path, home), ran)
    ]
    assert (survivors, early) == ({}, [])


def _is_by_the_change(test: str, spec: str, ran: Ran) -> bool:
    """Whether it was the changed step that failed; one before it would tell nothing."""
    failed = {step.title for step in ran.steps(spec, test) if step.status == "failed"}
    return {title.partition(" [")[0] for title in failed} == {_CHANGED}  # without the item of a `foreach`
