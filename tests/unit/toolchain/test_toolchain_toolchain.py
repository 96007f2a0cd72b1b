"""The toolchain as a whole: versions, what a local cluster gets, and the commands that show it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from koalesce.cli.main import main
from koalesce.errors import UsageError
from koalesce.steps import network_policy
from koalesce.toolchain import Toolchain, gobuild, system
from koalesce.toolchain.debian import Debian
from koalesce.toolchain.generate import Generator
from koalesce.toolchain.gobuild import GoMissing
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.releases import Releases
from tests.unit.toolchain.images_data import docker_save, layer, tar
from tests.unit.toolchain.web import Answer, Web


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a machine on which no binary is on PATH."""
    monkeypatch.setenv("KOALESCE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "/nonexistent")
    return tmp_path / "cache"


@pytest.fixture
def own_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Binaries for every tool, named by the environment, and Debian packages without Debian."""
    folder = tmp_path / "own"
    for tool, release in Releases.load(tmp_path / "none").tools.items():
        for name in release.binaries:
            (folder / tool).mkdir(parents=True, exist_ok=True)
            (folder / tool / name).write_text(f"#!/bin/sh\necho {name}\n")
            (folder / tool / name).chmod(0o755)
        monkeypatch.setenv(f"KOALESCE_TOOL_{tool.upper().replace('-', '_')}", str(folder / tool))

    def unpack(self: Debian, packages: Sequence[str], into: Path, *, on_host: bool) -> list[str]:
        (into / "usr" / "sbin").mkdir(parents=True)
        (into / "usr" / "host").write_text(str(on_host))
        for package in packages:
            (into / "usr" / "sbin" / package).touch(mode=0o755)
        return list(packages)

    monkeypatch.setattr(Debian, "unpack", unpack)
    return folder


@pytest.mark.parametrize("text", ["1.37", "1.37.2", "v1.37.2", "v1.37", ""])
def test_a_version_is_completed(cache: Path, text: str) -> None:
    assert Toolchain().resolve_version(text) == "1.37.2"


@pytest.mark.parametrize("text", ["1.33", "1.37.1", "1", "2.0", "latest", "1.37.2.1"])
def test_an_unsupported_version_lists_the_supported_ones(cache: Path, text: str) -> None:
    supported = r"1\.37\.2, 1\.36\.3, 1\.35\.4, 1\.34\.4"
    with pytest.raises(UsageError, match=rf"Kubernetes {text} isn't supported; supported are {supported}") as caught:
        Toolchain().resolve_version(text)

    assert caught.value.hint == f"koalesce toolchain add {text}"


def test_a_local_cluster_gets_its_parts(cache: Path, own_tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "HOST_PATH", "/nonexistent")
    toolchain = Toolchain()

    tools = toolchain.local_cluster("1.34", dns="coredns")

    assert tools.kubernetes == own_tools / "kubernetes"
    assert tools.runc == own_tools / "runc" / "runc"
    assert tools.probe == own_tools / "koalesce-probe" / "koalesce-probe"
    assert [(root / "usr" / "host").read_text() for root in tools.system] == ["True"]
    assert "iptables" in (tools.system[0] / "packages.txt").read_text().split()
    assert tools.images == {
        "pause": "koalesce.dev/pause:1",
        "probe": "registry.k8s.io/e2e-test-images/agnhost:2.66.1",
        "coredns": "registry.k8s.io/coredns/coredns:v1.14.7",
    }
    assert all(toolchain.images.has(ref) for ref in tools.images.values())


def test_nothing_is_unpacked_where_the_host_has_everything(
    cache: Path, own_tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in system.COMMANDS:
        (bin_folder / name).touch()
        (bin_folder / name).chmod(0o755)
    monkeypatch.setattr(system, "HOST_PATH", str(bin_folder))

    assert Toolchain().local_cluster("1.37", dns="none").system == ()


def test_a_command_is_the_hosts_or_that_of_its_package(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "HOST_PATH", str(tmp_path))
    monkeypatch.setattr(system.SystemPackages, "provide", lambda self, packages: Path("/unpacked", *packages))

    assert Toolchain().with_command("tcpdump") == Path("/unpacked/tcpdump")
    (tmp_path / "tcpdump").touch(mode=0o755)
    assert Toolchain().with_command("tcpdump") == Path("/")


def test_the_minutes_of_the_builds_ahead_are_announced(
    cache: Path, own_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KOALESCE_TOOL_KUBERNETES")
    monkeypatch.delenv("KOALESCE_TOOL_ETCD")
    monkeypatch.setattr(gobuild, "find_go", lambda: None)
    said: list[str] = []

    with pytest.raises(GoMissing):
        Toolchain(progress=said.append).local_cluster("1.37")

    assert said[0] == "making what isn't there yet: etcd, kubernetes; up to 12 minutes on two cores, once"


def test_what_came_with_the_unpacked_packages_is_not_announced(
    cache: Path, own_tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "HOST_PATH", "/nonexistent")
    monkeypatch.delenv("KOALESCE_TOOL_RUNC")
    monkeypatch.delenv("KOALESCE_TOOL_ETCD")
    Toolchain(paths={"etcd": own_tools / "etcd"}).local_cluster("1.37")
    monkeypatch.setattr(gobuild, "find_go", lambda: None)
    said: list[str] = []

    with pytest.raises(GoMissing):
        Toolchain(progress=said.append).local_cluster("1.37")

    assert said[0].startswith("making what isn't there yet: etcd; ")


def test_an_addon_brings_its_image(cache: Path, own_tools: Path) -> None:
    toolchain = Toolchain()

    assert "metrics-server" not in toolchain.local_cluster("1.37").images
    images = toolchain.local_cluster("1.37", dns="none", addons=["local-path", "metrics-server"]).images
    assert images["metrics-server"] == "registry.k8s.io/metrics-server/metrics-server:v0.9.0"
    assert toolchain.images.has(images["metrics-server"])
    assert "coredns" not in images


@pytest.mark.parametrize("version", ["1.34", "1.35", "1.36", "1.37"])
def test_the_test_image_has_one_name_whatever_the_version(cache: Path, own_tools: Path, version: str) -> None:
    """So that a spec, and the step `network-policy`, may name it in a matrix of versions."""
    assert Toolchain().local_cluster(version).images["probe"] == network_policy.IMAGE


def test_without_dns_there_is_no_coredns(cache: Path, own_tools: Path) -> None:
    assert "coredns" not in Toolchain().local_cluster("1.37", dns="none").images


def test_static_components_have_images_under_their_publishers_names(cache: Path, own_tools: Path) -> None:
    kubernetes = own_tools / "kubernetes"
    (kubernetes / "kube").write_text("#!/bin/sh\necho all of it\n")
    (kubernetes / "kube").chmod(0o755)
    for name in ("kube-apiserver", "kube-scheduler"):
        (kubernetes / name).unlink(missing_ok=True)
        (kubernetes / name).symlink_to("kube")
    (own_tools / "etcd" / "etcd").write_text("#!/bin/sh\necho etcd\n")
    toolchain = Toolchain()

    images = toolchain.local_cluster("1.37", static=["etcd", "kube-apiserver", "kube-scheduler"]).images

    assert {name: ref for name, ref in images.items() if name.startswith(("etcd", "kube"))} == {
        "etcd": "registry.k8s.io/etcd:3.6.5-0",
        "kube-apiserver": "registry.k8s.io/kube-apiserver:v1.37.2",
        "kube-scheduler": "registry.k8s.io/kube-scheduler:v1.37.2",
    }
    layers = [
        {layer["digest"] for layer in json.loads(toolchain.images.manifest(images[name])[1])["layers"]}
        for name in ("kube-apiserver", "kube-scheduler")
    ]
    assert len(layers[0] & layers[1]) == 1, "the binary that both are links to is there once"


def test_changed_binaries_make_another_image(cache: Path, own_tools: Path) -> None:
    toolchain = Toolchain()
    before = toolchain.images.manifest(toolchain.local_cluster("1.37").images["pause"])
    (own_tools / "pause" / "pause").write_text("#!/bin/sh\necho another one\n")

    after = toolchain.images.manifest(Toolchain().local_cluster("1.37").images["pause"])

    assert after != before


def test_an_added_version_is_supported_from_then_on(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: Generator, version: str, folder: Path) -> None:
        from koalesce.toolchain.generate import agnhost_recipe, kubernetes_recipe

        (folder / "kubernetes.recipe.toml").write_text(kubernetes_recipe(version))
        (folder / "agnhost.recipe.toml").write_text(agnhost_recipe("2.60"))
        (folder / "go.mod").write_text("module x\n")

    monkeypatch.setattr(Generator, "resolve", lambda self, text: "1.36.9")
    monkeypatch.setattr(Generator, "write", write)
    monkeypatch.setenv("KOALESCE_DOWNLOAD_MIRROR", "http://127.0.0.1:1")
    said: list[str] = []

    assert Toolchain(progress=said.append).add("1.36") == "1.36.9"

    assert Toolchain().resolve_version("1.36") == "1.36.9"
    assert Toolchain().resolve_version("") == "1.37.2"
    assert any(line.startswith("no checksum of kubernetes 1.36.9 is recorded") for line in said)


def test_adding_a_supported_version_records_what_publishers_say(
    cache: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOALESCE_DOWNLOAD_MIRROR", f"http://{web.address}")
    for url, sums, _ in Releases.load(cache / "none").files("kubernetes", "1.37.2"):
        body = hashlib.sha256(url.encode()).hexdigest().encode()
        web.answers[f"/{sums.removeprefix('https://')}"] = Answer(body)

    assert Toolchain().add("v1.37.2") == "1.37.2"

    pins = Releases.load(cache / "recipes" / "pins.json").pins
    url = f"https://dl.k8s.io/release/v1.37.2/bin/linux/{architecture()}/kubelet"
    assert pins[url] == hashlib.sha256(url.encode()).hexdigest()
    assert len(pins) == 5
    plans = {state.tool: state.plan for state in Toolchain().states("1.37")}
    assert plans["kubernetes"] == "download, else build (about 10 min)"
    assert plans["etcd"] == "build (about 2 min)"


def test_the_list_tells_where_each_tool_is_or_would_come_from(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toolchain", "list", "1.34"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Kubernetes 1.34.4 (also supported: 1.37.2, 1.36.3, 1.35.4)"
    assert [line for line in lines if "kubernetes " in line] == [
        "  kubernetes     1.34.4   not there; plan: build (about 10 min)"
    ]
    assert not (cache / "tools" / "kubernetes").exists()


def test_an_unsupported_version_is_a_usage_error(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toolchain", "list", "1.2"]) == 2
    assert "error: Kubernetes 1.2 isn't supported" in capsys.readouterr().err


def test_path_prints_a_folder(cache: Path, own_tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toolchain", "path", "etcd"]) == 0
    assert capsys.readouterr().out == f"{own_tools}/etcd\n"


def test_path_of_an_unknown_tool_lists_the_known(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["toolchain", "path", "nope"]) == 2
    assert "there is no tool 'nope'; there are agnhost, cni-plugins, containerd" in capsys.readouterr().err


def test_images_are_imported_listed_exported_and_removed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tar(tmp_path / "a.tar", docker_save(["a:1"], layer()))

    assert main(["image", "import", str(path), "b:1"]) == 0
    assert main(["image", "list"]) == 0
    assert main(["image", "export", "b:1", str(tmp_path / "b.tar")]) == 0
    assert main(["image", "remove", "b:1"]) == 0
    assert main(["image", "remove", "b:1"]) == 2

    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first == "docker.io/library/b:1"
    assert second.startswith("docker.io/library/b:1  ")
    assert second.endswith("archive a.tar")
    assert "docker.io/library/b:1 is not in the image store" in err
    assert (tmp_path / "b.tar").is_file()


def test_an_image_is_built_from_a_definition(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    definition = {
        "apiVersion": "koalesce.dev/v1alpha1",
        "kind": "Image",
        "ref": "mine:1",
        "files": [{"content": "x", "to": "/x"}],
    }
    (tmp_path / "image.yaml").write_text(json.dumps(definition))

    assert main(["image", "build", str(tmp_path / "image.yaml"), "--output", str(tmp_path / "out.tar")]) == 0

    assert capsys.readouterr().out == "docker.io/library/mine:1\n"
    assert main(["image", "import", str(tmp_path / "out.tar")]) == 0


def test_a_bad_definition_is_a_usage_error(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "image.yaml").write_text("kind: Image\n")

    assert main(["image", "build", str(tmp_path / "image.yaml")]) == 2
    assert "image.yaml:1:1: apiVersion: must be given" in capsys.readouterr().err
