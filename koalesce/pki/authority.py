"""Makes certificates and keys.

ECDSA P-256 throughout (RFC 5480): a key takes a fraction of a millisecond, an RSA key up to half a second. The client CA and the
front-proxy CA are different ones, as kube-apiserver demands (it refuses to start when they overlap).
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from koalesce.errors import ProvisionError
from koalesce.pki.folder import Pki, PkiRequest
from koalesce.records import dataclass

_LIFE = datetime.timedelta(days=365)
_BACKDATED = datetime.timedelta(hours=1)
_SERVER = ExtendedKeyUsageOID.SERVER_AUTH
_CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
_DESCRIPTION = "pki.json"
_FORMAT = 2  # counts changes of what is made: a folder of another format is filled anew


def create(folder: Path, request: PkiRequest) -> Pki:
    """Make everything that a cluster needs below `folder` (0700); what an equal request made there before is kept."""
    description = json.dumps(
        {
            "format": _FORMAT,
            "nodes": {name: list(addresses) for name, addresses in request.nodes.items()},
            "api": list(request.api_names),
            "etcd": list(request.etcd_names),
        },
        sort_keys=True,
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = folder / _DESCRIPTION
        if not (done.is_file() and done.read_text() == description):
            done.unlink(missing_ok=True)
            _fill(folder, request)
            _save(done, description.encode())
    except OSError as error:
        raise ProvisionError(f"can't write the certificates below {folder}: {error.strerror}") from error
    return Pki(folder)


def _fill(folder: Path, request: PkiRequest) -> None:
    authority = _Authority.make(folder, "ca", "kubernetes")
    front = _Authority.make(folder, "front-proxy-ca", "front-proxy-ca")
    etcd = _Authority.make(folder, "etcd/ca", "etcd-ca")
    authority.issue("apiserver", "kube-apiserver", usage=[_SERVER], names=request.api_names)
    authority.issue("apiserver-kubelet-client", "kube-apiserver-kubelet-client", organization="system:masters")
    authority.issue("admin", "kubernetes-admin", organization="system:masters")
    authority.issue("controller-manager", "system:kube-controller-manager")
    authority.issue("scheduler", "system:kube-scheduler")
    authority.issue("controllers-server", "kubernetes-controllers", usage=[_SERVER], names=("localhost", "127.0.0.1"))
    authority.issue("kube-proxy", "system:kube-proxy")
    for node, addresses in request.nodes.items():
        authority.issue(
            f"kubelet/{node}",
            f"system:node:{node}",
            organization="system:nodes",
            usage=[_CLIENT, _SERVER],
            names=[node, *addresses],
        )
    front.issue("front-proxy-client", "front-proxy-client")
    etcd.issue("etcd/server", "etcd", usage=[_CLIENT, _SERVER], names=request.etcd_names)
    etcd.issue("etcd/peer", "etcd", usage=[_CLIENT, _SERVER], names=request.etcd_names)
    etcd.issue("apiserver-etcd-client", "kube-apiserver-etcd-client")
    _service_account_key(folder)


@dataclass(frozen=True, slots=True)
class _Authority:
    """A certificate authority that issues into a folder."""

    folder: Path
    subject: x509.Name
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, folder: Path, file: str, name: str) -> _Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name, None)
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=False, key_encipherment=False, key_agreement=False,
            content_commitment=False, data_encipherment=False, encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(subject, subject, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _save_pair(folder / file, certificate, key)
        return cls(folder, subject, key)

    def issue(
        self,
        file: str,
        name: str,
        *,
        organization: str | None = None,
        usage: Sequence[x509.ObjectIdentifier] = (_CLIENT,),
        names: Iterable[str] = (),
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            _builder(_name(name, organization), self.subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(usage)), critical=False)
            .add_extension(identifier, critical=False)
        )
        if alternatives := [_general_name(text) for text in dict.fromkeys(names)]:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        _save_pair(self.folder / file, builder.sign(self.key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _LIFE)
    )


def _name(common: str, organization: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _service_account_key(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    _save(folder / "sa.key", _private(key))
    _save(folder / "sa.pub", public)


def _save_pair(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    _save(path.with_name(path.name + ".crt"), certificate.public_bytes(serialization.Encoding.PEM))
    _save(path.with_name(path.name + ".key"), _private(key))


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _save(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
