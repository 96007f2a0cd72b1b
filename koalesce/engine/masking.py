"""Secrets never leave the engine: masked where events enter the stream, and in the one writer of artifacts."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
import urllib.parse
from collections.abc import Iterable
from typing import Any, TypeVar

from koalesce.events import Event

MASK = "***"
_SHORTEST = 6
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
        return text

    def event(self, event: _E) -> _E:
        """The event with every text in it masked."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if isinstance(value, str) and (masked := self.text(value)) != value:
                changes[field.name] = masked
        return dataclasses.replace(event, **changes) if changes else event

    def learn_from(self, obj: Any) -> None:
        """Learn the values of a Kubernetes Secret."""
        if not isinstance(obj, dict) or obj.get("kind") != "Secret":
            return
        self.add(str(value) for value in (obj.get("stringData") or {}).values())
        for value in (obj.get("data") or {}).values():
            try:
                self.add([base64.b64decode(value, validate=True).decode()])
            except (ValueError, TypeError):
                self.add([str(value)])


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
