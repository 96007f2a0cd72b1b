from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from koalesce.kube import Kube
from koalesce.kube.limits import Limits
from tests.unit.kube.api_server import FakeApi, serve

LIMITS = Limits(silence=5, pause=0.3, linger=0.1, catch_up=0.2, least=0.2)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def kubeconfig(api: FakeApi, tmp_path: Path) -> Iterator[Path]:
    """Of the fake API server, which runs while the test does."""
    with serve(api, tmp_path) as path:
        yield path


@pytest.fixture
def kube(kubeconfig: Path) -> Iterator[Kube]:
    kube = Kube(kubeconfig, limits=LIMITS)
    yield kube
    kube.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Path, Limits], Kube]]:
    """Makes clients with limits of the test's choice, and closes them."""
    made: list[Kube] = []

    def make(path: Path, limits: Limits) -> Kube:
        made.append(Kube(path, limits=limits))
        return made[-1]

    yield make
    for kube in made:
        kube.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fake API server")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "tls.crt", folder / "tls.key"
