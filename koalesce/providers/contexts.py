"""Contexts of kubeconfigs: the one that is meant, alone in a file, and whose API server it leads to."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from koalesce.assets import state_dir
from koalesce.errors import UsageError
from koalesce.suggestions import closest
from koalesce.yaml import read

_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One context of a kubeconfig: what it says of the cluster and of the user; paths in that are relative to the folders."""

    name: str
    cluster: Mapping[str, Any]
    cluster_folder: Path
    user: Mapping[str, Any]
    user_folder: Path

    @property
    def server(self) -> str:
        """Where its API server is."""
        return str(self.cluster.get("server") or "")

    @property
    def is_verified(self) -> bool:
        """Whether it is made sure that the server is the one that is meant."""
        return self.server.startswith("https://") and not self.cluster.get("insecure-skip-tls-verify")

    @property
    def identity(self) -> str:
        """What tells its API server from any other: its CA, or its address where the machine's CAs vouch for that."""
        if not self.is_verified:
            return ""
        told = self._ca() or self.server.encode()
        return hashlib.sha256(told).hexdigest()

    def alone(self) -> str:
        """A kubeconfig with nothing but this context, as JSON."""
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": self.name,
            "contexts": [{"name": self.name, "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": _with_paths(self.cluster, self.cluster_folder)}],
            "users": [{"name": "it", "user": _with_paths(self.user, self.user_folder)}],
        }  # fmt: skip
        return json.dumps(document, indent=2)

    def _ca(self) -> bytes:
        """The certificates of its CA, without what may stand around them; empty where it names none."""
        if data := self.cluster.get("certificate-authority-data"):
            try:
                return b"".join(base64.b64decode(str(data)).split())
            except binascii.Error as error:
                raise UsageError(f"the certificate-authority-data of context {self.name} is no base64") from error
        if path := self.cluster.get("certificate-authority"):
            try:
                return b"".join((self.cluster_folder / str(path)).read_bytes().split())
            except OSError as error:
                raise UsageError(
                    f"the CA of context {self.name} can't be read: {error.filename}: {error.strerror}"
                ) from error
        return b""


def files(given: str = "") -> list[Path]:
    """The kubeconfigs to look in: the one given, those of $KUBECONFIG, or ~/.kube/config."""
    named = [given] if given else [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return [Path(path).expanduser().absolute() for path in named] or [Path.home() / ".kube" / "config"]


def find(name: str, given: str = "") -> Context:
    """The context of this name; UsageError where there is none, with the one that may be meant, or where its file is of no use."""
    paths = [path for path in files(given) if path.is_file()]
    if not paths:
        missing = ", ".join(str(path) for path in files(given))
        raise UsageError(
            f"there is no kubeconfig at {missing}", hint="name one with --kubeconfig FILE, or set KUBECONFIG"
        )
    documents = [(path, _document(path)) for path in paths]
    contexts = [each for _, document in documents for each in _names(document, "contexts")]
    if not name:
        raise UsageError(
            "the provider kubeconfig needs the name of a context",
            hint=f"say --context NAME, or providers: {{kubeconfig: {{context: NAME}}}} in the spec; there are: {_listed(contexts)}",
        )
    if name not in contexts:
        meant = closest(name, contexts)
        told = f'; did you mean "{meant}"?' if meant else ""
        where = ", ".join(map(str, paths))
        raise UsageError(f'{where}: there is no context "{name}"{told}', hint=f"there are: {_listed(contexts)}")
    path, context = _first(documents, "contexts", "context", name, name)
    cluster_file, cluster = _first(documents, "clusters", "cluster", str(context.get("cluster", "")), name)
    user_file, user = path, dict[str, Any]()
    if context.get("user"):
        user_file, user = _first(documents, "users", "user", str(context["user"]), name)
    if not cluster.get("server"):
        raise UsageError(f"{cluster_file}: the cluster of context {name} has no server")
    return Context(
        name=name, cluster=cluster, cluster_folder=cluster_file.parent, user=user, user_folder=user_file.parent
    )


def confirm(context: Context) -> None:
    """Remember that the user owns the cluster that a context leads to, by the CA of its API server; UsageError where that tells nothing."""
    if not context.is_verified:
        raise UsageError(
            f"context {context.name} doesn't verify who its API server is, so that it can't be told from another one later",
            hint="have it name the CA of the API server, or label the namespace kube-system of the cluster: koalesce.dev/test=true",
        )
    path = _confirmation(context)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps({"context": context.name, "server": context.server}) + "\n", encoding="utf-8")


def is_confirmed(context: Context) -> bool:
    """Whether the user has said so."""
    return context.is_verified and _confirmation(context).exists()


def _confirmation(context: Context) -> Path:
    return state_dir() / "owned" / f"{context.identity}.json"


def _with_paths(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A section whose paths hold wherever it is read; the program of a plugin is a path only where it has a slash."""
    found = dict(section)
    for field in _PATHS:
        if found.get(field):
            found[field] = str(folder / str(found[field]))
    plugin = found.get("exec")
    if isinstance(plugin, Mapping) and "/" in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return found


def _document(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the kubeconfig {path} can't be read as text") from error
    documents, problems = read(text, str(path), rules="manifest")
    if problems:
        raise UsageError(
            f"the kubeconfig {path} can't be used: {problems[0].message}"
        )  # no line of it: keys are in there
    value = documents[0].value if documents else None
    if not isinstance(value, Mapping) or not isinstance(value.get("contexts") or [], list):
        raise UsageError(f"{path} is no kubeconfig: it has no contexts")
    return value


def _names(document: Mapping[str, Any], part: str) -> list[str]:
    found = document.get(part)
    return [str(each.get("name")) for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _first(
    documents: list[tuple[Path, Mapping[str, Any]]], part: str, field: str, name: str, context: str
) -> tuple[Path, dict[str, Any]]:
    """The first entry of this name, as kubectl takes it where several files have one."""
    for path, document in documents:
        for each in document.get(part) or ():
            if isinstance(each, Mapping) and each.get("name") == name and isinstance(each.get(field), Mapping):
                return path, dict(each[field])
    raise UsageError(
        f'{documents[0][0]}: context {context} names the {field} "{name}", which isn\'t there'
        if part != "contexts"
        else f"{documents[0][0]}: context {context} says nothing"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)) or "none"
