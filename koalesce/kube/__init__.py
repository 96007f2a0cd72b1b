"""Kubernetes: raw dicts over one shared TLS context. The only importer of `kubernetes`, which is loaded at the first call."""

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
