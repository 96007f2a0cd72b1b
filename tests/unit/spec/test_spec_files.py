"""Which files are specs, and which files specs may read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from koalesce.errors import UsageError
from koalesce.spec import discover
from koalesce.spec.files import SpecFiles, UncheckedExpressions, similar_file
from koalesce.spec.project import Project, project_root

SPEC = "apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n"
POD = "apiVersion: v1\nkind: Pod\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_specs_are_found_below_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        {
            "b.yaml": SPEC,
            "a.yml": f"# a comment\n---\n{SPEC}",
            "deep/down/c.yaml": '\ufeffkind: "Spec"\nmetadata: {}\napiVersion: "koalesce.dev/v2"\n',
            "pod.yaml": POD,
            "second.yaml": f"{POD}---\n{SPEC}",
            "image.yaml": "apiVersion: koalesce.dev/v1alpha1\nkind: Image\n",
            "nested.yaml": f"data: |\n  {SPEC}",
            "_off.yaml": SPEC,
            ".hidden/d.yaml": SPEC,
            "_off/d.yaml": SPEC,
            "testdata/d.yaml": SPEC,
            "notes.txt": SPEC,
        },
    )
    found = ["a.yml", "b.yaml", "deep/down/c.yaml"]

    assert [str(path) for path in discover([])] == found
    assert [str(path) for path in discover(["./..."])] == found
    assert [str(path) for path in discover(["."])] == found
    assert [str(path) for path in discover(["deep", "b.yaml", "./b.yaml", "deep/..."])] == [
        "deep/down/c.yaml",
        "b.yaml",
    ]
    assert [str(path) for path in discover(["pod.yaml", "testdata"])] == ["pod.yaml", "testdata/d.yaml"]


def test_what_a_project_excludes_is_found_only_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "bad/b.yaml", "bad/deep/c.yaml", "docs/x/d.yaml", "docs/x/e-slow.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("apiVersion: koalesce.dev/v1alpha1\nkind: Spec\n")
    (tmp_path / "koalesce.toml").write_text('exclude = ["bad/", "docs/*-slow.yaml"]')

    assert [str(path) for path in discover([])] == ["a.yaml", "docs/x/d.yaml"]
    assert [str(path) for path in discover(["bad", "docs/x/e-slow.yaml"])] == [
        "bad/b.yaml",
        "bad/deep/c.yaml",
        "docs/x/e-slow.yaml",
    ]


def test_a_path_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"quickstart.yaml": SPEC})

    with pytest.raises(UsageError) as caught:
        discover(["quikstart.yaml"])

    assert str(caught.value) == 'quikstart.yaml: no such file or folder\n  hint: did you mean "quickstart.yaml"?'


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)  # for root, no folder refuses to be read

    with pytest.raises(UsageError) as caught:
        discover([str(tmp_path)])

    assert str(caught.value) == f"{tmp_path}: can't be read: Permission denied"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("deploymnt.yaml", 'did you mean "deployment.yaml"?'),
        ("deployment.yml", 'did you mean "deployment.yaml"?'),
        ("nope.yaml", None),
        ("gone/nope.yaml", None),
    ],
)
def test_a_similar_file_is_suggested(tmp_path: Path, path: str, hint: str | None) -> None:
    write(tmp_path, {"deployment.yaml": POD, "types.yaml": POD, "notes.txt": ""})

    assert similar_file(tmp_path / path) == hint


@pytest.fixture
def files(tmp_path: Path) -> SpecFiles:
    write(
        tmp_path,
        {
            "project/specs/m/b.yaml": POD,
            "project/specs/m/a.json": "{}",
            "project/specs/m/readme.md": "",
            "project/specs/m/deep/c.yaml": POD,
            "project/specs/empty/x.txt": "",
            "project/shared.yaml": POD,
            "outside.yaml": POD,
        },
    )
    (tmp_path / "project/specs/inward.yaml").symlink_to("../shared.yaml")
    (tmp_path / "project/specs/outward.yaml").symlink_to(tmp_path / "outside.yaml")
    (tmp_path / "project/specs/outfolder").symlink_to(tmp_path)
    (tmp_path / "project/specs/round").symlink_to("round")
    return SpecFiles(tmp_path / "project/specs", tmp_path / "project")


def names(files: SpecFiles, path: str) -> list[str]:
    return [str(found.relative_to(files.root)) for found in files.resolve(path)]


def test_a_path_is_a_file_the_manifests_of_a_folder_or_a_glob(files: SpecFiles) -> None:
    assert names(files, "m/b.yaml") == ["specs/m/b.yaml"]
    assert names(files, "m/readme.md") == ["specs/m/readme.md"]
    assert names(files, "m") == ["specs/m/a.json", "specs/m/b.yaml"]
    assert names(files, "m/**/*.yaml") == ["specs/m/b.yaml", "specs/m/deep/c.yaml"]
    assert names(files, "../shared.yaml") == ["shared.yaml"]
    assert names(files, "inward.yaml") == ["shared.yaml"]
    assert names(files, "../*.yaml") == ["shared.yaml"]


@pytest.mark.parametrize(
    "path",
    [
        "../../outside.yaml",
        "outward.yaml",
        "outfolder/outside.yaml",
        "/etc/hostname",
        "m/../../../outside.yaml",
        "outfolder/*.yaml",
        "/etc/*",
    ],
)
def test_nothing_outside_of_the_project_is_read(files: SpecFiles, path: str) -> None:
    with pytest.raises(UsageError, match="leads outside of the project's folder"):
        files.resolve(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("m/bb.yaml", 'm/bb.yaml: no such file\n  hint: did you mean "b.yaml"?'),
        ("m/*.toml", "m/*.toml: no file is called so"),
        ("empty", "empty: the folder has no manifests (.yaml, .yml, .json)"),
        ("a\0b", "a path has no NUL characters"),
    ],
)
def test_what_is_not_there_is_told(files: SpecFiles, path: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        files.resolve(path)

    assert str(caught.value) == message


def test_a_link_that_goes_round_is_told(files: SpecFiles) -> None:
    with pytest.raises(UsageError, match="round"):
        files.resolve("round")


def test_paths_with_expressions_wait_until_they_are_filled_in(files: SpecFiles) -> None:
    unchecked = UncheckedExpressions(files.folder, files.root)

    assert unchecked.resolve("${{ vars.x }}/y.yaml") == []
    with pytest.raises(UsageError):
        unchecked.resolve("y.yaml")


def test_the_project_begins_at_its_settings_or_repository(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a/pyproject.toml": "[tool.koalesce]\nenv = ['X']\n",
            "a/b/c/s.yaml": SPEC,
            "d/pyproject.toml": "[tool.x]\n",
            "e/koalesce.toml": "",
        },
    )
    (tmp_path / "e/f/.git").mkdir(parents=True)

    assert project_root(tmp_path / "a/b/c") == tmp_path / "a"
    assert project_root(tmp_path / "e/f") == tmp_path / "e/f"
    assert project_root(tmp_path / "e") == tmp_path / "e"
    assert Project.find(tmp_path / "a/b").env_names == {"X"}
    assert Project.find(tmp_path / "a/b").visible({"X": "1", "Y": "2"}) == {"X": "1"}


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("koalesce.toml", '# mine\nenvv = ["X"]\n', ':2: envv: unknown setting\n  hint: did you mean "env"?'),
        (
            "koalesce.toml",
            "env = []\n\n[limits]\nx = 1\n",
            ":3: limits: unknown setting\n  hint: there are the settings env and exclude, and the table [run]",
        ),
        (
            "koalesce.toml",
            "[tool.koalesce.run]\nparallel = 8\n",
            ":1: tool: unknown setting\n  hint: tables of koalesce.toml have no tool.koalesce before their names: [run]",
        ),
        (
            "pyproject.toml",
            "[project]\nname = 'x'\n[tool.koalesce.runs]\nparallel = 8\n",
            ':3: tool.koalesce.runs: unknown setting\n  hint: did you mean "run"?',
        ),
        (
            "pyproject.toml",
            "[tool.koalesce]\nexclude = 'x'\n",
            ":2: tool.koalesce.exclude: expected a list of globs, got 'x'\n  hint: exclude = [\"…\"]",
        ),
    ],
)
def test_what_is_wrong_with_settings_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, told: str
) -> None:
    write(tmp_path, {file: text, "below/x": ""})

    for folder, shown in ((tmp_path, file), (tmp_path / "below", str(tmp_path / file))):
        monkeypatch.chdir(folder)
        with pytest.raises(UsageError) as caught:
            Project.find(folder)
        assert str(caught.value) == f"{shown}{told}"


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        ("koalesce.toml", "env = ['A',\n\n[run]\n", r":3:\d+"),
        ("pyproject.toml", '[tool.koalesce]\nenv = ["A\n', r":2:\d+"),
        ("koalesce.toml", "[run]\n\nparallel = ", ":3"),
    ],
)
def test_what_is_not_toml_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, place: str
) -> None:
    write(tmp_path, {file: text})
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        Project.find(tmp_path)

    hint = re.escape('  hint: it must be TOML, such as timeout = "10m" below [run]')
    assert re.fullmatch(rf"{re.escape(file)}{place}: [a-z].*\n{hint}", str(caught.value))


def test_settings_that_are_not_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "koalesce.toml").write_bytes(b"env = ['\xff']")

    with pytest.raises(UsageError, match=r"koalesce\.toml: not UTF-8: invalid start byte\n  hint: save it as UTF-8"):
        Project.find(tmp_path)


def test_a_glob_takes_the_specs_among_what_it_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"dns-a.yaml": SPEC, "dns-pod.yaml": POD, "deep/dns/b.yaml": SPEC, "c.yaml": SPEC})

    assert list(map(str, discover(["dns-*"]))) == ["dns-a.yaml"]
    assert list(map(str, discover(["**/dns*"]))) == ["deep/dns/b.yaml", "dns-a.yaml"]


@pytest.mark.parametrize(
    ("pattern", "message"), [("x*", "matches nothing"), ("p*", "nothing that it matches is a spec")]
)
def test_a_glob_without_specs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"pod.yaml": POD})

    with pytest.raises(UsageError, match=message):
        discover([pattern])
