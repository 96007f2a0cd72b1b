"""Where objects come from: files, the web, kustomize and Helm, run for real where they are installed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from koalesce.errors import UsageError
from koalesce.steps.base import Errored, Passed
from koalesce.steps.objects.rendering import Renderer
from koalesce.steps.objects.sources import Chart, Kustomization
from tests.fakes import FakeCluster, FakeFiles, context, step

needs_kustomize = pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="neither kustomize nor kubectl is on PATH"
)
needs_helm = pytest.mark.skipif(not shutil.which("helm"), reason="helm is not on PATH")

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {a: b}\n"


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """A kustomization of one object."""
    folder = tmp_path / "overlay"
    folder.mkdir()
    (folder / "web.yaml").write_text(CONFIG)
    (folder / "kustomization.yaml").write_text("resources: [web.yaml]\nnamePrefix: my-\n")
    return tmp_path


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with a definition, hooks, a test, and a value."""
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "crds").mkdir()
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (folder / "values.yaml").write_text("greeting: hello\n")
    (folder / "crds" / "w.yaml").write_text(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n"
    )
    (folder / "templates" / "web.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n"
        "data: {greeting: '{{ .Values.greeting }}', version: '{{ .Capabilities.KubeVersion.Version }}', "
        "namespace: '{{ .Release.Namespace }}'}\n"
    )
    for name, hook, weight in (
        ("a-second", "pre-install,pre-upgrade", 5),
        ("b-first", "pre-install", -5),
        ("last", "post-install", 0),
        ("never", "pre-delete", 0),
        ("probe", "test", 0),
    ):
        (folder / "templates" / f"{name}.yaml").write_text(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"
            f'  annotations: {{helm.sh/hook: "{hook}", helm.sh/hook-weight: "{weight}"}}\n'
        )
    return tmp_path


def rendered(root: Path, source: Any) -> list[dict[str, Any]]:
    renderer = Renderer(files=FakeFiles(root), namespace="test-ns", kubernetes="1.36.1")
    return [manifest.object for manifest in renderer.manifests(source)]


@needs_kustomize
def test_a_kustomization_is_built(overlay: Path) -> None:
    cluster = FakeCluster()

    outcome = step("apply: {file: {kustomize: overlay}}").act(context(cluster, root=overlay))

    assert isinstance(outcome, Passed)
    assert outcome.message == "applied configmap/my-web"


@needs_kustomize
def test_what_kustomize_refuses_is_told(overlay: Path) -> None:
    (overlay / "overlay" / "web.yaml").unlink()

    with pytest.raises(UsageError, match=r"^kustomization overlay: \w+ refused it: (.|\n)*web\.yaml"):
        rendered(overlay, Kustomization(kustomize="overlay"))


@needs_helm
def test_a_chart_is_rendered_as_for_an_installation(chart: Path) -> None:
    found = rendered(chart, Chart(helm="chart", values={"greeting": "hi: there"}, release="shop"))

    assert [obj["metadata"]["name"] for obj in found] == ["b-first", "a-second", "widgets.example.com", "shop", "last"]
    assert found[3]["data"] == {"greeting": "hi: there", "version": "v1.36.1", "namespace": "test-ns"}


@needs_helm
def test_objects_of_a_chart_go_to_its_namespace(chart: Path) -> None:
    cluster = FakeCluster()

    step("apply: {file: {helm: chart, namespace: shop}}").act(context(cluster, root=chart))

    namespaces = {what["object"]["metadata"].get("namespace") for _, what in cluster.kube.requests}
    kinds = {what["object"]["kind"] for _, what in cluster.kube.requests}
    assert namespaces == {"shop", None}  # the definition has none
    assert kinds == {"ConfigMap", "CustomResourceDefinition"}


@needs_helm
def test_a_chart_that_helm_refuses_is_told(chart: Path) -> None:
    (chart / "chart" / "templates" / "web.yaml").write_text("{{ .Values.none.deeper }}")

    with pytest.raises(UsageError, match=r"chart chart: helm refused it: (.|\n)*nil pointer"):
        rendered(chart, Chart(helm="chart"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{helm: chart}", "chart chart: a Helm chart needs the program helm, which isn't on PATH\n  hint: install it"),
        ("{kustomize: overlay}", "kustomization overlay: a kustomization needs the program kustomize or kubectl"),
    ],
)
def test_a_program_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    for name in ("chart", "overlay"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    given = context(FakeCluster(), root=tmp_path)

    with pytest.raises(UsageError) as raised:
        step(f"create: {{file: {text}}}").act(given)
    deleted = step(f"delete: {{file: {text}}}").attempt(given)

    assert str(raised.value).startswith(message)
    assert isinstance(deleted, Errored)
    assert (deleted.message.startswith(message), deleted.final) == (True, True)


def test_sources_are_looked_for_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "empty").mkdir()
    (tmp_path / "chart").mkdir()
    (tmp_path / "chart" / "Chart.yaml").write_text("name: chart\n")
    files = FakeFiles(tmp_path)

    def problems(source: str) -> list[str]:
        found: list[str] = step(f"apply: {{file: {source}}}").static_problems(files)
        return found

    assert problems("{helm: chart}") == []
    assert problems("{helm: none}") == ["none: no such file"]
    assert problems("{helm: empty}") == ["empty: neither a folder with a Chart.yaml nor an archive (.tgz, .tar.gz)"]
    assert problems("{helm: 'oci://example.com/web', version: 1.0.0}") == []
    assert problems("{kustomize: empty}") == ["empty: no folder with a kustomization.yaml"]
    assert problems("{kustomize: '${{ vars.folder }}'}") == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{helm: chart, version: 1.0.0}", "version is for a chart in a registry"),
        ("{helm: 'oci://example.com/web'}", "a chart in a registry needs a version"),
        ("{helm: chart, release: Not_A_Name}", '"Not_A_Name" is no name for a release'),
        ("{url: 'ftp://example.com/a', sha256: abc}", "is no address that begins with https:// or http://"),
        ("{url: 'https://example.com/a', sha256: abc}", "a SHA-256 has 64 hexadecimal digits"),
    ],
)
def test_a_source_that_makes_no_sense_is_invalid(source: str, problem: str) -> None:
    with pytest.raises(ValidationError) as raised:
        step(f"apply: {{file: {source}}}")

    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("chart", "name"),
    [
        ({"helm": "charts/Web_Shop/"}, "web-shop"),
        ({"helm": "web-shop-1.2.3.tgz"}, "web-shop"),
        ({"helm": "oci://example.com/charts/web", "version": "1.0.0"}, "web"),
        ({"helm": "charts/web", "release": "shop"}, "shop"),
    ],
)
def test_a_release_is_called_after_its_chart(chart: dict[str, str], name: str) -> None:
    assert Chart.model_validate(chart).name == name


def test_inline_objects_and_files_go_together(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(CONFIG)
    inline = "{apiVersion: v1, kind: ConfigMap, metadata: {name: inline}}"

    outcome = step(f"apply: {{object: {inline}, file: web.yaml}}").act(context(FakeCluster(), root=tmp_path))

    assert outcome.message == "applied configmap/inline, configmap/web"
