"""What every control plane writes into an empty datastore, kept from the first start of a version and put back before later ones.

Making roles, priority levels and the like one by one takes an API server two seconds, and its controllers some more for their service
accounts; finding them made, none. Only objects that say nothing of a particular cluster are kept: no certificates, addresses, leases
or secrets. They are checked and completed as at any restart. etcd is spoken to through its JSON gateway (https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/).
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import http.client
import json
import logging
import os
import re
import ssl
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from koalesce.local import etcd
from koalesce.local.control_plane import services
from koalesce.local.netns import NetNamespace
from koalesce.local.request import LocalRequest
from koalesce.pki import Pki

_log = logging.getLogger(__name__)
_FORMAT = 2
_KEPT = (
    "/registry/apiregistration.k8s.io/apiservices/",
    "/registry/clusterrolebindings/",
    "/registry/clusterroles/",
    "/registry/flowschemas/",
    "/registry/namespaces/",
    "/registry/priorityclasses/",
    "/registry/prioritylevelconfigurations/",
    "/registry/rolebindings/",
    "/registry/roles/",
    "/registry/serviceaccounts/",
)
# Of the kept kinds, what the add-ons bring.
_LEFT_OUT = ("/system:coredns", "/coredns")
_UID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_AT_ONCE = 100  # operations in a transaction of the start
_BYTES_AT_ONCE = 1_000_000  # of what is written in a transaction; etcd takes half as much again
_PATIENCE = 5.0


class Datastore:
    """The datastore of a cluster, spoken to at one of its members, from the network namespace of a node."""

    def __init__(self, pki: Pki, namespace: NetNamespace, address: str = "127.0.0.1") -> None:
        self._namespace = namespace
        self._address = address
        self._context = ssl.create_default_context(cadata=pki.text("etcd/ca.crt"))
        self._context.load_cert_chain(
            pki.folder / "apiserver-etcd-client.crt", pki.folder / "apiserver-etcd-client.key"
        )

    def answers(self) -> bool:
        """Whether it takes requests."""
        try:
            return self._post("/v3/kv/range", {"key": _encode("/"), "count_only": True}) is not None
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def read(self) -> dict[str, str]:
        """The kept objects: values in base64 by key."""
        found: dict[str, str] = {}
        for prefix in _KEPT:
            end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            answer = self._post("/v3/kv/range", {"key": _encode(prefix), "range_end": _encode(end)})
            for item in answer.get("kvs", ()):
                key = base64.b64decode(item["key"]).decode()
                if not key.endswith(_LEFT_OUT):
                    found[key] = item["value"]
        return found

    def write(self, values: Mapping[str, str]) -> None:
        """Put objects as `read` gives them."""
        items = list(values.items())
        for first in range(0, len(items), _AT_ONCE):
            puts = [
                {"request_put": {"key": _encode(key), "value": value}} for key, value in items[first : first + _AT_ONCE]
            ]
            self._post("/v3/kv/txn", {"success": puts})

    def revision(self) -> int:
        """The number of the last change."""
        answer = self._post("/v3/kv/range", {"key": _encode("/"), "count_only": True})
        return int(answer["header"]["revision"])

    def all(self, revision: int = 0) -> dict[str, bytes]:
        """Every object by key, as they are, or as they were at a revision of the last minutes."""
        asked = {"key": _encode("/registry/"), "range_end": _encode("/registry0"), "revision": str(revision)}
        found = self._post("/v3/kv/range", asked).get("kvs", ())
        return {base64.b64decode(item["key"]).decode(): base64.b64decode(item["value"]) for item in found}

    def change(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        """Write and delete, all at once where that is not too much for one request."""
        operations: list[dict[str, Any]] = [{"request_delete_range": {"key": _encode(key)}} for key in deletes]
        size = 0
        for key, value in puts.items():
            if size and size + len(value) > _BYTES_AT_ONCE:
                self._post("/v3/kv/txn", {"success": operations})
                operations, size = [], 0
            encoded = base64.b64encode(value).decode()
            operations.append({"request_put": {"key": _encode(key), "value": encoded}})
            size += len(value)
        if operations:
            self._post("/v3/kv/txn", {"success": operations})

    def replace_member(self, name: str, peer_url: str) -> bool:
        """Have a new member, without data, take the place of the one of this name; False if that can't be done yet.

        A cluster takes members only while the others have been in touch for some seconds.
        """
        try:
            members = self._post("/v3/cluster/member/list", {})["members"]
            if any(peer_url in member["peerURLs"] and not member.get("name") for member in members):
                return True  # taken before, and not started yet
            for member in members:
                if member.get("name") == name:
                    self._post("/v3/cluster/member/remove", {"ID": member["ID"]})
            self._post("/v3/cluster/member/add", {"peerURLs": [peer_url]})
        except (OSError, http.client.HTTPException, ValueError) as error:
            _log.info("etcd takes no new member yet: %s", error)
            return False
        return True

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(self._address, etcd.PORT, context=self._context, timeout=_PATIENCE)
        with contextlib.closing(connection):
            with self._namespace.entered():
                connection.connect()
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise OSError(f"etcd: {response.status} {text[:200].decode('utf-8', 'replace')}")
            found: dict[str, Any] = json.loads(text)
            return found


class Seeds:
    """The kept objects of past starts, a file for each kind of API server."""

    def __init__(self, folder: Path, request: LocalRequest) -> None:
        argv = services(request, request.control)["kube-apiserver"].argv
        argv = [word for word in argv if not word.startswith("--advertise-address")]
        digest = hashlib.sha256(json.dumps([_FORMAT, request.kubernetes, argv]).encode()).hexdigest()[:16]
        self._file = folder / f"{request.kubernetes}-{digest}.json"

    def plant(self, datastore: Datastore) -> bool:
        """Put them into an empty datastore; False if there are none, or they can't be used."""
        try:
            datastore.write(with_new_uids(json.loads(self._file.read_bytes())))
        except FileNotFoundError:
            return False
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.warning("can't use %s: %s", self._file, error)
            self._file.unlink(missing_ok=True)
            return False
        return True

    def gather(self, datastore: Datastore) -> None:
        """Keep what an API server has made; that it can't be kept only costs time at the next start."""
        try:
            values = datastore.read()
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile("w", dir=self._file.parent, delete=False) as file:
                json.dump(values, file)
            os.replace(file.name, self._file)  # noqa: PTH105 - a name from elsewhere
        except (OSError, ValueError, http.client.HTTPException) as error:
            _log.warning("can't keep %s: %s", self._file, error)


def new_object(key: str, document: Mapping[str, Any]) -> tuple[str, str]:
    """An object that nobody has made yet, as key and value of the datastore, whose key is below `/registry/`; API servers read JSON there, too."""
    made = {
        "uid": str(uuid.uuid4()),
        "creationTimestamp": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    whole = {**document, "metadata": {**document["metadata"], **made}}
    return f"/registry/{key}", _encode(json.dumps(whole))


def with_new_uids(values: Mapping[str, str]) -> dict[str, str]:
    """The same objects with other UIDs: two clusters are told from each other by them (that of kube-system above all).

    A UID has the same length in every object, whether stored as protobuf or as JSON, so that it can be replaced in place.
    """
    return {
        key: base64.b64encode(_UID.sub(lambda _: str(uuid.uuid4()).encode(), base64.b64decode(value))).decode()
        for key, value in values.items()
    }


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
