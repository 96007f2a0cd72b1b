"""What a cluster's supervisor looks after in the API, as controllers do: looks at what there is, again whenever that changes."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Protocol

from koalesce.errors import KoalesceError
from koalesce.kube import Kube, View
from koalesce.records import dataclass

_log = logging.getLogger(__name__)
_LOOK = 30.0  # seconds after which it looks again by itself
_AGAIN = 1.0  # and after which it tries again what has failed
SOURCE = "koalesce"


class Controller(Protocol):
    """Makes of objects what they ask for."""

    def look(self, view: View) -> None:
        """Read what there is, and do what is to be done; what can't be done yet is an error, and tried again."""


def look_after(name: str, controller: Controller, kube: Kube, stopping: threading.Event) -> None:
    """Have a controller do its part from now on, in a thread of the caller's network namespace."""
    threading.Thread(target=_look_after, args=(controller, kube, stopping), name=name, daemon=True).start()


def _look_after(controller: Controller, kube: Kube, stopping: threading.Event) -> None:
    changed = threading.Event()
    view = kube.view(changed.set)
    while not stopping.is_set():
        changed.clear()
        view.begin()
        if not _has_looked(controller, view):
            stopping.wait(_AGAIN)
        elif not view.changed:
            changed.wait(_LOOK)


def _has_looked(controller: Controller, view: View) -> bool:
    """Have it look; whether all could be done."""
    try:
        controller.look(view)
    except KoalesceError as error:
        _log.warning("%s", error)
        return False
    except Exception:  # a bug of ours must not end what others rely on
        _log.exception("a look has failed")
        return False
    return True


def each_of(*acts: Callable[[], object]) -> None:
    """Do all of it, also where something of it can't be done; that is raised at the end."""
    problems = []
    for act in acts:
        try:
            act()
        except KoalesceError as error:
            problems.append(error)
    if problems:
        raise problems[0]


@dataclass(slots=True)
class Events:
    """Tells people of objects by events, each once."""

    kube: Kube
    _told: set[str] = field(default_factory=set)

    def tell(self, obj: Mapping[str, Any], reason: str, message: str) -> None:
        """Warn of something about an object."""
        metadata = obj["metadata"]
        digest = hashlib.sha256(f"{metadata['uid']} {reason} {message}".encode()).hexdigest()[:16]
        if digest in self._told:
            return
        self._told.add(digest)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {key: metadata[key] for key in ("name", "namespace", "uid")}
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
                "involvedObject": {"apiVersion": obj["apiVersion"], "kind": obj["kind"], **about},
                "type": "Warning",
                "reason": reason,
                "message": message,
                "source": {"component": SOURCE},
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            }
        )
