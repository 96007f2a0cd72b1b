"""Objects written as YAML mean the same when kubectl reads them."""

from __future__ import annotations

from typing import Any

import pytest

from koalesce.yaml import parse_manifests
from koalesce.yaml.writing import dump


@pytest.mark.parametrize(
    "value",
    [
        "on", "yes", "n", "12", "0644", "1e3", "12:30", "2026-01-01", "null", "~", "", " padded ", "a: b", "# no", "- x", "*a", "&a",
        "two\nlines\n", "trailing \nblank", "tab\there", "é ☃", "'", '"', "{}", "1_000", "0x10", ".5", "=", "true", True, None, 3, 2.5,
        ["a", ["b"], {}], {"b": 1, "a": {"c": []}},
    ],
)  # fmt: skip
def test_what_is_written_is_read_back_by_kubectls_rules(value: Any) -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"value": value, "again": value}}

    (manifest,) = parse_manifests(dump(obj), "dumped.yaml")

    assert manifest.object == obj


def test_text_of_several_lines_is_a_block() -> None:
    assert dump({"script": "a\nb\n"}) == "script: |\n  a\n  b\n"
