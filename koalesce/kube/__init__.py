"""Kubernetes: raw dicts over one shared TLS context. The only importer of `kubernetes`, which is loaded at the first call.

The names here are loaded when they are first used: who only names errors and kinds (`validate`) doesn't pay for clients.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from koalesce.kube.client import Kube, preload
    from koalesce.kube.errors import ApiError, Cause, ConnectionLost, ExecTimeout, UnknownKind
    from koalesce.kube.exec_result import ExecResult
    from koalesce.kube.resource import Resource
    from koalesce.kube.view import View

__all__ = [
    "ApiError",
    "Cause",
    "ConnectionLost",
    "ExecResult",
    "ExecTimeout",
    "Kube",
    "Resource",
    "UnknownKind",
    "View",
    "preload",
]

_PLACES = {
    "ApiError": "errors",
    "Cause": "errors",
    "ConnectionLost": "errors",
    "ExecResult": "exec_result",
    "ExecTimeout": "errors",
    "Kube": "client",
    "Resource": "resource",
    "UnknownKind": "errors",
    "View": "view",
    "preload": "client",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
