"""An etcd that is there already: whether a machine reaches it, and how its keys of a cluster are removed, from that machine.

It's asked through its JSON gateway (https://etcd.io/docs/latest/dev-guide/api_grpc_gateway/), by the probe, which every machine has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from koalesce.errors import ProvisionError
from koalesce.local.noderoot import File
from koalesce.local.request import ExternalEtcd
from koalesce.machines import layout
from koalesce.machines.shell import Shell

_FILE = f"{layout.TOOLS}/datastore.json"  # what to ask the probe so that all keys of the cluster go
_PROBE = f"{layout.TOOLS}/bin/koalesce-probe"
_LIMIT = 10.0  # seconds for each endpoint


def removal_file(datastore: ExternalEtcd) -> File:
    """What a control plane keeps, so that whoever removes the cluster from it can remove its keys."""
    return File(path=_FILE, mode=0o600, text=_asked(datastore, "/v3/kv/deleterange", _all_keys(datastore)))


def check(shell: Shell, datastore: ExternalEtcd) -> None:
    """Raise ProvisionError unless the machine reaches one of the endpoints, and may read there."""
    asked = _asked(datastore, "/v3/kv/range", {**_all_keys(datastore), "count_only": True})
    answers = _read(shell.do("etcd can't be asked", _PROBE, stdin=asked.encode()))
    if not any(_is_good(answer) for answer in answers):
        raise ProvisionError(
            f"{shell.account}: etcd doesn't serve it: {_told(answers)}",
            hint="see that etcd.endpoints are reached from there, and that cert and key are of a client that etcd knows",
        )


def clear(shell: Shell) -> str:
    """Remove the keys of the machine's cluster from an etcd that stays, if it has one; returns what stays there, empty if nothing."""
    found = shell.do("etcd can't be asked", f"if [ -e {_FILE} ]; then {_PROBE} < {_FILE}; fi")
    answers = _read(found) if found else []
    if not answers or any(_is_good(answer) for answer in answers):
        return ""
    return f"{shell.account}: what the cluster has written into etcd stays there, below /koalesce: {_told(answers)}"


def _asked(datastore: ExternalEtcd, path: str, body: Mapping[str, Any]) -> str:
    tls = {"tls": {"ca": datastore.ca, "cert": datastore.cert, "key": datastore.key}} if datastore.ca else {}
    http = {"method": "POST", "headers": {"Content-Type": ["application/json"]}, "body": json.dumps(body), **tls}
    targets = [
        {"id": endpoint, "type": "http", "limit": _LIMIT, "http": {**http, "url": f"{endpoint}{path}"}}
        for endpoint in datastore.endpoints
    ]
    return json.dumps({"sources": [{"id": "etcd", "targets": targets}]})


def _all_keys(datastore: ExternalEtcd) -> dict[str, str]:
    """All that begin with the cluster's prefix and a slash, which `0` follows."""
    ends = {"key": f"{datastore.prefix}/", "range_end": f"{datastore.prefix}0"}
    return {name: base64.b64encode(text.encode()).decode() for name, text in ends.items()}


def _read(output: str) -> list[Mapping[str, Any]]:
    answers: list[Mapping[str, Any]] = [
        result for source in json.loads(output)["sources"] for result in source.get("results", ())
    ]
    return answers


def _is_good(answer: Mapping[str, Any]) -> bool:
    return bool((answer.get("http") or {}).get("status") == 200)


def _told(answers: list[Mapping[str, Any]]) -> str:
    """Each endpoint with what came of it."""
    return "; ".join(f"{answer['id']}: {_end(answer)}" for answer in answers)


def _end(answer: Mapping[str, Any]) -> str:
    http = answer.get("http") or {}
    said = str(http.get("body") or "").strip()[:200]
    return f"{http['status']} {said}".strip() if http else str(answer.get("reason") or answer.get("outcome"))
