"""What a kubeconfig says, read by the `kubernetes` package, which knows tokens, certificates, plugins and their many forms."""

from __future__ import annotations

import ssl
import tempfile
import threading
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # for its YAMLError only
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_kube_config

from koalesce.errors import ClusterError

_loading = threading.Lock()  # the package keeps the files of its credentials in a global


def read_credentials(kubeconfig: Path, context: str | None) -> tuple[Configuration, ssl.SSLContext]:
    """Address and token, and the TLS context that holds the certificates; ClusterError where the file is of no use."""
    if not kubeconfig.is_file():
        raise ClusterError(f"there is no kubeconfig at {kubeconfig}")
    configuration = Configuration()
    # Inline keys are written to files, as OpenSSL reads nothing else; they live until the context has them.
    with _loading, tempfile.TemporaryDirectory(prefix="koalesce-") as folder:
        try:
            load_kube_config(  # type: ignore[no-untyped-call]  # the package's types end here
                str(kubeconfig),
                context,
                client_configuration=configuration,
                persist_config=False,
                temp_file_path=folder,
            )
            return configuration, _tls(configuration)
        except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
            raise ClusterError(f"the kubeconfig {kubeconfig} can't be used: {error}") from error


def _tls(configuration: Configuration) -> ssl.SSLContext:
    if configuration.verify_ssl and configuration.host.startswith("https"):
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        # Go, and so kubectl, takes CAs without the extensions that this flag asks for (default from Python 3.13 on).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reads no trust store, which takes 30 ms
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
