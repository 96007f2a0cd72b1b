"""The images that Koalesce makes for its clusters from the toolchain's own binaries."""

from __future__ import annotations

from pathlib import Path

from koalesce.toolchain.imagebuild import DEFAULT_PATH, Contents, PlacedFile

_BIN = "/usr/local/bin"
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


def component(binary: Path, version: str) -> Contents:
    """A component of Kubernetes' control plane, under its publisher's name and at its place."""
    return _daemon(f"registry.k8s.io/{binary.name}:v{version}", binary)


def etcd(folder: Path, version: str) -> Contents:
    """etcd, under the name that kubeadm takes it from, with what of its tools there is."""
    tools = [folder / name for name in ("etcdctl", "etcdutl") if (folder / name).is_file()]
    return _daemon(f"registry.k8s.io/etcd:{version}-0", folder / "etcd", *tools)


def _daemon(ref: str, *binaries: Path) -> Contents:
    """Binaries in their usual folder, the first of which is run; several of them that are links to one are so in the image, too."""
    found = {binary: binary.resolve() for binary in binaries}
    config = {"Entrypoint": [f"{_BIN}/{binaries[0].name}"], "Env": [f"PATH={DEFAULT_PATH}"]}
    return Contents(
        ref=ref,
        binaries=tuple(_placed(real, _BIN) for real in dict.fromkeys(found.values())),
        links={f"{_BIN}/{binary.name}": real.name for binary, real in found.items() if real.name != binary.name},
        config=config,
    )


def _placed(binary: Path, folder: str = "") -> PlacedFile:
    """A binary in a folder of an image; told apart by path, size and time, since reading it all takes long."""
    status = binary.stat()
    identity = f"{binary} {status.st_size} {status.st_mtime_ns}"
    return PlacedFile(to=f"{folder}/{binary.name}", mode=0o755, source=binary, identity=identity)
