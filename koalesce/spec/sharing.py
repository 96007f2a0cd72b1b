"""A file that specs share, checked by itself: as far as that can be done without a spec that uses it."""

from __future__ import annotations

from pathlib import Path as FilePath

from koalesce.expressions import has_expression
from koalesce.spec.entries import REQUIRED
from koalesce.spec.files import UncheckedExpressions
from koalesce.spec.include import Including
from koalesce.spec.inputs import Inputs
from koalesce.spec.loader import InvalidSpecs
from koalesce.spec.project import Project
from koalesce.spec.reading import StepList, StepReader
from koalesce.spec.shared import Groups, Shared, SharedFiles
from koalesce.yaml import Problem


def check_shared(path: FilePath) -> Shared:
    """Check its form, its steps as far as values are known, the groups that they use, and what it includes; InvalidSpecs with every problem."""
    project = Project.find(path.parent)
    files = SharedFiles(project.root, Inputs())
    shared = files.read(path.resolve())
    if shared is None:
        raise InvalidSpecs(files.problems)
    including = Including(shared.source, files)
    including.include(shared.file)
    problems = including.problems + _of_steps(shared, Groups(files, including.groups))
    problems += files.problems
    if problems:
        raise InvalidSpecs(sorted(dict.fromkeys(problems), key=lambda each: (each.path, each.line, each.column)))
    return shared


def _of_steps(shared: Shared, groups: Groups) -> list[Problem]:
    folder = UncheckedExpressions(shared.file.parent, groups.files.root, groups.files.inputs)
    found: list[Problem] = []
    for group in shared.groups.values():
        reader = StepReader(shared.source, folder, groups, (group,))
        known = {
            name: value for name, value in group.params.items() if value is not REQUIRED and not has_expression(value)
        }
        for index, raw in enumerate(group.steps):
            reader.read(raw, StepList((*group.where, "steps"), "steps"), index, {"params": known})
        found += reader.problems
    reader = StepReader(shared.source, folder, groups)
    setup = shared.data.get("setup", {})
    for field in ("steps", "onFailure"):
        for index, raw in enumerate(setup.get(field, [])):
            reader.read(raw, StepList(("setup", field), "setup"), index, {})
    return found + reader.problems
