from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from koalesce.local.mirror import Mirror
from koalesce.toolchain import ImageStore, ImageUnavailable
from koalesce.toolchain.images import OCI_LAYER, OCI_MANIFEST

REF = "docker.io/library/busybox:1.36"


class Registry:
    """A mirror on a port of this machine, and what was asked of the registries behind it."""

    def __init__(self, folder: Path) -> None:
        self.store = ImageStore(folder)
        self.layer = self.store.add_bytes(b"layer", OCI_LAYER)
        self.store.add_image(REF, [self.layer], {})
        self.asked: list[str] = []
        self.supply: Callable[[str], object] = self._refuse
        users = {"private.example.com": ("ci", "mäde:up")}
        self.mirror = Mirror(self.store, ("127.0.0.1", 0), fetch=self._fetch, users=users)
        self.mirror.start()

    def _fetch(self, reference: str) -> object:
        self.asked.append(reference)
        return self.supply(reference)

    def _refuse(self, reference: str) -> object:
        raise ImageUnavailable(reference, "there is no network")

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.mirror.port, timeout=60)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, dict(response.getheaders()), body


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = Registry(tmp_path / "images")
    yield made
    made.mirror.close()


def test_it_says_that_it_is_a_registry(registry: Registry) -> None:
    assert registry.get("/v2/")[::2] == (200, b"{}")


def test_a_manifest_by_tag_and_by_digest(registry: Registry) -> None:
    status, headers, body = registry.get("/v2/library/busybox/manifests/1.36?ns=docker.io")

    assert (status, headers["Content-Type"]) == (200, OCI_MANIFEST)
    assert json.loads(body)["layers"][0]["digest"] == registry.layer.digest
    digest = headers["Docker-Content-Digest"]
    assert registry.get(f"/v2/library/busybox/manifests/{digest}?ns=docker.io")[2] == body
    assert registry.asked == []


def test_head_has_no_body_but_the_length(registry: Registry) -> None:
    status, headers, body = registry.get("/v2/library/busybox/manifests/1.36", "HEAD")

    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


def test_a_blob(registry: Registry) -> None:
    status, headers, body = registry.get(f"/v2/library/busybox/blobs/{registry.layer.digest}")

    assert (status, headers["Content-Length"], body) == (200, "5", b"layer")


def test_an_image_of_another_registry_is_another_image(registry: Registry) -> None:
    assert registry.get("/v2/library/busybox/manifests/1.36?ns=quay.io")[0] == 404
    assert registry.asked == ["quay.io/library/busybox:1.36"]


def test_what_can_not_be_had_is_asked_for_once(registry: Registry) -> None:
    for _ in range(3):
        status, _, body = registry.get("/v2/a/b/manifests/1?ns=quay.io")
        assert status == 404
        assert json.loads(body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"

    assert registry.asked == ["quay.io/a/b:1"]


def test_what_can_be_fetched_is_served(registry: Registry) -> None:
    registry.supply = lambda reference: registry.store.add_image(reference, [registry.layer], {})

    assert registry.get("/v2/a/b/manifests/1?ns=quay.io")[0] == 200
    assert registry.get("/v2/a/b/manifests/1?ns=quay.io")[0] == 200
    assert registry.asked == ["quay.io/a/b:1"]


@pytest.mark.parametrize(
    "path", ["/", "/v2/a/tags/list", "/v2/../../etc/passwd", f"/v2/a/blobs/sha256:{'0' * 64}", "/v2/a/blobs/passwd"]
)
def test_nothing_else_is_served(registry: Registry, path: str) -> None:
    assert registry.get(path)[0] == 404


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


@pytest.mark.parametrize(
    "authorization", ["", basic("ci:wrong"), basic("ci:mäde"), "Bearer x", "Basic ünread", "Basic"]
)
@pytest.mark.parametrize("what", ["manifests/1", "blobs/sha256:0"])
def test_a_registry_that_asks_lets_nobody_else_in(registry: Registry, authorization: str, what: str) -> None:
    registry.store.add_image("private.example.com/team/app:1", [registry.layer], {})

    status, headers, body = registry.get(f"/v2/team/app/{what}?ns=private.example.com", Authorization=authorization)

    assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="private.example.com"')
    (error,) = json.loads(body)["errors"]
    assert error["code"] == "UNAUTHORIZED"
    assert registry.asked == []


def test_a_registry_that_asks_lets_its_user_in(registry: Registry) -> None:
    registry.store.add_image("private.example.com/team/app:1", [registry.layer], {})
    given = {"Authorization": basic("ci:mäde:up")}

    assert registry.get("/v2/team/app/manifests/1?ns=private.example.com", **given)[0] == 200
    assert registry.get(f"/v2/team/app/blobs/{registry.layer.digest}?ns=private.example.com", "HEAD", **given)[0] == 200


def test_other_registries_ask_nobody(registry: Registry) -> None:
    assert registry.get("/v2/library/busybox/manifests/1.36?ns=docker.io", Authorization="Basic x")[0] == 200


def test_it_tells_what_was_asked_for_by_a_tag(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    store.add_image(REF, [store.add_bytes(b"layer", OCI_LAYER)], {})
    served: list[tuple[str, str]] = []
    mirror = Mirror(store, ("127.0.0.1", 0), fetch=None, served=lambda *image: served.append(image))
    mirror.start()
    try:
        for path in ("busybox/manifests/1.36", "busybox/manifests/gone"):
            connection = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=10)
            connection.request("HEAD", f"/v2/library/{path}?ns=docker.io")
            digest = connection.getresponse().headers.get("Docker-Content-Digest", "")
            connection.close()
            assert served[-1] == (f"docker.io/library/{path.replace('/manifests/', ':')}", digest)
    finally:
        mirror.close()
    assert [bool(digest) for _, digest in served] == [True, False]
