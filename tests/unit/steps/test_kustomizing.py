"""Whether all that a kustomization reads lies in its own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from koalesce.steps.objects.kustomizing import way_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "web.yaml").write_text("{}")
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: [web.yaml]\n")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "resources: [base]\nnamePrefix: my-\n",
        'resources: [base/web.yaml]\npatches: [{patch: "- op: add\\n  path: /a/../b"}]\n',
        "configMapGenerator: [{name: a, literals: [b=c]}]\n",
    ],
)
def test_nothing_leads_out_of_a_folder_that_is_all_there_is(folder: Path, text: str) -> None:
    (folder / "kustomization.yaml").write_text(text)

    assert way_out(folder) == ""


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("resources: [../other]", "../other"),
        ("resources: [web.yaml, github.com/org/repo//base?ref=v1]", "github.com/org/repo//base?ref=v1"),
        ("bases: ['https://example.com/base']", "https://example.com/base"),
        ("configMapGenerator: [{name: a, files: [../../secret]}]", "../../secret"),
        ("patches: [{path: 'https://example.com/patch.yaml'}]", "https://example.com/patch.yaml"),
        ("helmCharts: [{name: web, repo: x}]", "helmCharts"),
    ],
)
def test_a_way_out_is_found_also_below(folder: Path, text: str, way: str) -> None:
    (folder / "kustomization.yaml").write_text("resources: [base]\n")
    (folder / "base" / "kustomization.yaml").write_text(text)

    assert way_out(folder) == way


def test_what_cannot_be_read_may_lead_anywhere(folder: Path) -> None:
    (folder / "kustomization.yaml").write_text("a: [")

    assert way_out(folder)
