"""References of images are completed as Docker does."""

from __future__ import annotations

import subprocess
import sys

import pytest

import koalesce.toolchain
from koalesce.errors import UsageError
from koalesce.toolchain.reference import Reference, is_digest

DIGEST = "sha256:" + "a1" * 32


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("cloudnativelabs/kube-router:v2", "docker.io/cloudnativelabs/kube-router:v2"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("registry.k8s.io/coredns/coredns:v1.14.7", "registry.k8s.io/coredns/coredns:v1.14.7"),
        ("localhost/x", "localhost/x:latest"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        (f"quay.io/a/b@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
        (f"quay.io/a/b:v1@{DIGEST}", f"quay.io/a/b:v1@{DIGEST}"),
        ("Registry/a", "Registry/a:latest"),
    ],
)
def test_completes(text: str, complete: str) -> None:
    assert str(Reference.parse(text)) == complete
    assert str(Reference.parse(complete)) == complete


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "a:", "a@sha256:12", "a/../b", "-a", "a//b", "quay.io/", "a:b:c", "a@"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is not an image reference"):
        Reference.parse(text)


def test_a_digest_is_told_from_a_name() -> None:
    assert is_digest(DIGEST)
    assert not is_digest("busybox")


def test_reading_references_loads_no_http() -> None:
    code = (
        "import sys, koalesce.toolchain.reference; sys.exit('http.client' in sys.modules or 'tarfile' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_package_has_its_names() -> None:
    assert all(getattr(koalesce.toolchain, name).__name__ == name for name in koalesce.toolchain.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = koalesce.toolchain.Nothing
