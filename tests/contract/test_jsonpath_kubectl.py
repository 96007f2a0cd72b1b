"""Our jsonpath against kubectl's own, which needs no cluster for `annotate --local`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from koalesce import process
from koalesce.matching.jsonpath import compile_path

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p1",
        "labels": {"app": "x", "app.kubernetes.io/name": "n", "where": "here"},
        "annotations": {"k": "v"},
    },
    "spec": {
        "hostNetwork": True,
        "terminationGracePeriodSeconds": 3,
        "containers": [
            {"name": "c1", "image": "i1", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 443}]},
            {"name": "c2", "image": "i2"},
            {"name": "c3", "image": "i1"},
        ],
    },
}
SAME = [
    "{.metadata.name}",
    "{$.metadata.name}",
    "{@.metadata.name}",
    "{ .metadata.name }",
    "{.metadata['name']}",
    "{.metadata['name','labels.app']}",
    r"{.metadata.labels.app\.kubernetes\.io/name}",
    r"{.metadata.labels['app\.kubernetes\.io/name']}",
    "{.metadata.labels.where}",
    "{.metadata.labels}",
    "{.spec.hostNetwork}",
    "{.spec.terminationGracePeriodSeconds}",
    "{.spec.containers[*].name}",
    "{.spec.containers[1]}",
    "{.spec.containers[-1].name}",
    "{.spec.containers[0:2].name}",
    "{.spec.containers[:1].name}",
    "{.spec.containers[::2].name}",
    "{.spec.containers[-2:].name}",
    "{.spec.containers[0,2].name}",
    '{.spec.containers[?(@.image=="i1")].name}',
    "{.spec.containers[?(@.image=='i1')].name}",
    '{.spec.containers[?(@.image!="i1")].name}',
    "{.spec.containers[?(@.ports)].name}",
    '{.spec.containers[?(@.ports[0].name=="http")].name}',
    "{.spec.containers[*].ports[?(@.containerPort>100)].containerPort}",
    "{..containerPort}",
    "{.spec..name}",
    "{.nope}",
    "{.nope.deeper}",
    '{range .spec.containers[*]}{.name}={.image}{"\\n"}{end}',
    "{range .spec.containers[*]}{range .ports[*]}{.containerPort};{end}{end}",
    "name: {.metadata.name}!",
    "{.metadata.name}{.kind}",
    "{.spec.nodeName}x",
    '{"a\\tb"}',
    "{'x'}",
]
# What kubectl refuses: its word, and whether we refuse it too (otherwise we know more than it does).
REFUSED = [
    ('{.spec.containers[?(@.image=="i1" && @.name=="c1")].name}', False),
    ('{.spec.containers[?(@.name=~"c")].name}', False),
    ('{.metadata["name"]}', False),
    ("{.spec.containers[9].name}", False),
    ("{.spec.containers[", True),
    ("{.spec.containers[x]}", True),
    ("{.a", True),
    ("{end}", True),
    ("{.a,.b}", True),
]
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not in PATH")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jsonpath") / "pod.json"
    path.write_text(json.dumps(POD))
    return path


def kubectl(manifest: Path, path: str) -> process.Result:
    return process.run(
        ["kubectl", "annotate", "--local", "-f", manifest, "k=v", "--overwrite", "-o", f"jsonpath={path}"], timeout=30
    )


@needs_kubectl
@pytest.mark.parametrize("path", SAME)
def test_prints_what_kubectl_prints(manifest: Path, path: str) -> None:
    theirs = kubectl(manifest, path).check().out

    assert compile_path(path).render(POD) == theirs


@needs_kubectl
@pytest.mark.parametrize(("path", "refused"), REFUSED)
def test_differs_from_kubectl_only_where_it_knows_more(manifest: Path, path: str, refused: bool) -> None:
    assert kubectl(manifest, path).code != 0
    if refused:
        with pytest.raises(ValueError):
            compile_path(path)
    else:
        compile_path(path).find(POD)
