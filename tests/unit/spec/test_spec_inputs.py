"""What a spec reads beside itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from koalesce.spec import inputs, load
from koalesce.spec.files import SpecFiles, UncheckedExpressions
from koalesce.spec.inputs import Input, Inputs

CONFIG = "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "koalesce.toml").touch()
    folder = tmp_path / "m"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.yaml").write_text(CONFIG)
    (folder / "b.yaml").write_text(CONFIG)
    (folder / "readme.md").write_text("")
    (folder / "deep" / "c.yaml").write_text(CONFIG)
    (tmp_path / "link.yaml").symlink_to("m/a.yaml")
    return tmp_path


def noted(files: SpecFiles) -> list[str]:
    return [
        " ".join([each.kind, str(Path(each.name).relative_to(files.folder)), each.pattern]).strip()
        for each in files.inputs.seen
    ]


def test_whatever_is_asked_for_is_noted(project: Path) -> None:
    files = SpecFiles(project, project)

    files.resolve("m")
    files.resolve("m/**/*.md")
    files.confined("m/deep")
    files.resolve("link.yaml")

    assert noted(files) == [
        "file link.yaml", "file m/a.yaml", "file m/b.yaml", "file m/deep", "file m/readme.md", "glob . m/**/*.md", "listing m",
    ]  # fmt: skip


def test_a_path_that_is_not_known_yet_is_none(project: Path) -> None:
    files = UncheckedExpressions(project, project)

    files.resolve("${{ outputs.x }}.yaml")
    files.confined("${{ outputs.x }}")

    assert noted(files) == []


@pytest.mark.parametrize(
    ("ask", "change"),
    [
        (lambda files: files.resolve("m/a.yaml"), lambda root: (root / "m/a.yaml").write_text("{}")),
        (lambda files: files.resolve("m/a.yaml"), lambda root: (root / "m/a.yaml").unlink()),
        (lambda files: files.resolve("m/a.yaml"), lambda root: (root / "m/a.yaml").chmod(0o755)),
        (lambda files: files.resolve("m"), lambda root: (root / "m/new.yaml").touch()),
        (lambda files: files.resolve("m"), lambda root: (root / "m/b.yaml").unlink()),
        (lambda files: files.resolve("m"), lambda root: (root / "m/b.yaml").write_text("{}")),
        (lambda files: files.resolve("m/**/*.yaml"), lambda root: (root / "m/deep/new.yaml").touch()),
        (lambda files: files.resolve("m/**/*.yaml"), lambda root: (root / "m/deep/c.yaml").write_text("{}")),
        (lambda files: files.confined("m"), lambda root: (root / "m/deep/c.yaml").write_text("{}")),
        (lambda files: files.confined("m"), lambda root: (root / "m/deep/c.yaml").rename(root / "m/deep/d.yaml")),
        (lambda files: files.resolve("link.yaml"), lambda root: (root / "m/a.yaml").write_text("{}")),
        (lambda files: files.runs(str(files.root / "m/a.yaml")), lambda root: (root / "m/a.yaml").write_text("{}")),
    ],
)
def test_a_change_of_it_is_seen(
    project: Path, ask: Callable[[SpecFiles], object], change: Callable[[Path], object]
) -> None:
    files = SpecFiles(project, project)
    ask(files)
    files.inputs.watch()
    assert files.inputs.changed() is None

    change(project)

    assert files.inputs.changed() is not None


def test_a_link_that_leads_elsewhere_now_is_a_change(project: Path) -> None:
    (project / "other.yaml").write_text("{}")
    files = SpecFiles(project, project)
    files.resolve("link.yaml")
    files.inputs.watch()

    (project / "link.yaml").unlink()
    (project / "link.yaml").symlink_to("other.yaml")

    assert files.inputs.changed() is not None


@pytest.mark.parametrize(
    "change", [lambda root: (root / "m/readme.md").write_text("x"), lambda root: (root / "m/a.yaml").touch()]
)
def test_what_is_beside_it_and_times_do_not_matter(project: Path, change: Callable[[Path], object]) -> None:
    files = SpecFiles(project, project)
    files.resolve("m")
    files.inputs.watch()

    change(project)

    assert files.inputs.changed() is None


def test_what_is_read_later_is_told_by_its_contents_then(project: Path) -> None:
    files = SpecFiles(project, project)
    files.inputs.watch()
    (project / "m/a.yaml").write_text("{}")
    files.resolve("m/a.yaml")

    assert files.inputs.changed() is None


def test_a_folder_with_too_much_in_it_is_a_reason_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_MOST_FILES", 2)
    found = Inputs()
    found.note(Input("file", str(project / "m")))

    found.watch()

    assert found.beyond == [f"the folder {project}/m has too much in it to be looked at for changes"]


def test_a_spec_that_is_loaded_has_noted_its_files_those_of_groups_and_includes_too(project: Path) -> None:
    (project / "shared").mkdir()
    (project / "shared" / "inner.yaml").write_text(CONFIG)
    (project / "shared" / "steps.yaml").write_text(
        "apiVersion: koalesce.dev/v1alpha1\nkind: Steps\n"
        "groups: {one: {steps: [{apply: {file: inner.yaml}}]}}\n"
        "setup: {steps: [{apply: {file: inner.yaml}}]}\n"
    )
    spec = project / "spec.yaml"
    spec.write_text(
        "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\nmetadata: {name: x}\ninclude: [shared/steps.yaml]\n"
        "cluster: {auditPolicy: policy.yaml}\n"
        "components: [{name: c, manifests: [m]}]\n"
        "tests: [{name: t, steps: [{apply: {file: 'm/deep/*.yaml'}}, {use: '#one'}, {script: {file: run.sh}}]}]\n"
    )
    (project / "policy.yaml").write_text("{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: None}]}\n")
    (project / "run.sh").touch()

    assert noted(load(spec).files) == [
        "file m/a.yaml", "file m/b.yaml", "file m/deep/c.yaml", "file policy.yaml", "file run.sh",
        "file shared/inner.yaml", "file shared/steps.yaml", "glob . m/deep/*.yaml", "listing m",
    ]  # fmt: skip
