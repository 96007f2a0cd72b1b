"""Secrets never leave the engine: masked where events enter the stream, and in the one writer of artifacts."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from koalesce.events import Event

MASK = "***"
_SHORTEST = 6
_LONGEST = 64 * 1024  # bytes of one secret: what is longer is no password but a store of something (Helm's releases)
_PUBLIC = ("namespace", "ca.crt")  # beside the token in a service account's Secret
# Credentials in a kubeconfig, be it YAML or JSON.
_PRIVATE = re.compile(
    r"""["']?\b(?:token|password|client-key-data|client-secret|id-token|refresh-token|access-token)["']?\s*:\s*["']?([^\s"',}]+)"""
)
# What is a secret wherever it comes from: a marker that is cheap to look for, the pattern, and what to write instead.
_PATTERNS = (
    ("eyJ", re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"), MASK),  # JSON web tokens
    (
        "PRIVATE KEY-----",
        re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        rf"\1{MASK}\2",
    ),
    ("earer ", re.compile(r"(\b[Bb]earer +)[\w.~+/-]{12,}=*"), rf"\1{MASK}"),
)
_E = TypeVar("_E", bound=Event)


class Masks:
    """The secrets that are known so far, in every form in which they may show up."""

    def __init__(self) -> None:
        self._forms: tuple[str, ...] = ()
        self._lock = threading.Lock()

    def add(self, secrets: Iterable[str]) -> None:
        """Learn secrets; those under six characters would mask ordinary words and are left out."""
        forms = {form for secret in secrets for form in _forms(secret)}
        with self._lock:
            self._forms = tuple(sorted(forms | set(self._forms), key=len, reverse=True))

    def text(self, text: str) -> str:
        """The text with every known secret masked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        for marker, pattern, instead in _PATTERNS:
            if marker in text:
                text = pattern.sub(instead, text)
        return text

    def event(self, event: _E) -> _E:
        """The event with every text in it masked."""
        masked: _E = self._fields(event)
        return masked

    def _fields(self, event: Any) -> Any:
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if (masked := self._masked(value)) != value:
                changes[field.name] = masked
        return dataclasses.replace(event, **changes) if changes else event

    def _masked(self, value: Any) -> Any:
        """A value of an event, masked as deep as it goes; the order and the types of what holds it stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, tuple | list):
            return type(value)(self._masked(each) for each in value)
        if isinstance(value, Mapping):
            return {key: self._masked(each) for key, each in value.items()}
        return self._fields(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value

    def learn_from(self, obj: Any) -> None:
        """Learn the values of a Kubernetes Secret."""
        if not isinstance(obj, dict) or obj.get("kind") != "Secret":
            return
        self.add(_values(obj))

    def learn_kubeconfig(self, path: Path) -> None:
        """Learn what a kubeconfig holds of credentials."""
        try:
            found = _PRIVATE.findall(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return  # a kubeconfig of no use is told where it is used
        self.add([*found, *map(_decoded, found)])


def _values(secret: Mapping[str, Any]) -> Iterator[str]:
    for key, value in (secret.get("stringData") or {}).items():
        if key not in _PUBLIC and len(str(value)) <= _LONGEST:
            yield str(value)
    for key, value in (secret.get("data") or {}).items():
        if key in _PUBLIC or len(str(value)) > _LONGEST:
            continue
        yield _decoded(str(value))


def _decoded(value: str) -> str:
    """What is behind Base64; the text itself where it isn't that, or no text."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        return value


def _forms(secret: str) -> set[str]:
    lines = [line for line in secret.splitlines() if len(line) >= _SHORTEST]
    wholes = [secret, *lines] if len(secret) >= _SHORTEST else []
    forms: set[str] = set()
    for whole in wholes:
        forms |= {
            whole,
            base64.b64encode(whole.encode()).decode(),
            urllib.parse.quote(whole, safe=""),
            json.dumps(whole)[1:-1],
        }
    return {form for form in forms if len(form) >= _SHORTEST}
