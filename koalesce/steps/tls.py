"""Trust and identity for https, as steps say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import StrictBool, StrictStr, model_validator

from koalesce.errors import UsageError
from koalesce.steps.base import Files, Model


class Tls(Model):
    """How an https server is trusted, and who we are to it."""

    ca: StrictStr | None = None
    """A file of CA certificates (PEM) to trust instead of those that the vantage point has."""

    insecure: StrictBool = False
    """Accept any certificate."""

    server_name: StrictStr | None = None
    """The name to ask for (SNI) and to find in the certificate; default: the URL's host."""

    cert: StrictStr | None = None
    """A file with our certificate (PEM), with `key`."""

    key: StrictStr | None = None
    """A file with its private key (PEM)."""

    @model_validator(mode="after")
    def _cert_and_key(self) -> Tls:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.ca is not None and self.insecure:
            raise ValueError("ca and insecure exclude each other")
        return self

    def files(self) -> list[str]:
        """The files that it names."""
        return [path for path in (self.ca, self.cert, self.key) if path is not None]

    def to_json(self, files: Files) -> dict[str, Any]:
        """As the probe reads it, with the files' contents."""
        read = {
            name: _text(files, path) for name, path in (("ca", self.ca), ("cert", self.cert), ("key", self.key)) if path
        }
        return {**read, "insecure": self.insecure, "serverName": self.server_name or ""}


def _text(files: Files, path: str) -> str:
    found: Path = files.resolve(path)[0]
    try:
        return found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: can't be read: {error}") from error
