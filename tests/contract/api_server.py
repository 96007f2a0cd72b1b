"""A real control plane without nodes: etcd and kube-apiserver on loopback ports of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from koalesce.errors import KoalesceError
from koalesce.kube import ApiError, Kube
from koalesce.toolchain import Toolchain

_TOKEN = "contract-tests"
_READY_WITHIN = 60.0


VERSION = os.environ.get("KOALESCE_TEST_KUBERNETES", "")  # of Kubernetes, 1.36 or 1.36.3; empty: the newest


def find_binaries() -> tuple[Path, Path] | str:
    """kube-apiserver and etcd, from `$KOALESCE_TEST_BIN` or the toolchain's cache; or why there are none."""
    if folder := os.environ.get("KOALESCE_TEST_BIN"):
        found = Path(folder) / "kube-apiserver", Path(folder) / "etcd"
    else:
        try:
            folders = {state.tool: state.folder for state in Toolchain().states(VERSION)}
        except KoalesceError as error:
            return f"the toolchain can't say what it has: {error.message}"
        kubernetes, etcd = folders.get("kubernetes"), folders.get("etcd")
        if kubernetes is None or etcd is None:
            return f"no kube-apiserver and etcd: run `koalesce toolchain prepare {VERSION}`, or set KOALESCE_TEST_BIN to a folder that has both"
        found = kubernetes / "kube-apiserver", etcd / "etcd"
    missing = [str(path) for path in found if not path.exists()]
    return f"not there: {', '.join(missing)}" if missing else found


class ApiServer:
    """Processes, their files below `folder`, and a client."""

    def __init__(self, binaries: tuple[Path, Path], folder: Path, *, flags: tuple[str, ...] = ()) -> None:
        self._apiserver, self._etcd = binaries
        self._flags = flags
        self._folder = folder
        self._ports = _free_ports(3)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"
        self.kube = Kube(self.kubeconfig)

    def start(self) -> None:
        """Start both, and wait until the API is ready."""
        self._write_files()
        client, peer, _ = self._ports
        self._run(
            "etcd", self._etcd, f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls=http://127.0.0.1:{client}", f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )  # fmt: skip
        self.start_api()

    def start_api(self) -> None:
        """Start the API server alone, and wait until it is ready."""
        client, _, secure = self._ports
        key = self._folder / "sa.key"
        self._run(
            "kube-apiserver", self._apiserver, f"--etcd-servers=http://127.0.0.1:{client}",
            "--bind-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={self._folder / 'tls'}",
            f"--token-auth-file={self._folder / 'tokens.csv'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount", *self._flags,
        )  # fmt: skip
        self._await_ready()

    def kill_api(self) -> None:
        """Kill the API server; etcd stays."""
        process = self._running.pop("kube-apiserver")
        process.kill()
        process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The API server stands still while the block runs: connections stay open, and nothing is answered."""
        process = self._running["kube-apiserver"]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End both."""
        self.kube.close()
        if "kube-apiserver" in self._running:
            self.kill_api()  # it would wait for its watches
        for process in self._running.values():
            process.terminate()
            process.wait(60)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints; fails with its error."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._folder / 'cache'}", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _write_files(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self._folder / "sa.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        (self._folder / "tokens.csv").write_text(f'{_TOKEN},admin,1,"system:masters"\n')
        server = f"https://127.0.0.1:{self._ports[2]}"
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": server, "certificate-authority": "tls/apiserver.crt"}}],
            "users": [{"name": "it", "user": {"token": _TOKEN}}],
        }
        self.kubeconfig.write_text(json.dumps(document))

    def _run(self, name: str, program: Path, *arguments: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [program, *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN
        certificate = self._folder / "tls" / "apiserver.crt"
        while True:
            for name, process in self._running.items():
                assert process.poll() is None, (self._folder / f"{name}.log").read_text()[-3000:]
            try:
                if certificate.exists() and self.kube.text("GET", "/readyz", timeout=5) == "ok":
                    return
            except ApiError as error:
                last = error.message
            else:
                last = "no certificate yet"
            assert time.monotonic() < deadline, f"the API server isn't ready after {_READY_WITHIN} s: {last}"
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
