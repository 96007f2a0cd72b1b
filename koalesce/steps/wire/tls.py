"""Whom to trust and who we are, in TLS."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import StrictBool, StrictStr, model_validator

from koalesce.errors import UsageError
from koalesce.models import Model
from koalesce.steps.base import Failed, Files, StepContext

_USUAL = {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}


class Held(Model):
    """A text that a Secret or a ConfigMap of the cluster holds: `{secret: web-tls}`, `{configMap: kube-root-ca.crt, key: ca.crt}`."""

    secret: StrictStr | None = None
    """A Secret by its name."""

    config_map: StrictStr | None = None
    """A ConfigMap by its name."""

    key: StrictStr | None = None
    """The key in it; default: `ca.crt`, `tls.crt` or `tls.key`, by what it's used for."""

    namespace: StrictStr | None = None
    """Its namespace; default: the test's own."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Held:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("say exactly one of secret and configMap")
        return self

    def read(self, usual: str, context: StepContext) -> str | Failed:
        """The text, or why it can't be had (yet)."""
        kind, name = ("secrets", self.secret) if self.secret else ("configmaps", self.config_map)
        namespace, key = self.namespace or context.namespace, self.key or usual
        what = f"{'secret' if self.secret else 'configmap'} {namespace}/{name}"
        resource = context.cluster.kube.resource(kind)
        found = context.view.get(resource, name or "", namespace, cancel=context.scope.cancel)
        if found is None:
            return Failed(f"tls: {what} does not exist", expected="there", actual="missing")
        data: Mapping[str, str] = found.get("data") or {}
        if key not in data:
            keys = ", ".join(sorted(data)) or "none"
            return Failed(f"tls: {what} has no key {key}; its keys: {keys}", expected=key, actual=keys)
        if not self.secret:
            return data[key]
        try:
            return base64.b64decode(data[key]).decode()
        except ValueError:
            return Failed(f"tls: {what}: {key} is no text", expected="PEM", actual="bytes")


class Tls(Model):
    """How an https server is trusted, and who we are to it."""

    ca: StrictStr | Held | None = None
    """CA certificates (PEM) to trust instead of those that the vantage point has: a file, or a Secret's or ConfigMap's text."""

    insecure: StrictBool = False
    """Accept any certificate."""

    server_name: StrictStr | None = None
    """The name to ask for (SNI) and to find in the certificate; default: the URL's host."""

    cert: StrictStr | Held | None = None
    """Our certificate (PEM), with `key`: a file, or a Secret's text."""

    key: StrictStr | Held | None = None
    """Its private key (PEM): a file, or a Secret's text."""

    @model_validator(mode="after")
    def _cert_and_key(self) -> Tls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.ca is not None and self.insecure:
            raise ValueError("ca and insecure exclude each other")
        return self

    def files(self) -> list[str]:
        """The files that it names."""
        return [path for path in (self.ca, self.cert, self.key) if isinstance(path, str)]

    def to_json(self, context: StepContext) -> dict[str, Any] | Failed:
        """As the probe reads it, with the texts themselves, or why one of them can't be had (yet)."""
        read: dict[str, str] = {}
        for name, usual in _USUAL.items():
            source: str | Held | None = getattr(self, name)
            if source is None:
                continue
            text = source.read(usual, context) if isinstance(source, Held) else _text(context.files, source)
            if isinstance(text, Failed):
                return text
            read[name] = text
        return {**read, "insecure": self.insecure, "serverName": self.server_name or ""}


def _text(files: Files, path: str) -> str:
    found: Path = files.resolve(path)[0]
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
