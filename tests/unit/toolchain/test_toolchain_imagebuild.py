"""Image definitions and what is made of them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from koalesce.errors import ProvisionError, UsageError
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.definition import BadDefinition, load
from koalesce.toolchain.imagebuild import Contents, ImageBuilder, PlacedFile, inside, read_contents
from koalesce.toolchain.images import ImageStore
from koalesce.toolchain.recipes import Recipe
from koalesce.toolchain.shelf import Shelf

DEFINITION = """\
apiVersion: koalesce.dev/v1alpha1
kind: Image
ref: example/x:1
packages: [iptables, bash]
go:
  - folder: module
    package: example.com/x/cmd/x
    to: /usr/local/bin/x
    ldflags: -X main.version=1
files:
  - {from: motd, to: /etc/motd}
  - {content: "#!/bin/sh\\n", to: /run.sh, mode: "0755"}
  - {from: conf, to: /etc/conf}
links: {/usr/bin/y: ../local/bin/x}
entrypoint: [/usr/local/bin/x]
command: [--help]
env: {MODE: test}
workdir: /tmp
user: "65534:65534"
"""


class FakeDebian(Debian):
    """Packages that are files of their names."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self.unpacked: list[list[str]] = []

    def unpack(self, packages: Sequence[str], into: Path, *, on_host: bool) -> list[str]:
        assert not on_host
        self.unpacked.append(list(packages))
        (into / "usr/bin").mkdir(parents=True)
        for name in packages:
            (into / "usr/bin" / name).write_text(name)
        return [f"{name}.deb" for name in packages]


@pytest.fixture
def debian() -> FakeDebian:
    return FakeDebian()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


@pytest.fixture
def builder(store: ImageStore, debian: FakeDebian, tmp_path: Path) -> ImageBuilder:
    return ImageBuilder(store, Shelf(tmp_path / "shelf"), debian)


def write(tmp_path: Path, text: str = DEFINITION) -> Path:
    folder = tmp_path / "definition"
    (folder / "module").mkdir(parents=True, exist_ok=True)
    (folder / "module" / "go.mod").write_text("module x\n")
    (folder / "motd").write_text("hello")
    (folder / "conf").mkdir(exist_ok=True)
    (folder / "conf" / "a").write_text("a")
    (folder / "image.yaml").write_text(text)
    return folder / "image.yaml"


def fake_build(recipe: Recipe) -> Path:
    path = recipe.folder / "built"
    path.write_text(f"{recipe.packages} {recipe.ldflags}")
    return path


def layers(store: ImageStore, ref: str) -> list[dict[str, str]]:
    """Of each layer: the names in it, with contents or target."""
    _, content, _ = store.manifest(ref) or ("", b"", "")
    found = []
    for entry in json.loads(content)["layers"]:
        path = store.blob(entry["digest"])
        assert path is not None
        facts = {}
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if not member.isdir():
                    facts[member.name] = file.read().decode() if file else f"-> {member.linkname}"
        found.append(facts)
    return found


def test_an_image_is_made_of_what_its_definition_says(store: ImageStore, builder: ImageBuilder, tmp_path: Path) -> None:
    ref = builder.build(read_contents(write(tmp_path), fake_build, root=tmp_path))

    assert ref == "docker.io/example/x:1"
    assert layers(store, ref) == [
        {"bin": "-> usr/bin", "usr/bin/bash": "bash", "usr/bin/iptables": "iptables"},
        {"usr/local/bin/x": "('example.com/x/cmd/x',) -X main.version=1"},
        {"etc/conf/a": "a", "etc/motd": "hello", "run.sh": "#!/bin/sh\n"},
        {"usr/bin/y": "-> ../local/bin/x"},
    ]
    _, content, _ = store.manifest(ref) or ("", b"", "")
    config = store.blob(json.loads(content)["config"]["digest"])
    assert config is not None
    assert json.loads(config.read_bytes())["config"] == {
        "Cmd": ["--help"],
        "Entrypoint": ["/usr/local/bin/x"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MODE=test"],
        "User": "65534:65534",
        "WorkingDir": "/tmp",
    }


def test_building_again_makes_nothing(
    store: ImageStore, builder: ImageBuilder, debian: FakeDebian, tmp_path: Path
) -> None:
    path = write(tmp_path)
    ref = builder.build(read_contents(path, fake_build, root=tmp_path))
    before = store.manifest(ref)

    builder.build(read_contents(path, fake_build, root=tmp_path))

    assert store.manifest(ref) == before
    assert debian.unpacked == [["bash", "iptables"]]


def test_a_changed_file_makes_another_image(store: ImageStore, builder: ImageBuilder, tmp_path: Path) -> None:
    path = write(tmp_path)
    ref = builder.build(read_contents(path, fake_build, root=tmp_path))
    before = store.manifest(ref)
    (path.parent / "motd").write_text("bye")

    builder.build(read_contents(path, fake_build, root=tmp_path))

    assert store.manifest(ref) != before
    assert layers(store, ref)[2]["etc/motd"] == "bye"


def test_an_image_whose_blob_was_lost_is_made_again(store: ImageStore, builder: ImageBuilder) -> None:
    contents = Contents(ref="x", files=(PlacedFile(to="/a", content=b"a"),))
    ref = builder.build(contents)
    _, content, _ = store.manifest(ref) or ("", b"", "")
    path = store.blob(json.loads(content)["layers"][0]["digest"])
    assert path is not None
    path.unlink()

    builder.build(contents)

    assert store.has(ref)


def test_modes_are_those_of_the_definition_or_the_source(
    store: ImageStore, builder: ImageBuilder, tmp_path: Path
) -> None:
    (tmp_path / "definition").mkdir()
    (tmp_path / "definition" / "tool").write_text("x")
    (tmp_path / "definition" / "tool").chmod(0o700)
    text = """\
apiVersion: koalesce.dev/v1alpha1
kind: Image
ref: x
go: [{folder: module, to: /go}, {folder: module, to: /suid, mode: '4755'}]
files: [{from: tool, to: /tool}, {from: motd, to: /m, mode: '0600'}]
"""

    ref = builder.build(read_contents(write(tmp_path, text), fake_build, root=tmp_path))

    _, content, _ = store.manifest(ref) or ("", b"", "")
    modes = []
    for entry in json.loads(content)["layers"]:
        path = store.blob(entry["digest"])
        assert path is not None
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
            modes += [(member.name, member.mode) for member in archive]
    assert modes == [("go", 0o755), ("suid", 0o4755), ("m", 0o600), ("tool", 0o755)]


def test_cgo_programs_are_linked_statically(tmp_path: Path) -> None:
    seen: list[Recipe] = []

    def build(recipe: Recipe) -> Path:
        seen.append(recipe)
        return fake_build(recipe)

    read_contents(
        write(tmp_path, DEFINITION.replace("    ldflags:", "    cgo: true\n    ldflags:")), build, root=tmp_path
    )

    assert (seen[0].cgo, seen[0].tags) == (True, ("netgo", "osusergo"))
    assert seen[0].ldflags == '-extldflags "-static" -X main.version=1'


@pytest.mark.parametrize("missing", ["motd", "module/go.mod"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    path = write(tmp_path)
    (path.parent / missing).unlink()

    with pytest.raises(ProvisionError, match=missing.partition("/")[0]):
        read_contents(path, fake_build, root=tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from: motd", "from: /etc/hostname"),
        ("from: motd", "from: link"),
        ("from: motd", "from: folder"),
        ("folder: module", "folder: .."),
    ],
)
def test_files_outside_of_the_project_are_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in DEFINITION
    path = write(tmp_path / "project", DEFINITION.replace(old, new))
    (tmp_path / "go.mod").write_text("module secret\n")
    (path.parent / "folder").mkdir()
    for link in ("link", "folder/link"):
        (path.parent / link).symlink_to(tmp_path / "go.mod")

    with pytest.raises(UsageError, match="leads outside of the project's folder"):
        read_contents(path, fake_build, root=path.parent)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("packages:", "package:", r':4:1: package: unknown field; did you mean "packages"\?'),
        ("    ldflags:", "    ldflag:", r':9:5: go\[0\]\.ldflag: unknown field; did you mean "ldflags"\?'),
        ("ref: example/x:1\n", "", r":1:1: ref: must be given"),
        ("ref: example/x:1", "ref: 'A B'", r"ref: 'A B' is not an image reference"),
        ("to: /etc/motd", "to: etc/motd", r":11:18: files\[0\]\.to: 'etc/motd' is no place in an image"),
        ("to: /etc/motd", "to: /etc/../motd", r"is no place in an image; write an absolute path"),
        ('mode: "0755"', "mode: 755", r"files\[1\]\.mode: 755 is no mode; write it in quotes"),
        ("{from: motd, to", "{from: motd, content: x, to", r"files\[0\]: give either `from` or `content`"),
        ("[iptables, bash]", "[iptables; rm]", r"'iptables; rm' is no name of a Debian package"),
        ("kind: Image", "kind: Picture", r":2:1: kind: Input should be 'Image'"),
        ("packages: [", "packages: [[", r"invalid YAML"),
    ],
)
def test_a_mistake_in_a_definition_has_its_place(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in DEFINITION

    with pytest.raises(BadDefinition, match=problem):
        load(write(tmp_path, DEFINITION.replace(old, new)))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = DEFINITION.replace("packages:", "package:").replace("kind: Image\n", "")

    with pytest.raises(BadDefinition) as caught:
        load(write(tmp_path, text))

    assert len(caught.value.message.splitlines()) == 2


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_something_else_is_no_definition(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadDefinition, match=":1:1: not an image definition"):
        load(write(tmp_path, text))


def test_a_missing_definition_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadDefinition, match="can't be read: No such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("place", ["/", "", "/../x", "/a/../../x"])
def test_places_stay_inside_the_image(place: str) -> None:
    with pytest.raises(ProvisionError, match="is no place in an image"):
        inside(place)
