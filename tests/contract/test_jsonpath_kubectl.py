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
        "labels": {"app": "x", "app.kubernetes.io/name": "n", "where": "here", "with-hyphen": "h", "2nd": "2"},
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
    # where a path begins
    "{.metadata.name}",
    "{$.metadata.name}",
    "{@.metadata.name}",
    "{ .metadata.name }",
    "{['metadata']['name']}",
    "{$}",
    "{@}",
    # keys: quoted, escaped, with a hyphen or a digit, called like a word of other dialects, missing
    "{.metadata['name']}",
    r"{.metadata.labels.app\.kubernetes\.io/name}",
    r"{.metadata.labels['app\.kubernetes\.io/name']}",
    "{.metadata.labels.where}",
    "{.metadata.labels.with-hyphen}",
    "{.metadata.labels.2nd}",
    "{.metadata.labels}",
    "{.spec.hostNetwork}",
    "{.spec.terminationGracePeriodSeconds}",
    "{.nope}",
    "{.nope.deeper}",
    "{.metadata.name.deeper}",
    "{.spec.containers.name}",
    # indexes, negative ones, slices
    "{.spec.containers[1]}",
    "{.spec.containers[-1].name}",
    "{.spec.containers[-3].name}",
    "{.spec.containers[01].name}",
    "{.spec.containers[0:2].name}",
    "{.spec.containers[:1].name}",
    "{.spec.containers[1:].name}",
    "{.spec.containers[:-1].name}",
    "{.spec.containers[::2].name}",
    "{.spec.containers[0:3:2].name}",
    "{.spec.containers[-2:].name}",
    # all elements, unions
    "{.spec.containers}",
    "{.spec.containers[*].name}",
    "{.spec.containers[*].ports}",
    "{.spec.containers[*].nope}",
    "{.spec.containers[0].ports[*]}",
    "{.metadata.labels.*}",
    "{.spec.containers[0].*}",
    "{.spec.containers[0,2].name}",
    "{.spec.containers[-1,0].name}",
    "{.metadata['name','labels.app']}",
    "{.metadata.labels['app','where']}",
    "{.spec.containers[*]['name','image']}",
    # at any depth
    "{..containerPort}",
    "{.spec..name}",
    "{..name}",
    "{..ports[*].containerPort}",
    "{..ports[0].containerPort}",
    "{.spec.containers..containerPort}",
    "{..['name']}",
    "{.*.name}",
    # filters
    '{.spec.containers[?(@.image=="i1")].name}',
    "{.spec.containers[?(@.image=='i1')].name}",
    '{.spec.containers[?(@.image!="i1")].name}',
    '{.spec.containers[?(@.nope!="x")].name}',
    '{.spec.containers[?(@.nope=="x")].name}',
    '{.spec.containers[?(@.name=="zz")].name}',
    '{.spec.containers[?("c1"==@.name)].name}',
    "{.spec.containers[?(80<=@.ports[0].containerPort)].name}",
    "{.spec.containers[?(@.ports)].name}",
    "{.spec.containers[?(@.ports[1])].name}",
    '{.spec.containers[?(@.ports[0].name=="http")].name}',
    "{.spec.containers[?(@.ports[0].containerPort>=80)].name}",
    "{.spec.containers[?(@.ports[0].containerPort<100)].name}",
    "{.spec.containers[*].ports[?(@.containerPort>100)].containerPort}",
    "{.spec.containers[?(@.image=='i1')].name}{' '}{.kind}",
    # text, literals, range … end
    "name: {.metadata.name}!",
    "{.metadata.name}{.kind}",
    "{.spec.nodeName}x",
    '{"a\\tb"}',
    '{"a\\"b"}',
    "{'x'}",
    "{'a'}{\"b\"}",
    "{.spec.hostNetwork}{'\\n'}{.kind}",
    '{range .spec.containers[*]}{.name}={.image}{"\\n"}{end}',
    "{range .spec.containers[*]}[{.name}]{end}{.kind}",
    "{range .spec.containers[0:2]}{.name},{end}",
    "{range .spec.containers[?(@.image=='i1')]}{.name},{end}",
    "{range .spec.containers[*]}{.ports[*].containerPort}{'\\t'}{end}",
    "{range .spec.containers[*]}{range .ports[*]}{.containerPort};{end}{end}",
    "{range .nope[*]}x{end}",
]
# What kubectl refuses, and what we make of it: None where we refuse it too, otherwise we know more than it does.
REFUSED = [
    ('{.spec.containers[?(@.image=="i1" && @.name=="c1")].name}', ["c1"]),
    ("{.spec.containers[?(@.name=='c1' || @.name=='c2')].name}", ["c1", "c2"]),
    ("{.spec.containers[?(!@.ports)].name}", ["c2", "c3"]),
    ('{.spec.containers[?(@.name=~"c[12]")].name}', ["c1", "c2"]),
    ("{.spec.containers[?(@.ports[*].containerPort==443)].name}", ["c1"]),
    ("{.spec.containers[?(@.ports[0].containerPort=='80')].name}", []),
    ('{.metadata["name"]}', ["p1"]),
    ("{.metadata.annotations[*]}", ["v"]),
    ("{.spec.containers[9].name}", []),
    ("{.spec.containers[-4].name}", []),
    ("{.spec.containers[0,9].name}", ["c1"]),
    ("{.spec.containers[1:9].name}", ["c2", "c3"]),
    ("{.spec.containers[5:].name}", []),
    ("{.kind[0]}", []),
    ('{.spec.containers[?(@.name in ["c1"])].name}', None),
    ("{.spec.containers[", None),
    ("{.spec.containers[x]}", None),
    ("{.spec.containers[+1].name}", None),
    ("{.spec.containers[?(@.name)]", None),
    ("{.a", None),
    ("{{.kind}}", None),
    ("{end}", None),
    ("{if .kind}", None),
    ("{.a,.b}", None),
]
# What kubectl prints something for, and we read in another way: None where we refuse it.
OTHERWISE = [
    ("kind", "kind", ["Pod"]),  # `kubectl get` prints it, `kubectl wait` takes it for a path
    (".spec.containers[0].name", ".spec.containers[0].name", ["c1"]),
    ("text only", "text only", None),
    ("{range .spec.containers[*]}{$.kind}{end}", "", ["PodPodPod"]),
    ("{.spec.containers[?(@.image==@.name)].name}", "", None),
    ("{.kind}{range .spec.containers[*]}", "Pod", None),
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

    ours = compile_path(path).render(POD)
    if ".." in path or ".*" in path:  # kubectl goes over maps in any order
        assert sorted(ours) == sorted(theirs)
    else:
        assert ours == theirs


@needs_kubectl
@pytest.mark.parametrize(("path", "ours"), REFUSED)
def test_differs_from_kubectl_only_where_it_knows_more(manifest: Path, path: str, ours: list[Any] | None) -> None:
    assert kubectl(manifest, path).code != 0
    assert found(path) == ours


@needs_kubectl
@pytest.mark.parametrize(("path", "theirs", "ours"), OTHERWISE)
def test_reads_in_another_way_on_purpose(manifest: Path, path: str, theirs: str, ours: list[Any] | None) -> None:
    assert kubectl(manifest, path).check().out == theirs
    assert found(path) == ours


def found(path: str) -> list[Any] | None:
    """What we find; None where we refuse the path."""
    try:
        return compile_path(path).find(POD)
    except ValueError:
        return None
