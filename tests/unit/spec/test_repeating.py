"""Specs on several versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.errors import UsageError
from koalesce.spec import load_all
from koalesce.spec.repeating import on_versions

SPEC = """\
apiVersion: koalesce.dev/v1alpha1
kind: Spec
metadata: {name: a}
matrix: {MATRIX}
tests: [{name: t, steps: [{sleep: 1ms}]}]
"""


def test_each_cell_is_asked_for_on_each_version(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC.replace("MATRIX", "size: [1, 2]"))

    found = on_versions(load_all([tmp_path / "a.yaml"], root=tmp_path), ["1.34", "1.37"])

    assert [(str(each.cell), each.cluster().kubernetes, each.request("n", "r").kubernetes) for each in found] == [
        ("size=1, kubernetes=1.34", "1.34", "1.34"),
        ("size=1, kubernetes=1.37", "1.37", "1.37"),
        ("size=2, kubernetes=1.34", "1.34", "1.34"),
        ("size=2, kubernetes=1.37", "1.37", "1.37"),
    ]
    assert len({each.shown for each in found}) == 4


def test_a_spec_with_such_an_axis_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC.replace("MATRIX", 'kubernetes: ["1.34"]'))

    with pytest.raises(UsageError, match=r'its matrix has an axis "kubernetes" of its own'):
        on_versions(load_all([tmp_path / "a.yaml"], root=tmp_path), ["1.34", "1.37"])
