"""The folder of a cluster's certificates and keys: files of mode 0600, laid out as kubeadm does."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from koalesce.errors import ProvisionError
from koalesce.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PkiRequest:
    """Whom the certificates are for.

    `nodes` maps each node's name to its addresses, `api_names` are the names and addresses that the API server answers to
    (the Service's own names are added), `etcd_names` the same for etcd.
    """

    nodes: Mapping[str, Sequence[str]]
    api_names: Sequence[str]
    etcd_names: Sequence[str] = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Pki:
    """A folder of certificates and keys."""

    folder: Path

    def text(self, name: str) -> str:
        """The PEM text of a file, such as `ca.crt` or `etcd/server.key`; ProvisionError if it can't be read."""
        try:
            return (self.folder / name).read_text()
        except OSError as error:
            raise ProvisionError(
                f"{self.folder / name}: {error.strerror}", hint="make the certificates again with `koalesce pki DIR`"
            ) from error

    def kubeconfig(self, user: str, server: str) -> str:
        """A kubeconfig (JSON, which is YAML) of one of the client certificates, `admin` for example, for an API server's URL."""
        return kubeconfig(server, self.text("ca.crt"), self.text(f"{user}.crt"), self.text(f"{user}.key"))


def kubeconfig(server: str, authority: str, certificate: str, key: str) -> str:
    """A kubeconfig with everything inlined; all arguments but the URL are PEM texts."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "koalesce",
            "clusters": [
                {"name": "koalesce", "cluster": {"server": server, "certificate-authority-data": _base64(authority)}}
            ],
            "users": [
                {
                    "name": "koalesce",
                    "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
                }
            ],
            "contexts": [{"name": "koalesce", "context": {"cluster": "koalesce", "user": "koalesce"}}],
        },
        indent=2,
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
