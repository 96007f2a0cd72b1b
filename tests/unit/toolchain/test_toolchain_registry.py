"""Images from registries: tokens, indexes, digests, and one clear error within seconds."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from koalesce.errors import Interrupted
from koalesce.toolchain.images import ImageStore, ImageUnavailable
from koalesce.toolchain.machine import architecture
from tests.unit.toolchain.images_data import INDEX, MANIFEST, Image, digest, index
from tests.unit.toolchain.web import Answer, Web


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    (tmp_path / "docker").mkdir()
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def publish(web: Web, image: Image, *, top: bytes | None = None, tag: str = "1", name: str = "a/b") -> None:
    """Make the registry have an image, below an index if there is one."""
    for key, content in image.blobs.items():
        web.answers[f"/v2/{name}/blobs/{key}"] = Answer(content)
    web.answers[f"/v2/{name}/manifests/{digest(image.manifest)}"] = Answer(
        image.manifest, headers={"Content-Type": MANIFEST}
    )
    answer = (
        Answer(top, headers={"Content-Type": INDEX})
        if top
        else Answer(image.manifest, headers={"Content-Type": MANIFEST})
    )
    web.answers[f"/v2/{name}/manifests/{tag}"] = answer


def test_pulls_an_image(web: Web, store: ImageStore) -> None:
    image = Image()
    publish(web, image)

    ref = store.pull(f"{web.address}/a/b:1")

    assert ref == f"{web.address}/a/b:1"
    assert store.has(ref)
    assert (store.manifest(ref) or ("", b"", ""))[1] == image.manifest


def test_pulls_only_this_machines_part_of_an_index(web: Web, store: ImageStore) -> None:
    mine, other = Image("mine"), Image("other", arch="mips")
    top = index((other, "mips"), (mine, architecture()))
    publish(web, mine, top=top)

    store.pull(f"{web.address}/a/b:1")

    assert store.manifest(f"{web.address}/a/b:1") == (INDEX, top, digest(top))
    assert store.blob(digest(mine.layer)) is not None
    assert not [path for path in web.paths() if digest(other.manifest) in path]


def test_what_is_there_already_is_not_fetched_again(web: Web, store: ImageStore) -> None:
    image = Image()
    publish(web, image)
    store.pull(f"{web.address}/a/b:1")
    web.asked.clear()

    store.pull(f"{web.address}/a/b:1")

    assert web.paths() == ["/v2/a/b/manifests/1"]


def test_gets_a_token_where_the_registry_asks_for_one(web: Web, store: ImageStore) -> None:
    image = Image()
    publish(web, image)
    challenge = f'Bearer realm="http://{web.address}/token",service="reg",scope="repository:a/b:pull"'
    web.answers["/token"] = Answer(b'{"token": "secret"}')
    for path, answer in list(web.answers.items()):
        if path.startswith("/v2/"):
            assert isinstance(answer, Answer)

            def guarded(headers: Mapping[str, str], answer: Answer = answer) -> Answer:
                if headers.get("Authorization") == "Bearer secret":
                    return answer
                return Answer(status=401, headers={"WWW-Authenticate": challenge})

            web.answers[path] = guarded

    store.pull(f"{web.address}/a/b:1")

    assert store.has(f"{web.address}/a/b:1")
    assert "/token?service=reg&scope=repository%3Aa%2Fb%3Apull" in web.paths()


def test_logs_in_as_docker_does(web: Web, store: ImageStore, docker_config: Path) -> None:
    image = Image()
    publish(web, image)
    login = base64.b64encode(b"me:pw").decode()
    docker_config.write_text(json.dumps({"auths": {web.address: {"auth": login}}}))
    manifest = web.answers["/v2/a/b/manifests/1"]
    assert isinstance(manifest, Answer)

    def guarded(headers: Mapping[str, str]) -> Answer:
        known = headers.get("Authorization") == f"Basic {login}"
        return manifest if known else Answer(status=401, headers={"WWW-Authenticate": "Basic realm=x"})

    web.answers["/v2/a/b/manifests/1"] = guarded

    assert store.pull(f"{web.address}/a/b:1") == f"{web.address}/a/b:1"


def test_authorization_does_not_follow_redirects(web: Web, store: ImageStore) -> None:
    image = Image()
    publish(web, image)
    blob = f"/v2/a/b/blobs/{digest(image.layer)}"
    web.answers["/storage"] = Answer(image.layer)
    web.answers["/token"] = Answer(b'{"token": "secret"}')
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{web.address}/token"'}

    def guarded(headers: Mapping[str, str]) -> Answer:
        if headers.get("Authorization") is None:
            return Answer(status=401, headers=challenge)
        return Answer(status=307, headers={"Location": f"http://{web.address}/storage"})

    web.answers[blob] = guarded

    store.pull(f"{web.address}/a/b:1")

    assert ("/storage", None) in web.asked
    assert (blob, "Bearer secret") in web.asked


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (404, "the registry has no such image"),
        (403, "the registry refused: no such image, or it wants a login"),
        (429, "too many requests"),
        (500, "the registry answered 500"),
    ],
)
def test_a_refusal_names_the_image_and_the_ways_to_supply_it(
    web: Web, store: ImageStore, status: int, why: str
) -> None:
    web.answers["/v2/a/b/manifests/1"] = Answer(status=status)

    with pytest.raises(ImageUnavailable, match=why) as caught:
        store.pull(f"{web.address}/a/b:1")

    assert f"image {web.address}/a/b:1 can't be had" in caught.value.message
    assert f"--image {web.address}/a/b:1=ARCHIVE" in (caught.value.hint or "")
    assert "koalesce image build" in (caught.value.hint or "")
    assert not store.has(f"{web.address}/a/b:1")


def test_a_registry_out_of_reach_is_asked_once(
    refused: str, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with pytest.raises(ImageUnavailable, match=r"can't be reached \(Connection refused\)"):
        store.pull(f"{refused}/a/b:1")
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked again"))

    with pytest.raises(ImageUnavailable, match=r"can't be reached \(Connection refused\)"):
        store.pull(f"{refused}/c/d:1")


def test_a_name_that_does_not_resolve_is_said(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ImageUnavailable, match=r"registry\.invalid can't be reached"):
        store.pull("registry.invalid/a/b:1")


@pytest.mark.parametrize("cut", [0, 10])
def test_a_blob_that_is_cut_off_is_not_kept(web: Web, store: ImageStore, cut: int) -> None:
    image = Image()
    publish(web, image)
    web.answers[f"/v2/a/b/blobs/{digest(image.layer)}"] = Answer(image.layer, cut=cut)

    with pytest.raises(ImageUnavailable, match="cut off"):
        store.pull(f"{web.address}/a/b:1")

    assert store.blob(digest(image.layer)) is None


def test_a_blob_with_another_digest_is_not_kept(web: Web, store: ImageStore) -> None:
    image = Image()
    publish(web, image)
    web.answers[f"/v2/a/b/blobs/{digest(image.layer)}"] = Answer(bytes(len(image.layer)))

    with pytest.raises(ImageUnavailable, match=f"what the registry sent as {digest(image.layer)} is something else"):
        store.pull(f"{web.address}/a/b:1")


def test_a_manifest_with_another_digest_is_not_kept(web: Web, store: ImageStore) -> None:
    image, wanted = Image(), "sha256:" + "0" * 64
    web.answers[f"/v2/a/b/manifests/{wanted}"] = Answer(image.manifest)

    with pytest.raises(ImageUnavailable, match=f"doesn't have the digest {wanted}"):
        store.pull(f"{web.address}/a/b@{wanted}")


def test_an_image_for_other_machines_is_said(web: Web, store: ImageStore) -> None:
    other = Image(arch="mips")
    publish(web, other, top=index((other, "mips")))

    with pytest.raises(ImageUnavailable, match=f"no variant for linux/{architecture()}"):
        store.pull(f"{web.address}/a/b:1")


def test_something_that_is_no_manifest_is_said(web: Web, store: ImageStore) -> None:
    web.answers["/v2/a/b/manifests/1"] = Answer(b"<html>")

    with pytest.raises(ImageUnavailable, match="something that is no manifest"):
        store.pull(f"{web.address}/a/b:1")


def test_can_be_cancelled(web: Web, store: ImageStore) -> None:
    publish(web, Image())
    cancel = threading.Event()
    cancel.set()

    with pytest.raises(Interrupted):
        store.pull(f"{web.address}/a/b:1", cancel=cancel)
    assert web.asked == []
