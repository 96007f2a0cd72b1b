"""Certificates and keys of a cluster, in one folder.

What makes them is loaded when it is first used: `cryptography` takes longer to load than to make them all.
"""

from __future__ import annotations

from pathlib import Path

from koalesce.pki.folder import Pki, PkiRequest, kubeconfig

__all__ = ["Pki", "PkiRequest", "create", "kubeconfig"]


def create(folder: Path, request: PkiRequest) -> Pki:
    """Make everything that a cluster needs below `folder` (0700); what an equal request made there before is kept."""
    from koalesce.pki import authority

    return authority.create(folder, request)
