"""The key pair of a cluster: made for it alone, kept below its folder, and gone with it."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "ssh"
PRIVATE, PUBLIC, KNOWN_HOSTS, USER_DATA = "id_ed25519", "id_ed25519.pub", "known_hosts", "user-data"


def make(folder: Path, name: str) -> Path:
    """Make the pair below a cluster's folder, and an empty list of its machines' keys; what is there stays. Returns the private key's path."""
    from cryptography.hazmat.primitives import serialization  # loaded here: most commands make no keys
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    place = folder / FOLDER
    for each in (folder, place):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
        each.chmod(0o700)
    path = place / PRIVATE
    if not path.exists() or not (place / PUBLIC).exists():
        key = Ed25519PrivateKey.generate()
        _write(
            path,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            ),
        )
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        _write(place / PUBLIC, public + f" koalesce-{name}\n".encode())
    (place / KNOWN_HOSTS).touch(mode=0o600)
    return path


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # an older file keeps its mode
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
