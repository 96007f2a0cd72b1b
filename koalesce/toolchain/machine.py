"""The machine's platform in the words of Go, of images and of Debian."""

from __future__ import annotations

import os
from pathlib import Path

from koalesce.errors import ProvisionError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


def architecture() -> str:
    """The machine's architecture, as Go, images and Debian call it: `amd64` or `arm64`, for example."""
    machine = os.uname().machine
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise ProvisionError(f"Koalesce doesn't know how to make binaries for {machine}") from None


def release() -> str:
    """The machine's distribution and its version, such as `debian 12`; what packages it can have depends on it."""
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return "unknown"
    facts = dict(line.split("=", 1) for line in lines if "=" in line)
    return " ".join(facts.get(key, "").strip('"') for key in ("ID", "VERSION_ID"))
