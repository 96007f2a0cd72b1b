"""The images that Koalesce makes for its clusters from the toolchain's own binaries."""

from __future__ import annotations

from pathlib import Path

from koalesce.toolchain.imagebuild import DEFAULT_PATH, Contents, PlacedFile

_PROBE_PACKAGES = ("bash", "coreutils", "curl", "dash", "iproute2", "netcat-openbsd")


def pause(binary: Path, version: str) -> Contents:
    """What holds a pod's namespaces."""
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    return Contents(ref=f"koalesce.dev/pause:{version}", binaries=(_placed(binary),), config=config)


def coredns(binary: Path, version: str) -> Contents:
    """CoreDNS, under its publisher's name."""
    config = {"Entrypoint": ["/coredns"], "WorkingDir": "/", "ExposedPorts": {"53/tcp": {}, "53/udp": {}}}
    ref = f"registry.k8s.io/coredns/coredns:v{version}"
    return Contents(ref=ref, binaries=(_placed(binary),), config=config)


def probe(binary: Path, version: str) -> Contents:
    """Kubernetes' test image, under its publisher's name: agnhost, a shell and small network tools."""
    config = {"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "Env": [f"PATH={DEFAULT_PATH}"]}
    ref = f"registry.k8s.io/e2e-test-images/agnhost:{version}"
    return Contents(ref=ref, packages=_PROBE_PACKAGES, binaries=(_placed(binary),), config=config)


def _placed(binary: Path) -> PlacedFile:
    """A binary in the root of an image; told apart by path, size and time, since reading it all takes long."""
    status = binary.stat()
    identity = f"{binary} {status.st_size} {status.st_mtime_ns}"
    return PlacedFile(to=f"/{binary.name}", mode=0o755, source=binary, identity=identity)
