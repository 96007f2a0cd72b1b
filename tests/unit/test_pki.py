from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from koalesce import pki
from koalesce.errors import ProvisionError
from koalesce.pki import PkiRequest

REQUEST = PkiRequest(nodes={"worker-1": ["198.18.0.11"]}, api_names=["127.0.0.1", "kubernetes.default.svc"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.create(tmp_path / "pki", REQUEST)
    return tmp_path / "pki"


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_only_the_owner_can_read(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert len(files) > 20
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "etcd", folder / "kubelet")} == {0o700}


@pytest.mark.parametrize(
    ("name", "authority"),
    [
        ("apiserver", "ca"),
        ("apiserver-kubelet-client", "ca"),
        ("admin", "ca"),
        ("kubelet/worker-1", "ca"),
        ("controllers-server", "ca"),
        ("front-proxy-client", "front-proxy-ca"),
        ("etcd/server", "etcd/ca"),
        ("apiserver-etcd-client", "etcd/ca"),
    ],
)
def test_certificates_come_from_their_authority(folder: Path, name: str, authority: str) -> None:
    issued, issuer = certificate(folder, name), certificate(folder, authority)

    issued.verify_directly_issued_by(issuer)
    key = issued.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    context = ssl.create_default_context(cafile=str(folder / f"{authority}.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")


def test_the_authorities_differ(folder: Path) -> None:
    keys = {certificate(folder, name).public_key().public_numbers() for name in ("ca", "front-proxy-ca", "etcd/ca")}  # type: ignore[union-attr]  # EC keys

    assert len(keys) == 3


def test_a_kubelet_is_the_user_of_its_node(folder: Path) -> None:
    issued = certificate(folder, "kubelet/worker-1")

    assert issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:worker-1"
    assert issued.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["worker-1"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["198.18.0.11"]
    usage = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_the_same_request_keeps_what_is_there_and_another_makes_anew(folder: Path) -> None:
    before = (folder / "ca.crt").read_text()

    pki.create(folder, REQUEST)
    assert (folder / "ca.crt").read_text() == before

    pki.create(folder, PkiRequest(nodes={}, api_names=["127.0.0.1"]))
    assert (folder / "ca.crt").read_text() != before


def test_a_folder_of_another_version_is_filled_anew(folder: Path) -> None:
    older = {name: value for name, value in json.loads((folder / "pki.json").read_text()).items() if name != "format"}
    (folder / "pki.json").write_text(json.dumps(older, sort_keys=True))
    (folder / "controllers-server.crt").unlink()

    assert pki.create(folder, REQUEST).text("controllers-server.crt").startswith("-----BEGIN CERTIFICATE-----")


def test_what_was_interrupted_is_made_anew(folder: Path) -> None:
    (folder / "pki.json").unlink()
    (folder / "sa.key").unlink()

    made = pki.create(folder, REQUEST)

    assert made.text("sa.key").startswith("-----BEGIN EC PRIVATE KEY-----")


def test_a_kubeconfig_has_everything_inside(folder: Path) -> None:
    config = json.loads(pki.Pki(folder).kubeconfig("admin", "https://127.0.0.1:6443"))

    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(config["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_a_missing_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=r"ca\.crt: No such file") as caught:
        pki.Pki(tmp_path).text("ca.crt")

    assert caught.value.hint == "make the certificates again with `koalesce pki DIR`"
