"""Manifests of components: files, and files from the web that are known by their checksum."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from koalesce.engine.manifests import component_objects
from koalesce.errors import ProvisionError, UsageError
from koalesce.spec.components import Component
from koalesce.spec.files import SpecFiles

MANIFEST = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A web server with `web.yaml`, and an empty cache."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "web.yaml").write_bytes(MANIFEST)
    monkeypatch.setenv("KOALESCE_CACHE_DIR", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/web.yaml"
        server.shutdown()
        thread.join()


def component(url: str, sha256: str) -> Component:
    return Component.model_validate({"name": "web", "manifests": [{"url": url, "sha256": sha256}]})


def names(tmp_path: Path, component: Component) -> list[str]:
    return [obj["metadata"]["name"] for obj in component_objects(component, SpecFiles(tmp_path, tmp_path))]


def test_a_manifest_comes_from_the_web_and_is_kept(tmp_path: Path, web: str) -> None:
    wanted = component(web, hashlib.sha256(MANIFEST).hexdigest())

    assert names(tmp_path, wanted) == ["web"]

    (tmp_path / "web" / "web.yaml").unlink()
    assert names(tmp_path, wanted) == ["web"]


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, web: str) -> None:
    with pytest.raises(ProvisionError, match="checksum"):
        names(tmp_path, component(web, "0" * 64))

    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_files_of_the_project_come_in_the_order_of_the_spec(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")

    assert names(tmp_path, Component.model_validate({"name": "x", "manifests": ["b.yaml", "a.yaml"]})) == ["b", "a"]


@pytest.mark.skipif(not (shutil.which("kustomize") or shutil.which("kubectl")), reason="no kustomize on PATH")
def test_a_component_may_be_a_kustomization(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "web.yaml").write_bytes(MANIFEST)
    (tmp_path / "base" / "kustomization.yaml").write_text("resources: [web.yaml]\nnameSuffix: -one\n")

    assert names(tmp_path, Component.model_validate({"name": "x", "manifests": [{"kustomize": "base"}]})) == ["web-one"]


@pytest.mark.skipif(not shutil.which("helm"), reason="helm is not on PATH")
def test_a_component_may_be_a_chart_for_the_clusters_version(tmp_path: Path) -> None:
    chart = tmp_path / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text(
        'apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: ">=1.36.0-0 <1.37.0-0"\n'
    )
    (chart / "templates" / "web.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-{{ .Values.size }}-{{ .Release.Namespace }}'}\n"
    )
    wanted = Component.model_validate(
        {"name": "x", "namespace": "shop", "manifests": [{"helm": "chart", "values": {"size": 3}}]}
    )
    files = SpecFiles(tmp_path, tmp_path)

    (found,) = component_objects(wanted, files, kubernetes="1.36.4")

    assert found["metadata"]["name"] == "chart-3-shop"
    with pytest.raises(UsageError, match="chart requires kubeVersion"):
        component_objects(wanted, files, kubernetes="1.37.2")
