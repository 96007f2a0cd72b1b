"""Builds from Go modules: real ones, of tiny programs, where a Go compiler is."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from koalesce.errors import Interrupted
from koalesce.toolchain import gobuild
from koalesce.toolchain.gobuild import BuildFailed, GoBuilder, GoMissing, failure, find_go
from koalesce.toolchain.recipes import Recipe, load
from koalesce.toolchain.shelf import FullDisk

needs_go = pytest.mark.skipif(find_go() is None, reason="needs a Go compiler")
PROGRAM = 'package main\n\nvar version = "unknown"\n\nfunc main() { print(version) }\n'


def recipe(folder: Path, source: str = PROGRAM, **more: object) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text("module example.com/tiny\n\ngo 1.21\n")
    (folder / "main.go").write_text(source)
    fields = {"tool": "tiny", "version": "1.0.0", "packages": (".",), "binaries": ("tiny",), "output": "tiny"}
    return Recipe(folder=folder, **{**fields, **more})  # type: ignore[arg-type]  # a mix of types


@needs_go
def test_builds_a_static_binary_with_its_version(tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()

    GoBuilder().build(recipe(tmp_path / "tiny", variables=("main.version=v1.0.0",), links=("alias",)), into)

    assert subprocess.run([into / "alias"], capture_output=True, check=True).stderr == b"v1.0.0"
    assert sorted(path.name for path in into.iterdir()) == ["alias", "tiny"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "tiny"]


@needs_go
def test_builds_the_tests_of_a_package(tmp_path: Path) -> None:
    made = recipe(tmp_path / "tiny", output="tiny.test", binaries=("tiny.test",), test=True)
    (tmp_path / "tiny" / "main_test.go").write_text(
        'package main\n\nimport "testing"\n\nfunc TestVersion(t *testing.T) { t.Fatal("version is " + version) }\n'
    )
    (tmp_path / "into").mkdir()

    GoBuilder().build(made, tmp_path / "into")

    ran = subprocess.run([tmp_path / "into" / "tiny.test"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "version is unknown" in ran.stdout


def test_names_a_program_that_has_no_version_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gobuild, "find_go", lambda: "/bin/false")
    said: list[str] = []

    with pytest.raises(BuildFailed, match="building tiny failed"):
        GoBuilder(progress=said.append).build(recipe(tmp_path / "tiny", version=""), tmp_path)

    assert said[0].startswith("building tiny from its Go module: ")


@needs_go
def test_a_failed_build_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"(?s)building tiny 1\.0\.0 failed.*main\.go:1:.*undefined: nothing"):
        GoBuilder().build(recipe(tmp_path / "tiny", "package main; func main() { nothing() }\n"), tmp_path)


@needs_go
def test_a_build_that_lacks_a_binary_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()

    with pytest.raises(BuildFailed, match="did not make other"):
        GoBuilder().build(recipe(tmp_path / "tiny", binaries=("tiny", "other")), tmp_path / "into")


@needs_go
def test_a_module_that_is_not_pinned_is_refused(tmp_path: Path) -> None:
    source = 'package main\n\nimport "golang.org/x/sys/unix"\n\nfunc main() { unix.Getpid() }\n'

    with pytest.raises(BuildFailed, match=r"golang\.org/x/sys"):
        GoBuilder().build(recipe(tmp_path / "tiny", source), tmp_path)


@needs_go
def test_a_cancelled_build_is_interrupted(tmp_path: Path) -> None:
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(Interrupted):
        GoBuilder(cancel=cancel).build(recipe(tmp_path / "tiny"), tmp_path)


def test_without_go_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gobuild, "find_go", lambda: None)

    with pytest.raises(GoMissing, match=r"building tiny 1\.0\.0 needs the Go compiler, and there is no `go` on PATH"):
        GoBuilder().build(recipe(tmp_path / "tiny"), tmp_path)


def test_announces_the_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gobuild, "find_go", lambda: "/bin/false")
    said: list[str] = []

    with pytest.raises(BuildFailed):
        GoBuilder(progress=said.append).build(recipe(tmp_path / "tiny", minutes=10), tmp_path)

    assert said == [
        "building tiny 1.0.0 from its Go module: about 10 minutes on two cores the first time, kept after that"
    ]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("go: x: Get https://goproxy.example.com/: dial tcp: lookup goproxy.example.com: no such host", "set GOPROXY"),
        ("module lookup disabled by GOPROXY=off", "set GOPROXY"),
        ("verifying x@v1.0.0: checksum mismatch", "something else than what is pinned"),
        ("./main.go:1: syntax error", "the output above says why"),
    ],
)
def test_a_failure_says_what_to_do(line: str, hint: str) -> None:
    assert hint in (failure("building x failed", [line], Path("/cache")).hint or "")


def test_a_full_disk_is_told_from_other_failures() -> None:
    error = failure("building x failed", ["link: write: no space left on device"], Path("/cache"))

    assert isinstance(error, FullDisk)


def test_the_digest_follows_all_that_changes_the_binary(tmp_path: Path) -> None:
    digests = {
        recipe(tmp_path / "a").digest(),
        recipe(tmp_path / "a", PROGRAM + "// changed\n").digest(),
        recipe(tmp_path / "a", variables=("main.version=v2",)).digest(),
        recipe(tmp_path / "a", tags=("x",)).digest(),
        recipe(tmp_path / "a", test=True).digest(),
        recipe(tmp_path / "a", cgo=True).digest(),
    }
    assert len(digests) == 6
    assert recipe(tmp_path / "a").digest() == recipe(tmp_path / "b").digest()


def test_the_digest_follows_modules_beside(tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "x.go").write_text("package beside\n")
    made = recipe(tmp_path / "a")
    with (made.folder / "go.mod").open("a") as file:
        file.write("replace example.com/beside => ../beside\n")
    before = made.digest()

    (beside / "x.go").write_text("package beside // changed\n")

    assert made.digest() != before


def test_hidden_files_tests_and_recipes_do_not_count(tmp_path: Path) -> None:
    made = recipe(tmp_path / "a")
    before = made.digest()
    (made.folder / ".git").mkdir()
    (made.folder / ".git" / "HEAD").touch()
    (made.folder / "tiny.recipe.toml").touch()
    (made.folder / "main_test.go").touch()

    assert made.digest() == before


def test_a_broken_recipe_is_said(tmp_path: Path) -> None:
    from koalesce.errors import ProvisionError

    (tmp_path / "x.recipe.toml").write_text('tool = "x"\nbinary = "y"\n')

    with pytest.raises(ProvisionError, match=r"x\.recipe\.toml: not a recipe"):
        load(tmp_path / "x.recipe.toml")
