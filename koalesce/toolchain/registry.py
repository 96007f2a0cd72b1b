"""Pulls images from registries into the store: the distribution API v2, with tokens, for this machine's platform only.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. Every blob is checked against its digest. Proxies come from the
environment, credentials from Docker's `config.json` where it holds them in the clear.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from koalesce.process import Cancel
from koalesce.toolchain.blobs import Descriptor
from koalesce.toolchain.images import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    INDEXES,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageStore,
    ImageUnavailable,
    is_for_this_machine,
)
from koalesce.toolchain.machine import architecture
from koalesce.toolchain.network import Network, Refused, Unreachable
from koalesce.toolchain.reference import Reference

_ACCEPT = ", ".join((OCI_INDEX, DOCKER_INDEX, OCI_MANIFEST, DOCKER_MANIFEST))
_MANIFEST_LIMIT = 4 << 20
_CHUNK = 1 << 18
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def pull(
    store: ImageStore,
    ref: str,
    network: Network,
    *,
    progress: Callable[[str], None] = lambda _: None,
    cancel: Cancel | None = None,
) -> str:
    """Fetch an image and return its complete reference; see `ImageStore.pull`."""
    job = _Pull(store, Reference.parse(ref), network, progress, cancel)
    try:
        return job.run()
    except Unreachable as error:
        raise job.failed(str(error)) from error


class _Pull:
    """One image on its way from its registry."""

    def __init__(
        self,
        store: ImageStore,
        reference: Reference,
        network: Network,
        progress: Callable[[str], None],
        cancel: Cancel | None,
    ) -> None:
        self._store = store
        self._network = network
        self._reference = reference
        self._progress = progress
        self._cancel = cancel
        self._base = f"{_scheme(reference.domain)}://{_host(reference.domain)}/v2/{reference.path}"
        self._authorization: str | None = None

    def run(self) -> str:
        """Pull it."""
        reference = self._reference
        self._progress(f"pulling {reference}")
        top = self._manifest(reference.digest or reference.tag or "latest", reference.digest)
        self._fetch(top)
        return self._store.tag(str(reference), top, source=f"pulled from {_host(reference.domain)}")

    def _fetch(self, top: Descriptor) -> None:
        document = self._document(top)
        if top.media_type in INDEXES:
            document = self._document(self._for_this_machine(document))
        try:
            entries = [document["config"], *document["layers"]]
            blobs = [
                Descriptor(media_type=entry["mediaType"], digest=entry["digest"], size=entry["size"])
                for entry in entries
            ]
        except (KeyError, TypeError) as error:
            raise self.failed("the registry's manifest is of an unknown kind") from error
        for number, blob in enumerate(blobs):
            if self._store.blob(blob.digest) is None:
                self._progress(
                    f"pulling {self._reference}: part {number + 1} of {len(blobs)}, {blob.size / 1e6:.1f} MB"
                )
                self._blob(blob)

    def _for_this_machine(self, index: Mapping[str, Any]) -> Descriptor:
        for entry in index.get("manifests", []):
            if is_for_this_machine(entry):
                return self._manifest(entry["digest"], entry["digest"])
        raise self.failed(f"it has no variant for linux/{architecture()}")

    def _document(self, descriptor: Descriptor) -> dict[str, Any]:
        path = self._store.blob(descriptor.digest)
        assert path is not None  # noqa: S101 - just stored
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def _manifest(self, name: str, digest: str | None) -> Descriptor:
        """Fetch and store a manifest or index; `digest` is what it must have."""
        with self._open(f"{self._base}/manifests/{name}", accept=_ACCEPT) as answer:
            content = self._read(answer, _MANIFEST_LIMIT)
            media_type = answer.headers.get_content_type()
        with self._store.writing() as writer:
            writer.write(content)
            if digest is not None and writer.digest != digest:
                raise self.failed(f"the registry's answer doesn't have the digest {digest}")
            try:
                stated = json.loads(content).get("mediaType")
            except (ValueError, AttributeError) as error:
                raise self.failed("the registry answered with something that is no manifest") from error
            return writer.commit(stated or media_type)

    def _blob(self, blob: Descriptor) -> None:
        with self._open(f"{self._base}/blobs/{blob.digest}") as answer, self._store.writing() as writer:
            while data := self._read(answer, _CHUNK):
                writer.write(data)
                if writer.size > blob.size:
                    break
            if (writer.digest, writer.size) != (blob.digest, blob.size):
                raise self.failed(f"what the registry sent as {blob.digest} is something else, or was cut off")
            writer.commit(blob.media_type)

    def _read(self, answer: http.client.HTTPResponse, amount: int) -> bytes:
        return self._network.read(answer, amount, cancel=self._cancel)

    def _open(self, url: str, *, accept: str = "*/*") -> http.client.HTTPResponse:
        try:
            return self._request(url, accept)
        except Refused as error:
            if error.status != 401:  # also a token that ran out on the way
                raise self._refused(error) from error
            self._authorization = self._log_in(error.headers.get("WWW-Authenticate", ""))
        try:
            return self._request(url, accept)
        except Refused as error:
            raise self._refused(error) from error

    def _request(self, url: str, accept: str, *, authorization: str | None = None) -> http.client.HTTPResponse:
        headers = {"Accept": accept}
        return self._network.open(url, headers, authorization=authorization or self._authorization, cancel=self._cancel)

    def _log_in(self, challenge: str) -> str:
        """The Authorization header that a registry's challenge asks for."""
        kind, _, rest = challenge.partition(" ")
        basic = _credentials(self._reference.domain)
        if kind.lower() == "basic" and basic:
            return f"Basic {basic}"
        fields = dict(_CHALLENGE.findall(rest))
        if kind.lower() != "bearer" or not fields.get("realm", "").startswith(("https://", "http://")):
            raise self.failed("the registry wants a login; put one into Docker's config.json with `docker login`")
        query = {key: fields[key] for key in ("service", "scope") if key in fields}
        query.setdefault("scope", f"repository:{self._reference.path}:pull")
        url = f"{fields['realm']}?{urllib.parse.urlencode(query)}"
        try:
            with self._request(url, "application/json", authorization=f"Basic {basic}" if basic else None) as answer:
                document = json.loads(self._read(answer, _MANIFEST_LIMIT))
            return f"Bearer {document.get('token') or document['access_token']}"
        except Refused as error:
            raise self._refused(error) from error
        except (ValueError, KeyError, AttributeError) as error:
            raise self.failed("the registry's login gave no token") from error

    def _refused(self, error: Refused) -> ImageUnavailable:
        known = {
            401: "the registry refused: no such image, or it wants a login",
            403: "the registry refused: no such image, or it wants a login",
            404: "the registry has no such image",
            429: "the registry answers to too many requests (429)",
        }
        return self.failed(known.get(error.status, f"the registry answered {error}"))

    def failed(self, why: str) -> ImageUnavailable:
        """The error for this image."""
        return ImageUnavailable(str(self._reference), why)


def _host(domain: str) -> str:
    return "registry-1.docker.io" if domain == "docker.io" else domain


def _scheme(domain: str) -> str:
    """As Docker does: registries on this machine speak plain http."""
    name = domain.rpartition(":")[0] if re.search(r":\d+$", domain) else domain
    return "http" if name in ("localhost", "127.0.0.1", "[::1]") else "https"


def _credentials(domain: str) -> str | None:
    """The login for a registry from Docker's configuration, as `user:password` in base64."""
    folder = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    try:
        known = json.loads((Path(folder) / "config.json").read_bytes()).get("auths", {})
    except (OSError, ValueError, AttributeError):
        return None
    names = ("https://index.docker.io/v1/", "docker.io") if domain == "docker.io" else (domain, f"https://{domain}")
    for name in names:
        entry = known.get(name) or {}
        if value := entry.get("auth"):
            return str(value)
        if entry.get("username"):
            return base64.b64encode(f"{entry['username']}:{entry.get('password', '')}".encode()).decode()
    return None
