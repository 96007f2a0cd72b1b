"""Requests to a cloud whose certificate isn't valid at this time: no patience helps, so it's said at once, with what may be wrong."""

from __future__ import annotations

import http.server
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from koalesce.providers.cloud_api import CloudError
from koalesce.providers.cloud_http import Http

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LONG_HENCE = datetime(2120, 1, 1, tzinfo=UTC)


def certificate(folder: Path, begins: datetime) -> Path:
    """The certificate of 127.0.0.1 for the day after a time, by nobody but itself, and its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a cloud")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begins, begins + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "cloud.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


@contextmanager
def serving(path: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]  # clients that hang up are what is tried
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("begins", "said"), [(LONG_AGO, "certificate has expired"), (LONG_HENCE, "certificate is not yet valid")]
)
def test_a_clock_that_may_be_wrong_is_named(
    begins: datetime, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, begins)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    waited: list[float] = []

    with serving(path) as url, pytest.raises(CloudError, match=f"Some Cloud can't be trusted: .*{said}") as raised:
        Http(url, title="Some Cloud", pause=waited.append).send("GET", "/", {})

    assert waited == []
    assert (raised.value.hint or "").startswith(f"is this machine's clock right? It says {datetime.now(UTC):%Y-}")
