"""What is shown where a step has the wrong shape is itself right."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.spec import InvalidSpecs, load
from koalesce.spec.entries import body_of
from koalesce.spec.samples import SAMPLES
from koalesce.steps import STEPS
from koalesce.yaml import read

HEAD = "{apiVersion: koalesce.dev/v1alpha1, kind: Spec, metadata: {name: a}, tests: [{name: t, steps: [%s]}]}"


@pytest.mark.parametrize("key", STEPS)
def test_every_step_type_has_a_sample_that_is_valid(key: str) -> None:
    (written,), problems = read(SAMPLES[key], "sample.yaml")

    assert problems == []
    STEPS[key].model_validate(body_of(STEPS[key], written.value)[0])


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("create: 7", "create: expected a list or a map, found the number 7; as in create: web.yaml"),
        ("script: [a]", "script: expected a text or a map, found a list; as in script: kubectl get pods"),
        ("script: 7", "script: expected a text or a map, found the number 7; as in script: kubectl get pods"),
        ("wait-for: [a]", "expected a map, found a list; as in wait-for: {resource: pod/web, condition: Ready}"),
        ("sleep: null", 'sleep: missing field "duration"; as in sleep: 5s'),
        ("sleep: {duration: 1s, time: 2s}", "sleep.time: unknown field"),
    ],
)
def test_a_step_of_the_wrong_shape_is_shown_the_right_one(step: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(HEAD % f"{{{step}}}")

    with pytest.raises(InvalidSpecs) as invalid:
        load(file, providers=["local"])

    (found,) = invalid.value.problems
    assert problem in found.headline
